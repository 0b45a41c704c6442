//! No secret in any `Debug`, `Display`, event or log line: a full run at trace level, all of it
//! collected.
//!
//! In a binary of its own, since refreshes run on brs's own threads and only a global subscriber
//! hears those.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brs::command::Command;
use brs::shared::{HostCache, Shared, SharedExt as _};
use brs::sts::{
    AssumeExt as _, MfaTokenProvider, Params, StsClient, container, imds, root, saml,
    session_token, web_identity,
};
use brs::{Error, RefreshStrategy as _, RefreshableSession, custom};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::{Failure, MfaDevice};
use brs_tests::identity_providers::{API_KEY, IdentityProviders};
use brs_tests::machine_metadata::{MachineMetadata, ROLE_NAME};
use futures_util::FutureExt;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

#[path = "common/flowing.rs"]
mod flowing;

use flowing::Flowing;

/// Everything that was logged.
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

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
// Each of them looks different in a request's body.
const EXTERNAL_ID: &str = "external:hush/=1";
const ASSERTION: &str = "assertion+hush/1==";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"policy-hush"}]}"#;
const TAG: &str = "tag hush/\u{fc}=1";
const HOUR: Duration = Duration::from_secs(3600);

fn show(error: &Error, shown: &mut String) {
    let _ = write!(shown, "{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(shown, "{error} {error:?}");
        source = error.source();
    }
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .init();
    let clock = ManualClock::new(brs_now());
    let server = clock.clone();
    // Waiting for codes moves the clock, and SDK clients sign with the machine's.
    let aws = EmbeddedAws::builder()
        .clock(move || brs::Clock::now(&server))
        .allowed_skew(Duration::MAX)
        .start();
    let mut shown = String::new();
    let mut secrets = [
        EXTERNAL_ID,
        ASSERTION,
        POLICY,
        TAG,
        "policy-hush",
        "proxy-hush",
    ]
    .map(str::to_owned)
    .to_vec();

    let device = aws.add_mfa_device("arn:aws:iam::123456789012:mfa/me");
    let role = Params::new(ROLE)
        .external_id(EXTERNAL_ID)
        .policy(POLICY)
        .tag("team", TAG)
        .serial_number(device.serial_number())
        .provided_context("arn:aws:iam::aws:contextProvider/IdentityCenter", ASSERTION);
    let request = role.clone();
    let client = StsClient::new().max_attempts(1).credentials(
        aws.access_key_id(),
        aws.secret_access_key(),
        None,
    );
    let totp = MfaTokenProvider::totp(device.otpauth_uri());
    let role = role.client(client).mfa_token_provider(totp.clone());
    let _ = write!(shown, "{role:?}");
    let builder = RefreshableSession::builder("sts", role)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(Flowing(clock.clone()));
    let _ = write!(shown, "{builder:?}");
    let session = builder.build().await.unwrap();
    let mut events = session.events();
    let set = session.credentials().await.unwrap();
    let client = aws_sdk_sts::Client::new(session.sdk_config());
    client.get_caller_identity().send().await.unwrap();
    let _ = write!(
        shown,
        "{set:?}{session:?}{:?}{:?}",
        session.status(),
        session.whoami().await
    );
    let _ = write!(
        shown,
        "{:?}{:?}",
        session.sdk_config(),
        session.credentials_provider()
    );
    // Some of them are tried once more, with another code.
    for (failure, times) in [
        (Failure::Status(500), 2),
        (Failure::AccessDenied, 1),
        (Failure::MalformedXml, 1),
        (Failure::Truncated, 1),
        (Failure::AlreadyExpired, 1),
        (Failure::DropConnection, 2),
        (Failure::Oversized, 1),
        (Failure::Page(403), 1),
    ] {
        aws.fail_next(vec![failure; times]);
        show(&session.refresh().await.unwrap_err(), &mut shown);
    }
    secrets.extend([device.secret(), device.otpauth_uri()]);
    let mut codes = mfa_troubles(&aws, &clock, &device, &mut shown, &mut secrets).await;
    codes.extend(
        aws.mfa_attempts()
            .into_iter()
            .map(|attempt| attempt.token_code),
    );
    aws.fail_next_of("GetCallerIdentity", [Failure::Page(403)]);
    show(&session.whoami().await.unwrap_err(), &mut shown);
    clock.advance(HOUR);
    let _ = session.credentials().await;
    // A request that cannot be made, or that goes nowhere, is one that the SDK's own errors like to
    // print.
    for client in [
        StsClient::new().endpoint_url("http://127.0.0.1:99999"),
        StsClient::new().endpoint_url("http://127.0.0.1:1/%zz"),
        StsClient::new().endpoint_url("http://[::1"),
        StsClient::new().endpoint_url("http://me:proxy-hush@127.0.0.1:1"),
        StsClient::new().proxy("http://me:proxy-hush@127.0.0.1:1"),
        StsClient::new()
            .endpoint_url("https://127.0.0.1:1")
            .proxy("http://me:proxy-hush@127.0.0.1:1"),
        StsClient::new().proxy("me:proxy-hush@nowhere"),
    ] {
        let _ = write!(shown, "{client:?}");
        let request = request.clone().mfa_token_provider(totp.clone());
        let params = request.client(client.max_attempts(1));
        let builder = RefreshableSession::builder("sts", params)
            .region("eu-west-1")
            .endpoint_url("http://127.0.0.1:1")
            .base_credentials(aws.credentials())
            .clock(Flowing(clock.clone()));
        match builder.build().await {
            Ok(session) => show(&session.credentials().await.unwrap_err(), &mut shown),
            Err(error) => show(&error, &mut shown),
        }
    }
    session.invalidate(set.access_key_id());
    session.report_rejected(set.access_key_id());

    let function = |token, expiry_time| {
        json!({
            "access_key": "ASIAFUNCTION", "secret_key": "function-hush", "token": token, "expiry_time": expiry_time,
        })
    };
    for function in [
        function(json!(4711471147_u64), json!(null)),
        json!({ "access_key": "ASIAFUNCTION", "secret_key": "function-hush" }),
        function(json!("t-hush"), json!("hush-o'clock")),
        function(json!("t-hush"), json!(null)),
    ] {
        let params = custom::Params::function_with(function, async |value: serde_json::Value| {
            Ok::<_, Error>(value)
        });
        let _ = write!(shown, "{params:?}");
        let session = RefreshableSession::new("custom", params).await.unwrap();
        match session.credentials().await {
            Ok(set) => drop(write!(shown, "{set:?}{session:?}")),
            Err(error) => show(&error, &mut shown),
        }
    }
    for command in [
        "echo '{\"SecretAccessKey\":\"command-hush\"'",
        "sh -c 'echo command-hush; exit 3'",
    ] {
        let session = RefreshableSession::from_method("custom", json!({ "command": command }))
            .await
            .unwrap();
        let _ = write!(
            shown,
            "{session:?}{:?}",
            session.strategy::<custom::Custom>()
        );
        show(&session.credentials().await.unwrap_err(), &mut shown);
    }
    let wrong = json!({ "role_arn": ROLE, "TokenCode": 4711471147_u64, "ExternalId": { "x": EXTERNAL_ID } });
    let data = json!({ "assume_role": wrong });
    show(
        &RefreshableSession::from_method("sts", data)
            .await
            .unwrap_err(),
        &mut shown,
    );

    shared_troubles(&aws, &clock, &mut shown).await;
    secrets.extend(tokens_and_assertions(&aws, &mut shown).await);

    while let Some(Some(event)) = events.next().now_or_never() {
        let _ = write!(shown, "{event:?}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    secrets.extend(
        [
            "function-hush",
            "t-hush",
            "hush-o'clock",
            "command-hush",
            "4711471147",
        ]
        .map(str::to_owned),
    );
    secrets.extend(aws.issued_secrets());
    assert!(
        log.contains("refresh failed") && log.contains("refresh succeeded"),
        "the run was logged"
    );
    for code in &codes {
        assert!(!stands_alone(&shown, code), "a code is shown");
        let line = log.lines().find(|line| stands_alone(line, code));
        assert!(
            line.is_none(),
            "a code is logged: {}",
            line.unwrap_or_default().replace(code.as_str(), "***")
        );
    }
    let encoded: Vec<_> = secrets
        .iter()
        .map(|secret| form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>())
        .collect();
    let percent: Vec<_> = encoded
        .iter()
        .map(|secret| secret.replace('+', "%20"))
        .collect();
    let quoted: Vec<_> = secrets
        .iter()
        .map(|secret| secret.escape_debug().to_string())
        .collect();
    for secret in secrets
        .iter()
        .chain(&encoded)
        .chain(&percent)
        .chain(&quoted)
    {
        // The secret itself is not repeated here: this is a log, too.
        let start: String = secret.chars().take(4).collect();
        if let Some(at) = shown.find(secret.as_str()) {
            panic!(
                "a secret `{start}…` is shown after: {}",
                &shown[at.saturating_sub(300)..at]
            );
        }
        for line in log.lines() {
            let masked = line.replace(secret.as_str(), "***");
            assert!(masked == line, "a secret `{start}…` is logged: {masked}");
        }
    }
}

/// Credentials in a host cache, whose entry then goes wrong in many ways.
async fn shared_troubles(aws: &EmbeddedAws, clock: &ManualClock, shown: &mut String) {
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        let client = StsClient::new().max_attempts(1).credentials(
            aws.access_key_id(),
            aws.secret_access_key(),
            None,
        );
        let role = Params::new(ROLE)
            .external_id(EXTERNAL_ID)
            .policy(POLICY)
            .tag("team", TAG)
            .client(client);
        RefreshableSession::with(role)
            .region("eu-west-1")
            .endpoint_url(aws.endpoint_url())
            .clock(clock.clone())
            .shared(HostCache::in_directory(folder.path().join("cache")))
            .build()
            .await
            .unwrap()
    };
    let session = open().await;
    session.credentials().await.unwrap();
    let fingerprint = session.strategy::<Shared>().unwrap().fingerprint().unwrap();
    let _ = write!(
        shown,
        "{session:?}{fingerprint:?}{:?}",
        session.strategy::<Shared>()
    );
    let files = || std::fs::read_dir(folder.path().join("cache")).unwrap();
    let entry = files()
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "json"));
    let entry = entry.unwrap();
    let whole = std::fs::read_to_string(&entry).unwrap();
    let long = whole.clone() + &" ".repeat(70_000);
    for text in [
        &whole[..whole.len() / 2],
        &whole.replace("AccessKeyId", "x"),
        &long,
    ] {
        std::fs::write(&entry, text).unwrap();
        let session = open().await;
        let mut events = session.events();
        let _ = write!(shown, "{:?}", session.credentials().await.unwrap());
        while let Some(Some(event)) = events.next().now_or_never() {
            let _ = write!(shown, "{event:?}");
        }
    }
    assert!(shown.contains("host_cache_entry_oversized"));
    aws.fail_next([Failure::AccessDenied]);
    let session = open().await;
    let id = session
        .credentials()
        .await
        .unwrap()
        .access_key_id()
        .to_owned();
    session.invalidate(&id);
    show(&session.refresh().await.unwrap_err(), shown);
}

