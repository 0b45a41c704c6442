//! What the tests need from outside the workspace, found or installed: servers, clients, tokens.
//!
//! Owns which tests need what, and by which variables they are told where it is. `debian`, `python`
//! and `node` know how to get it. What a run does not want, or this machine cannot have, leaves out
//! the tests that need it, and the run says so.

use std::path::Path;

use crate::debian;
use crate::failure::{Failure, Result};
use crate::node;
use crate::python::Venv;
use crate::tokens;
use crate::workspace::Workspace;

/// What tests have in their names so that a run can leave them out.
const SOFTWARE_TPM: &str = "software_tpm";
const JAVASCRIPT: &str = "javascript";
const CONFORMANCE: &str = "conformance";
const AWS_CLI_V2: &str = "aws_cli_v2";

/// What is asked for beyond the usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) software_tpm: bool,
    /// More clients of AWS.
    pub(crate) conformance: bool,
}

/// All of it, ready.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// Variables that tell the tests where things are.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Parts of tests' names, each with why those tests are left out.
    pub(crate) left_out: Vec<(&'static str, String)>,
}

impl Outside {
    /// Finds and installs.
    ///
    /// # Errors
    ///
    /// Exit code 2 if something is missing that every run needs.
    pub(crate) fn ensure(workspace: &Workspace, wanted: Wanted) -> Result<Self> {
        let mut outside = Self::default();
        outside.fill(workspace, wanted).map_err(|failure| {
            Failure::missing(format!("{failure}, or run `cargo xtask test --embedded`"))
        })?;
        Ok(outside)
    }

    fn fill(&mut self, workspace: &Workspace, wanted: Wanted) -> Result<()> {
        self.environment = debian::ensure(&workspace.shell()?, wanted.software_tpm)?;
        let venvs = [
            ("BRS_MOTO_VENV", "moto", include_str!("../moto.txt")),
            (
                "BRS_ANYWHERE_VENV",
                "anywhere",
                include_str!("../anywhere.txt"),
            ),
            CLIENTS,
        ];
        for venv in venvs {
            self.venv(workspace, venv)?;
        }
        self.tell(
            "SOFTHSM2_CONF",
            &tokens::empty_store(workspace, "softhsm2")?,
        );
        if !wanted.software_tpm {
            self.leave_out(SOFTWARE_TPM, "run with `cargo xtask test --tpm`");
        }
        let without_node = node::missing(workspace)?;
        match &without_node {
            None => self.packages(workspace, JAVASCRIPT_V3)?,
            Some(reason) => self.leave_out(JAVASCRIPT, reason),
        }
        if !wanted.conformance {
            self.leave_out(CONFORMANCE, "run with `cargo xtask test --conformance`");
            return Ok(());
        }
        let more = (
            "BRS_CONFORMANCE_VENV",
            "conformance",
            include_str!("../conformance.txt"),
        );
        self.venv(workspace, more)?;
        if without_node.is_none() {
            let v2 = (
                "BRS_JAVASCRIPT_V2",
                "javascript-v2",
                "tests/clients/javascript_v2",
            );
            self.packages(workspace, v2)?;
        }
        match debian::aws_cli_v2(&workspace.shell()?) {
            Some(path) => self.tell("BRS_AWS_CLI_V2", &path),
            None => self.leave_out(
                AWS_CLI_V2,
                "the AWS CLI v2 is missing: apt-get install awscli",
            ),
        }
        Ok(())
    }

    fn venv(
        &mut self,
        workspace: &Workspace,
        (variable, name, requirements): (&'static str, &str, &str),
    ) -> Result<()> {
        let venv = Venv::ensure(workspace, name, requirements)?;
        self.tell(variable, venv.folder());
        Ok(())
    }

    fn packages(
        &mut self,
        workspace: &Workspace,
        (variable, name, source): (&'static str, &str, &str),
    ) -> Result<()> {
        let folder = node::ensure(workspace, name, source)?;
        self.tell(variable, &folder);
        Ok(())
    }

    fn tell(&mut self, variable: &'static str, path: &Path) {
        self.environment
            .push((variable, path.display().to_string()));
    }

    fn leave_out(&mut self, part: &'static str, reason: &str) {
        self.left_out.push((part, reason.to_owned()));
    }
}

/// boto3 and the AWS CLI.
const CLIENTS: (&str, &str, &str) = (
    "BRS_CLIENTS_VENV",
    "clients",
    include_str!("../clients.txt"),
);
/// The AWS SDK for JavaScript.
const JAVASCRIPT_V3: (&str, &str, &str) =
    ("BRS_JAVASCRIPT", "javascript", "tests/clients/javascript");

/// The same for what the demo of `brs serve` calls with.
///
/// # Errors
///
/// Exit code 2 if one of its clients cannot be had.
pub(crate) fn ensure_clients(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    if let Some(reason) = node::missing(workspace)? {
        return Err(Failure::missing(reason));
    }
    let mut outside = Outside::default();
    outside.venv(workspace, CLIENTS)?;
    outside.packages(workspace, JAVASCRIPT_V3)?;
    Ok(outside.environment)
}
