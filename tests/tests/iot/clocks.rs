//! A device whose clock is wrong by a day, either way; certificates near and beyond their end.

use brs::Event;
use brs_tests::embedded_iot::ServerCertificate;

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
        if self.behind {
            self.right.now() - self.by
        } else {
            self.right.now() + self.by
        }
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
        let clock = Wrong {
            right: Brisk(bench.clock.clone()),
            by: DAY,
            behind,
        };
        let session = bench
            .builder(bench.params())
            .clock(clock)
            .build()
            .await
            .unwrap();
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
async fn a_clock_that_is_a_decade_off_is_told_beside_the_bound_that_it_missed() {
    let bench = Bench::new();
    let decade = 4000 * DAY;
    let device = bench.iot.add_device_valid(
        THING,
        KeyKind::EcP256,
        start() - 2 * decade..start() + 2 * decade,
    );
    // Ten years of 365.3 days, either way.
    for (behind, problem, (detail, bound)) in [
        (
            true,
            "is not valid yet: it is valid from",
            ("not_before", "2020-03-16T17:46:40Z"),
        ),
        (
            false,
            "has expired: it was valid until",
            ("not_after", "2040-03-17T17:46:40Z"),
        ),
    ] {
        let clock = Wrong {
            right: Brisk(bench.clock.clone()),
            by: decade,
            behind,
        };
        let session = bench
            .builder(bench.params_of(&device))
            .clock(clock)
            .build()
            .await
            .unwrap();
        let error = session.refresh().await.unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains(&format!("{problem} {bound}")) && shown.contains("set the clock"),
            "{shown}"
        );
        assert_eq!(error.details()[detail], bound);
        assert!(
            !error.is_retryable() && !error.is_unrecoverable(),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_earlier_answer_tells_by_how_much_the_clock_is_off() {
    let bench = Bench::new();
    let session = bench.session().await;
    session.refresh().await.unwrap();
    // New handshakes: the session that is resumed needs no certificate.
    bench.iot.set_certificate(ServerCertificate::Good);
    bench.iot.close_connections();
    bench.clock.step_wall(start() - 4000 * DAY);
    let error = session.refresh().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("4000 days behind the last answer's"),
        "{error}"
    );
    assert_eq!(error.details()["server_time"], "2030-03-17T17:46:40Z");
}

#[tokio::test]
async fn a_certificate_near_its_end_is_told_at_each_refresh() {
    let bench = Bench::new();
    for (left, told) in [(29 * DAY, true), (31 * DAY, false)] {
        let device =
            bench
                .iot
                .add_device_valid(THING, KeyKind::EcP256, start() - DAY..start() + left);
        let session = bench
            .builder(bench.params_of(&device))
            .build()
            .await
            .unwrap();
        let mut events = session.events();
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
        session.close();
        let mut ends = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Warning { name, details, .. } = event {
                assert_eq!(name, brs::iot::CERTIFICATE_EXPIRING);
                assert!(details["subject"].contains("CN="), "{details:?}");
                ends.push(details["not_after"].clone());
            }
        }
        let expected = if told {
            vec![brs_core::kit::iso8601(start() + left); 2]
        } else {
            vec![]
        };
        assert_eq!(ends, expected);
    }
}

#[tokio::test]
async fn how_near_its_end_a_certificate_is_is_the_endpoints_to_say_once_it_has_told() {
    let bench = Bench::new();
    for (left, behind, told) in [(31 * DAY, false, 1), (29 * DAY, true, 2)] {
        let device =
            bench
                .iot
                .add_device_valid(THING, KeyKind::EcP256, start() - 9 * DAY..start() + left);
        let clock = Wrong {
            right: Brisk(bench.clock.clone()),
            by: 2 * DAY,
            behind,
        };
        let session = bench
            .builder(bench.params_of(&device))
            .clock(clock)
            .build()
            .await
            .unwrap();
        let mut events = session.events();
        for _ in 0..3 {
            session.refresh().await.unwrap();
        }
        session.close();
        let mut count = 0;
        while let Some(event) = events.next().await {
            count += usize::from(matches!(event, Event::Warning { .. }));
        }
        assert_eq!(count, told, "behind: {behind}");
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_opens_no_session_and_tells_the_time() {
    let bench = Bench::new();
    for (validity, problem) in [
        (start() - 9 * DAY..start() - DAY, "has expired"),
        (start() + DAY..start() + 9 * DAY, "is not valid yet"),
    ] {
        let device = bench.iot.add_device_valid(THING, KeyKind::EcP256, validity);
        let error = bench
            .builder(bench.params_of(&device))
            .build()
            .await
            .unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains(problem) && shown.contains("clock shows 2030-03-17T17:46:40Z"),
            "{shown}"
        );
        assert!(error.is_unrecoverable() && error.param() == Some("certificate"));
    }
}

#[tokio::test]
async fn a_certificate_that_ends_while_the_session_lives_is_the_servers_to_refuse() {
    let bench = Bench::new();
    let device = bench
        .iot
        .add_device_valid(THING, KeyKind::EcP256, start() - DAY..start() + DAY);
    let session = bench
        .builder(bench.params_of(&device))
        .build()
        .await
        .unwrap();
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
    assert!(
        shown.contains("refused the device's certificate")
            && shown.contains("to 2030-03-18T17:46:40Z"),
        "{shown}"
    );
}
