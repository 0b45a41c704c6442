//! What operators read: log lines and spans. In a binary of its own, since refreshes run on brs's
//! own threads and only a global subscriber hears those.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use brs_core::test_util::{ManualClock, Scripted, Step};
use brs_core::{Error, RefreshableSession};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines_with(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_log_tells_what_an_operator_must_know() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let clock = ManualClock::new(UNIX_EPOCH + 500_000 * HOUR);
    let strategy = Scripted::statically_stable(Step::Fresh(HOUR));
    let session = RefreshableSession::with_strategy(strategy.shared())
        .clock(clock.clone())
        .advisory_window(2 * HOUR)
        .build()
        .await
        .unwrap();
    for _ in 0..3 {
        session.refresh().await.unwrap();
    }
    let key = session
        .credentials()
        .await
        .unwrap()
        .access_key_id()
        .to_owned();
    strategy.otherwise(Step::Fail(Error::connection("the source is dead")));
    session.report_rejected(&key);
    clock.advance(2 * HOUR);
    session.credentials().await.unwrap();
    strategy.otherwise(Step::Fresh(HOUR));
    session.refresh().await.unwrap();
    for _ in 0..2 {
        let key = session
            .credentials()
            .await
            .unwrap()
            .access_key_id()
            .to_owned();
        session.report_rejected(&key);
    }
    let _ = session.credentials().await;

    let shortened = log.lines_with("do not fit the credentials' lifetime");
    assert_eq!(
        shortened.len(),
        1,
        "one warning, however many sets: {shortened:?}"
    );
    for (text, level) in [
        ("refresh started", "DEBUG"),
        ("refresh succeeded", "INFO"),
        ("refresh failed", "WARN"),
        ("credentials invalidated", "INFO"),
        ("serving expired credentials", "WARN"),
        ("rejected again too soon", "WARN"),
    ] {
        let lines = log.lines_with(text);
        assert!(!lines.is_empty(), "`{text}` is logged");
        for line in lines {
            assert!(
                line.contains(level) && line.contains("method=\"scripted\""),
                "{line}"
            );
        }
    }
    let in_span = log.lines_with("refresh succeeded");
    assert!(
        in_span
            .iter()
            .all(|line| line.contains("refresh{method=\"scripted\"")),
        "in a span of its flight: {in_span:?}"
    );
}
