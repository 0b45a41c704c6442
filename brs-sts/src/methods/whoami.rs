//! `whoami()`: STS GetCallerIdentity with a session's own credentials.
//!
//! A strategy of this crate is asked how it reaches STS: what its session needs to get there, a CA
//! bundle or a proxy for instance, this call needs too. All other sessions ask as their base
//! configuration says.

use aws_types::SdkConfig;
use brs_core::{CallerIdentity, Error, RefreshStrategy};

use crate::environment::origins::Origins;
use crate::methods::inherit::connection_of;
use crate::sts::connect::connect_for_identity;
use crate::sts::error::{Call, Operation, from_sdk};
use crate::sts::observed::Observed;
use crate::sts::proxy::Proxy;

/// Who the credentials of `config` are; `None` if there is no region to ask in.
pub(crate) async fn caller_identity(
    config: &SdkConfig,
    strategy: &dyn RefreshStrategy,
) -> Result<Option<CallerIdentity>, Error> {
    let (client, place, proxy) = match connection_of(strategy) {
        Some(connection) => (
            connection.for_identity(config.credentials_provider()),
            connection.place.clone(),
            connection.proxy.clone(),
        ),
        None if config.region().is_some() => {
            let (client, place) = connect_for_identity(config)?;
            (client, place, Proxy::of_base(config))
        }
        None => return Ok(None),
    };
    let observed = Observed::default();
    let call = client
        .get_caller_identity()
        .customize()
        .interceptor(observed.observer());
    let answer = call.send().await.map_err(|error| {
        let endpoint = observed.endpoint();
        let at = endpoint.as_ref().map(|origin| format!("`{origin}`"));
        let failed = from_sdk(
            &error,
            &Call {
                operation: Operation::CallerIdentity,
                origins: &Origins::NONE,
                place: at.as_deref().unwrap_or(&place),
                credentials: "the session's credentials",
                fixed_credentials: false,
                device: None,
                difference: None,
                hidden: &[],
                sent: observed.sent(),
                way: proxy.way(endpoint.as_deref()),
            },
        );
        failed.error
    })?;
    match (answer.account(), answer.arn(), answer.user_id()) {
        (Some(account), Some(arn), Some(user_id)) => {
            Ok(Some(CallerIdentity::new(account, arn, user_id)))
        }
        _ => Err(Error::credential(
            "the answer of STS lacks account, ARN or user id: check what answers at the endpoint URL",
        )),
    }
}