/// Every way in which codes, secrets of devices and tokens of identity providers can go wrong;
/// gives the codes.
async fn mfa_troubles(
    aws: &EmbeddedAws,
    clock: &ManualClock,
    device: &MfaDevice,
    shown: &mut String,
    secrets: &mut Vec<String>,
) -> Vec<String> {
    let codes = ["918273", "817263", "716253"].map(str::to_owned).to_vec();
    let of_command = |text: &str| {
        MfaTokenProvider::command(
            Command::parse(text)
                .unwrap()
                .timeout(Duration::from_secs(40))
                .unwrap(),
        )
    };
    let function =
        |code: &'static str| MfaTokenProvider::blocking_function(move || Ok::<_, io::Error>(code));
    for provider in [
        function("918273"),
        function("918273 is what the phone says"),
        MfaTokenProvider::function(|| async {
            Err::<String, _>(io::Error::other("no code today"))
        }),
        of_command("echo 817263"),
        of_command("echo otp817263"),
        of_command("sh -c 'echo 716253; exit 3'"),
        MfaTokenProvider::totp("totp-hush-secret"),
        MfaTokenProvider::totp("otpauth://totp/x?secret=TOTPHUSHSECRET"),
    ] {
        let role = Params::new(ROLE)
            .serial_number(device.serial_number())
            .token_code("716253");
        let params = role.mfa_token_provider(provider.timeout(Duration::from_secs(40)));
        let _ = write!(shown, "{params:?}");
        let builder = RefreshableSession::builder("sts", params)
            .region("eu-west-1")
            .endpoint_url(aws.endpoint_url())
            .base_credentials(aws.credentials())
            .clock(Flowing(clock.clone()));
        match builder.build().await {
            Ok(session) => {
                let _ = write!(
                    shown,
                    "{session:?}{:?}",
                    session.strategy::<brs::sts::Sts>()
                );
                show(&session.refresh().await.unwrap_err(), shown);
                show(&session.refresh().await.unwrap_err(), shown);
            }
            Err(error) => show(&error, shown),
        }
    }
    secrets.extend(["totp-hush-secret", "TOTPHUSHSECRET", "eyJ.identity-hush"].map(str::to_owned));

    let params = session_token::Params::new().mfa(
        device.serial_number(),
        MfaTokenProvider::totp(device.secret()),
    );
    let _ = write!(shown, "{params:?}");
    let user = RefreshableSession::builder("sts-session-token", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(Flowing(clock.clone()))
        .await
        .unwrap();
    let child = user.assume(ROLE).await.unwrap();
    child.credentials().await.unwrap();
    let _ = write!(
        shown,
        "{user:?}{child:?}{:?}{:?}",
        user.as_base(),
        user.strategy::<session_token::SessionToken>()
    );
    let _ = write!(
        shown,
        "{:?}{:?}",
        child.whoami().await,
        child.strategy::<brs::sts::Sts>()
    );

    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "eyJ.identity-hush").unwrap();
    let params = web_identity::Params::new()
        .role_arn(ROLE)
        .token_file(token.path());
    let session = RefreshableSession::builder("sts-web-identity", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .await
        .unwrap();
    show(&session.credentials().await.unwrap_err(), shown);
    aws.add_web_identity("eyJ.identity-hush", "pod");
    let _ = write!(shown, "{:?}{session:?}", session.refresh().await.unwrap());
    codes
}

/// Tokens, assertions and what sources are asked with; gives back what must not be shown.
async fn tokens_and_assertions(aws: &EmbeddedAws, shown: &mut String) -> Vec<String> {
    use web_identity::TokenSource;
    let (providers, machine) = (IdentityProviders::start(aws), MachineMetadata::start(aws));
    let provider = "arn:aws:iam::123456789012:saml-provider/idp";
    aws.add_saml_provider(provider);
    aws.add_member_account("210987654321");
    let task = "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy";
    let task = RefreshableSession::with(root::Params::new("210987654321", task));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let assertion = aws.issue_saml_assertion(ROLE, provider, "ann");
    let url = providers.url();
    let http = TokenSource::http(format!("{url}/token?q=query-hush")).header("x-api-key", API_KEY);
    let pod = container::Params::new().full_uri(machine.pod_url());
    let web = |source| {
        let params = web_identity::Params::new()
            .role_arn(ROLE)
            .token_source(source);
        RefreshableSession::with(params)
    };
    let given = assertion.clone();
    let given = move || Ok::<_, Error>(given.clone());
    let source = saml::AssertionSource::blocking_function(given);
    aws.add_web_identity("eyJ.printed-hush", "job");
    let printed = Command::parse("printf eyJ.printed-hush").unwrap();
    let agent = container::Params::new().full_uri(machine.pod_url());
    for builder in [
        web(http),
        web(TokenSource::gcp().endpoint(&url)),
        web(TokenSource::azure("api://aws").endpoint(&url)),
        web(TokenSource::command(printed)),
        web(TokenSource::function(|| async {
            Ok::<_, Error>("eyJ.printed-hush")
        })),
        RefreshableSession::with(saml::Params::new(ROLE, provider, source)),
        RefreshableSession::with(saml::Params::new(
            ROLE,
            provider,
            saml::AssertionSource::file(file("assertion", &assertion)),
        )),
        task.base_credentials(aws.credentials()),
        RefreshableSession::with(pod.authorization_token("pod-token-hush")),
        RefreshableSession::with(agent.authorization_token_file(file("token", "pod-token-hush"))),
        RefreshableSession::with(imds::Params::new().endpoint(machine.url())),
        RefreshableSession::with(
            imds::Params::new()
                .endpoint(machine.url())
                .role_name(ROLE_NAME),
        ),
    ] {
        let session = builder
            .region("eu-west-1")
            .endpoint_url(aws.endpoint_url())
            .await
            .unwrap();
        let mut events = session.events();
        let set = session.credentials().await.unwrap();
        let _ = write!(shown, "{set:?}{session:?}{:?}", session.whoami().await);
        let fingerprint = session.as_base().strategy().fingerprint();
        let _ = write!(shown, "{fingerprint:?}");
        let action = match session.method() {
            "sts-saml" => "AssumeRoleWithSAML",
            "sts-root" => "AssumeRoot",
            _ => "AssumeRoleWithWebIdentity",
        };
        aws.fail_next_of(action, [Failure::AccessDenied]);
        machine.fail_next([404; 9]);
        show(&session.refresh().await.unwrap_err(), shown);
        machine.recover();
        while let Some(Some(event)) = events.next().now_or_never() {
            let _ = write!(shown, "{event:?}");
        }
    }
    let mut secrets = providers.issued();
    secrets.extend(machine.session_tokens());
    secrets.extend([
        assertion,
        API_KEY.into(),
        "eyJ.printed-hush".into(),
        "pod-token-hush".into(),
        "query-hush".into(),
    ]);
    secrets
}

/// Whether a code stands somewhere by itself; six digits in a row happen to be in times and
/// numbers, too.
fn stands_alone(text: &str, code: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    text.match_indices(code).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + code.len()..].chars().next())
    })
}

/// The machine's time, which the SDK client signs with.
fn brs_now() -> std::time::SystemTime {
    brs::Clock::now(&brs::SystemClock::new())
}
