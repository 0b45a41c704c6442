//! `brs login`: a login at IAM Identity Center that every SDK of this user then has.
//!
//! The device authorization (RFC 8628): a person opens a page, here or on another device, and
//! enters the code that is printed. `device` speaks to the service, `cache` keeps the result in the
//! AWS CLI's own file. Two logins of one session wait for each other, and the second one uses what
//! the first one got.

mod cache;
mod device;

use std::process::Stdio;
use std::time::Duration;

use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::section::EnvConfigSections;
use brs::{Clock as _, RefreshableSession, SystemClock};

use crate::args::Login as Args;
use crate::exit::{Done, Failure};
use crate::open::Context;
use crate::output::{self, timestamp};
use crate::profiles;
use cache::{Cache, Lock};
use device::{Authorization, Device};

/// What the portal gives roles' credentials for; the default of `sso_registration_scopes`.
const ACCOUNT_ACCESS: &str = "sso:account:access";

/// How often another login is looked at.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(args: Args, _: &Context) -> Result<Done, Failure> {
    let session = SsoSession::of(&args.profile, &profiles::load().await?)?;
    let cache = Cache::of(&session.name)?;
    let _lock = match cache.try_lock()? {
        Lock::Held(lock) => lock,
        Lock::Busy => {
            tracing::warn!(
                "another login of `{}` is under way: waiting for it",
                session.name
            );
            let before = cache.content();
            let lock = wait_for(&cache).await?;
            if cache.content() != before
                && let Some(expires_at) = cache.valid_until(SystemClock::new().now())
            {
                return logged_in(&session, &expires_at);
            }
            lock
        }
    };
    let device = Device::register(&client(&args.profile, &session).await?, &session).await?;
    let authorization = device.authorize(&session).await?;
    show(&authorization, args.browser)?;
    let token = device.token(&authorization).await?;
    let expires_at = timestamp(token.expires_at);
    cache.write(&session, &token)?;
    logged_in(&session, &expires_at)
}

fn logged_in(session: &SsoSession, expires_at: &str) -> Result<Done, Failure> {
    output::print(&format!(
        "logged in to `{}` until {expires_at}\n",
        session.name
    ))?;
    Ok(Done::Success)
}

async fn wait_for(cache: &Cache) -> Result<cache::Held, Failure> {
    loop {
        if let Lock::Held(lock) = cache.try_lock()? {
            return Ok(lock);
        }
        SystemClock::new().sleep(LOOK).await;
    }
}

/// Prints where to go, before anything is waited for.
fn show(authorization: &Authorization, browser: bool) -> Result<(), Failure> {
    let mut text = format!(
        "Open this page and check that it shows the code {}:\n\n    {}\n\n",
        authorization.user_code, authorization.page_with_code
    );
    if authorization.page != authorization.page_with_code {
        text += &format!("Or open {} and enter the code.\n", authorization.page);
    }
    output::print(&text)?;
    if browser {
        open_browser(&authorization.page_with_code);
    }
    Ok(())
}

/// Opens the page. The address is printed in any case, so a failure is only reported.
fn open_browser(url: &str) {
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return tracing::warn!("the address is not one of a web page, and is not opened");
    }
    let of_user = std::env::var("BROWSER").ok();
    let of_user = of_user
        .as_deref()
        .and_then(|list| list.split(':').next())
        .filter(|name| !name.is_empty());
    let program = of_user.unwrap_or(if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    });
    let started = std::process::Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        tracing::warn!(
            "the browser `{program}` was not started: {error}; open the address yourself"
        );
    }
}

/// A client of the token service, with the settings of environment and profile: proxies, CA bundle,
/// endpoint.
async fn client(profile: &str, session: &SsoSession) -> Result<aws_sdk_ssooidc::Client, Failure> {
    let nothing = provide_credentials_fn(|| async {
        Err(CredentialsError::not_loaded("a login needs none"))
    });
    let settings = RefreshableSession::with_provider(nothing)
        .profile_name(profile)
        .region(&session.region)
        .build()
        .await
        .map_err(Failure::of_opening)?;
    Ok(aws_sdk_ssooidc::Client::new(settings.sdk_config()))
}

/// A section `[sso-session NAME]`.
#[derive(Debug, PartialEq)]
struct SsoSession {
    name: String,
    region: String,
    start_url: String,
    scopes: Vec<String>,
}

impl SsoSession {
    /// That of a profile.
    fn of(profile_name: &str, files: &EnvConfigSections) -> Result<Self, Failure> {
        let shown = brs::kit::clean(profile_name, &[]);
        let config = profiles::config_file();
        let config = config.map_or_else(
            || "~/.aws/config".to_owned(),
            |path| path.display().to_string(),
        );
        let wrong = |problem: String| Err(Failure::Usage(format!("{config}: {problem}")));
        let Some(profile) = files.get_profile(profile_name) else {
            return wrong(format!(
                "there is no profile `{shown}`: add it, or give another one"
            ));
        };
        let filled = |value: Option<&str>| {
            value
                .map(str::trim)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let Some(name) = filled(profile.get("sso_session")) else {
            return wrong(if profile.get("sso_start_url").is_some() {
                format!(
                    "the profile `{shown}` has no `sso_session`: move its `sso_start_url` and `sso_region` to a \
                     section \
                     `[sso-session NAME]`, and name that in the profile"
                )
            } else {
                format!(
                    "the profile `{shown}` has no `sso_session`: give a profile of IAM Identity Center"
                )
            });
        };
        let Some(section) = files.sso_session(&name) else {
            return wrong(format!(
                "there is no section `[sso-session {name}]`, which the profile `{shown}` names"
            ));
        };
        let (Some(region), Some(start_url)) = (
            filled(section.get("sso_region")),
            filled(section.get("sso_start_url")),
        ) else {
            return wrong(format!(
                "`[sso-session {name}]` needs `sso_region` and `sso_start_url`"
            ));
        };
        if !brs::kit::is_region(&region) {
            return wrong(format!(
                "`sso_region` of `[sso-session {name}]` is not a region, such as `eu-west-1`"
            ));
        }
        let scopes = filled(section.get("sso_registration_scopes"));
        let scopes = scopes
            .as_deref()
            .unwrap_or(ACCOUNT_ACCESS)
            .split(',')
            .map(str::trim);
        let scopes = scopes
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            name,
            region,
            start_url,
            scopes,
        })
    }
}
