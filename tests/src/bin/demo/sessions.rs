//! The demo's sessions, and the callers that use them.
//!
//! An `sts` and a `custom` session, both from the embedded AWS or from the real one, and a
//! GetCallerIdentity through `aws-sdk-sts` at a steady rate with each. On request sessions of the
//! embedded AWS beside them: one with MFA and a role that asks for it on top, devices (`devices`),
//! and MQTT (`messages`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_sts::error::DisplayErrorContext;
use brs::sts::AssumeExt as _;
use brs::{Error, RefreshableSession, TemporaryCredentials, custom, sts};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::MfaDevice;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::devices::Devices;
use crate::messages::{Link, Messages};

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const MFA_ROLE: &str = "arn:aws:iam::123456789012:role/asks-for-mfa";

/// AWS issues credentials for 15 minutes at least; refreshing them this long before their end shows
/// some refreshes in a demo's time.
const REAL_ADVISORY_WINDOW: Duration = Duration::from_secs(890);
const SHORTEST_REAL_LIFETIME: Duration = Duration::from_secs(900);

/// All that the demo runs.
#[derive(Debug)]
pub(crate) struct Demo {
    watched: Vec<Watched>,
    aws: Option<EmbeddedAws>,
    lifetime: Duration,
    /// The MFA device and how often its code changes.
    device: Option<(MfaDevice, Duration)>,
    devices: Option<Devices>,
    messages: Option<Messages>,
}

/// A session and what was seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    name: &'static str,
    session: RefreshableSession,
    stats: Arc<Mutex<Stats>>,
}

/// What the calls of one session came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    /// The longest time that any call took, its credentials included.
    pub(crate) longest_wait: Duration,
    pub(crate) last_error: Option<String>,
}

