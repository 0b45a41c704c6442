//! Opens the sessions of the roster, each with its observer.
//!
//! What the ledger assumes of a session stands in the roster: its time limit, whether an expired
//! set is served, whose clock it has.

use std::path::Path;

use aws_credential_types::Credentials;
use aws_sdk_sts::config::{BehaviorVersion, Region};
use brs::command::Command;
use brs::prelude::*;
use brs::shared::{Fleet, HostCache, RedisStore, Seal};
use brs::sts::{self, StsClient, container, imds, session_token, web_identity};
use brs::{RefreshStrategy, RefreshableSession, RoleKey, SessionBuilder, SessionPool};
use brs::{custom, iot, roles_anywhere};

use super::Recorder;
use super::clock::Stepped;
use super::observe::{observed, watch};
use crate::Failure;
use crate::record::{Settings, What};
use crate::roster::{self, Role, TIMEOUT};

const REGION: &str = "us-east-1";
/// The role alias of the device.
pub(crate) const ALIAS: &str = "soak";

/// All sessions of the worker.
pub(crate) struct Sessions {
    all: Vec<(&'static Role, RefreshableSession)>,
    /// Keeps its sessions fresh for as long as it is there.
    _pool: Option<SessionPool<RoleKey>>,
}

impl Sessions {
    pub(crate) async fn open(
        settings: &Settings,
        clock: &Stepped,
        recorder: &Recorder,
    ) -> Result<Self, Failure> {
        let opener = Opener {
            settings,
            clock,
            recorder,
        };
        let mut all: Vec<(&'static Role, RefreshableSession)> = Vec::new();
        let pool = settings.is_main.then(|| opener.pool());
        for role in roster::of(settings.is_main) {
            let session = match (role.name, &settings.fleet, &pool) {
                ("fleet", None, _) => continue,
                (name, _, Some(pool)) if name.starts_with("pool-") => {
                    pool.get(&RoleKey::new(role.role_arn.unwrap_or_default()))?
                }
                ("chain", ..) => {
                    let base = all.iter().find(|(role, _)| role.name == "sts");
                    let (_, base) = base.ok_or("the chain's base comes before it")?;
                    opener.chain(role, base).await?
                }
                _ => opener.open(role).await?,
            };
            tokio::spawn(watch(
                session.events(),
                std::sync::Arc::clone(session.clock()),
                role.name,
                recorder.clone(),
            ));
            // The first refresh of an eager session was over before its events could be watched.
            let status = session.status();
            if let Some(key) = status.access_key_id() {
                let reason = "First".to_owned();
                recorder.write(role.name, What::Started { reason });
                let got = What::Got {
                    key: key.to_owned(),
                    expires: status.expiration().map(|end| recorder.start().of_wall(end)),
                    took: 0,
                };
                recorder.write(role.name, got);
            }
            all.push((role, session));
        }
        Ok(Self { all, _pool: pool })
    }

    pub(crate) fn all(&self) -> &[(&'static Role, RefreshableSession)] {
        &self.all
    }

    pub(crate) fn named(&self, name: &str) -> Option<&RefreshableSession> {
        let found = self.all.iter().find(|(role, _)| role.name == name);
        found.map(|(_, session)| session)
    }
}

struct Opener<'a> {
    settings: &'a Settings,
    clock: &'a Stepped,
    recorder: &'a Recorder,
}

impl Opener<'_> {
    async fn open(&self, role: &'static Role) -> Result<RefreshableSession, Failure> {
        let settings = self.settings;
        let assumed = || {
            sts::Params::new(role.role_arn.unwrap_or_default())
                .role_session_name("soak")
                .client(self.client())
        };
        let builder = match role.name {
            "sts" => RefreshableSession::with(assumed()).defer_refresh(false),
            "plain" | "host" | "fleet" => RefreshableSession::with(assumed()),
            "session-token" => {
                RefreshableSession::with(session_token::Params::new().client(self.client()))
            }
            "web-identity" => RefreshableSession::with(
                web_identity::Params::new()
                    .role_arn("arn:aws:iam::123456789012:role/web")
                    .token_file(settings.files.join("token"))
                    .client(self.client()),
            ),
            "function" => RefreshableSession::with(self.function()),
            "command" => RefreshableSession::with(custom::Params::command(self.command()?)),
            "iot" => RefreshableSession::with(
                iot::Params::new(&settings.iot_endpoint, ALIAS)
                    .allow_any_endpoint(true)
                    .trust_store(settings.trust_store.as_str())
                    .certificate(self.file("certificate"))
                    .private_key(self.file("key")),
            )
            .defer_refresh(false),
            "anywhere" => RefreshableSession::with(
                roles_anywhere::Params::new(
                    &settings.anywhere.trust_anchor_arn,
                    &settings.anywhere.profile_arn,
                    "arn:aws:iam::123456789012:role/anywhere",
                )
                .endpoint_url(&settings.anywhere.endpoint)
                .trust_store(settings.trust_store.as_str())
                .certificate(self.file("certificate"))
                .private_key(self.file("key")),
            ),
            "container" => RefreshableSession::with(
                container::Params::new().full_uri(settings.task_url.as_str()),
            ),
            "imds" => {
                RefreshableSession::with(imds::Params::new().endpoint(&settings.instance_url))
            }
            name => return Err(format!("nobody knows how to open `{name}`").into()),
        };
        let builder = builder
            .region(REGION)
            .endpoint_url(&settings.endpoint)
            .base_credentials(self.user())
            .static_stability(role.is_stable);
        let builder = self.watched(role, builder);
        let builder = match (role.name, &settings.fleet) {
            ("host", _) => builder.shared(HostCache::in_directory(&settings.cache)),
            ("fleet", Some(fleet)) => {
                let store = RedisStore::new(&fleet.url)?;
                let seal = Seal::from_keys(fleet.seal_keys.as_str())?;
                builder.shared(Fleet::new(store, seal))
            }
            _ => builder,
        };
        Ok(builder.build().await?)
    }

