//! A device whose clock is wrong by a day, either way; certificates near and beyond their end.

use brs::Event;

use super::*;

/// A clock that is `by` behind the bench's, or ahead of it.
#[derive(Clone, Debug)]
struct Wrong {
    right: Brisk,
    by: Duration,
    behind: bool,
}

impl Clock for Wrong {
    fn now(&self) -> SystemTime {
        if self.behind { self.right.now() - self.by } else { self.right.now() + self.by }
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }

    fn sleep(&self, duration: Duration) -> brs_core::Sleep {
        self.right.sleep(duration)
    }
}

#[tokio::test]
async fn a_device_whose_clock_is_wrong_by_a_day_refreshes_in_time() {
    for behind in [true, false] {
        let bench = Bench::new();
        let clock = Wrong { right: Brisk(bench.clock.clone()), by: DAY, behind };
        let session = bench.builder(bench.params()).clock(clock).build().await.unwrap();
        session.credentials().await.unwrap();
        bench.clock.advance(HOUR / 2);
        session.credentials().await.unwrap();
        assert_eq!(bench.iot.calls(), 1, "still far from its end");
        // Inside the mandatory window by the server's clock: the call waits for new ones.
        bench.clock.advance(HOUR / 2 - Duration::from_secs(30));
        let set = session.credentials().await.unwrap();
        assert_eq!(bench.iot.calls(), 2, "behind: {behind}");
        assert_eq!(set.expiration(), Some(bench.clock.now() + HOUR));
    }
}

#[tokio::test]
async fn a_certificate_near_its_end_is_told_at_each_refresh() {
    let bench = Bench::new();
    for (left, told) in [(29 * DAY, true), (31 * DAY, false)] {
        let device = bench.iot.add_device_valid(THING, KeyKind::EcP256, start() - DAY..start() + left);
        let session = bench.builder(bench.params_of(&device)).build().await.unwrap();
        let mut events = session.events();
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
        session.close();
        let mut ends = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::CertificateExpiring { subject, not_after } = event {
                assert!(subject.contains("CN="), "{subject}");
                ends.push(not_after);
            }
        }
        let expected = if told { vec![start() + left; 2] } else { vec![] };
        assert_eq!(ends, expected);
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_opens_no_session_and_tells_the_time() {
    let bench = Bench::new();
    for (validity, problem) in
        [(start() - 9 * DAY..start() - DAY, "has ended"), (start() + DAY..start() + 9 * DAY, "is not valid yet")]
    {
        let device = bench.iot.add_device_valid(THING, KeyKind::EcP256, validity);
        let error = bench.builder(bench.params_of(&device)).build().await.unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(problem) && shown.contains("clock shows 2030-03-17T17:46:40Z"), "{shown}");
        assert!(error.is_unrecoverable() && error.param() == Some("certificate"));
    }
}

#[tokio::test]
async fn a_certificate_that_ends_while_the_session_lives_is_the_servers_to_refuse() {
    let bench = Bench::new();
    let device = bench.iot.add_device_valid(THING, KeyKind::EcP256, start() - DAY..start() + DAY);
    let session = bench.builder(bench.params_of(&device)).build().await.unwrap();
    session.refresh().await.unwrap();
    bench.clock.advance(2 * DAY);
    bench.iot.close_connections();
    let error = loop {
        match session.refresh().await {
            // A session that the server still remembers.
            Ok(_) => bench.iot.close_connections(),
            Err(error) => break error,
        }
        bench.clock.advance(DAY);
    };
    let shown = error.to_string();
    assert!(shown.contains("refused the device's certificate") && shown.contains("to 2030-03-18T17:46:40Z"), "{shown}");
}
