//! The roles of profiles, as sessions beneath a session.
//!
//! Every role that a profile leads to, with a `source_profile`, a `credential_source` or a web
//! identity, is a session with an engine: it is refreshed when *it* nears its end, its errors are
//! those of a session and name its profile, an MFA code is asked for once in its
//! lifetime, and the session's settings for reaching AWS hold for it too. Two cases:
//!
//! - The session has no role: it gets the profile's. Its request is completed from
//!   the profile, and further roles of the profile's source are beneath.
//! - The session has one: all roles of the profile are beneath.
//!
//! A provider of MFA codes that the session was given is that of every profile with an
//! `mfa_serial`.

use std::sync::Arc;

use brs_core::{BaseCredentials, Error, RefreshStrategy, RefreshableSession, Setup};
use futures_util::future::BoxFuture;

use crate::environment::origins::Origins;
use crate::environment::profiles;
use crate::methods::assume_role::{self, CHAINED};
use crate::methods::found::{self, Found};
use crate::methods::web_identity;
use crate::mfa::MfaTokenProvider;
use crate::profiles::graph::{self, Base, Role, WebIdentity, wrong, wrong_value};
use crate::profiles::leaf::{LeafProvider, Leaves};
use crate::request::client::StsClient;
use crate::request::params::{AssumeRole, Params};
use crate::request::validate;

/// Completes parameters and set-up from the profile that the session stands on, if it stands on
/// one.
pub(crate) async fn complete(mut params: Params, setup: Setup) -> Result<Completed, Error> {
    let of_profile = params.request.role_arn.is_none();
    let Some(name) = profile_of(&setup, &params.client, of_profile).await else {
        return Ok(Completed {
            params,
            setup,
            origins: Origins::default(),
        });
    };
    let provider = params.mfa_token_provider.clone();
    if of_profile {
        let profiles = profiles::load(&name).await?;
        let Some(chain) = graph::resolve(&profiles, &name)? else {
            return Ok(Completed {
                params,
                setup,
                origins: Origins::default(),
            });
        };
        let Some((role, beneath)) = chain.roles.split_first() else {
            return Ok(Completed {
                params,
                setup,
                origins: Origins::default(),
            });
        };
        let hops = Hops::new(setup, params.client.without_credentials(), provider);
        let setup = hops.on(beneath, &chain.base).await?;
        let origins = role.complete(&mut params, &setup)?;
        if params.request.serial_number.is_none() && asks_for_codes(beneath) {
            params.mfa_token_provider = None;
        }
        return Ok(Completed {
            params,
            setup,
            origins,
        });
    }
    let setup = if provider.is_none() {
        let fits = |one: &Stand| one.client.is_like(&params.client);
        let make = stand(&name, setup.clone().apart(), &params.client, None);
        let stand = setup.common(fits, make).await?;
        setup.standing_as(&stand.setup)
    } else {
        let stand = stand(&name, setup, &params.client, provider).await?;
        // A provider of codes that roles beneath ask is not the request's.
        if params.request.serial_number.is_none() && stand.asks_for_codes {
            params.mfa_token_provider = None;
        }
        stand.setup
    };
    Ok(Completed {
        params,
        setup,
        origins: Origins::default(),
    })
}

/// What a role stands on where that is a profile: the same for all of a pool.
struct Stand {
    client: StsClient,
    setup: Setup,
    /// Roles beneath ask for MFA codes.
    asks_for_codes: bool,
}

async fn stand(
    name: &str,
    setup: Setup,
    client: &StsClient,
    provider: Option<MfaTokenProvider>,
) -> Result<Stand, Error> {
    let profiles = profiles::load(name).await?;
    let (setup, asks_for_codes) =
        match found::chain(&profiles, name, setup.profile_name().is_some()) {
            Ok(Some(chain)) if chain.has_hops() => {
                let hops = Hops::new(setup, client.without_credentials(), provider);
                let setup = hops.on_session(&chain.roles, &chain.base).await?;
                (setup, asks_for_codes(&chain.roles))
            }
            // What is wrong with a profile may be put right before its credentials are needed.
            Ok(_) | Err(_) => (on_found(setup, client), false),
        };
    Ok(Stand {
        client: client.clone(),
        setup,
        asks_for_codes,
    })
}

fn asks_for_codes(roles: &[Role]) -> bool {
    roles.iter().any(|role| role.mfa_serial.is_some())
}

