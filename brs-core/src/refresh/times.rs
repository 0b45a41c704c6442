//! When a set is due and when it is over, on two clocks.
//!
//! A set's instants are fixed when it arrives and kept on the wall clock (what AWS writes
//! expirations in) and on a monotonic one (which is never stepped). A refresh is *due* when either has
//! reached the instant; a set is *expired* only when both have: a stepped clock or a suspended
//! machine can cause an early refresh, but neither withholds a valid set nor keeps an expired one
//! for long. Should the source be dead as well, a set counts as valid until both clocks say that it
//! is over.

use std::hash::{DefaultHasher, Hasher as _};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::identity::Identity;
use once_cell::race::OnceBox;

use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::lifetimes::{default_advisory_window, fitting_window};

/// A set with less left than this counts as already expired: it would not survive the request it is
/// used for.
const LEAST_LIFETIME: Duration = Duration::from_secs(1);

/// What a set must have beyond that when it arrives, or each call would refresh it.
const LEAST_USE: Duration = Duration::from_millis(100);

/// The longest life AWS gives temporary credentials (GetSessionToken). A source's clock by which a
/// set lives longer is not believed.
const LONGEST_AT_AWS: Duration = Duration::from_secs(36 * 3600);

/// The default mandatory window.
const MANDATORY_WINDOW: Duration = Duration::from_secs(60);

/// Lifetimes are cut at a hundred years, so that no arithmetic on instants can overflow.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The start of the advisory window is moved earlier by up to this part of it.
pub(crate) const ADVISORY_JITTER: f64 = 0.1;

/// The same for sets that are fetched together with many others, and for those that others have,
/// too.
pub(crate) const ADVISORY_SPREAD: f64 = 0.5;

/// A set's place among those of one store, from `0.0` to `1.0`: the same for all who have the set.
///
/// With places of the sessions alone the earliest of a thousand would always be at the end of the
/// spread, and sets that were fetched together, as after an outage, would be replaced together for
/// ever.
pub(crate) fn place_of_set(access_key_id: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(access_key_id.as_bytes());
    // As many bits as the number has.
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

/// An instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Duration,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: clock.monotonic(),
        }
    }

    pub(crate) fn coarse(clock: &dyn Clock) -> Self {
        let (wall, monotonic) = clock.coarse();
        Self { wall, monotonic }
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self {
            wall: self.wall.checked_add(duration).unwrap_or(self.wall),
            monotonic: self.monotonic.saturating_add(duration),
        }
    }

    /// Whether a refresh planned for this moment is due at `now`.
    pub(crate) fn is_due(self, now: Moment) -> bool {
        now.wall >= self.wall || now.monotonic >= self.monotonic
    }

    /// Whether what ends at this moment is over at `now`.
    pub(crate) fn is_over(self, now: Moment) -> bool {
        now.wall >= self.wall && now.monotonic >= self.monotonic
    }

    /// What is left from `now`: by the clock that says less, but by the monotonic one if the wall
    /// clock says that nothing is. A wall clock that was stepped back never adds to it: what depends
    /// on what is left would wait for as long as the step.
    pub(crate) fn left(self, now: Moment) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        let monotonic = self.monotonic.saturating_sub(now.monotonic);
        if wall.is_zero() {
            monotonic
        } else {
            wall.min(monotonic)
        }
    }
}

/// The windows as the user configured them; `None` is the default that depends on the lifetime.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Windows {
    pub(crate) advisory: Option<Duration>,
    pub(crate) mandatory: Option<Duration>,
}

impl Windows {
    /// The advisory and mandatory window for a lifetime, and whether a configured one had to be
    /// shortened.
    fn for_lifetime(self, lifetime: Duration) -> (Duration, Duration, bool) {
        let advisory = self
            .advisory
            .unwrap_or_else(|| default_advisory_window(lifetime));
        let advisory = fitting_window(advisory, lifetime);
        let mandatory = fitting_window(self.mandatory.unwrap_or(MANDATORY_WINDOW), advisory);
        let shortened = self.advisory.is_some_and(|wanted| wanted != advisory)
            || self.mandatory.is_some_and(|wanted| wanted != mandatory);
        (advisory, mandatory, shortened)
    }
}

