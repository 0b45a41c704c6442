//! The base configuration of a session.
//!
//! It comes from the caller, from the linked crate that offers a
//! [`BaseLoader`](crate::BaseLoader), or, without either, from what is set here: region from
//! parameter or environment, and otherwise what `aws_config::defaults` sets. What a base
//! configuration built by hand lacks of that is filled in.

use std::ffi::OsString;
use std::time::Duration;

use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::origin::Origin;
use aws_types::region::Region;

use crate::base::setup::{BaseRequest, base_loader};
use crate::kit::check::is_region;
use crate::kit::default_http::HTTP_CLIENT;
use crate::kit::error::Error;

/// The connect time-out of `aws_config::defaults`.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The base configuration: the given one with the request's changes, else the base loader's, else a
/// plain one.
pub(crate) async fn base(
    given: Option<SdkConfig>,
    request: BaseRequest,
) -> Result<SdkConfig, Error> {
    if let Some(given) = given {
        if request.profile_name.is_some() {
            return Err(Error::configuration(
                "both a base configuration and a profile are given: name the profile in the base configuration",
            )
            .with_param("profile_name"));
        }
        let mut config = changed(given, request);
        if config.http_client().is_none()
            && let Some(loader) = base_loader()?
            && let Some(http_client) = loader.http_client(&config).await?
        {
            let mut builder = config.into_builder().http_client(http_client);
            builder.insert_origin(HTTP_CLIENT, Origin::shared_environment_variable());
            config = builder.build();
        }
        return Ok(config);
    }
    match base_loader()? {
        Some(loader) => loader.load(request).await,
        None => plain(request),
    }
}

fn changed(given: SdkConfig, request: BaseRequest) -> SdkConfig {
    let defaults = Defaults::missing_in(&given);
    let mut config = given.into_builder();
    defaults.fill(&mut config);
    if request.region.is_some() {
        config.set_region(request.region);
    }
    if request.credentials.is_some() {
        config.set_credentials_provider(request.credentials);
    }
    if request.endpoint_url.is_some() {
        config.set_endpoint_url(request.endpoint_url);
        // Set in the program: it takes precedence over the environment's for one service.
        config.insert_origin("endpoint_url", Origin::shared_config());
    }
    if request.http_client.is_some() {
        config.set_http_client(request.http_client);
        config.insert_origin(HTTP_CLIENT, Origin::shared_config());
    }
    if request.behavior_version.is_some() {
        config.set_behavior_version(request.behavior_version);
    }
    config.build()
}

fn plain(request: BaseRequest) -> Result<SdkConfig, Error> {
    if let Some(profile_name) = &request.profile_name {
        return Err(Error::configuration(format!(
            "the profile `{profile_name}` cannot be read by this build: enable the feature `sts` of `brs`, which \
             brings profiles, or give a base configuration"
        ))
        .with_param("profile_name"));
    }
    let region = match request.region {
        Some(region) => Some(region),
        None => region_of_environment(std::env::var_os)?,
    };
    let mut config = SdkConfig::builder();
    Defaults::ALL.fill(&mut config);
    config.set_region(region);
    config.set_credentials_provider(request.credentials);
    config.set_endpoint_url(request.endpoint_url);
    config.set_http_client(request.http_client);
    if request.behavior_version.is_some() {
        config.set_behavior_version(request.behavior_version);
    }
    Ok(config.build())
}

/// A variable that is empty counts as absent.
fn region_of_environment(
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Result<Option<Region>, Error> {
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        let Some(value) = variable(name) else {
            continue;
        };
        match value.to_str().map(str::trim) {
            Some("") => {}
            Some(region) if is_region(region) => return Ok(Some(Region::new(region.to_owned()))),
            _ => {
                return Err(Error::configuration(format!(
                    "`{name}` is not a region: it must look like `eu-west-1`, or be unset"
                ))
                .with_param(name)
                .unrecoverable());
            }
        }
    }
    Ok(None)
}

/// What `aws_config::defaults` sets and a configuration built by hand may lack; SDK clients panic
/// without some of it.
struct Defaults {
    behavior_version: bool,
    sleep_impl: bool,
    retry_config: bool,
    timeout_config: bool,
}

impl Defaults {
    const ALL: Self = Self {
        behavior_version: true,
        sleep_impl: true,
        retry_config: true,
        timeout_config: true,
    };

    fn missing_in(config: &SdkConfig) -> Self {
        Self {
            behavior_version: config.behavior_version().is_none(),
            sleep_impl: config.sleep_impl().is_none(),
            retry_config: config.retry_config().is_none(),
            timeout_config: config.timeout_config().is_none(),
        }
    }

    fn fill(self, config: &mut aws_types::sdk_config::Builder) {
        if self.behavior_version {
            config.set_behavior_version(Some(BehaviorVersion::latest()));
        }
        if self.sleep_impl {
            config.set_sleep_impl(default_async_sleep());
        }
        if self.retry_config {
            config.set_retry_config(Some(RetryConfig::standard()));
        }
        if self.timeout_config {
            config.set_timeout_config(Some(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .build(),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_the_environment_is_judged() {
        let region = |usual: &str, other: &str| {
            let (usual, other) = (OsString::from(usual), OsString::from(other));
            let found = region_of_environment(|name| {
                Some(if name == "AWS_REGION" {
                    usual.clone()
                } else {
                    other.clone()
                })
            });
            found.map(|region| region.map(|region| region.to_string()))
        };
        assert_eq!(region("", " ").unwrap(), None);
        assert_eq!(
            region(" eu-west-1\n", "eu-west-3").unwrap().as_deref(),
            Some("eu-west-1")
        );
        assert_eq!(
            region("", "eu-west-3").unwrap().as_deref(),
            Some("eu-west-3")
        );
        for (usual, other, param) in [
            ("eu west", "", "AWS_REGION"),
            ("", "EU", "AWS_DEFAULT_REGION"),
        ] {
            let error = region(usual, other).unwrap_err();
            assert_eq!(
                (error.param(), error.is_unrecoverable()),
                (Some(param), true),
                "{error}"
            );
        }
    }
}
