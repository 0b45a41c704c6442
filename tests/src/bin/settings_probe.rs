//! A small program that shows what a session makes of its environment's settings; the tests start
//! it with environments of their own.
//!
//! Arguments: a method (`custom`, `sts`, or `base` for `custom` on a base configuration that the
//! program made) and an endpoint (`-` for the environment's); with `--build` the session is only
//! built. The keys of the `custom` methods are those of the environment; the variable
//! `PROBE_CLIENT` holds the settings of the method `sts`'s client. Prints the settings that SDK
//! clients get, who the session is, and who an SDK client of the session's is; or the error.

use std::process::ExitCode;

use brs::{Error, RefreshableSession, SessionBuilder, TemporaryCredentials, custom};

#[tokio::main]
async fn main() -> ExitCode {
    let (flags, arguments): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|text| text == "--build");
    let [method, endpoint_url] = arguments.as_slice() else {
        eprintln!("usage: settings_probe [--build] METHOD ENDPOINT_URL");
        return ExitCode::from(2);
    };
    match run(method, endpoint_url, flags.is_empty()).await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let recovery = if error.is_unrecoverable() {
                " unrecoverable"
            } else {
                ""
            };
            println!(
                "{}{recovery} error: {error} {:?} {:?}",
                error.kind(),
                error.param(),
                error.details()
            );
            ExitCode::FAILURE
        }
    }
}

async fn run(method: &str, endpoint_url: &str, ask: bool) -> Result<String, Error> {
    let builder = match method {
        "sts" => {
            let client = std::env::var("PROBE_CLIENT").unwrap_or_else(|_| "{}".into());
            let client: serde_json::Value =
                serde_json::from_str(&client).expect("`PROBE_CLIENT` is JSON");
            let role = "arn:aws:iam::123456789012:role/demo";
            SessionBuilder::from_data(
                "sts",
                serde_json::json!({ "role_arn": role, "client": client }),
            )?
        }
        _ => RefreshableSession::builder("custom", custom::Params::function(keys)),
    };
    let mut builder = if endpoint_url == "-" {
        builder
    } else {
        builder.endpoint_url(endpoint_url)
    };
    if method == "base" {
        let region = aws_config::Region::new("eu-west-1");
        builder = builder.base(aws_config::SdkConfig::builder().region(region).build());
    }
    let session = builder.build().await?;
    let config = session.sdk_config();
    let retries = config.retry_config();
    let shown = format!(
        "region={} attempts={} mode={} fips={:?} app={} endpoint={}",
        config
            .region()
            .map(AsRef::<str>::as_ref)
            .unwrap_or_default(),
        retries
            .map(|retries| retries.max_attempts())
            .unwrap_or_default(),
        retries
            .map(|retries| format!("{:?}", retries.mode()))
            .unwrap_or_default(),
        config.use_fips(),
        config
            .app_name()
            .map(AsRef::<str>::as_ref)
            .unwrap_or_default(),
        config.endpoint_url().unwrap_or_default(),
    );
    if !ask {
        return Ok(shown);
    }
    let caller = session
        .whoami()
        .await?
        .caller
        .map(|caller| caller.arn)
        .unwrap_or_default();
    let client = aws_sdk_sts::Client::new(config);
    let answer = client.get_caller_identity().send().await;
    let client = answer
        .map_err(|error| Error::connection("the session's client failed").with_source(error))?;
    Ok(format!(
        "{shown} whoami={caller} client={}",
        client.arn().unwrap_or_default()
    ))
}

/// Keys that seem to be temporary.
async fn keys() -> Result<TemporaryCredentials, std::env::VarError> {
    let (id, secret) = (
        std::env::var("AWS_ACCESS_KEY_ID")?,
        std::env::var("AWS_SECRET_ACCESS_KEY")?,
    );
    let expiration = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    Ok(TemporaryCredentials::new(
        id,
        secret,
        None,
        Some(expiration),
    ))
}