    /// A role assumed with another session's credentials: region, endpoints and clock are that
    /// one's.
    async fn chain(
        &self,
        role: &'static Role,
        base: &RefreshableSession,
    ) -> Result<RefreshableSession, Failure> {
        let params = sts::Params::new(role.role_arn.unwrap_or_default()).client(self.client());
        let builder = base.assume(params).static_stability(role.is_stable);
        Ok(self.watched(role, builder).build().await?)
    }

    fn watched(&self, role: &'static Role, builder: SessionBuilder) -> SessionBuilder {
        let builder = builder.refresh_timeout(TIMEOUT);
        let builder = observed(builder, |_| role.name, self.recorder);
        match role.is_stepped {
            true => builder.clock(self.clock.clone()),
            false => builder,
        }
    }

    fn pool(&self) -> SessionPool<RoleKey> {
        let client = self.client();
        let name = |strategy: &dyn RefreshStrategy| {
            let of_role = |role: &&Role| role.role_arn == strategy.role();
            let found = roster::MAIN.iter().find(of_role);
            found.map_or("pool", |role| role.name)
        };
        SessionPool::builder(move |key: &RoleKey| sts::Params::from(key).client(client.clone()))
            .options(|session| {
                let session = session
                    .region(REGION)
                    .endpoint_url(&self.settings.endpoint)
                    .base_credentials(self.user())
                    .refresh_timeout(TIMEOUT);
                observed(session, name, self.recorder)
            })
            .build()
    }

    /// Credentials as a user's own function gets them.
    fn function(&self) -> custom::Params {
        let config = aws_sdk_sts::config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.settings.source_endpoint)
            .credentials_provider(self.user())
            .build();
        let client = aws_sdk_sts::Client::from_conf(config);
        custom::Params::function(move || {
            let request = client.get_session_token();
            async move {
                let answer = request.send().await?;
                let credentials = answer.credentials.ok_or("the answer has no credentials")?;
                let expiration = std::time::SystemTime::try_from(credentials.expiration)?;
                Ok::<_, Failure>(TemporaryCredentials::new(
                    credentials.access_key_id,
                    credentials.secret_access_key,
                    Some(credentials.session_token),
                    Some(expiration),
                ))
            }
        })
        .name("get-session-token")
    }

    fn command(&self) -> Result<Command, Failure> {
        let program = std::env::current_exe()?.into_os_string();
        let words = [program, "issue".into(), (&self.settings.task_url).into()];
        Ok(Command::new(words)?)
    }

    fn client(&self) -> StsClient {
        StsClient::new().endpoint_url(&self.settings.source_endpoint)
    }

    fn user(&self) -> Credentials {
        Credentials::new(
            &self.settings.access_key_id,
            &self.settings.secret_access_key,
            None,
            None,
            "soak",
        )
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        Path::new(&self.settings.files).join(name)
    }
}
