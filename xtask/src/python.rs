//! Programs that are distributed as Python packages, each in a virtual environment below the target
//! directory.
//!
//! Owns finding an interpreter, making the environment, and knowing whether it is still right: the
//! requirements that were installed are kept beside it, so that it is made once and again when they
//! change. Does not know what the programs are for.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::debian;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// The oldest interpreter that every requirement accepts; moto sets it.
const MINIMUM: &str = "3.10";

/// A virtual environment with its requirements installed.
#[derive(Debug)]
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// Makes `target/NAME` hold exactly `requirements`, which is the text of a requirements file.
    ///
    /// # Errors
    ///
    /// Exit code 2 without a usable interpreter or when the packages cannot be had.
    pub(crate) fn ensure(workspace: &Workspace, name: &str, requirements: &str) -> Result<Self> {
        let shell = workspace.shell()?;
        let venv = Self {
            folder: workspace.target(name),
        };
        let stamp = venv.folder.join("installed.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements)
            && venv.works(&shell)
        {
            return Ok(venv);
        }
        println!("installing {name} into {}", venv.folder.display());
        let interpreter = interpreter(&shell)?;
        if venv.folder.exists() {
            fs::remove_dir_all(&venv.folder)?;
        }
        venv.install(&shell, &interpreter, requirements).map_err(|failure| {
            Failure::missing(format!(
                "{name} could not be installed ({failure}): is the Python package index reachable?"
            ))
        })?;
        fs::write(&stamp, requirements)?;
        Ok(venv)
    }

    /// Where the environment is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program of the environment.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let folder = self
            .folder
            .join(if cfg!(windows) { "Scripts" } else { "bin" });
        folder
            .join(name)
            .with_extension(std::env::consts::EXE_EXTENSION)
    }

    /// An environment dies with the interpreter it was made from.
    fn works(&self, shell: &Shell) -> bool {
        let python = self.program("python");
        cmd!(shell, "{python} --version")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .is_ok()
    }

    fn install(&self, shell: &Shell, interpreter: &str, requirements: &str) -> Result<()> {
        let folder = &self.folder;
        cmd!(shell, "{interpreter} -m venv {folder}").run()?;
        let file = folder.join("requirements.txt");
        fs::write(&file, requirements)?;
        let python = self.program("python");
        let quiet = ["--quiet", "--disable-pip-version-check", "--no-input"];
        cmd!(
            shell,
            "{python} -m pip install {quiet...} --requirement {file}"
        )
        .run()?;
        Ok(())
    }
}

/// An interpreter that is new enough and can make environments; as root on Debian it is installed
/// if need be.
fn interpreter(shell: &Shell) -> Result<String> {
    if let Some(found) = find(shell) {
        return Ok(found);
    }
    debian::install(shell, &["python3-venv"]);
    if let Some(found) = find(shell) {
        return Ok(found);
    }
    Err(Failure::missing(format!(
        "python3 {MINIMUM} or newer with the venv module is missing: apt-get install python3-venv"
    )))
}

fn find(shell: &Shell) -> Option<String> {
    let major_minor = MINIMUM.replace('.', ", ");
    // Debian ships `venv` without the `ensurepip` it needs.
    let probe =
        format!("import ensurepip, sys, venv; sys.exit(sys.version_info < ({major_minor}))");
    // The system's own may be usable where a version manager's, first in the path, is not.
    let candidates = ["python3", "python", "/usr/bin/python3"];
    let usable = |name: &&str| {
        cmd!(shell, "{name} -c {probe}")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .is_ok()
    };
    candidates.into_iter().find(usable).map(str::to_owned)
}
