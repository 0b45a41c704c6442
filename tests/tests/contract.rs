//! The methods of `brs-sts` keep the contract that every strategy must keep.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use brs::sts::{
    MfaTokenProvider, Params, StsClient, container, imds, root, saml, session_token, web_identity,
};
use brs::{
    BaseSession, Error, Identity, RefreshContext, RefreshStrategy, RefreshableSession,
    SessionBuilder, TemporaryCredentials,
};
use brs_core::test_util::Gate;
use brs_core::test_util::contract::{self, Source, Subject};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use brs_tests::machine_metadata::MachineMetadata;

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const TOKEN: &str = "eyJ.token-hush";
const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/contract";
const MEMBER: &str = "210987654321";

/// The strategy that the registry has built, out of its session.
#[derive(Debug)]
struct Registered(BaseSession);

#[async_trait]
impl RefreshStrategy for Registered {
    fn method(&self) -> &'static str {
        self.0.strategy().method()
    }

    fn source(&self) -> &'static str {
        self.0.strategy().source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.0.strategy().refresh(cx).await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        self.0.strategy().identity(credentials).await
    }
}

/// Base credentials whose provider panics.
#[derive(Debug)]
struct Panics;

impl ProvideCredentials for Panics {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        panic!("as the test wants")
    }
}

/// An embedded AWS whose clock stands still at the time of the checks, and the method to try there.
struct AtEmbeddedAws {
    aws: EmbeddedAws,
    method: &'static str,
    token: tempfile::NamedTempFile,
    assertion: String,
    /// With MFA codes of a function.
    mfa: bool,
}

impl AtEmbeddedAws {
    fn new(method: &'static str, mfa: bool) -> Self {
        let aws = EmbeddedAws::builder()
            .clock(contract::now)
            .allowed_skew(Duration::MAX)
            .start();
        aws.add_web_identity(TOKEN, "pod");
        aws.add_saml_provider(PROVIDER);
        aws.add_member_account(MEMBER);
        let assertion = aws.issue_saml_assertion(ROLE, PROVIDER, "contract");
        let token = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(token.path(), TOKEN).expect("a file can be written");
        Self {
            aws,
            method,
            token,
            assertion,
            mfa,
        }
    }

    /// Whether the caller's proof may come from a function.
    fn has_function(&self) -> bool {
        matches!(self.method, "sts-web-identity" | "sts-saml")
    }

    fn session(&self, source: &Source) -> SessionBuilder {
        let client = StsClient::new().max_attempts(1);
        match self.method {
            "sts" if self.mfa => {
                let role =
                    Params::new(ROLE).serial_number("arn:aws:iam::123456789012:mfa/contract");
                let params = role.client(client).mfa_token_provider(self.codes(source));
                RefreshableSession::builder("sts", params)
            }
            "sts" => {
                let role = Params::new(ROLE).external_id("external-hush");
                RefreshableSession::builder("sts", role.client(client))
            }
            "sts-session-token" => RefreshableSession::builder(
                "sts-session-token",
                session_token::Params::new().client(client),
            ),
            "sts-root" => {
                let task = "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials";
                let params = root::Params::new(MEMBER, task).client(client);
                RefreshableSession::builder("sts-root", params)
            }
            "sts-saml" => {
                let assertion = self.assertion.clone();
                let give = move || Ok::<_, Error>(assertion.clone());
                let source = match source {
                    Source::Blocking(gate) => {
                        let gate: Gate = gate.clone();
                        saml::AssertionSource::blocking_function(move || {
                            gate.block();
                            give()
                        })
                    }
                    Source::Panicking => saml::AssertionSource::function(|| async {
                        if true {
                            panic!("as wanted")
                        }
                        Ok::<_, Error>(String::new())
                    }),
                    _ => saml::AssertionSource::function(move || std::future::ready(give())),
                };
                let params = saml::Params::new(ROLE, PROVIDER, source);
                RefreshableSession::builder("sts-saml", params.client(client))
            }
            _ => {
                let params = web_identity::Params::new().role_arn(ROLE).client(client);
                let params = match source {
                    Source::Blocking(gate) => {
                        let gate: Gate = gate.clone();
                        params.token_source(web_identity::TokenSource::blocking_function(
                            move || {
                                gate.block();
                                Ok::<_, Error>(TOKEN)
                            },
                        ))
                    }
                    Source::Panicking => {
                        params.token_source(web_identity::TokenSource::blocking_function(
                            || -> Result<String, Error> { panic!("as wanted") },
                        ))
                    }
                    _ => params.token_file(self.token.path()),
                };
                RefreshableSession::builder("sts-web-identity", params)
            }
        }
    }

    /// Each code is a new one, and good at the server.
    fn codes(&self, source: &Source) -> MfaTokenProvider {
        let codes: Vec<String> = (0..50)
            .map(|_| format!("{:06}", fastrand::u32(..1_000_000)))
            .collect();
        for code in &codes {
            self.aws
                .add_mfa_code("arn:aws:iam::123456789012:mfa/contract", code);
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let code = move || codes[next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)].clone();
        match source {
            Source::Blocking(gate) => {
                let gate: Gate = gate.clone();
                MfaTokenProvider::blocking_function(move || {
                    gate.block();
                    Ok::<_, Error>(code())
                })
            }
            Source::Panicking => {
                MfaTokenProvider::blocking_function(|| -> Result<String, Error> {
                    panic!("as wanted")
                })
            }
            _ => MfaTokenProvider::function(move || std::future::ready(Ok::<_, Error>(code()))),
        }
        .timeout(Duration::from_secs(60))
    }
}