/// The instants of one set that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) lifetime: Duration,
    pub(crate) advisory_window: Duration,
    pub(crate) mandatory_window: Duration,
    /// Whether a configured window was too long for the lifetime.
    pub(crate) shortened: bool,
    /// From here on the set is to be replaced, and callers still get it at once.
    pub(crate) advisory: Moment,
    /// From here on callers wait for the replacement.
    pub(crate) mandatory: Moment,
    /// From here on the set is not used: [`LEAST_LIFETIME`] before the end.
    pub(crate) unusable: Moment,
    /// The end.
    pub(crate) end: Moment,
}

/// When a set was obtained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obtained {
    /// When its source was asked.
    pub(crate) asked: Moment,
    /// When the answer was taken in.
    pub(crate) now: Moment,
}

/// The set was over when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyExpired;

impl Times {
    /// The instants of a set; `None` for a set without an end.
    ///
    /// A lifetime by the source's own clock began when the source answered, so at the latest now
    /// and at the earliest when it was asked: the end is counted from then, and is never late.
    /// The start of the advisory window is moved earlier by the part `early` of it.
    pub(crate) fn new(
        expiration: Option<SystemTime>,
        server_time: Option<SystemTime>,
        Obtained { asked, now }: Obtained,
        windows: Windows,
        early: f64,
    ) -> Result<Option<Self>, AlreadyExpired> {
        let Some(expiration) = expiration else {
            return Ok(None);
        };
        // By the source's own clock where it is known: the local one may be wrong by hours.
        let by = |clock: SystemTime| expiration.duration_since(clock).unwrap_or_default();
        let (start, lifetime) = match server_time.map(by) {
            Some(lifetime) if lifetime <= LONGEST_AT_AWS => (asked, lifetime),
            Some(lifetime) => (now, lifetime.min(by(now.wall))),
            None => (now, by(now.wall)),
        };
        let waited = now.monotonic.saturating_sub(start.monotonic);
        if lifetime.saturating_sub(waited) < LEAST_LIFETIME + LEAST_USE {
            return Err(AlreadyExpired);
        }
        let lifetime = lifetime.min(LONGEST_LIFETIME);
        let (advisory_window, mandatory_window, shortened) = windows.for_lifetime(lifetime);
        // With a configured window almost as long as the lifetime that part of it may be more than
        // there is before it.
        let early = advisory_window
            .mul_f64(early.clamp(0.0, 1.0))
            .min((lifetime - advisory_window) / 2);
        // A set of a few seconds is unusable before its windows begin; they then begin with that.
        let usable = lifetime - LEAST_LIFETIME;
        Ok(Some(Self {
            lifetime,
            advisory_window,
            mandatory_window,
            shortened,
            advisory: start.plus(lifetime.saturating_sub(advisory_window + early).min(usable)),
            mandatory: start.plus((lifetime - mandatory_window).min(usable)),
            unusable: start.plus(usable),
            end: start.plus(lifetime),
        }))
    }
}

/// One set as the engine keeps it.
#[derive(Debug)]
pub(crate) struct CachedSet {
    pub(crate) credentials: TemporaryCredentials,
    /// `None`: the set has no end.
    pub(crate) times: Option<Times>,
    pub(crate) obtained: Moment,
    /// Two first readers may both make one: neither waits for the other, who may not have followed
    /// a fork.
    identity: OnceBox<Identity>,
}

impl CachedSet {
    pub(crate) fn new(
        credentials: TemporaryCredentials,
        times: Option<Times>,
        obtained: Moment,
    ) -> Self {
        Self {
            credentials,
            times,
            obtained,
            identity: OnceBox::new(),
        }
    }

