//! Every row of what the Python package does for STS, by name, through data with the Python names.
//!
//! A row is a set of parameters, what comes of it, and what is warned of. All against the embedded
//! AWS, with real commands. What data cannot hold, functions, is given as a provider. (The
//! section's SSO is in the tests of profiles, which need an environment of their own.)

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use brs::sts::MfaTokenProvider;
use brs::{Error, ErrorKind, RefreshableSession, SessionBuilder};
use brs_tests::EmbeddedAws;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const CODES: [&str; 3] = ["000123", "271828", "654321"];

/// What comes of a row.
enum Expected {
    /// Credentials, and this parameter of the request with this value.
    Sent(&'static str, &'static str),
    /// An error of this kind at this parameter that says this.
    Refused(ErrorKind, &'static str, &'static str),
}

use ErrorKind::{Configuration, Validation};
use Expected::{Refused, Sent};

struct Row {
    name: &'static str,
    data: Value,
    /// In place of what the data says.
    provider: Option<MfaTokenProvider>,
    expected: Expected,
    warning: Option<&'static str>,
}

fn row(name: &'static str, data: Value, expected: Expected) -> Row {
    Row {
        name,
        data,
        provider: None,
        expected,
        warning: None,
    }
}

fn warned(name: &'static str, data: Value, expected: Expected, warning: &'static str) -> Row {
    Row {
        name,
        data,
        provider: None,
        expected,
        warning: Some(warning),
    }
}

/// A role with one further field.
fn role(further: &Value) -> Value {
    let mut kwargs = json!({ "RoleArn": ROLE });
    kwargs
        .as_object_mut()
        .unwrap()
        .extend(further.as_object().unwrap().clone());
    json!({ "assume_role_kwargs": kwargs })
}

fn client(settings: &Value) -> Value {
    json!({ "assume_role_kwargs": { "RoleArn": ROLE }, "sts_client_kwargs": settings })
}

/// A role with a device; each row has its own, so that codes are new.
fn mfa(provider: Value, kwargs: Value) -> Value {
    let mut out =
        json!({ "assume_role_kwargs": { "RoleArn": ROLE, "SerialNumber": "(the row's own)" } });
    out["mfa_token_provider"] = provider;
    if !kwargs.is_null() {
        out["mfa_token_provider_kwargs"] = kwargs;
    }
    out
}

fn assume_role_rows() -> Vec<Row> {
    let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    let context = json!({ "ProviderArn": "arn:aws:iam::aws:contextProvider/x", "ContextAssertion": "signed" });
    vec![
        row(
            "assume_role_kwargs: RoleArn",
            role(&json!({})),
            Sent("RoleArn", ROLE),
        ),
        row(
            "assume_role_kwargs: RoleArn, 20 characters at least",
            json!({ "assume_role_kwargs": { "RoleArn": "arn:aws:iam::1:role" } }),
            Refused(Validation, "assume_role.role_arn", "20 to 2048"),
        ),
        row(
            "assume_role_kwargs: RoleSessionName, its default",
            role(&json!({})),
            Sent("RoleSessionName", "brs-session"),
        ),
        row(
            "assume_role_kwargs: RoleSessionName",
            role(&json!({ "RoleSessionName": "boto3-refresh-session" })),
            Sent("RoleSessionName", "boto3-refresh-session"),
        ),
        row(
            "assume_role_kwargs: PolicyArns",
            role(&json!({ "PolicyArns": [{ "arn": arn }] })),
            Sent(
                "PolicyArns.member.1.arn",
                "arn:aws:iam::aws:policy/ReadOnlyAccess",
            ),
        ),
        row(
            "assume_role_kwargs: Policy",
            role(&json!({ "Policy": "{\"Statement\":[]}" })),
            Sent("Policy", "{\"Statement\":[]}"),
        ),
        row(
            "assume_role_kwargs: DurationSeconds",
            role(&json!({ "DurationSeconds": 900 })),
            Sent("DurationSeconds", "900"),
        ),
        row(
            "assume_role_kwargs: ExternalId",
            role(&json!({ "ExternalId": "partner" })),
            Sent("ExternalId", "partner"),
        ),
        row(
            "assume_role_kwargs: SerialNumber and TokenCode, six digits",
            role(&json!({ "SerialNumber": "(the row's own)", "TokenCode": "000123" })),
            Sent("RoleArn", ROLE),
        ),
        row(
            "assume_role_kwargs: TokenCode of five digits",
            role(&json!({ "SerialNumber": "(the row's own)", "TokenCode": "12345" })),
            Refused(Validation, "assume_role.token_code", "6 digits"),
        ),
        row(
            "assume_role_kwargs: Tags",
            role(&json!({ "Tags": [{ "Key": "team", "Value": "blue" }] })),
            Sent("Tags.member.1.Value", "blue"),
        ),
        row(
            "assume_role_kwargs: TransitiveTagKeys",
            role(
                &json!({ "TransitiveTagKeys": ["team"], "Tags": [{ "Key": "team", "Value": "blue" }] }),
            ),
            Sent("TransitiveTagKeys.member.1", "team"),
        ),
        row(
            "assume_role_kwargs: SourceIdentity",
            role(&json!({ "SourceIdentity": "alice" })),
            Sent("SourceIdentity", "alice"),
        ),
        row(
            "assume_role_kwargs: ProvidedContexts",
            role(&json!({ "ProvidedContexts": [context] })),
            Sent("ProvidedContexts.member.1.ContextAssertion", "signed"),
        ),
        row(
            "assume_role_kwargs: unknown keys rejected",
            role(&json!({ "RoleARN": ROLE })),
            Refused(Validation, "assume_role_kwargs.RoleARN", "unknown field"),
        ),
    ]
}

