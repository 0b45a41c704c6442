//! The method `sts-web-identity`: a token in a file, read at each refresh, and no signature.

use brs::sts::web_identity::{Params, WebIdentity};
use brs::{ErrorKind, RefreshableSession};

use super::*;

struct Token {
    folder: tempfile::TempDir,
}

impl Token {
    fn new(token: &str) -> Self {
        let out = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        out.write(token);
        out
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("token")
    }

    fn write(&self, token: &str) {
        std::fs::write(self.path(), token).unwrap();
    }

    fn params(&self) -> Params {
        Params::new().role_arn(ROLE).token_file(self.path())
    }
}

async fn session(aws: &EmbeddedAws, clock: &ManualClock, params: Params) -> RefreshableSession {
    let builder = RefreshableSession::builder("sts-web-identity", params);
    builder
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_token_is_read_anew_at_each_refresh() {
    let (aws, clock) = aws();
    let token = Token::new("eyJ.first.token\n");
    aws.add_web_identity("eyJ.first.token", "pod");
    aws.add_web_identity("eyJ.second.token", "pod");
    let session = session(&aws, &clock, token.params().role_session_name("pod-{pid}")).await;
    session.credentials().await.unwrap();
    aws.expire_web_identity("eyJ.first.token");
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.code(), Some("ExpiredTokenException"));
    assert!(
        error.to_string().contains("web identity token") && !error.is_unrecoverable(),
        "{error}"
    );
    token.write("eyJ.second.token");
    session.refresh().await.unwrap();
    let request = &aws.requests()[0];
    assert_eq!(
        (request.access_key_id.as_deref(), request.action.as_str()),
        (None, "AssumeRoleWithWebIdentity")
    );
    let name = format!("pod-{}", std::process::id());
    assert_eq!(request.parameters["RoleSessionName"], name);
    assert_eq!(
        session
            .strategy::<WebIdentity>()
            .unwrap()
            .role_session_name(),
        name
    );
    let identity = session.whoami().await.unwrap();
    assert_eq!(
        identity.caller.unwrap().arn,
        format!("arn:aws:sts::123456789012:assumed-role/demo/{name}")
    );
    assert!(!format!("{session:?} {:?}", session.strategy::<WebIdentity>()).contains("eyJ"));
}

#[tokio::test]
async fn each_trouble_with_a_token_says_what_to_look_at() {
    let (aws, clock) = aws();
    let token = Token::new("eyJ.unknown.token");
    let session = session(&aws, &clock, token.params()).await;
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_unrecoverable()),
        (Some("InvalidIdentityToken"), true),
        "no token of that issuer is ever accepted"
    );
    assert!(
        error.to_string().contains("has no identity provider"),
        "{error}"
    );
    aws.add_web_identity("eyJ.unknown.token", "pod");
    aws.deny_role(ROLE);
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_unrecoverable() && error.to_string().contains("trust policy"),
        "{error}"
    );
    for failure in ["IDPCommunicationError", "IDPRejectedClaim"] {
        let message = "eyJ.unknown.token was not liked".to_owned();
        let failure = brs_tests::embedded_aws::Failure::Error {
            status: 400,
            code: failure,
            message,
        };
        aws.fail_next_of("AssumeRoleWithWebIdentity", vec![failure; 3]);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(
            error.is_retryable(),
            error.code() == Some("IDPCommunicationError"),
            "{error:?}"
        );
        assert!(
            !format!("{error} {error:?}").contains("eyJ.unknown"),
            "{error:?}"
        );
        aws.fail_next_of("AssumeRoleWithWebIdentity", []);
    }
}

#[tokio::test]
async fn a_file_that_holds_no_token_is_recoverable_and_no_call() {
    let (aws, clock) = aws();
    let token = Token::new("eyJ");
    let session = session(&aws, &clock, token.params()).await;
    for (text, problem) in [
        ("eyJ".to_owned(), "3 characters"),
        ("  \n".to_owned(), "0 characters"),
        ("x".repeat(20_001), "20000 characters"),
        ("x".repeat(9_000_000), "20000 characters"),
    ] {
        token.write(&text);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (ErrorKind::Configuration, Some("token_file"))
        );
        assert!(
            error.to_string().contains(problem) && !error.is_unrecoverable(),
            "{error}"
        );
        assert!(error.to_string().contains("/token`"), "{error}");
    }
    std::fs::write(token.path(), [0xff, 0xfe, 0xfd, 0xfc, 0xfb]).unwrap();
    assert!(
        session
            .refresh()
            .await
            .unwrap_err()
            .to_string()
            .contains("something else than a token")
    );
    std::fs::remove_file(token.path()).unwrap();
    assert!(
        session
            .refresh()
            .await
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    assert!(aws.requests().is_empty());
    for length in [4, 20_000] {
        let text = "x".repeat(length);
        token.write(&text);
        aws.add_web_identity(&text, "pod");
        session.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_said_when_the_session_is_built() {
    for (params, param) in [
        (Params::new().token_file("/tmp/token"), "role_arn"),
        (Params::new().role_arn(ROLE), "token_file"),
        (Params::new().role_arn("reader"), "role_arn"),
        (
            Params::new()
                .role_arn(ROLE)
                .token_file("/t")
                .duration(seconds(899)),
            "duration",
        ),
        (
            Params::new()
                .role_arn(ROLE)
                .token_file("/t")
                .role_session_name("{user}"),
            "role_session_name",
        ),
        (
            Params::new().role_arn(ROLE).token_file("/t").policy("[]"),
            "policy",
        ),
        (
            Params::new()
                .role_arn(ROLE)
                .token_file("/t")
                .provider_id("abc"),
            "provider_id",
        ),
    ] {
        let builder = RefreshableSession::builder("sts-web-identity", params).region("eu-west-1");
        let error = builder.build().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (ErrorKind::Validation, Some(param)),
            "{error}"
        );
    }
}
