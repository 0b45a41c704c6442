//! Every setting of aws-config's loader: read, judged, and handed to it.
//!
//! What is old is taken for its nearest meaning with a warning. What the session is given
//! explicitly is not looked up.

use std::str::FromStr;

use aws_config::ConfigLoader;
use aws_smithy_runtime_api::client::auth::{AuthSchemeId, AuthSchemePreference};
use aws_smithy_types::checksum_config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_types::retry::{RetryConfig, RetryMode, RetrySpec};
use aws_types::SdkConfig;
use aws_types::app_name::AppName;
use aws_types::endpoint_config::AccountIdEndpointMode;
use aws_types::origin::Origin;
use aws_types::region::{Region, SigningRegionSet};
use brs_core::kit::is_region;
use brs_core::{BaseRequest, Error};

use super::endpoints::Endpoints;
use super::{Found, Place, Reader};

/// The largest body that services let be compressed from, in bytes (AWS SDKs and Tools Reference).
const MAX_COMPRESSION: u32 = 10_485_760;
const BOOLEAN: &str = "is not a boolean: it must be `true` or `false`";

/// What environment and profile say.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) region: Option<Region>,
    retry: RetryConfig,
    use_fips: Option<bool>,
    use_dual_stack: Option<bool>,
    app_name: Option<AppName>,
    disable_request_compression: Option<bool>,
    disable_clock_skew_correction: Option<bool>,
    request_min_compression_size_bytes: Option<u32>,
    account_id_endpoint_mode: Option<AccountIdEndpointMode>,
    request_checksum_calculation: Option<RequestChecksumCalculation>,
    response_checksum_validation: Option<ResponseChecksumValidation>,
    auth_scheme_preference: Option<AuthSchemePreference>,
    sigv4a_signing_region_set: Option<SigningRegionSet>,
    /// `None` if the session was given one.
    endpoints: Option<Endpoints>,
}

impl Settings {
    pub(crate) fn read(reader: &Reader<'_>, request: &BaseRequest) -> Result<Self, Error> {
        let boolean =
            |variable: &str, key: &str| parsed(reader.find(&[variable], &[key])?, BOOLEAN, boolean);
        Ok(Self {
            region: match &request.region {
                Some(region) => Some(region.clone()),
                None => region(reader)?,
            },
            retry: retry(reader)?,
            use_fips: boolean("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")?,
            use_dual_stack: boolean("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")?,
            app_name: parsed(
                // The second key is an older spelling.
                reader.find(&["AWS_SDK_UA_APP_ID"], &["sdk_ua_app_id", "sdk-ua-app-id"])?,
                "is not an application id: it may hold only letters, digits and any of ``!#$%&'*+-.^_`|~``",
                |text| AppName::new(text.to_owned()).ok(),
            )?,
            disable_request_compression: boolean(
                "AWS_DISABLE_REQUEST_COMPRESSION",
                "disable_request_compression",
            )?,
            disable_clock_skew_correction: boolean(
                "AWS_DISABLE_CLOCK_SKEW_CORRECTION",
                "disable_clock_skew_correction",
            )?,
            request_min_compression_size_bytes: parsed(
                reader.find(
                    &["AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES"],
                    &["request_min_compression_size_bytes"],
                )?,
                "is not a size: it must be a whole number of bytes, 0 to 10485760",
                |text| text.parse().ok().filter(|size| *size <= MAX_COMPRESSION),
            )?,
            account_id_endpoint_mode: parsed(
                reader.find(
                    &["AWS_ACCOUNT_ID_ENDPOINT_MODE"],
                    &["account_id_endpoint_mode"],
                )?,
                "is not a mode: it must be `preferred`, `disabled` or `required`",
                by_name,
            )?,
            request_checksum_calculation: parsed(
                reader.find(
                    &["AWS_REQUEST_CHECKSUM_CALCULATION"],
                    &["request_checksum_calculation"],
                )?,
                "must be `when_supported` or `when_required`",
                by_name,
            )?,
            response_checksum_validation: parsed(
                reader.find(
                    &["AWS_RESPONSE_CHECKSUM_VALIDATION"],
                    &["response_checksum_validation"],
                )?,
                "must be `when_supported` or `when_required`",
                by_name,
            )?,
            auth_scheme_preference: parsed(
                reader.find(&["AWS_AUTH_SCHEME_PREFERENCE"], &["auth_scheme_preference"])?,
                "is not a list of schemes: it must be names such as `sigv4`, with commas in between",
                schemes,
            )?,
            sigv4a_signing_region_set: parsed(
                reader.find(
                    &["AWS_SIGV4A_SIGNING_REGION_SET"],
                    &["sigv4a_signing_region_set"],
                )?,
                "is not a set of regions: it must be regions or `*`, with commas in between",
                region_set,
            )?,
            endpoints: match request.endpoint_url {
                Some(_) => None,
                None => Some(Endpoints::read(
                    reader,
                    boolean(
                        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                        "ignore_configured_endpoint_urls",
                    )?
                    .unwrap_or_default(),
                )?),
            },
        })
    }

