//! What a base configuration must not be: checked once, when a session is built.
//!
//! An error names the option and what is wrong, never the value: a URL may hold a password.

use aws_types::SdkConfig;

use crate::base::setup::BaseRequest;
use crate::kit::check::{is_account_id, is_endpoint_url, is_region};
use crate::kit::error::Error;

/// Checks what a base configuration holds, wherever it came from.
pub(crate) fn base(config: &SdkConfig) -> Result<(), Error> {
    if config
        .region()
        .is_some_and(|region| !is_region(region.as_ref()))
    {
        return Err(Error::validation(
            "the region is invalid: it must look like `eu-west-1`; check the option, `AWS_REGION` and the profile",
        )
        .with_param("region")
        .unrecoverable());
    }
    if config
        .endpoint_url()
        .is_some_and(|url| !is_endpoint_url(url))
    {
        return Err(Error::validation(
            "the endpoint URL is invalid: it must look like `https://host:port`, without user, password or query; \
             check the option, `AWS_ENDPOINT_URL` and the profile",
        )
        .with_param("endpoint_url")
        .unrecoverable());
    }
    Ok(())
}

/// Checks that nothing is given beside a base session that it brings itself.
pub(crate) fn alone_with_a_session(request: &BaseRequest, base: bool) -> Result<(), Error> {
    for (param, given) in [
        ("base", base),
        ("base_credentials", request.credentials.is_some()),
        ("profile_name", request.profile_name.is_some()),
    ] {
        if given {
            return Err(Error::configuration(format!(
                "both `base_session` and `{param}` are given: the session brings base configuration and credentials"
            ))
            .with_param(param)
            .unrecoverable());
        }
    }
    Ok(())
}

/// Checks the account that was given for credentials whose source does not name one.
pub(crate) fn account_id(id: Option<&str>) -> Result<(), Error> {
    match id {
        Some(id) if !is_account_id(id) => Err(Error::validation(format!(
            "an AWS account id has 12 digits, this has {} characters",
            id.chars().count()
        ))
        .with_param("account_id")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        let config = SdkConfig::builder()
            .endpoint_url("https://user:hush@host")
            .build();
        let error = base(&config).unwrap_err();
        assert!(!format!("{error:?}").contains("hush"));
    }
}