fn client_rows(aws: &EmbeddedAws) -> Vec<Row> {
    let keys = json!({ "aws_access_key_id": aws.access_key_id(), "aws_secret_access_key": aws.secret_access_key() });
    let temporary = json!({
        "aws_access_key_id": "ASIAUNKNOWN", "aws_secret_access_key": "s", "aws_session_token": "t",
        "aws_account_id": "123456789012",
    });
    let config = json!({
        "retries": { "max_attempts": 2, "mode": "standard" }, "connect_timeout": 3, "read_timeout": 10,
        "proxies": { "https": "http://127.0.0.1:1" },
    });
    vec![
        row(
            "sts_client_kwargs: region_name",
            client(&json!({ "region_name": "eu-north-1" })),
            Sent("RoleArn", ROLE),
        ),
        row(
            "sts_client_kwargs: api_version",
            client(&json!({ "api_version": "2011-06-15" })),
            Sent("RoleArn", ROLE),
        ),
        row(
            "sts_client_kwargs: another api_version",
            client(&json!({ "api_version": "2020-01-01" })),
            Refused(Validation, "client.api_version", "2011-06-15"),
        ),
        row(
            "sts_client_kwargs: use_ssl",
            client(&json!({ "use_ssl": false })),
            Sent("RoleArn", ROLE),
        ),
        row(
            "sts_client_kwargs: verify",
            client(&json!({ "verify": true })),
            Sent("RoleArn", ROLE),
        ),
        row(
            "sts_client_kwargs: verify switched off",
            client(&json!({ "verify": false })),
            Refused(Validation, "client.verify", "CA bundle"),
        ),
        row(
            "sts_client_kwargs: verify with a path",
            client(&json!({ "verify": "/nonexistent/bundle.pem" })),
            Refused(Configuration, "client.verify", "cannot be read"),
        ),
        row(
            "sts_client_kwargs: endpoint_url",
            client(&json!({ "endpoint_url": aws.endpoint_url() })),
            Sent("RoleArn", ROLE),
        ),
        row(
            "sts_client_kwargs: aws_access_key_id and aws_secret_access_key",
            client(&keys),
            Sent("RoleArn", ROLE),
        ),
        row(
            "sts_client_kwargs: aws_session_token and aws_account_id",
            client(&temporary),
            Refused(ErrorKind::Request, "", "does not know the credentials"),
        ),
        row(
            "sts_client_kwargs: config",
            client(&json!({ "config": config })),
            Sent("RoleArn", ROLE),
        ),
        warned(
            "sts_client_kwargs: service_name forced to sts with a warning",
            client(&json!({ "service_name": "s3" })),
            Sent("RoleArn", ROLE),
            "service_name",
        ),
    ]
}