#[async_trait]
impl Subject for AtEmbeddedAws {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let mut base = SharedCredentialsProvider::new(self.aws.credentials());
        let failure = match source {
            Source::Healthy => None,
            Source::Expired => Some(Failure::AlreadyExpired),
            Source::Failing => Some(Failure::AccessDenied),
            Source::Hanging => Some(Failure::Hang),
            Source::Panicking if self.mfa || self.has_function() => None,
            Source::Panicking => {
                base = SharedCredentialsProvider::new(Panics);
                None
            }
            Source::Blocking(_) if self.mfa || self.has_function() => None,
            // Nothing else that these methods call is synchronous and the user's.
            _ => return None,
        };
        let action = match self.method {
            "sts" => "AssumeRole",
            "sts-session-token" => "GetSessionToken",
            "sts-root" => "AssumeRoot",
            "sts-saml" => "AssumeRoleWithSAML",
            _ => "AssumeRoleWithWebIdentity",
        };
        self.aws.fail_always_of(action, failure);
        let builder = self
            .session(&source)
            .region("eu-west-1")
            .endpoint_url(self.aws.endpoint_url());
        let session = builder.base_credentials(base).build().await;
        let strategy = Registered(session.expect("the parameters are right").as_base());
        Some(Arc::new(strategy))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.aws.issued_secrets();
        secrets.extend(["external-hush", TOKEN, &self.assertion].map(str::to_owned));
        secrets.extend(
            self.aws
                .mfa_attempts()
                .into_iter()
                .map(|attempt| attempt.token_code),
        );
        secrets
    }
}

async fn keeps_the_contract(
    method: &'static str,
    mfa: bool,
) -> (Vec<&'static str>, Vec<&'static str>) {
    let report = contract::check(&AtEmbeddedAws::new(method, mfa)).await;
    (report.checked().to_vec(), report.left_out().to_vec())
}

#[tokio::test]
async fn the_method_sts_keeps_the_contract() {
    let (checked, left_out) = keeps_the_contract("sts", false).await;
    assert_eq!(
        checked,
        ["healthy", "expired", "failing", "hanging", "panicking"]
    );
    assert_eq!(left_out, ["blocking"]);
}

#[tokio::test]
async fn the_method_sts_keeps_the_contract_with_mfa() {
    let (checked, _) = keeps_the_contract("sts", true).await;
    assert_eq!(
        checked,
        [
            "healthy",
            "expired",
            "failing",
            "hanging",
            "panicking",
            "blocking"
        ]
    );
}

#[tokio::test]
async fn the_method_sts_session_token_keeps_the_contract() {
    let (checked, left_out) = keeps_the_contract("sts-session-token", false).await;
    assert_eq!(
        checked,
        ["healthy", "expired", "failing", "hanging", "panicking"]
    );
    assert_eq!(left_out, ["blocking"]);
}

const ALL: [&str; 6] = [
    "healthy",
    "expired",
    "failing",
    "hanging",
    "panicking",
    "blocking",
];

#[tokio::test]
async fn the_method_sts_web_identity_keeps_the_contract() {
    let (checked, _) = keeps_the_contract("sts-web-identity", false).await;
    assert_eq!(checked, ALL);
}

#[tokio::test]
async fn the_method_sts_saml_keeps_the_contract() {
    let (checked, _) = keeps_the_contract("sts-saml", false).await;
    assert_eq!(checked, ALL);
}

#[tokio::test]
async fn the_method_sts_root_keeps_the_contract() {
    let (checked, left_out) = keeps_the_contract("sts-root", false).await;
    assert_eq!(checked, ALL[..5]);
    assert_eq!(left_out, ["blocking"]);
}

/// A machine whose endpoints answer by the clock of the checks.
struct OnMachine {
    aws: EmbeddedAws,
    machine: MachineMetadata,
    method: &'static str,
}

impl OnMachine {
    fn new(method: &'static str) -> Self {
        let aws = EmbeddedAws::builder().clock(contract::now).start();
        let machine = MachineMetadata::start(&aws);
        Self {
            aws,
            machine,
            method,
        }
    }
}

#[async_trait]
impl Subject for OnMachine {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        self.machine.recover();
        self.machine.set_lifetime(match source {
            Source::Expired => Duration::ZERO,
            _ => Duration::from_secs(3600),
        });
        self.machine.hang(matches!(source, Source::Hanging));
        match source {
            Source::Healthy | Source::Expired | Source::Hanging => {}
            Source::Failing => self.machine.fail_next([400; 9]),
            // No code of the user's runs.
            _ => return None,
        }
        let builder = match self.method {
            "imds" => RefreshableSession::with(imds::Params::new().endpoint(self.machine.url())),
            _ => RefreshableSession::with(
                container::Params::new()
                    .full_uri(self.machine.pod_url())
                    .authorization_token("pod-token-hush"),
            ),
        };
        let session = builder.region("eu-west-1").build().await;
        let strategy = Registered(session.expect("the parameters are right").as_base());
        Some(Arc::new(strategy))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.aws.issued_secrets();
        secrets.push("pod-token-hush".into());
        secrets
    }
}

#[tokio::test]
async fn the_methods_of_machines_keep_the_contract() {
    for method in ["container", "imds"] {
        let report = contract::check(&OnMachine::new(method)).await;
        assert_eq!(report.checked(), &ALL[..4], "{method}");
        assert_eq!(report.left_out(), ["panicking", "blocking"]);
    }
}
