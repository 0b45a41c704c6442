//! Errors of brs as the AWS SDK's errors for credentials.

use aws_credential_types::provider::error::CredentialsError;

use crate::kit::error::{Error, ErrorKind};

/// The nearest of the SDK's own classes; the brs error stays its source.
pub(crate) fn to_sdk(error: Error) -> CredentialsError {
    match error.kind() {
        ErrorKind::Configuration | ErrorKind::Validation => {
            CredentialsError::invalid_configuration(error)
        }
        _ => CredentialsError::provider_error(error),
    }
}
