//! The method `sts-root`: one privileged task in a member account of an organization.
//!
//! Each refresh is one AssumeRoot call, signed with credentials of the organization's management
//! account or of its delegated administrator for IAM. The credentials live 15 minutes at most and
//! can do what the task policy says, and nothing else. STS takes the call at regional endpoints
//! only.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! use brs::sts::root::Params;
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let params = Params::new(
//!     "210987654321",
//!     "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy",
//! );
//! let session = brs::RefreshableSession::open(params).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::operation::assume_root::builders::AssumeRootFluentBuilder;
use aws_sdk_sts::types::PolicyDescriptorType;
use brs_core::kit::is_account_id;
use brs_core::{
    Error, Fingerprint, Identity, RefreshContext, RefreshStrategy, Setup, TemporaryCredentials,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data;
use crate::environment::origins::Origins;
use crate::methods::inherit;
use crate::request::client::StsClient;
use crate::request::fingerprint::seconds;
use crate::request::validate::{self, Invalid};
use crate::sts::call::{Asked, Caller};
use crate::sts::connect::{Connection, Signed, connect};
use crate::sts::error::Operation;

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "sts-root";
/// AWS takes 0, too, for credentials that have expired when they arrive.
const DURATION: (u64, u64) = (1, 900);

/// The parameters of the method `sts-root`: AssumeRoot's three fields and the STS client's
/// settings.
///
/// As data, `target_principal` (or `TargetPrincipal`), `task_policy_arn` (`TaskPolicyArn`),
/// `duration` (`DurationSeconds`) and `client`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "RootParams")]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    /// The member account: its id, or the ARN of its root user.
    #[serde(alias = "TargetPrincipal")]
    target_principal: String,
    /// The ARN of the managed policy that names the task.
    #[serde(alias = "TaskPolicyArn", deserialize_with = "data::policy_arn")]
    #[schemars(with = "data::PolicyArn")]
    task_policy_arn: String,
    /// How long the credentials are valid: 1–900 s. AWS's default is 900 s.
    #[serde(
        default,
        alias = "DurationSeconds",
        alias = "duration_seconds",
        deserialize_with = "data::whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    duration: Option<Duration>,
    /// The STS client's settings.
    #[serde(
        default,
        alias = "sts_client",
        alias = "sts_client_kwargs",
        deserialize_with = "data::map_or_default"
    )]
    client: StsClient,
}

impl Params {
    /// The member account, as its id or the ARN of its root user (`TargetPrincipal`), and the
    /// managed policy that names the task (`TaskPolicyArn`):
    /// `arn:aws:iam::aws:policy/root-task/…` with `IAMAuditRootUserCredentials`,
    /// `IAMCreateRootUserPassword`, `IAMDeleteRootUserCredentials`, `S3UnlockBucketPolicy` or
    /// `SQSUnlockQueuePolicy`.
    pub fn new(target_principal: impl Into<String>, task_policy_arn: impl Into<String>) -> Self {
        Self {
            target_principal: target_principal.into(),
            task_policy_arn: task_policy_arn.into(),
            duration: None,
            client: StsClient::default(),
        }
    }

    /// How long the credentials are valid (`DurationSeconds`): 1–900 whole seconds. Default: AWS's
    /// own, 900 s.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The STS client's own settings. Default: those of the base configuration.
    pub fn client(mut self, client: StsClient) -> Self {
        self.client = client;
        self
    }

    /// Checks every value against the limits of AWS, as the method's constructor does.
    ///
    /// # Errors
    ///
    /// A validation error that names the field, its limit and the value's length.
    pub fn validate(&self) -> Result<(), Error> {
        let target = Some(self.target_principal.as_str());
        validate::check("target_principal", target, |target| {
            account(target).map(|_| ())
        })?;
        let policy = Some(self.task_policy_arn.as_str());
        validate::check("task_policy_arn", policy, task_policy)?;
        validate::check("duration", self.duration, |duration| {
            validate::seconds(duration, DURATION)
        })?;
        self.client.validate()
    }
}

/// The account of a target: `123456789012` or `arn:aws:iam::123456789012:root`.
fn account(target: &str) -> Result<&str, Invalid> {
    let parts: Vec<_> = target.split(':').collect();
    match parts[..] {
        [account] | ["arn", _, "iam", "", account, "root"] if is_account_id(account) => Ok(account),
        _ => Err(Invalid::Shape(
            "must be a member account: its 12-digit id, or `arn:aws:iam::<account>:root` (or in another `aws-…` \
             partition)",
        )),
    }
}

fn task_policy(arn: &str) -> Result<(), Invalid> {
    validate::length(arn, 20, 2048)?;
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam", "", "aws", policy]
            if policy
                .strip_prefix("policy/root-task/")
                .is_some_and(|name| !name.is_empty()) =>
        {
            Ok(())
        }
        _ => Err(Invalid::Shape(
            "must be one of AWS's task policies, `arn:aws:iam::aws:policy/root-task/<name>` (or in another `aws-…` \
             partition)",
        )),
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "sts-root";
}

