//! A small program that uses a session as its environment says; the tests start it with environments of their own.
//!
//! Arguments: a role (`-` for the profile's own, `web-identity` for that method), an STS endpoint (`-` for the region's
//! own) and, optionally, a profile; with `--build` among them the session is only built. The variable `PROBE_MFA` holds
//! the secret of an MFA device, or `prompt`. Prints the region and who the session is, from the last role to the first;
//! or the error.

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
    let mut params = if role_arn == "-" { sts::Params::of_profile() } else { sts::Params::new(&role_arn) };
    match std::env::var("PROBE_MFA") {
        Ok(prompt) if prompt == "prompt" => {
            let role = sts::AssumeRole::new(&role_arn).serial_number("arn:aws:iam::123456789012:mfa/probe");
            params = sts::Params::assume_role(role).mfa_token_provider(sts::MfaTokenProvider::prompt());
        }
        Ok(secret) => params = params.mfa_token_provider(sts::MfaTokenProvider::totp(secret)),
        Err(_) => {}
    }
    let builder = match role_arn.as_str() {
        "web-identity" => RefreshableSession::builder("sts-web-identity", sts::web_identity::Params::new()),
        _ => RefreshableSession::builder("sts", params),
    };
    let mut builder = if endpoint_url == "-" { builder } else { builder.endpoint_url(endpoint_url) };
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
        let hops = std::iter::once(&identity).chain(identity.chain.iter().rev());
        let arns: Vec<_> = hops.filter_map(|hop| Some(hop.caller.as_ref()?.arn.as_str())).collect();
        Ok::<_, brs::Error>(format!("{region} {}", arns.join(" < ")))
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
