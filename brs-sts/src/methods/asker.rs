//! Who asks where the program gave no base credentials: what tells the identity behind a profile or
//! the environment from others.
//!
//! An SSO login is told by a digest of its token: neither the profile nor the host says which person
//! has logged in. A renewed token tells another asker, which costs those who share one call.
//!
//! Whatever leaves a doubt has no answer, and such sessions are not shared: roles that the profile
//! reader would assume itself (the strategies of STS put them beneath themselves, and those can be
//! told), processes, whose arguments may hold secrets, and this machine's own credentials.

use std::path::Path;

use aws_config::profile::ProfileSet;
use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use brs_core::Fingerprint;
use brs_core::kit::{files, path};
use futures_util::FutureExt;
use zeroize::Zeroizing;

use crate::environment::profiles;
use crate::methods::found;
use crate::profiles::graph::{self, Base, Chain, Leaf, Owner, Source, SsoLogin};
use crate::request::fingerprint::sha256;

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
    let logins = path::expanded(Path::new(LOGINS));
    of_profile(&profiles, &name, profile_name.is_some(), &logins)
}

/// Where the AWS SDK keeps SSO logins.
const LOGINS: &str = "~/.aws/sso/cache";

fn of_profile(
    profiles: &ProfileSet,
    name: &str,
    is_named: bool,
    logins: &Path,
) -> Option<Fingerprint> {
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
    let told = of_leaf(profiles, &owner, logins)?;
    (of_leaf(profiles, &as_source, logins)? == told).then_some(told)
}

fn of_leaf(profiles: &ProfileSet, owner: &Owner, logins: &Path) -> Option<Fingerprint> {
    let of = |kind| Fingerprint::new(kind).with("profile", &owner.profile);
    match graph::leaf(profiles, owner).ok()?? {
        Leaf::Keys(keys) => Some(of_keys(&keys)),
        Leaf::Source(Source::Environment) => {
            let found = found::of_environment().now_or_never()??;
            found.ok().map(|keys| of_keys(&keys))
        }
        Leaf::Sso(login) => Some(
            Fingerprint::new("sso")
                .with("start_url", &login.start_url)
                .with("region", &login.region)
                .with("account_id", &login.account_id)
                .with("role_name", &login.role_name)
                .with("token_sha256", token_of(&login, logins)?),
        ),
        // What is in it is known on this host only.
        Leaf::Login(arn) => Some(
            of("login")
                .with("login_session", arn)
                .with("config", profiles::files())
                .with("host", host()),
        ),
        Leaf::Process { .. } | Leaf::Source(Source::Instance | Source::Container) => None,
    }
}

/// The digest of a login's token.
fn token_of(login: &SsoLogin, logins: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Cached {
        #[serde(rename = "accessToken")]
        access_token: String,
    }
    let name = login.session.as_ref().unwrap_or(&login.start_url);
    let name: String = digest(&SHA1_FOR_LEGACY_USE_ONLY, name.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = files::read(&logins.join(format!("{name}.json"))).ok()?;
    let Cached { access_token } = serde_json::from_slice(&text).ok()?;
    sha256(&*Zeroizing::new(access_token))
}

fn of_keys(keys: &Credentials) -> Fingerprint {
    Fingerprint::new("keys").with("access_key_id", keys.access_key_id())
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