/// The strategy of the method `sts-root`.
pub struct Root {
    params: Params,
    caller: Caller,
}

impl Root {
    /// The member account, as it was given.
    pub fn target_principal(&self) -> &str {
        &self.params.target_principal
    }

    /// The ARN of the policy that names the task.
    pub fn task_policy_arn(&self) -> &str {
        &self.params.task_policy_arn
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.caller.connection
    }

    fn request(&self) -> AssumeRootFluentBuilder {
        let policy = PolicyDescriptorType::builder().arn(self.task_policy_arn());
        self.caller
            .connection
            .client()
            .assume_root()
            .target_principal(self.target_principal())
            .task_policy_arn(policy.build())
            .set_duration_seconds(
                self.params
                    .duration
                    .map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)),
            )
    }
}

async fn build(params: Params, setup: Setup) -> Result<Root, Error> {
    params.validate()?;
    let settings = inherit::inherited(&params.client, &setup);
    let connection = connect(settings, &setup, Signed::ByBase).await?;
    Ok(Root {
        params,
        caller: Caller {
            connection,
            device: None,
        },
    })
}

brs_core::register_method! {
    summary: "one privileged task in a member account of an organization",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for Root {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let asked = Asked {
            operation: Operation::Root {
                target: self.target_principal(),
                policy: self.task_policy_arn(),
            },
            hidden: &[],
            origins: &Origins::NONE,
        };
        let set = self
            .caller
            .refresh(cx, &asked, |_| Ok(self.request()))
            .await?;
        Ok(match account(self.target_principal()) {
            Ok(account) => set.with_account_id(account),
            Err(_) => set,
        })
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("target_principal", self.target_principal())
            .with_detail("task_policy_arn", self.task_policy_arn()))
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.caller.connection.place)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(
            self.caller
                .connection
                .tell(METHOD)?
                .with("target_principal", self.target_principal())
                .with("task_policy_arn", self.task_policy_arn())
                .with("duration", seconds(self.params.duration)),
        )
    }

    fn static_stability(&self) -> bool {
        true
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("target_principal", &self.target_principal())
            .field("task_policy_arn", &self.task_policy_arn())
            .field("caller", &self.caller)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const POLICY: &str = "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials";

    #[test]
    fn limits_hold_at_their_edges() {
        let seconds =
            |seconds| Params::new("123456789012", POLICY).duration(Duration::from_secs(seconds));
        let long = |length: usize| {
            let begin = "arn:aws:iam::aws:policy/root-task/";
            Params::new(
                "123456789012",
                format!("{begin}{}", "x".repeat(length - begin.len())),
            )
        };
        for (params, field) in [
            (Params::new("123456789012", POLICY), None),
            (
                Params::new("arn:aws-cn:iam::123456789012:root", POLICY),
                None,
            ),
            (Params::new("12345678901", POLICY), Some("target_principal")),
            (
                Params::new("1234567890123", POLICY),
                Some("target_principal"),
            ),
            (Params::new("", POLICY), Some("target_principal")),
            (
                Params::new("arn:aws:iam::123456789012:user/a", POLICY),
                Some("target_principal"),
            ),
            (
                Params::new("arn:aws:iam::12345678901:root", POLICY),
                Some("target_principal"),
            ),
            (
                Params::new("123456789012", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
                Some("task_policy_arn"),
            ),
            (
                Params::new("123456789012", "IAMAuditRootUserCredentials"),
                Some("task_policy_arn"),
            ),
            (
                Params::new("123456789012", "arn:aws:iam::aws:policy/root-task/"),
                Some("task_policy_arn"),
            ),
            (long(2048), None),
            (long(2049), Some("task_policy_arn")),
            (seconds(0), Some("duration")),
            (seconds(1), None),
            (seconds(900), None),
            (seconds(901), Some("duration")),
        ] {
            let error = params.validate().err();
            assert_eq!(error.as_ref().and_then(Error::param), field, "{error:?}");
        }
    }

    #[test]
    fn data_uses_the_names_here_or_awss() {
        let read = |data| brs_core::Params::from(data).take::<Params>();
        for data in [
            json!({ "target_principal": "123456789012", "task_policy_arn": POLICY, "duration": 60 }),
            json!({ "TargetPrincipal": "123456789012", "TaskPolicyArn": { "arn": POLICY }, "DurationSeconds": 60 }),
        ] {
            let params = read(data).unwrap();
            params.validate().unwrap();
            assert_eq!(params.task_policy_arn, POLICY);
            assert_eq!(params.duration, Some(Duration::from_secs(60)));
        }
        let error = read(json!({ "target_principal": "123456789012" })).unwrap_err();
        assert!(error.to_string().contains("task_policy_arn"), "{error}");
    }
}
