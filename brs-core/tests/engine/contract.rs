//! The contract suite itself: a strategy that keeps it passes, one that breaks a clause is caught.

use std::sync::Arc;

use async_trait::async_trait;
use brs_core::test_util::contract::{self, Source, Subject};
use brs_core::test_util::{Scripted, Step};
use brs_core::{Blocking, Error, RefreshContext, RefreshStrategy, TemporaryCredentials};
use futures_util::FutureExt;

use crate::common::*;

/// The scripted strategy; `break_clause` makes it break one.
struct Subjected {
    break_clause: Option<&'static str>,
}

#[async_trait]
impl Subject for Subjected {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let scripted = |step| Some(Scripted::always(step).shared());
        match source {
            Source::Healthy if self.break_clause == Some("secret") => Some(Arc::new(Leaky {
                secret: "hush".into(),
            })),
            Source::Healthy if self.break_clause == Some("dropped") => {
                Some(Arc::new(Stuck::default()))
            }
            Source::Healthy => scripted(Step::Fresh(HOUR)),
            Source::Expired if self.break_clause == Some("expired") => scripted(Step::Fresh(HOUR)),
            Source::Expired => scripted(Step::Fresh(seconds(0))),
            Source::Failing => scripted(Step::Fail(dead())),
            Source::Hanging if self.break_clause == Some("hanging") => scripted(Step::Fresh(HOUR)),
            Source::Hanging => scripted(Step::Hang),
            Source::Panicking if self.break_clause == Some("panic") => {
                scripted(Step::Fail(Error::credential("it panicked").unrecoverable()))
            }
            Source::Panicking => scripted(Step::Panic),
            Source::Blocking(gate) if self.break_clause == Some("blocking") => {
                scripted(Step::Block(gate, Box::new(Step::Fresh(HOUR))))
            }
            Source::Blocking(gate) => Some(Arc::new(OnItsOwnThread {
                place: Blocking::new(),
                gate,
            })),
            _ => None,
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hush".into()]
    }
}

/// Shows what it must not.
#[derive(Debug)]
struct Leaky {
    #[expect(dead_code, reason = "only `Debug` reads it: that is the fault")]
    secret: String,
}

#[async_trait]
impl RefreshStrategy for Leaky {
    fn method(&self) -> &'static str {
        "leaky"
    }

    fn source(&self) -> &'static str {
        "leaky"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        Ok(TemporaryCredentials::new(
            "ASIALEAKY",
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

/// Does not work any more once a refresh was dropped in the middle.
#[derive(Debug, Default)]
struct Stuck {
    busy: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl RefreshStrategy for Stuck {
    fn method(&self) -> &'static str {
        "stuck"
    }

    fn source(&self) -> &'static str {
        "stuck"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        if self.busy.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::connection("busy"));
        }
        tokio::task::yield_now().await;
        self.busy.store(false, std::sync::atomic::Ordering::SeqCst);
        Ok(TemporaryCredentials::new(
            "ASIASTUCK",
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

/// Blocking code in its proper place.
#[derive(Debug)]
struct OnItsOwnThread {
    place: Blocking,
    gate: brs_core::test_util::Gate,
}

#[async_trait]
impl RefreshStrategy for OnItsOwnThread {
    fn method(&self) -> &'static str {
        "blocking"
    }

    fn source(&self) -> &'static str {
        "blocking"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let gate = self.gate.clone();
        self.place.run(move || gate.block()).await?;
        Ok(TemporaryCredentials::new(
            "ASIABLOCKING",
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

#[tokio::test]
async fn a_strategy_that_keeps_the_contract_passes() {
    let report = contract::check(&Subjected { break_clause: None }).await;
    assert_eq!(
        report.checked(),
        [
            "healthy",
            "expired",
            "failing",
            "hanging",
            "panicking",
            "blocking"
        ]
    );
    assert!(report.left_out().is_empty());
}

#[tokio::test]
async fn a_strategy_that_breaks_a_clause_is_caught() {
    for (clause, message) in [
        ("secret", "a secret is shown"),
        ("expired", "must not become credentials"),
        ("dropped", "arrive after dropped refreshes"),
        ("hanging", "ends in the time limit"),
        ("panic", "a panic is a recoverable failure"),
        ("blocking", "must not block the thread"),
    ] {
        let subject = Subjected {
            break_clause: Some(clause),
        };
        let panic = std::panic::AssertUnwindSafe(contract::check(&subject))
            .catch_unwind()
            .await
            .unwrap_err();
        let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or(literal)
            .unwrap_or_default();
        assert!(text.contains(message), "{clause}: {text}");
    }
}
