//! A method in a crate of its own, as somebody else would write one: credentials from a JSON file
//! that another program keeps up to date.
//!
//! It depends on `brs-core` only. A program that uses it names the crate once, `use
//! brs_tests_third_party as _;`, so that it is linked and its method registered.

use std::path::PathBuf;

use async_trait::async_trait;
use brs_core::kit;
use brs_core::{
    Error, MethodParams, RefreshContext, RefreshStrategy, Setup, TemporaryCredentials,
    register_method,
};
use tokio::io::AsyncReadExt;

/// A file of credentials is a few hundred bytes; a token can be some kilobytes.
const LONGEST_FILE: u64 = 64 * 1024;

/// Parameters of the method `file`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Params {
    /// The file: JSON in the spelling of the Python package or of `credential_process`.
    pub path: PathBuf,
}

impl Params {
    /// Credentials from this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl MethodParams for Params {
    const METHOD: &'static str = "file";
}

/// The strategy of the method `file`.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
}

#[async_trait]
impl RefreshStrategy for File {
    fn method(&self) -> &'static str {
        Params::METHOD
    }

    fn source(&self) -> &'static str {
        "file"
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let path = self.path.display();
        let unreadable = |error: std::io::Error| {
            let out = Error::configuration(format!("`{path}` cannot be read"));
            kit::with_cause(out, &std::io::Error::other(error), &[])
        };
        let file = tokio::fs::File::open(&self.path)
            .await
            .map_err(unreadable)?;
        let mut text = Vec::new();
        file.take(LONGEST_FILE)
            .read_to_end(&mut text)
            .await
            .map_err(unreadable)?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::credential(format!("`{path}` holds no credentials")).with_source(error)
        })
    }
}

async fn build(params: Params, _: Setup) -> Result<File, Error> {
    if params.path.as_os_str().is_empty() {
        return Err(Error::validation("the path is empty: name the file").with_param("path"));
    }
    Ok(File { path: params.path })
}

register_method! {
    summary: "credentials from a JSON file that another program keeps up to date",
    params: Params,
    build: build,
}