impl Demo {
    /// Sessions at the embedded AWS.
    pub(crate) async fn embedded(lifetime: Duration) -> Result<Self, Error> {
        let aws = EmbeddedAws::start();
        aws.set_lifetime(Some(lifetime));
        let role = sts::Params::new(ROLE);
        let by_sts = RefreshableSession::builder("sts", role)
            .region("us-east-1")
            .endpoint_url(aws.endpoint_url())
            .base_credentials(aws.credentials())
            .defer_refresh(false)
            .build()
            .await?;
        let base = aws_sdk_sts::config::Builder::new()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_sdk_sts::config::Region::new("us-east-1"))
            .endpoint_url(aws.endpoint_url())
            .credentials_provider(aws.credentials())
            .build();
        let function = assume(aws_sdk_sts::Client::from_conf(base), ROLE.to_owned(), None);
        let by_function = RefreshableSession::builder("custom", function)
            .region("us-east-1")
            .endpoint_url(aws.endpoint_url())
            .defer_refresh(false)
            .build()
            .await?;
        let watched = vec![
            Watched::new("sts", by_sts),
            Watched::new("custom", by_function),
        ];
        Ok(Self {
            watched,
            aws: Some(aws),
            lifetime,
            device: None,
            devices: None,
            messages: None,
        })
    }

    /// Further sessions at the embedded AWS: a user with MFA, and a role that asks for it on top.
    pub(crate) async fn add_mfa(&mut self) -> Result<(), Error> {
        let Some(aws) = &self.aws else { return Ok(()) };
        // Several codes in each life of the credentials, or they could not be replaced in time.
        let step = Duration::from_secs((self.lifetime.as_secs() / 5).clamp(1, 30));
        let shown = aws.add_mfa_device_with_step("arn:aws:iam::123456789012:mfa/brs", step);
        self.watched.extend(mfa_sessions(aws, &shown).await?);
        self.device = Some((shown, step));
        Ok(())
    }

    /// Connections by MQTT, beside the devices, if there are any.
    pub(crate) async fn add_messages(&mut self) -> Result<(), Error> {
        let (Some(aws), Some(by_sts)) = (&self.aws, self.watched.first()) else {
            return Ok(());
        };
        let devices = self.devices.get_or_insert_with(|| Devices::new(aws, ROLE));
        self.messages = Some(Messages::start(aws, devices, by_sts.session()).await?);
        Ok(())
    }

    pub(crate) fn messages(&self) -> Option<&Messages> {
        self.messages.as_ref()
    }

    pub(crate) fn messages_mut(&mut self) -> Option<&mut Messages> {
        self.messages.as_mut()
    }

    pub(crate) fn links(&self) -> &[Link] {
        self.messages.as_ref().map_or(&[], Messages::links)
    }

    /// Further sessions at the embedded AWS: devices with certificates, their keys in memory or in
    /// a token.
    pub(crate) async fn add_devices(
        &mut self,
        in_memory: bool,
        in_token: bool,
        anywhere: bool,
    ) -> Result<(), Error> {
        let Some(aws) = &self.aws else { return Ok(()) };
        let devices = Devices::new(aws, ROLE);
        if in_memory {
            self.watched.push(Watched::new(
                "iot",
                devices.session(aws, devices.in_memory()).await?,
            ));
        }
        if in_token {
            self.watched.push(Watched::new(
                "pkcs11",
                devices.session(aws, devices.in_token()?).await?,
            ));
        }
        if anywhere {
            let session = devices.server_session(aws).await?;
            self.watched.push(Watched::new("anywhere", session));
        }
        self.devices = Some(devices);
        Ok(())
    }

    /// The same at real AWS.
    pub(crate) async fn real(
        role_arn: &str,
        profile: Option<&str>,
        region: Option<&str>,
    ) -> Result<Self, Error> {
        let role = sts::Params::new(role_arn).duration(SHORTEST_REAL_LIFETIME);
        let mut builder = RefreshableSession::builder("sts", role)
            .advisory_window(REAL_ADVISORY_WINDOW)
            .defer_refresh(false);
        let mut base = aws_config::defaults(aws_config::BehaviorVersion::latest());
        if let Some(profile) = profile {
            builder = builder.profile_name(profile);
            base = base.profile_name(profile);
        }
        if let Some(region) = region {
            builder = builder.region(region);
            base = base.region(aws_config::Region::new(region.to_owned()));
        }
        let by_sts = builder.build().await?;
        let base = base.load().await;
        let function = assume(
            aws_sdk_sts::Client::new(&base),
            role_arn.to_owned(),
            Some(SHORTEST_REAL_LIFETIME.as_secs()),
        );
        let by_function = RefreshableSession::builder("custom", function)
            .base(base)
            .advisory_window(REAL_ADVISORY_WINDOW)
            .defer_refresh(false)
            .build()
            .await?;
        let watched = vec![
            Watched::new("sts", by_sts),
            Watched::new("custom", by_function),
        ];
        Ok(Self {
            watched,
            aws: None,
            lifetime: SHORTEST_REAL_LIFETIME,
            device: None,
            devices: None,
            messages: None,
        })
    }

    pub(crate) fn watched(&self) -> &[Watched] {
        &self.watched
    }

    pub(crate) fn introduction(&self) -> Vec<String> {
        let mut lines = vec![match &self.aws {
            Some(aws) => format!(
                "embedded AWS at {}, which verifies every signature",
                aws.endpoint_url()
            ),
            None => "real AWS".to_owned(),
        }];
        lines.extend(self.device.as_ref().map(|(_, step)| {
            let step = step.as_secs();
            format!("`mfa` needs a new code for each refresh; this device has one every {step} s, AWS's every 30 s")
        }));
        lines.extend(self.devices.as_ref().map(Devices::introduction));
        lines.extend(self.messages.as_ref().map(|_| Messages::introduction()));
        lines
    }

    /// What the devices' endpoint saw.
    pub(crate) fn handshakes(&self) -> Option<String> {
        self.devices
            .as_ref()
            .filter(|devices| devices.calls() > 0)
            .map(Devices::summary)
    }

    /// What became of the codes.
    pub(crate) fn mfa_codes(&self) -> Option<String> {
        let (aws, (device, _)) = (self.aws.as_ref()?, self.device.as_ref()?);
        let attempts = aws.mfa_attempts();
        let refused = attempts.iter().filter(|attempt| !attempt.accepted).count();
        let serial_number = device.serial_number();
        Some(format!(
            "{serial_number}: {} codes sent, {refused} of them refused",
            attempts.len()
        ))
    }

    /// How often the source was asked, as it says itself where it is ours.
    pub(crate) fn source_calls(&self) -> String {
        match &self.aws {
            Some(aws) => {
                let by_devices = self.devices.as_ref().map_or(0, Devices::calls);
                let calls = aws.calls("AssumeRole") + aws.calls("GetSessionToken") + by_devices;
                format!("{calls} times (counted there)")
            }
            None => {
                let refreshes: u64 = self
                    .watched
                    .iter()
                    .map(|watched| watched.session.status().refreshes())
                    .sum();
                format!("{refreshes} times (successful refreshes)")
            }
        }
    }
}

