//! The credentials of where the program runs: the container's, the instance's.
//!
//! aws-config's providers take a variable that is empty for a setting, and fail. So it is decided
//! here which of them there are, by the rule that an empty variable counts as absent.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use brs_core::Error;
use brs_core::kit::is_endpoint_url;

use super::{Reader, Variables};

const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// The container's credentials, if variables say where.
pub(crate) fn container(
    providers: &ProviderConfig,
) -> Result<Option<EcsCredentialsProvider>, Error> {
    let variables = &Variables::Process;
    Ok(has_container(variables)?.then(|| {
        EcsCredentialsProvider::builder()
            .configure(providers)
            .build()
    }))
}

/// Whether there is a container, and that its provider can read it.
pub(super) fn has_container(variables: &Variables) -> Result<bool, Error> {
    let (relative, full) = (variables.get(RELATIVE_URI)?, variables.get(FULL_URI)?);
    if relative.is_none() && full.is_none() {
        return Ok(false);
    }
    // The SDK's provider would take these two for set, and nothing here can tell it otherwise.
    let blocking = [
        (RELATIVE_URI, relative.is_none()),
        (TOKEN_FILE, variables.get(TOKEN_FILE)?.is_none()),
    ];
    for (name, is_empty) in blocking {
        if is_empty && variables.is_set(name) {
            return Err(super::Place::variable(name)
                .wrong("is empty, and the SDK does not ignore that: unset it"));
        }
    }
    Ok(true)
}

/// Where variables or the profile say that the metadata service is.
pub(crate) fn endpoint(reader: &Reader<'_>) -> Result<String, Error> {
    let endpoint = reader.find(
        &["AWS_EC2_METADATA_SERVICE_ENDPOINT"],
        &["ec2_metadata_service_endpoint"],
    )?;
    let mode = reader.find(
        &["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"],
        &["ec2_metadata_service_endpoint_mode"],
    )?;
    if let Some((url, place)) = endpoint {
        return match is_endpoint_url(&url) {
            true => Ok(url),
            false => Err(place.wrong("is not a URL: it must look like `http://169.254.169.254`")),
        };
    }
    Ok(match mode {
        Some((mode, _)) if mode.eq_ignore_ascii_case("ipv6") => "http://[fd00:ec2::254]",
        Some((mode, place)) if !mode.eq_ignore_ascii_case("ipv4") => {
            return Err(place.wrong("is not a mode: it must be `IPv4` or `IPv6`"));
        }
        _ => "http://169.254.169.254",
    }
    .to_owned())
}

/// The instance's credentials, from the metadata service that variables or the profile name.
pub(crate) fn instance(
    providers: &ProviderConfig,
    reader: &Reader<'_>,
) -> Result<ImdsCredentialsProvider, Error> {
    let url = endpoint(reader)?;
    let client = imds::Client::builder()
        .configure(providers)
        .endpoint(url)
        .map_err(|_| {
            Error::configuration("the endpoint of the instance metadata service is not a URL")
                .unrecoverable()
        })?;
    Ok(ImdsCredentialsProvider::builder()
        .configure(providers)
        .imds_client(client.build())
        .build())
}
