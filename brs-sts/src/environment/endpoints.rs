//! Endpoint URLs from environment and profile, for all services and for one.
//!
//! SDK clients ask for theirs when they are built, through [`LoadServiceConfig`]. aws-config's own
//! answer takes an empty variable for an endpoint and keeps white space, so it is asked only for
//! what the profile says.

use aws_types::SdkConfig;
use aws_types::origin::Origin;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use brs_core::Error;
use brs_core::kit::is_endpoint_url;

use super::{Found, Place, Reader, Variables};

const VARIABLE: &str = "AWS_ENDPOINT_URL";
const KEY: &str = "endpoint_url";
/// A name that no variable can have.
const NO_VARIABLE: &str = "=";

/// What is configured.
#[derive(Debug)]
pub(crate) struct Endpoints {
    variables: Variables,
    ignored: bool,
    for_all: Option<Found>,
}

impl Endpoints {
    /// Reads what counts for all services and checks it, and what the environment says for single
    /// ones.
    pub(super) fn read(reader: &Reader<'_>, ignored: bool) -> Result<Self, Error> {
        let variables = reader.variables.clone();
        if ignored {
            return Ok(Self {
                variables,
                ignored,
                for_all: None,
            });
        }
        for name in variables.names(&format!("{VARIABLE}_")) {
            if let Some(url) = variables.get(&name)? {
                check(&url, &Place::variable(&name))?;
            }
        }
        let for_all = reader.find(&[VARIABLE], &[KEY])?;
        if let Some((url, place)) = &for_all {
            check(url, place)?;
        }
        Ok(Self {
            variables,
            ignored,
            for_all,
        })
    }

    /// The endpoint URL for all services, and its origin.
    pub(super) fn for_all(&self) -> (Option<String>, Origin) {
        match &self.for_all {
            None => (None, Origin::unknown()),
            Some((url, Place::Variable(_))) => {
                (Some(url.clone()), Origin::shared_environment_variable())
            }
            Some((url, Place::Profile(..))) => (Some(url.clone()), Origin::shared_profile_file()),
        }
    }

    /// The same as what SDK clients ask, over what aws-config has loaded.
    pub(super) fn over(self, loaded: SdkConfig) -> impl LoadServiceConfig + 'static {
        OfServices {
            variables: self.variables,
            ignored: self.ignored,
            loaded,
        }
    }
}

pub(super) fn check(url: &str, place: &Place) -> Result<(), Error> {
    if is_endpoint_url(url) {
        return Ok(());
    }
    Err(place.wrong("is not an endpoint URL: it must look like `https://host:port`, without user, password or query"))
}

#[derive(Debug)]
struct OfServices {
    variables: Variables,
    ignored: bool,
    loaded: SdkConfig,
}

impl OfServices {
    /// A variable that is not UTF-8 was an error when the session was built.
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).ok().flatten()
    }

    fn of_profile(&self, key: &ServiceConfigKey<'_>) -> Option<String> {
        let profile = ServiceConfigKey::builder()
            .service_id(key.service_id())
            .env(NO_VARIABLE)
            .profile(key.profile());
        let value = self
            .loaded
            .service_config()?
            .load_config(profile.build().ok()?)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }
}

impl LoadServiceConfig for OfServices {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        if self.ignored && key.env() == VARIABLE {
            return None;
        }
        let of_service = format!(
            "{}_{}",
            key.env(),
            key.service_id().to_uppercase().replace(' ', "_")
        );
        self.variable(&of_service)
            .or_else(|| self.variable(key.env()))
            .or_else(|| self.of_profile(&key))
    }
}
