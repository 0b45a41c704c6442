//! What a session inherits from the one beneath it: where STS is and how it is reached.
//!
//! The base configuration is inherited by `brs-core`; here are the settings of the STS client,
//! which only this crate knows. Credentials are never inherited: the session beneath *is* them.

use std::any::Any;

use brs_core::{BaseCredentials, RefreshStrategy, Setup};

use crate::methods::assume_role::Sts;
use crate::methods::root::Root;
use crate::methods::saml::Saml;
use crate::methods::session_token::SessionToken;
use crate::methods::web_identity::WebIdentity;
use crate::request::client::StsClient;
use crate::sts::connect::Connection;

/// The settings, completed from those of the session beneath, if there is one.
pub(crate) fn inherited(settings: &StsClient, setup: &Setup) -> StsClient {
    let BaseCredentials::Session(session) = setup.base_credentials() else {
        return settings.clone();
    };
    match connection_of(session.strategy()) {
        Some(beneath) => settings.inheriting(&beneath.settings, setup.region() != session.region()),
        None => settings.clone(),
    }
}

/// How a strategy reaches STS, if it is one of this crate's.
pub(crate) fn connection_of(strategy: &dyn RefreshStrategy) -> Option<&Connection> {
    let strategy: &dyn Any = strategy;
    strategy
        .downcast_ref::<Sts>()
        .map(Sts::connection)
        .or_else(|| {
            strategy
                .downcast_ref::<SessionToken>()
                .map(SessionToken::connection)
        })
        .or_else(|| {
            strategy
                .downcast_ref::<WebIdentity>()
                .map(WebIdentity::connection)
        })
        .or_else(|| strategy.downcast_ref::<Saml>().map(Saml::connection))
        .or_else(|| strategy.downcast_ref::<Root>().map(Root::connection))
}