    /// The set as the AWS SDK takes it, made once.
    pub(crate) fn identity(&self, source: &'static str) -> &Identity {
        self.identity
            .get_or_init(|| Box::new(self.credentials.to_sdk(source, self.sdk_expiry()).into()))
    }

    /// The expiry told to the AWS SDK: the start of the mandatory window, so that the SDK asks
    /// again in time and is answered at once.
    pub(crate) fn sdk_expiry(&self) -> Option<SystemTime> {
        self.times.map(|times| times.mandatory.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn at(seconds: u64) -> Moment {
        Moment {
            wall: UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds),
            monotonic: Duration::from_secs(seconds),
        }
    }

    fn obtained(seconds: u64) -> Obtained {
        Obtained {
            asked: at(seconds),
            now: at(seconds),
        }
    }

    fn times(lifetime: Duration, windows: Windows) -> Times {
        Times::new(Some(at(0).wall + lifetime), None, obtained(0), windows, 0.0)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn default_windows_follow_the_lifetime() {
        for (lifetime, advisory, mandatory) in [
            (20 * 60, 5 * 60, 60),
            (20 * 60 + 1, 15 * 60, 60),
            (90 * 60 - 1, 15 * 60, 60),
            (90 * 60, 60 * 60, 60),
            (12 * 3600, 60 * 60, 60),
            (15 * 60, 5 * 60, 60),
        ] {
            let times = times(Duration::from_secs(lifetime), Windows::default());
            assert_eq!(
                (
                    times.advisory_window.as_secs(),
                    times.mandatory_window.as_secs(),
                    times.shortened
                ),
                (advisory, mandatory, false),
                "{lifetime}"
            );
        }
    }

    #[test]
    fn windows_shrink_with_short_lifetimes() {
        let times = times(Duration::from_secs(10), Windows::default());
        assert_eq!(times.advisory_window, Duration::from_secs(5));
        assert_eq!(times.mandatory_window, Duration::from_millis(2500));
        assert!(!times.shortened, "defaults are not worth a warning");
    }

    #[test]
    fn an_advisory_window_as_long_as_the_lifetime_is_halved() {
        let five_minutes = Duration::from_secs(300);
        assert_eq!(
            times(five_minutes, Windows::default()).advisory_window,
            Duration::from_secs(150)
        );
    }

    #[test]
    fn configured_windows_are_capped_in_the_same_way_and_say_so() {
        let seconds = |n| Some(Duration::from_secs(n));
        let wide = times(
            Duration::from_secs(600),
            Windows {
                advisory: seconds(600),
                mandatory: seconds(300),
            },
        );
        assert_eq!(
            (
                wide.advisory_window.as_secs(),
                wide.mandatory_window.as_secs()
            ),
            (300, 150)
        );
        assert!(wide.shortened);
        let fits = times(
            Duration::from_secs(600),
            Windows {
                advisory: seconds(500),
                mandatory: seconds(400),
            },
        );
        assert_eq!(
            (
                fits.advisory_window.as_secs(),
                fits.mandatory_window.as_secs()
            ),
            (500, 400)
        );
        assert!(!fits.shortened);
    }

    #[test]
    fn the_advisory_start_moves_earlier_by_at_most_a_tenth() {
        let start = |roll| {
            let expiration = Some(at(3600).wall);
            Times::new(
                expiration,
                None,
                obtained(0),
                Windows::default(),
                roll * ADVISORY_JITTER,
            )
            .unwrap()
            .unwrap()
        };
        assert_eq!(start(0.0).advisory, at(2700));
        assert_eq!(start(1.0).advisory, at(2610));
        assert_eq!(start(1.0).advisory_window, start(0.0).advisory_window);
        assert_eq!(start(1.0).mandatory, at(3540));
    }

    #[test]
    fn a_window_almost_as_long_as_the_lifetime_leaves_half_of_the_rest() {
        let windows = Windows {
            advisory: Some(Duration::from_secs(890)),
            mandatory: None,
        };
        let times = Times::new(
            Some(at(900).wall),
            None,
            obtained(0),
            windows,
            ADVISORY_JITTER,
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            times.advisory,
            at(5),
            "or the next refresh would be due at once"
        );
    }

    #[test]
    fn less_than_a_second_counts_as_already_expired() {
        let arrive = |left: Duration| {
            Times::new(
                Some(at(0).wall + left),
                None,
                obtained(0),
                Windows::default(),
                0.0,
            )
        };
        assert_eq!(arrive(Duration::from_millis(999)), Err(AlreadyExpired));
        assert_eq!(
            arrive(Duration::from_millis(1099)),
            Err(AlreadyExpired),
            "it would be over as soon as it is used"
        );
        assert!(arrive(Duration::from_millis(1100)).is_ok());
        assert_eq!(
            Times::new(Some(UNIX_EPOCH), None, obtained(0), Windows::default(), 0.0),
            Err(AlreadyExpired)
        );
    }

    #[test]
    fn windows_begin_at_the_latest_when_the_set_becomes_unusable() {
        let times = times(Duration::from_millis(1500), Windows::default());
        assert_eq!(
            (times.advisory, times.mandatory),
            (times.unusable, times.unusable)
        );
    }

    #[test]
    fn a_known_server_clock_sets_the_local_deadline() {
        let off = Duration::from_secs(86_400);
        let server = at(0).wall + off;
        let times = Times::new(
            Some(server + Duration::from_secs(3600)),
            Some(server),
            obtained(0),
            Windows::default(),
            0.0,
        )
        .unwrap()
        .unwrap();
        assert_eq!((times.lifetime.as_secs(), times.end), (3600, at(3600)));
    }

    #[test]
    fn a_server_clock_that_makes_no_sense_is_not_believed() {
        let hour = Duration::from_secs(3600);
        let times = Times::new(
            Some(at(3600).wall),
            Some(UNIX_EPOCH),
            obtained(0),
            Windows::default(),
            0.0,
        );
        assert_eq!(times.unwrap().unwrap().lifetime, hour);
    }

    #[test]
    fn due_by_either_clock_and_over_only_by_both() {
        let end = at(100);
        let stepped_forward = Moment {
            wall: at(3600).wall,
            monotonic: at(10).monotonic,
        };
        assert!(end.is_due(stepped_forward) && !end.is_over(stepped_forward));
        let stepped_back = Moment {
            wall: UNIX_EPOCH,
            monotonic: at(100).monotonic,
        };
        assert!(end.is_due(stepped_back) && !end.is_over(stepped_back));
        assert!(end.is_over(at(100)) && !end.is_due(at(99)));
    }

    #[test]
    fn what_is_left_is_told_by_the_clock_that_says_less() {
        let end = at(100);
        assert_eq!(end.left(at(40)), Duration::from_secs(60));
        let stepped_forward = Moment {
            wall: at(3600).wall,
            monotonic: at(10).monotonic,
        };
        assert_eq!(end.left(stepped_forward), Duration::from_secs(90));
        let stepped_back = Moment {
            wall: UNIX_EPOCH,
            monotonic: at(70).monotonic,
        };
        assert_eq!(end.left(stepped_back), Duration::from_secs(30));
        let over_but_for_the_step = Moment {
            wall: UNIX_EPOCH,
            monotonic: at(100).monotonic,
        };
        assert_eq!(end.left(over_but_for_the_step), Duration::ZERO);
    }

    #[test]
    fn an_absurdly_late_expiration_does_no_harm() {
        let never = UNIX_EPOCH + Duration::from_secs(200_000_000_000);
        assert!(
            Times::new(
                Some(never),
                None,
                obtained(0),
                Windows::default(),
                ADVISORY_JITTER
            )
            .unwrap()
            .is_some()
        );
    }
}
