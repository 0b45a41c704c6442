//! A small program that uses a session as its environment says; the tests start it with
//! environments of their own.
//!
//! Arguments: a role (`-` for the profile's own, `web-identity` and `session-token` for those
//! methods, `base` for a method that gives out its base credentials, `data` for the method in
//! `PROBE_METHOD` with the parameters in `PROBE_DATA`, as JSON), an STS endpoint (`-` for the
//! region's own) and, optionally, a profile; with `--build` among them the session is only built,
//! with `--fetch` only refreshed, twice, with `--steps` refreshed for each line `refresh` of the
//! standard input and asked for its credentials for any other, with one line of output each. With
//! the variable `PROBE_LOG` everything is logged to the standard error. The variable `PROBE_MFA`
//! holds the secret of an MFA device, or `prompt`; `PROBE_CLIENT` the settings of the STS client as
//! JSON. Prints the region and who the session is, from the last role to the first; or the error.

use std::process::ExitCode;

use aws_credential_types::provider::ProvideCredentials;
use brs::sts::session_token;
use brs::{
    Error, RefreshContext, RefreshStrategy, RefreshableSession, Setup, TemporaryCredentials, sts,
};

/// A method that gives out its base credentials, as one that calls some other service with them
/// would use them.
#[derive(Debug)]
struct Base(Setup);

#[async_trait::async_trait]
impl RefreshStrategy for Base {
    fn method(&self) -> &'static str {
        "probe-base"
    }

    fn source(&self) -> &'static str {
        "probe-base"
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let none = || Error::configuration("no base credentials");
        let found = self
            .0
            .base()
            .credentials_provider()
            .ok_or_else(none)?
            .provide_credentials()
            .await;
        let found = found.map_err(|error| none().with_source(error))?;
        let token = found.session_token().map(str::to_owned);
        Ok(TemporaryCredentials::new(
            found.access_key_id(),
            found.secret_access_key(),
            token,
            found.expiry(),
        ))
    }
}

async fn base((): (), setup: Setup) -> Result<Base, Error> {
    Ok(Base(setup))
}

brs::register_method! {
    name: "probe-base",
    summary: "the base credentials",
    params: (),
    build: base,
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::var_os("PROBE_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
    }
    let (flags, arguments): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|text| text.starts_with("--"));
    let mut arguments = arguments.into_iter();
    let (Some(role_arn), Some(endpoint_url)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: probe [--build|--fetch] ROLE_ARN ENDPOINT_URL [PROFILE]");
        return ExitCode::from(2);
    };
    let mut params = if role_arn == "-" {
        sts::Params::of_profile()
    } else {
        sts::Params::new(&role_arn)
    };
    let client = std::env::var("PROBE_CLIENT").ok();
    let client = client.map(|json| {
        serde_json::from_str::<sts::StsClient>(&json).expect("settings of the STS client")
    });
    let client = client.unwrap_or_default();
    params = params.client(client.clone());
    let mut user = session_token::Params::new().client(client.clone());
    match std::env::var("PROBE_MFA") {
        Ok(prompt) if prompt == "prompt" => {
            let role =
                sts::Params::new(&role_arn).serial_number("arn:aws:iam::123456789012:mfa/probe");
            params = role.mfa_token_provider(sts::MfaTokenProvider::prompt());
        }
        Ok(secret) => {
            params = params.mfa_token_provider(sts::MfaTokenProvider::totp(secret.clone()));
            user = user.mfa_token_provider(sts::MfaTokenProvider::totp(secret));
        }
        Err(_) => {}
    }
    let builder = match role_arn.as_str() {
        "web-identity" => RefreshableSession::builder(
            "sts-web-identity",
            sts::web_identity::Params::new().client(client),
        ),
        "session-token" => RefreshableSession::builder("sts-session-token", user),
        "base" => RefreshableSession::builder("probe-base", brs::Params::typed(())),
        "data" => {
            let variable = |name| std::env::var(name).expect("the variable is set");
            let data: serde_json::Value =
                serde_json::from_str(&variable("PROBE_DATA")).expect("`PROBE_DATA` is JSON");
            match brs::SessionBuilder::from_data(variable("PROBE_METHOD"), data) {
                Ok(builder) => builder,
                Err(error) => {
                    println!("{} error: {error}", error.kind());
                    return ExitCode::FAILURE;
                }
            }
        }
        _ => RefreshableSession::builder("sts", params),
    };
    let mut builder = if endpoint_url == "-" {
        builder
    } else {
        builder.endpoint_url(endpoint_url)
    };
    if let Some(profile) = arguments.next() {
        builder = builder.profile_name(profile);
    }
    let result = async {
        let session = builder.build().await?;
        let region = session
            .sdk_config()
            .region()
            .map(ToString::to_string)
            .unwrap_or_default();
        if flags.iter().any(|flag| flag == "--build") {
            return Ok(region);
        }
        if flags.iter().any(|flag| flag == "--fetch") {
            session.refresh().await?;
            session.refresh().await?;
            return Ok(region);
        }
        if flags.iter().any(|flag| flag == "--steps") {
            steps(&session).await;
            return Ok(region);
        }
        let identity = session.whoami().await?;
        let hops = std::iter::once(&identity).chain(identity.chain.iter().rev());
        let arns: Vec<_> = hops
            .filter_map(|hop| Some(hop.caller.as_ref()?.arn.as_str()))
            .collect();
        Ok::<_, brs::Error>(format!("{region} {}", arns.join(" < ")))
    };
    match result.await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", shown(&error));
            ExitCode::FAILURE
        }
    }
}

fn shown(error: &Error) -> String {
    let recovery = if error.is_unrecoverable() {
        " unrecoverable"
    } else {
        ""
    };
    let code = error.code().unwrap_or_default();
    let (kind, details) = (error.kind(), error.details());
    format!("{kind}{recovery} error: {error} {details:?} {code}")
}

async fn steps(session: &RefreshableSession) {
    for line in std::io::stdin().lines() {
        let found = match line.as_deref() {
            Ok("refresh") => session.refresh().await,
            Ok(_) => session.credentials().await,
            Err(_) => return,
        };
        match found {
            Ok(set) => println!("ok {}", set.access_key_id()),
            Err(error) => println!("{}", shown(&error)),
        }
    }
}
