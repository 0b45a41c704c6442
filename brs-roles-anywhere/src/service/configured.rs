//! What session, environment and profile say about the endpoint, where the parameters say nothing.
//!
//! Found as SDK clients find it: what the program gives the session, then
//! `AWS_ENDPOINT_URL_ROLESANYWHERE`, `AWS_ENDPOINT_URL`, the profile's services section, its
//! `endpoint_url`. A base configuration that knows no settings of services, as in builds without
//! profiles, leaves the variables, which are read here.

use std::ffi::OsString;

use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use brs_core::Error;

use super::arn::Arn;
use super::endpoint;

const SERVICE: &str = "RolesAnywhere";
const FOR_SERVICE: &str = "AWS_ENDPOINT_URL_ROLESANYWHERE";
const FOR_ALL: &str = "AWS_ENDPOINT_URL";
const IGNORED: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";
/// The parameter, the session's option and the profile's key.
const OPTION: &str = "endpoint_url";

/// An endpoint, and the setting that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    url: String,
    setting: &'static str,
    /// Whether the program gave it.
    is_given: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    endpoint: Option<Found>,
    use_fips: bool,
    use_dual_stack: bool,
}

/// What the parameters say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) endpoint_url: Option<&'a str>,
    pub(crate) use_fips: Option<bool>,
    pub(crate) use_dual_stack: Option<bool>,
}

impl Beside {
    /// # Errors
    ///
    /// A configuration error for a variable that cannot be read.
    pub(crate) fn of(base: &SdkConfig) -> Result<Self, Error> {
        Ok(Self {
            endpoint: find(base, &|name| std::env::var_os(name))?,
            use_fips: base.use_fips().unwrap_or(false),
            use_dual_stack: base.use_dual_stack().unwrap_or(false),
        })
    }

