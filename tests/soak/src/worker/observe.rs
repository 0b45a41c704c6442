//! What is seen of a session from within its process: calls to its source, and its events.
//!
//! [`Observed`] stands around a method's strategy, within whatever shares its sets, and hands
//! everything on.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brs::{
    BaseSession, Clock, Error, Event, Events, Fingerprint, Identity, RefreshContext,
    RefreshStrategy, SessionBuilder, TemporaryCredentials,
};

use super::Recorder;
use crate::record::{What, millis};
use crate::schedule::{Millis, SECOND};

/// A strategy whose calls are written down.
#[derive(Debug)]
struct Observed {
    strategy: Arc<dyn RefreshStrategy>,
    name: &'static str,
    recorder: Recorder,
}

/// Puts the observer around the strategy of a session. Stores are put around it afterwards.
pub(crate) fn observed(
    builder: SessionBuilder,
    name: impl Fn(&dyn RefreshStrategy) -> &'static str + Send + Sync + 'static,
    recorder: &Recorder,
) -> SessionBuilder {
    let recorder = recorder.clone();
    builder.wrap_strategy(move |strategy| {
        Ok(Arc::new(Observed {
            name: name(&*strategy),
            strategy,
            recorder: recorder.clone(),
        }))
    })
}

/// A call to the source. It is written down however it ends: a flight's time limit drops it.
struct Asking<'a> {
    of: &'a Observed,
    began: Millis,
    key: Option<String>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let (began, key) = (self.began, self.key.take());
        self.of
            .recorder
            .write(self.of.name, What::Asked { began, key });
    }
}

#[async_trait]
impl RefreshStrategy for Observed {
    fn method(&self) -> &'static str {
        self.strategy.method()
    }

    fn source(&self) -> &'static str {
        self.strategy.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let mut asking = Asking {
            of: self,
            began: self.recorder.now(),
            key: None,
        };
        let answer = self.strategy.refresh(cx).await;
        asking.key = answer
            .as_ref()
            .ok()
            .map(|set| set.access_key_id().to_owned());
        answer
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        self.strategy.identity(credentials).await
    }

    fn role(&self) -> Option<&str> {
        self.strategy.role()
    }

    fn profile(&self) -> Option<&str> {
        self.strategy.profile()
    }

    fn region(&self) -> Option<&str> {
        self.strategy.region()
    }

    fn base_session(&self) -> Option<&BaseSession> {
        self.strategy.base_session()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.strategy.fingerprint()
    }

    fn wrapped(&self) -> Option<&dyn RefreshStrategy> {
        Some(&*self.strategy)
    }

    fn static_stability(&self) -> bool {
        self.strategy.static_stability()
    }

    fn interactive(&self) -> bool {
        self.strategy.interactive()
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        self.strategy.refresh_timeout()
    }
}

/// Writes down a session's events until it is gone.
pub(crate) async fn watch(
    mut events: Events,
    clock: Arc<dyn Clock>,
    name: &'static str,
    recorder: Recorder,
) {
    while let Some(event) = events.next().await {
        show(&format!("{name}: {event:?}"));
        if let Some(what) = record(event, &*clock, &recorder) {
            recorder.write(name, what);
        }
    }
}

/// The longest wait of an engine whose sets live as briefly as here.
const LONGEST_WAIT: Millis = 60 * SECOND;

fn record(event: Event, clock: &dyn Clock, recorder: &Recorder) -> Option<What> {
    let start = recorder.start();
    // By the session's own wall clock, which may be off, and may have been stepped just now.
    let later = |at: SystemTime| {
        let wait = millis(at.duration_since(clock.now()).unwrap_or_default());
        recorder.now() + wait.min(LONGEST_WAIT)
    };
    Some(match event {
        Event::RefreshStarted { reason } => What::Started {
            reason: format!("{reason:?}"),
        },
        Event::RefreshSucceeded {
            access_key_id,
            expiration,
            duration,
        } => What::Got {
            key: access_key_id,
            expires: expiration.map(|expiration| start.of_wall(expiration)),
            took: millis(duration),
        },
        Event::RefreshFailed {
            error,
            duration,
            next_try,
        } => {
            show(&shown(&error));
            What::Refused {
                text: shortened(&error.to_string()),
                took: millis(duration),
                next_try: next_try.map(later),
                is_for_a_person: error.is_unrecoverable(),
            }
        }
        Event::Invalidated { access_key_id } => What::Invalidated { key: access_key_id },
        Event::RejectionPassedOver {
            access_key_id,
            honoured_from,
        } => What::PassedOver {
            key: access_key_id,
            until: later(honoured_from),
        },
        Event::Missed { count } => What::Missed { count },
        _ => return None,
    })
}

/// An error with all that is beneath it, in both forms.
pub(crate) fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(" <- {error} {error:?}"));
        source = error.source();
    }
    text
}

/// What the ledger prints of an error.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

/// To the standard error, which the ledger searches for secrets.
pub(crate) fn show(text: &str) {
    // A conductor that does not listen is about to end this process.
    let _ = writeln!(std::io::stderr(), "{text}");
}