fn mfa_rows(folder: &Path) -> Vec<Row> {
    let none = Value::Null;
    let program = |name: &str, text: &str, mode: u32| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let pwd = program(
        "pwd.sh",
        "#!/bin/sh\necho \"$(basename \"$PWD\") $BRS_CODE $HOME\"\n",
        0o755,
    );
    let failing = program(
        "failing.sh",
        "#!/bin/sh\necho 'try again later' >&2\nexit 3\n",
        0o755,
    );
    let data = program("data", "271828", 0o644);
    let garbage = program("garbage", "\u{7f}no program", 0o755);
    let provider = "mfa_token_provider";
    let kwargs = "mfa_token_provider_kwargs";
    let mut rows = vec![
        row(
            "mfa_token_provider: list of arguments",
            mfa(json!(["echo", "271828"]), none.clone()),
            Sent("RoleArn", ROLE),
        ),
        row(
            "mfa_token_provider: command string, split like a shell does",
            mfa(json!("echo 'your code is: 271828'"), none.clone()),
            Sent("RoleArn", ROLE),
        ),
        row(
            "mfa_token_provider: no shell is run",
            mfa(json!("echo $(printf 27)1828"), none.clone()),
            Refused(Configuration, provider, "no code"),
        ),
        row(
            "the last stand-alone number: id=000123",
            mfa(json!("echo id=000123"), none.clone()),
            Sent("RoleArn", ROLE),
        ),
        row(
            "the last stand-alone number of several",
            mfa(json!("echo 999999 12345 1234567 654321 otp"), none.clone()),
            Sent("RoleArn", ROLE),
        ),
        row(
            "mfa_token_provider_kwargs: cwd and env, which replaces the environment",
            mfa(
                json!([pwd]),
                json!({ "cwd": folder, "env": { "BRS_CODE": "271828", "PATH": "/usr/bin:/bin" }, "timeout": 20 }),
            ),
            Sent("RoleArn", ROLE),
        ),
        row(
            "provider without SerialNumber",
            json!({ "assume_role_kwargs": { "RoleArn": ROLE }, "mfa_token_provider": "echo 271828" }),
            Refused(Configuration, "assume_role.serial_number", "serial_number"),
        ),
        row(
            "SerialNumber without TokenCode",
            role(&json!({ "SerialNumber": "GAHT12345678" })),
            Refused(
                Configuration,
                "assume_role.token_code",
                "mfa_token_provider",
            ),
        ),
        row(
            "TokenCode without SerialNumber",
            role(&json!({ "TokenCode": "271828" })),
            Refused(Configuration, "assume_role.serial_number", "serial_number"),
        ),
        warned(
            "TokenCode beside a provider is overridden with a warning",
            json!({
                "assume_role_kwargs": { "RoleArn": ROLE, "SerialNumber": "(the row's own)", "TokenCode": "111111" },
                "mfa_token_provider": "echo 271828",
            }),
            Sent("RoleArn", ROLE),
            "`token_code` is ignored",
        ),
        row(
            "command: empty string",
            mfa(json!(""), none.clone()),
            Refused(Configuration, provider, "empty"),
        ),
        row(
            "command: empty list",
            mfa(json!([]), none.clone()),
            Refused(Configuration, provider, "empty"),
        ),
        row(
            "command: unbalanced quotes",
            mfa(json!("echo '271828"), none.clone()),
            Refused(Configuration, provider, "quotes"),
        ),
        row(
            "command: not found",
            mfa(json!(["brs-no-such-command"]), none.clone()),
            Refused(Configuration, provider, "was not found"),
        ),
        row(
            "command: permission denied",
            mfa(json!([data]), none.clone()),
            Refused(Configuration, provider, "permission"),
        ),
        row(
            "command: OS error",
            mfa(json!([garbage]), none.clone()),
            Refused(Configuration, provider, "could not be started"),
        ),
        row(
            "command: time-out",
            mfa(json!(["sleep", "60"]), json!({ "timeout": 0.2 })),
            Refused(Configuration, provider, "200ms"),
        ),
        row(
            "command: non-zero exit",
            mfa(json!([failing]), none.clone()),
            Refused(Configuration, provider, "try again later"),
        ),
        row(
            "command: no code in output: otp271828",
            mfa(json!("echo otp271828"), none.clone()),
            Refused(Configuration, provider, "no code"),
        ),
        row(
            "command: no code in output: five digits",
            mfa(json!("echo 12345"), none.clone()),
            Refused(Configuration, provider, "no code"),
        ),
        row(
            "command: no code in output: seven digits",
            mfa(json!("echo 1234567"), none),
            Refused(Configuration, provider, "no code"),
        ),
        row(
            "mfa_token_provider: neither text nor list",
            mfa(json!(271_828), Value::Null),
            Refused(Validation, provider, "a command"),
        ),
        row(
            "mfa_token_provider_kwargs: another name",
            mfa(json!("echo 271828"), json!({ "user": "root" })),
            Refused(
                Validation,
                "mfa_token_provider_kwargs.user",
                "unknown field",
            ),
        ),
        row(
            "mfa_token_provider_kwargs without a provider",
            json!({ "role_arn": ROLE, "mfa_token_provider_kwargs": { "timeout": 3 } }),
            Refused(Validation, "", "mfa_token_provider"),
        ),
    ];
    let callable = |name, provider| Row {
        provider: Some(provider),
        ..row(
            name,
            role(&json!({ "SerialNumber": "(the row's own)", "TokenCode": "271828" })),
            Sent("RoleArn", ROLE),
        )
    };
    rows.extend([
        callable(
            "mfa_token_provider: callable, async",
            MfaTokenProvider::function(|| async { Ok::<_, io::Error>("271828") }),
        ),
        callable(
            "mfa_token_provider: callable, sync",
            MfaTokenProvider::blocking_function(|| Ok::<_, io::Error>("271828")),
        ),
    ]);
    for row in &mut rows {
        if row.provider.is_some() {
            row.warning = Some("`token_code` is ignored");
        }
    }
    for (name, value) in [
        ("stdout refused", json!({ "stdout": -1 })),
        ("stderr refused", json!({ "stderr": -1 })),
        ("shell refused", json!({ "shell": true })),
        ("executable refused", json!({ "executable": "/bin/sh" })),
        ("preexec_fn refused", json!({ "preexec_fn": "f" })),
    ] {
        rows.push(row(
            name,
            mfa(json!("echo 271828"), value),
            Refused(Configuration, kwargs, "not supported"),
        ));
    }
    rows
}

