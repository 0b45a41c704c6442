//! A small program that uses a session as its environment says; the tests start it with environments of their own.
//!
//! Arguments: a role, an STS endpoint and, optionally, a profile; with `--build` among them the session is only built.
//! Prints the region and who the session is, or the error.

use std::process::ExitCode;

use brs::{RefreshableSession, sts};

#[tokio::main]
async fn main() -> ExitCode {
    let (flags, arguments): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|text| text == "--build");
    let mut arguments = arguments.into_iter();
    let (Some(role_arn), Some(endpoint_url)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: probe [--build] ROLE_ARN ENDPOINT_URL [PROFILE]");
        return ExitCode::from(2);
    };
    let mut builder = RefreshableSession::builder("sts", sts::Params::new(role_arn)).endpoint_url(endpoint_url);
    if let Some(profile) = arguments.next() {
        builder = builder.profile_name(profile);
    }
    let result = async {
        let session = builder.build().await?;
        let region = session.sdk_config().region().map(ToString::to_string).unwrap_or_default();
        if !flags.is_empty() {
            return Ok(region);
        }
        let identity = session.whoami().await?;
        Ok::<_, brs::Error>(format!("{region} {}", identity.caller.map(|caller| caller.arn).unwrap_or_default()))
    };
    match result.await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let recovery = if error.is_unrecoverable() { " unrecoverable" } else { "" };
            println!("{}{recovery} error: {error} {:?}", error.kind(), error.details());
            ExitCode::FAILURE
        }
    }
}
