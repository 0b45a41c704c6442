//! What a session inherits from the one beneath it: where STS is and how it is reached.
//!
//! The base configuration is inherited by `brs-core`; here are the settings of the STS client, which only this crate
//! knows. Credentials are never inherited: the session beneath *is* them.

use std::any::Any;

use brs_core::{BaseCredentials, BaseSession, Setup};

use crate::client::StsClient;
use crate::session_token::SessionToken;
use crate::strategy::Sts;
use crate::web_identity::WebIdentity;

/// The settings, completed from those of the session beneath, if there is one.
pub(crate) fn inherited(settings: &StsClient, setup: &Setup) -> StsClient {
    let BaseCredentials::Session(session) = setup.base_credentials() else { return settings.clone() };
    match settings_of(session) {
        Some(beneath) => settings.inheriting(beneath, setup.region() != session.region()),
        None => settings.clone(),
    }
}

fn settings_of(session: &BaseSession) -> Option<&StsClient> {
    let strategy: &dyn Any = session.strategy();
    strategy
        .downcast_ref::<Sts>()
        .map(Sts::settings)
        .or_else(|| strategy.downcast_ref::<SessionToken>().map(SessionToken::settings))
        .or_else(|| strategy.downcast_ref::<WebIdentity>().map(WebIdentity::settings))
}