/// What is warned of, on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens the session and fetches credentials; gives the warnings, too.
async fn outcome(aws: &EmbeddedAws, row: &Row, number: usize) -> (Result<(), Error>, String) {
    let serial_number = format!("arn:aws:iam::123456789012:mfa/row-{number}");
    for code in CODES {
        aws.add_mfa_code(&serial_number, code);
    }
    let data = row
        .data
        .to_string()
        .replace("(the row's own)", &serial_number);
    let log = Log::default();
    let made = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || made.clone())
        .finish();
    let result = {
        let _heard = tracing::subscriber::set_default(subscriber);
        let data = serde_json::from_str::<Value>(&data).unwrap();
        let builder = match &row.provider {
            None => SessionBuilder::from_data("sts", data),
            Some(provider) => {
                let params: brs::sts::Params = brs::Params::from(data).take().unwrap();
                Ok(RefreshableSession::builder(
                    "sts",
                    params.mfa_token_provider(provider.clone()),
                ))
            }
        };
        match builder {
            Ok(builder) => {
                let builder = builder
                    .endpoint_url(aws.endpoint_url())
                    .base_credentials(aws.credentials());
                builder.region("eu-west-1").build().await
            }
            Err(error) => Err(error),
        }
    };
    let result = match result {
        Ok(session) => session.credentials().await.map(drop),
        Err(error) => Err(error),
    };
    let warnings = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (result, warnings)
}

#[tokio::test]
async fn every_row_of_the_python_packages_sts() {
    let aws = EmbeddedAws::start();
    let folder = tempfile::tempdir().unwrap();
    let rows = assume_role_rows()
        .into_iter()
        .chain(client_rows(&aws))
        .chain(mfa_rows(folder.path()));
    for (number, row) in rows.enumerate() {
        let name = row.name;
        let before = aws.requests().len();
        let (result, warnings) = outcome(&aws, &row, number).await;
        match (&row.expected, result) {
            (Sent(parameter, value), Ok(())) => {
                let sent = &aws.requests()[before].parameters;
                assert_eq!(
                    sent.get(*parameter).map(String::as_str),
                    Some(*value),
                    "{name}"
                );
            }
            (Refused(kind, param, text), Err(error)) => {
                assert_eq!(error.kind(), *kind, "{name}: {error:?}");
                assert!(
                    error.to_string().contains(text),
                    "{name}: {error} {error:?}"
                );
                assert!(
                    param.is_empty() || error.param() == Some(*param),
                    "{name}: {error:?}"
                );
                let shown = format!("{error} {error:?}");
                assert!(
                    CODES.iter().all(|code| !shown.contains(code)),
                    "{name}: {shown}"
                );
            }
            (Sent(..), Err(error)) => panic!("{name}: {error:?}"),
            (Refused(..), Ok(())) => panic!("{name} is accepted"),
        }
        match row.warning {
            Some(warning) => assert!(warnings.contains(warning), "{name}: {warnings}"),
            None => assert_eq!(warnings, "", "{name}"),
        }
    }
}
