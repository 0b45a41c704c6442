//! What DynamoDB answers when it does not do what it is asked, in words with a remedy.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use brs_core::kit::{causes, clean};

use crate::fleet::store::StoreError;

/// What the texts are made of.
pub(super) struct Refused<'a> {
    code: Option<&'a str>,
    said: String,
}

impl<'a> Refused<'a> {
    pub(super) fn of<E, R>(error: &'a SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug + 'static,
    {
        let said = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {}", clean(message, &[])),
            (Some(code), None) => code.to_owned(),
            (None, _) => match causes(error, &[]) {
                said if said.is_empty() => error.to_string(),
                said => said,
            },
        };
        Self {
            code: error.code(),
            said,
        }
    }
}

const CREDENTIALS: [&str; 4] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
];

impl Refused<'_> {
    /// DynamoDB rejects the credentials.
    pub(super) fn is_of_credentials(&self) -> bool {
        self.code.is_some_and(|code| CREDENTIALS.contains(&code))
    }
}

pub(super) fn of(table: &str, region: &str, refused: &Refused<'_>) -> StoreError {
    let place = format!("the DynamoDB table `{table}` in {region}");
    let said = &refused.said;
    StoreError::new(match refused.code.unwrap_or_default() {
        "ResourceNotFoundException" => format!(
            "{place} does not exist: create it with a partition key `pk` of type string, or \
             correct its name, the region or the account"
        ),
        "ValidationException" => format!(
            "{place} is not as brs needs it ({said}): give it a partition key `pk` of type string \
             and no sort key"
        ),
        "AccessDeniedException" => format!(
            "{place} may not be used ({said}): allow dynamodb:GetItem and dynamodb:UpdateItem on \
             it to the base credentials"
        ),
        code if CREDENTIALS.contains(&code) => {
            format!("{place} refuses the base credentials ({said}): check them")
        }
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded" => format!(
            "{place} is asked more than it may be ({said}): raise its capacity, or make it on \
             demand"
        ),
        "" => format!("{place} cannot be asked ({said}): check network, region and endpoint"),
        _ => format!("{place} refuses ({said})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_table_is_told_with_its_remedy() {
        let refused = Refused {
            code: Some("ResourceNotFoundException"),
            said: "x".into(),
        };
        let error = of("t", "eu-west-1", &refused).to_string();
        assert!(
            error.starts_with("the DynamoDB table `t` in eu-west-1 does not exist: create it"),
            "{error}"
        );
    }
}