/// The MFA device of the user whose keys a profile has, with the profile, and the set-up with those
/// keys.
pub(crate) async fn user_of(
    setup: Setup,
    client: &StsClient,
    wants_mfa: bool,
) -> Result<(Option<(String, String)>, Setup), Error> {
    let Some(name) = profile_of(&setup, client, false).await else {
        // Keys of the environment: their device is the profile's only if a code is to be sent.
        let Some(name) = profile_of(&setup, client, true).await else {
            return Ok((None, setup));
        };
        let serial = device_of(&name).await?.filter(|_| {
            if !wants_mfa {
                tracing::warn!(
                    profile = profiles::shown_name(&name),
                    "the keys are the environment's: the session is without MFA, though the profile has an `mfa_serial`"
                );
            }
            wants_mfa
        });
        return Ok((serial, setup));
    };
    let chain = found::chain(
        &profiles::load(&name).await?,
        &name,
        setup.profile_name().is_some(),
    );
    if let Ok(Some(chain)) = &chain
        && chain.has_hops()
    {
        if let (
            true,
            Base::WebIdentity(WebIdentity {
                profile: None,
                role_arn,
                ..
            }),
        ) = (chain.roles.is_empty(), &chain.base)
        {
            return Err(Error::configuration(format!(
                "the base credentials are those of the role `{role_arn}`, which `AWS_ROLE_ARN` names, and AWS makes \
                 such a session only from a user's own keys: name a profile that has them, or give them as base \
                 credentials"
            ))
            .with_param("AWS_ROLE_ARN")
            .with_detail("role_arn", role_arn)
            .unrecoverable());
        }
        return Err(wrong(
            &name,
            "its credentials are a role's, and AWS makes such a session only from a user's own keys: name the profile \
             that has them",
        ));
    }
    Ok((device_of(&name).await?, on_found(setup, client)))
}

async fn device_of(name: &str) -> Result<Option<(String, String)>, Error> {
    let profiles = profiles::load(name).await?;
    let Some(profile) = profiles.get_profile(name) else {
        return Ok(None);
    };
    Ok(graph::mfa_serial(profile)?.map(|serial| (serial.to_owned(), name.to_owned())))
}

/// What [`complete`] makes.
pub(crate) struct Completed {
    pub(crate) params: Params,
    pub(crate) setup: Setup,
    pub(crate) origins: Origins,
}

/// The profile that base credentials come from, unless something takes precedence over it; the
/// profile's own role is asked for by its profile, so there only what the program gives does.
pub(crate) async fn profile_of(
    setup: &Setup,
    client: &StsClient,
    of_profile: bool,
) -> Option<String> {
    if !matches!(setup.base_credentials(), BaseCredentials::Found) || client.has_credentials() {
        return None;
    }
    match setup.profile_name() {
        Some(name) => Some(name.to_owned()),
        None if !of_profile && found::of_environment().await.is_some() => None,
        None => Some(profiles::default_name()),
    }
}

/// The set-up with the base credentials that are found, their source being reached as the STS
/// client is.
pub(crate) fn on_found(setup: Setup, client: &StsClient) -> Setup {
    let name = setup.profile_name().map(str::to_owned);
    let found = Found::new(name, setup.shared_base(), client, Arc::clone(setup.clock()));
    setup.on_provider(found)
}

impl Role {
    /// Fills in what the request leaves open, and says what that was.
    fn complete(&self, params: &mut Params, setup: &Setup) -> Result<Origins, Error> {
        let request = &mut params.request;
        let mut origins = Origins::default();
        validate::role_arn(&self.role_arn)
            .map_err(|invalid| wrong_value(&self.profile, "role_arn", &invalid))?;
        request.role_arn = Some(self.role_arn.clone());
        origins.profile_key("role_arn", &self.profile, "role_arn");
        if request.duration.is_none() && self.duration.is_some() {
            self.check_duration(setup)?;
            request.duration = self.duration;
            origins.profile_key("duration", &self.profile, "duration_seconds");
        }
        for (field, of_request, of_profile) in [
            (
                "role_session_name",
                &mut request.role_session_name,
                &self.role_session_name,
            ),
            ("external_id", &mut request.external_id, &self.external_id),
        ] {
            if of_request.is_none() && of_profile.is_some() {
                of_request.clone_from(of_profile);
                origins.profile_key(field, &self.profile, field);
            }
        }
        if request.serial_number.is_none() && self.mfa_serial.is_some() {
            if params.mfa_token_provider.is_none() && request.token_code.is_none() {
                return Err(no_provider(&self.profile));
            }
            request.serial_number.clone_from(&self.mfa_serial);
            origins.profile_key("serial_number", &self.profile, "mfa_serial");
        }
        Ok(origins)
    }

