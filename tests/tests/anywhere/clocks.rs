//! A machine whose clock is wrong: AWS refuses the signature's date.

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
async fn a_clock_off_by_an_hour_costs_one_more_call_and_credentials_are_refreshed_in_time() {
    for behind in [true, false] {
        let bench = Bench::new();
        let clock = Wrong {
            right: Brisk(bench.clock.clone()),
            by: HOUR,
            behind,
        };
        let builder = bench.builder(bench.params()).clock(clock);
        let session = builder.build().await.unwrap();
        session.credentials().await.unwrap();
        let requests = bench.anywhere.requests();
        assert_eq!(requests.len(), 2, "once more with the date of the answer");
        assert_eq!(requests[0].status, Some(403));
        assert_eq!(
            requests[0].error_code.as_deref(),
            Some("AccessDeniedException")
        );
        assert_eq!(requests[1].date.as_deref(), Some("20300317T174640Z"));
        // Further calls are dated by AWS's clock, and the lifetime counts from it.
        bench.clock.advance(HOUR / 2);
        session.credentials().await.unwrap();
        assert_eq!(bench.anywhere.calls(), 2, "still far from its end");
        bench.clock.advance(HOUR / 2 - Duration::from_secs(30));
        let set = session.credentials().await.unwrap();
        assert_eq!(bench.anywhere.calls(), 3, "behind: {behind}");
        assert_eq!(set.expiration(), Some(bench.clock.now() + HOUR));
    }
}

#[tokio::test]
async fn a_machine_that_slept_asks_again_with_the_new_date() {
    let bench = Bench::new();
    let clock = Wrong {
        right: Brisk(bench.clock.clone()),
        by: HOUR,
        behind: true,
    };
    let session = bench
        .builder(bench.params())
        .clock(clock)
        .build()
        .await
        .unwrap();
    session.refresh().await.unwrap();
    // The monotonic clock stood still meanwhile.
    bench.clock.step_wall(start() + DAY);
    session.refresh().await.unwrap();
    assert_eq!(bench.anywhere.calls(), 4);
}

#[tokio::test]
async fn a_clock_within_five_minutes_is_good_enough() {
    let bench = Bench::new();
    for (seconds, calls) in [(290, 1), (310, 3)] {
        let clock = Wrong {
            right: Brisk(bench.clock.clone()),
            by: Duration::from_secs(seconds),
            behind: true,
        };
        let session = bench
            .builder(bench.params())
            .clock(clock)
            .build()
            .await
            .unwrap();
        session.refresh().await.unwrap();
        assert_eq!(bench.anywhere.calls(), calls);
    }
}

#[tokio::test]
async fn a_date_that_is_refused_again_is_told_and_may_pass() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    let refusal = || brs_tests::embedded_aws::Failure::Error {
        status: 403,
        code: "AccessDeniedException",
        message: "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z".into(),
    };
    bench.anywhere.fail_next([refusal(), refusal()]);
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.to_string().contains("check this machine's clock"),
        "{error}"
    );
    assert!(!error.is_unrecoverable());
    assert_eq!(bench.anywhere.calls(), 2, "once more, and no further");
    session.refresh().await.unwrap();
}
