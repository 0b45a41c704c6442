//! Who asks where the program gave no base credentials: what tells the identity behind a profile or
//! the environment from others.
//!
//! Whatever leaves a doubt has no answer, and such sessions are not shared: roles that the profile
//! reader would assume itself (the strategies of STS put them beneath themselves, and those can be
//! told), processes, whose arguments may hold secrets, and this machine's own credentials.

use aws_config::profile::ProfileSet;
use aws_credential_types::Credentials;
use brs_core::Fingerprint;
use futures_util::FutureExt;

use crate::environment::profiles;
use crate::methods::found;
use crate::profiles::graph::{self, Base, Chain, Leaf, Owner, Source};

/// The identity behind a profile (`None`: that of the environment, else of its profile).
pub(crate) fn told(profile_name: Option<&str>) -> Option<Fingerprint> {
    // Environment and files are read without waiting.
    if profile_name.is_none()
        && let Some(found) = found::of_environment().now_or_never()?
    {
        return found.ok().map(|keys| of_keys(&keys));
    }
    let name = profile_name.map_or_else(profiles::default_name, str::to_owned);
    let profiles = profiles::load(&name).now_or_never()?.ok()?;
    of_profile(&profiles, &name, profile_name.is_some())
}

fn of_profile(profiles: &ProfileSet, name: &str, is_named: bool) -> Option<Fingerprint> {
    let Chain { roles, base } = found::chain(profiles, name, is_named).ok()??;
    let Base::Leaf(owner) = base else { return None };
    if !roles.is_empty() {
        return None;
    }
    // A profile that is another one's source is asked for its keys first.
    let as_source = Owner {
        is_source: !owner.is_source,
        ..owner.clone()
    };
    let told = of_leaf(profiles, &owner)?;
    (of_leaf(profiles, &as_source)? == told).then_some(told)
}

fn of_leaf(profiles: &ProfileSet, owner: &Owner) -> Option<Fingerprint> {
    let of = |kind| Fingerprint::new(kind).with("profile", &owner.profile);
    match graph::leaf(profiles, owner).ok()?? {
        Leaf::Keys(keys) => Some(of_keys(&keys)),
        Leaf::Source(Source::Environment) => {
            let found = found::of_environment().now_or_never()??;
            found.ok().map(|keys| of_keys(&keys))
        }
        // Who has logged in is known on this host only.
        Leaf::Sso(login) => Some(
            of("sso")
                .with("session", &login.session)
                .with("start_url", &login.start_url)
                .with("region", &login.region)
                .with("account_id", &login.account_id)
                .with("role_name", &login.role_name)
                .with("config", profiles::files())
                .with("host", host()),
        ),
        Leaf::Login(arn) => Some(
            of("login")
                .with("login_session", arn)
                .with("config", profiles::files())
                .with("host", host()),
        ),
        Leaf::Process { .. } | Leaf::Source(Source::Instance | Source::Container) => None,
    }
}

fn of_keys(keys: &Credentials) -> Fingerprint {
    Fingerprint::new("keys").with("access_key_id", keys.access_key_id())
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