    /// AWS grants an hour at most to a role that is assumed with a role's credentials.
    fn check_duration(&self, setup: &Setup) -> Result<(), Error> {
        let BaseCredentials::Session(base) = setup.base_credentials() else {
            return Ok(());
        };
        match (base.strategy().role(), self.duration) {
            (Some(role), Some(duration)) if duration > CHAINED => Err(wrong_value(
                &self.profile,
                "duration_seconds",
                &assume_role::too_long_on(role, duration),
            )),
            _ => Ok(()),
        }
    }
}

/// Builds the sessions of a chain.
pub(crate) struct Hops {
    setup: Setup,
    /// How STS is reached, the same for each hop.
    client: StsClient,
    provider: Option<MfaTokenProvider>,
    leaves: Arc<Leaves>,
}

impl Hops {
    pub(crate) fn new(setup: Setup, client: StsClient, provider: Option<MfaTokenProvider>) -> Self {
        let leaves = Leaves::new(
            setup.profile_name().map(str::to_owned),
            setup.shared_base(),
            client.clone(),
        );
        Self {
            setup,
            client,
            provider,
            leaves,
        }
    }

    /// For credentials without MFA codes; `leaves` are shared.
    pub(crate) fn with_leaves(setup: Setup, client: StsClient, leaves: Arc<Leaves>) -> Self {
        Self {
            setup,
            client,
            provider: None,
            leaves,
        }
    }

    /// The session of the first of these roles, or of the base's own.
    pub(crate) fn session<'a>(&'a self, roles: &'a [Role], base: &'a Base) -> BoxFuture<'a, Built> {
        Box::pin(async move {
            match (roles.split_first(), base) {
                (Some((role, beneath)), _) => {
                    let setup = self.on(beneath, base).await?;
                    self.assume(role, setup).await
                }
                (None, Base::WebIdentity(role)) => {
                    let strategy =
                        web_identity::of_profile(role, self.client.clone(), self.setup.clone())
                            .await?;
                    self.open(strategy, &self.setup).await
                }
                (None, Base::Leaf(owner)) => Err(wrong(&owner.profile, "it has no role")),
            }
        })
    }

    async fn assume(&self, role: &Role, setup: Setup) -> Built {
        let mut params = Params::of(AssumeRole::default()).client(self.client.clone());
        if role.mfa_serial.is_some() {
            let provider = self
                .provider
                .clone()
                .ok_or_else(|| no_provider(&role.profile))?;
            params = params.mfa_token_provider(provider);
        }
        let origins = role.complete(&mut params, &setup)?;
        let strategy = assume_role::build_on(params, setup.clone(), origins).await?;
        self.open(strategy, &setup).await
    }

    async fn open(&self, strategy: impl RefreshStrategy, setup: &Setup) -> Built {
        let base = setup.base().clone();
        RefreshableSession::with_strategy(Arc::new(strategy))
            .base(base)
            .clock(setup.clock().clone())
            .build()
            .await
    }

    /// The set-up for a role that is assumed with what these roles lead to.
    async fn on(&self, roles: &[Role], base: &Base) -> Result<Setup, Error> {
        match base {
            Base::Leaf(owner) if roles.is_empty() => {
                let provider = LeafProvider {
                    owner: owner.clone(),
                    leaves: Arc::clone(&self.leaves),
                };
                Ok(self
                    .setup
                    .clone()
                    .on_profile(owner.profile.clone(), provider))
            }
            _ => self.on_session(roles, base).await,
        }
    }

    async fn on_session(&self, roles: &[Role], base: &Base) -> Result<Setup, Error> {
        let session = self.session(roles, base).await?;
        Ok(self.setup.clone().on_session(session.as_base()))
    }
}

type Built = Result<RefreshableSession, Error>;

/// The error for a profile that asks for a code.
pub(crate) fn no_provider(profile: &str) -> Error {
    wrong(
        profile,
        "its `mfa_serial` asks for a code: give the session an `mfa_token_provider`",
    )
}