    /// The host that is called, and its port if there is one.
    ///
    /// # Errors
    ///
    /// A validation error for an endpoint that cannot be called; a configuration error for settings
    /// that contradict each other, and for a region without such an endpoint.
    pub(crate) fn host(&self, trust_anchor: &Arn<'_>, given: Given<'_>) -> Result<String, Error> {
        let fips = given.use_fips.unwrap_or(self.use_fips);
        let dual_stack = given.use_dual_stack.unwrap_or(self.use_dual_stack);
        if let Some(url) = given.endpoint_url {
            return endpoint::given(url, OPTION);
        }
        let Some(found) = &self.endpoint else {
            return endpoint::host(trust_anchor, fips, dual_stack);
        };
        // As by the SDKs, but that what the program gives the session counts before the rest.
        let is_asked = given.use_fips == Some(true) || given.use_dual_stack == Some(true);
        if is_asked || (!found.is_given && (fips || dual_stack)) {
            return Err(Error::configuration(format!(
                "`{}` contradicts `use_fips` and `use_dual_stack`: set only one, since the endpoint that it names is \
                 called as it is; `{IGNORED}=true` leaves configured endpoints out",
                found.setting
            ))
            .with_param(found.setting)
            .unrecoverable());
        }
        endpoint::given(&found.url, found.setting)
    }
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn find(base: &SdkConfig, variable: Variable<'_>) -> Result<Option<Found>, Error> {
    let of_session = || {
        base.endpoint_url().map(|url| Found {
            url: url.to_owned(),
            setting: OPTION,
            is_given: true,
        })
    };
    if base.get_origin(OPTION).is_client_config() {
        return Ok(of_session());
    }
    let Some(config) = base.service_config() else {
        return match of_session() {
            Some(found) => Ok(Some(found)),
            None => of_environment(variable),
        };
    };
    let key = ServiceConfigKey::builder()
        .service_id(SERVICE)
        .env(FOR_ALL)
        .profile(OPTION)
        .build();
    let url = key.ok().and_then(|key| config.load_config(key));
    let Some(url) = url.or_else(|| base.endpoint_url().map(str::to_owned)) else {
        return Ok(None);
    };
    let mut settings = [FOR_SERVICE, FOR_ALL].into_iter();
    let setting = settings.find(|name| {
        let value = variable(name);
        value.is_some_and(|value| value.to_str().map(str::trim) == Some(url.trim()))
    });
    Ok(Some(Found {
        url,
        setting: setting.unwrap_or(OPTION),
        is_given: false,
    }))
}

fn of_environment(variable: Variable<'_>) -> Result<Option<Found>, Error> {
    if let Some(ignored) = value(variable, IGNORED)? {
        match ignored.to_ascii_lowercase().as_str() {
            "true" => return Ok(None),
            "false" => {}
            _ => {
                let problem = "is not a boolean: it must be `true` or `false`";
                return Err(wrong(IGNORED, problem));
            }
        }
    }
    for setting in [FOR_SERVICE, FOR_ALL] {
        if let Some(url) = value(variable, setting)? {
            return Ok(Some(Found {
                url,
                setting,
                is_given: false,
            }));
        }
    }
    Ok(None)
}

/// A variable's value; one that is empty counts as absent.
fn value(variable: Variable<'_>, name: &'static str) -> Result<Option<String>, Error> {
    let Some(raw) = variable(name) else {
        return Ok(None);
    };
    let text = raw.to_str().ok_or_else(|| wrong(name, "is not UTF-8"))?;
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn wrong(name: &'static str, problem: &str) -> Error {
    Error::configuration(format!("`{name}` {problem}"))
        .with_param(name)
        .unrecoverable()
}

#[cfg(test)]
mod tests {
    use aws_types::origin::Origin;
    use aws_types::service_config::LoadServiceConfig;

    use super::super::arn::Kind;
    use super::*;

    /// What a profile's services section, or its own key, has.
    #[derive(Debug)]
    struct OfProfile(&'static str);

    impl LoadServiceConfig for OfProfile {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            assert_eq!((key.service_id(), key.profile()), (SERVICE, OPTION));
            Some(self.0.to_owned())
        }
    }

    fn found(
        base: &SdkConfig,
        all: &[(&str, &str)],
    ) -> Result<Option<(String, &'static str)>, Error> {
        let variable = |name: &str| {
            let mut all = all.iter();
            all.find(|(of, _)| *of == name)
                .map(|(_, value)| (*value).into())
        };
        let found = find(base, &variable)?;
        Ok(found.map(|found| (found.url, found.setting)))
    }

    #[test]
    fn the_order_is_that_of_the_sdks() {
        let plain = SdkConfig::builder().build();
        let mut of_session = SdkConfig::builder().endpoint_url("https://session");
        of_session.insert_origin(OPTION, Origin::shared_config());
        let of_profile = |url| SdkConfig::builder().service_config(OfProfile(url)).build();
        let (own, all) = ((FOR_SERVICE, " https://own "), (FOR_ALL, "https://all"));
        for (base, variables, expected) in [
            (&plain, &[][..], None),
            (&plain, &[all], Some(("https://all", FOR_ALL))),
            (&plain, &[all, own], Some(("https://own", FOR_SERVICE))),
            (
                &plain,
                &[all, (FOR_SERVICE, " ")],
                Some(("https://all", FOR_ALL)),
            ),
            (&plain, &[all, own, (IGNORED, "True")], None),
            (
                &plain,
                &[all, (IGNORED, "false")],
                Some(("https://all", FOR_ALL)),
            ),
            (
                &of_session.build(),
                &[all, own],
                Some(("https://session", OPTION)),
            ),
            // The loader of the profile reads the variables, too.
            (
                &of_profile("https://own"),
                &[all, own],
                Some(("https://own", FOR_SERVICE)),
            ),
            (
                &of_profile("https://section"),
                &[],
                Some(("https://section", OPTION)),
            ),
        ] {
            let found = found(base, variables).unwrap();
            let found = found
                .as_ref()
                .map(|(url, setting)| (url.as_str(), *setting));
            assert_eq!(found, expected, "{variables:?}");
        }
        let error = found(&plain, &[(IGNORED, "1")]).unwrap_err();
        assert_eq!(error.param(), Some(IGNORED));
    }

    #[test]
    fn what_contradicts_each_other_is_told_by_its_setting() {
        let arn = "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/a-1";
        let anchor = Arn::parse(arn, Kind::TrustAnchor).unwrap();
        let beside = |url: &str, setting, is_given, use_fips| Beside {
            endpoint: Some(Found {
                url: url.to_owned(),
                setting,
                is_given,
            }),
            use_fips,
            use_dual_stack: false,
        };
        let fips = Given {
            use_fips: Some(true),
            ..Given::default()
        };
        let no_fips = Given {
            use_fips: Some(false),
            ..Given::default()
        };
        let other = Given {
            endpoint_url: Some("https://given"),
            ..Given::default()
        };
        for (beside, given, expected) in [
            (
                beside("https://a", FOR_ALL, false, false),
                Given::default(),
                Ok("a"),
            ),
            (
                beside("https://a", FOR_ALL, false, true),
                Given::default(),
                Err(FOR_ALL),
            ),
            (beside("https://a", FOR_ALL, false, true), no_fips, Ok("a")),
            (
                beside("https://a", FOR_ALL, false, false),
                fips,
                Err(FOR_ALL),
            ),
            (
                beside("https://a", OPTION, true, true),
                Given::default(),
                Ok("a"),
            ),
            (beside("https://a", OPTION, true, false), fips, Err(OPTION)),
            (
                beside("https://a", FOR_ALL, false, true),
                other,
                Ok("given"),
            ),
            (
                beside("http://a", FOR_SERVICE, false, false),
                Given::default(),
                Err(FOR_SERVICE),
            ),
        ] {
            let host = beside.host(&anchor, given);
            let host = host
                .as_deref()
                .map_err(|error| error.param().unwrap_or_default());
            assert_eq!(host, expected, "{beside:?} {given:?}");
        }
        let error = beside("http://hush", FOR_SERVICE, false, false)
            .host(&anchor, Given::default())
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(FOR_SERVICE) && !text.contains("hush"),
            "{text}"
        );
    }
}