    /// Gives the loader all of it, so that it looks up nothing itself but the profile.
    pub(crate) fn give(&self, mut loader: ConfigLoader) -> ConfigLoader {
        loader = loader
            .region(self.region.clone())
            .retry_config(self.retry.clone());
        if let Some(on) = self.use_fips {
            loader = loader.use_fips(on);
        }
        if let Some(on) = self.use_dual_stack {
            loader = loader.use_dual_stack(on);
        }
        if let Some(name) = &self.app_name {
            loader = loader.app_name(name.clone());
        }
        if let Some(on) = self.disable_request_compression {
            loader = loader.disable_request_compression(on);
        }
        if let Some(on) = self.disable_clock_skew_correction {
            loader = loader.disable_clock_skew_correction(on);
        }
        if let Some(size) = self.request_min_compression_size_bytes {
            loader = loader.request_min_compression_size_bytes(size);
        }
        if let Some(mode) = &self.account_id_endpoint_mode {
            loader = loader.account_id_endpoint_mode(mode.clone());
        }
        if let Some(when) = self.request_checksum_calculation {
            loader = loader.request_checksum_calculation(when);
        }
        if let Some(when) = self.response_checksum_validation {
            loader = loader.response_checksum_validation(when);
        }
        if let Some(schemes) = &self.auth_scheme_preference {
            loader = loader.auth_scheme_preference(schemes.clone());
        }
        if let Some(regions) = &self.sigv4a_signing_region_set {
            loader = loader.sigv4a_signing_region_set(regions.clone());
        }
        loader
    }

    /// Sets what the loader has no setter for, and where each setting came from: what is set in the
    /// program counts for more than what the environment says, and the loader takes all that it was
    /// given for set in the program.
    pub(crate) fn complete(self, loaded: SdkConfig) -> SdkConfig {
        let mut config = loaded.to_builder();
        config.insert_origin("retry_config", Origin::unknown());
        config.insert_origin("auth_scheme_preference", Origin::unknown());
        if let Some(endpoints) = self.endpoints {
            let (endpoint_url, origin) = endpoints.for_all();
            config.set_endpoint_url(endpoint_url);
            config.insert_origin("endpoint_url", origin);
            config.set_service_config(Some(endpoints.over(loaded)));
        }
        config.build()
    }
}

/// A value that is there has to be understood.
fn parsed<T>(
    found: Option<Found>,
    problem: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    match found {
        None => Ok(None),
        Some((value, place)) => parse(&value).map(Some).ok_or_else(|| place.wrong(problem)),
    }
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(name, on)| text.eq_ignore_ascii_case(name).then_some(on))
}

fn by_name<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn region(reader: &Reader<'_>) -> Result<Option<Region>, Error> {
    parsed(
        reader.find(&["AWS_REGION", "AWS_DEFAULT_REGION"], &["region"])?,
        "is not a region: it must look like `eu-west-1`",
        |text| is_region(text).then(|| Region::new(text.to_owned())),
    )
}

fn retry(reader: &Reader<'_>) -> Result<RetryConfig, Error> {
    let mut retry = RetryConfig::standard();
    let attempts = parsed(
        reader.find(&["AWS_MAX_ATTEMPTS"], &["max_attempts"])?,
        "is not a number of attempts: it must be a whole number, 1 or more; the first attempt counts",
        |text| text.parse().ok().filter(|attempts| *attempts > 0),
    )?;
    if let Some(attempts) = attempts {
        retry = retry.with_max_attempts(attempts);
    }
    if let Some((text, place)) = reader.find(&["AWS_RETRY_MODE"], &["retry_mode"])? {
        retry = retry.with_retry_mode(retry_mode(&text, &place)?);
    }
    let new = reader.find(&["AWS_NEW_RETRIES_2026"], &[])?;
    if parsed(new, BOOLEAN, boolean)? == Some(true) {
        retry = retry.with_retry_spec(RetrySpec::v2_1());
    }
    Ok(retry)
}

fn retry_mode(text: &str, place: &Place) -> Result<RetryMode, Error> {
    if text.eq_ignore_ascii_case("legacy") {
        tracing::warn!(
            "{place} is `legacy`, a retry mode of botocore's: `standard` is used, set it to silence this"
        );
        return Ok(RetryMode::Standard);
    }
    text.parse()
        .map_err(|_| place.wrong("is not a retry mode: it must be `standard` or `adaptive`"))
}

fn schemes(text: &str) -> Option<AuthSchemePreference> {
    let names = text.split(',').map(|name| name.replace([' ', '\t'], ""));
    // A name may have its namespace before it: `aws.auth#sigv4`.
    let names = names.map(|name| name.rsplit('#').next().unwrap_or_default().to_owned());
    let names: Vec<String> = names.collect();
    if names.iter().any(String::is_empty) {
        return None;
    }
    let ids: Vec<_> = names
        .into_iter()
        .map(|name| AuthSchemeId::from(std::borrow::Cow::Owned(name)))
        .collect();
    Some(ids.into())
}

fn region_set(text: &str) -> Option<SigningRegionSet> {
    let regions: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|region| !region.is_empty())
        .collect();
    let is_pattern = |region: &str| is_region(&region.replace('*', "x"));
    (!regions.is_empty() && regions.iter().all(|region| is_pattern(region)))
        .then(|| regions.into_iter().collect())
}