/// A user's session with MFA, and a role on top of it that lets nobody in without.
async fn mfa_sessions(aws: &EmbeddedAws, device: &MfaDevice) -> Result<[Watched; 2], Error> {
    aws.require_mfa(MFA_ROLE);
    let totp = sts::MfaTokenProvider::totp(device.otpauth_uri());
    let user = sts::session_token::Params::new().mfa(device.serial_number(), totp);
    let user = RefreshableSession::builder("sts-session-token", user)
        .region("us-east-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .defer_refresh(false)
        .build()
        .await?;
    let role = user.assume(MFA_ROLE).defer_refresh(false).build().await?;
    Ok([Watched::new("mfa", user), Watched::new("chained", role)])
}

/// A function as a user would write one: AssumeRole with a client of its own.
fn assume(
    client: aws_sdk_sts::Client,
    role_arn: String,
    duration_seconds: Option<u64>,
) -> custom::Params {
    custom::Params::function(move || {
        let request = client
            .assume_role()
            .role_arn(&role_arn)
            .role_session_name("brs-demo-custom")
            .set_duration_seconds(duration_seconds.and_then(|seconds| i32::try_from(seconds).ok()));
        async move {
            let answer = request.send().await?;
            let credentials = answer.credentials.ok_or("the answer has no credentials")?;
            let expiration = SystemTime::try_from(credentials.expiration)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(TemporaryCredentials::new(
                credentials.access_key_id,
                credentials.secret_access_key,
                Some(credentials.session_token),
                Some(expiration),
            ))
        }
    })
    .name("assume")
}

impl Watched {
    fn new(name: &'static str, session: RefreshableSession) -> Self {
        Self {
            name,
            session,
            stats: Arc::default(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn session(&self) -> &RefreshableSession {
        &self.session
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls GetCallerIdentity `rate` times a second until `end`.
    pub(crate) fn call_until(&self, end: Instant, rate: u64) -> Caller {
        let watched = self.clone();
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let client = aws_sdk_sts::Client::new(watched.session.sdk_config());
            let mut ticks =
                interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while Instant::now() < end {
                tokio::select! {
                    _ = ticks.tick() => watched.call(&client).await,
                    _ = stopped.changed() => break,
                }
            }
        });
        Caller { stop, task }
    }

    async fn call(&self, client: &aws_sdk_sts::Client) {
        let begin = Instant::now();
        let result = client.get_caller_identity().send().await;
        let waited = begin.elapsed();
        let mut stats = self.lock();
        stats.calls += 1;
        stats.longest_wait = stats.longest_wait.max(waited);
        if let Err(error) = result {
            stats.failures += 1;
            stats.last_error = Some(DisplayErrorContext(error).to_string());
        }
    }
}

/// A running series of calls.
#[derive(Debug)]
pub(crate) struct Caller {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Caller {
    /// Lets the call under way end, then no more.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}
