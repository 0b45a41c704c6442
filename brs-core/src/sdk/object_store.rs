//! A session's engine as a credential provider of the crate `object_store`.
//!
//! That crate asks before every request and caches nothing, so it gets the engine's own behaviour.
//! It does not say when a service has rejected credentials: rejected ones are replaced when an SDK
//! client of the session meets the same, or when the program calls `invalidate`.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use crate::base::session::BaseSession;
use crate::refresh::CachedSet;

/// Gives `object_store` what the engine has.
#[derive(Debug)]
pub(crate) struct ObjectStoreCredentials {
    session: BaseSession,
    /// The last answer: a set is converted once.
    last: ArcSwapOption<Last>,
}

#[derive(Debug)]
struct Last {
    set: Weak<CachedSet>,
    credential: Arc<AwsCredential>,
}

impl ObjectStoreCredentials {
    pub(crate) fn new(session: BaseSession) -> Self {
        Self {
            session,
            last: ArcSwapOption::empty(),
        }
    }

    fn convert(&self, set: &Arc<CachedSet>) -> Arc<AwsCredential> {
        if let Some(last) = &*self.last.load()
            && std::ptr::eq(last.set.as_ptr(), Arc::as_ptr(set))
        {
            return Arc::clone(&last.credential);
        }
        let credential = Arc::new(AwsCredential {
            key_id: set.credentials.access_key_id().to_owned(),
            secret_key: set.credentials.secret_access_key().to_owned(),
            token: set.credentials.session_token().map(str::to_owned),
        });
        self.last.store(Some(Arc::new(Last {
            set: Arc::downgrade(set),
            credential: Arc::clone(&credential),
        })));
        credential
    }
}

#[async_trait]
impl CredentialProvider for ObjectStoreCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        match self.session.engine().current().await {
            Ok(set) => Ok(self.convert(&set)),
            Err(error) => Err(object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            }),
        }
    }
}
