//! Requests counted by route and code: fixed room, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a request asked for. Never what a caller chose: there is a fixed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Root,
    Session,
    RoleArn,
    Creds,
    Role,
    Health,
    Ready,
    Metadata,
    Other,
}

impl Route {
    pub(super) const ALL: [Self; 9] = [
        Self::Root,
        Self::Session,
        Self::RoleArn,
        Self::Creds,
        Self::Role,
        Self::Health,
        Self::Ready,
        Self::Metadata,
        Self::Other,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Session => "/session",
            Self::RoleArn => "/role-arn",
            Self::Creds => "/creds",
            Self::Role => "/role",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metadata => "/latest",
            Self::Other => "other",
        }
    }
}

/// The codes that answers have; any other counts as the last.
pub(super) const CODES: [u16; 10] = [200, 400, 401, 403, 404, 405, 429, 502, 503, 500];

/// How many requests had which answer.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [[AtomicU64; CODES.len()]; Route::ALL.len()],
    /// Seconds since 1970; 0: none yet.
    last: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, route: Route, code: u16, seconds: u64) {
        let at = CODES.iter().position(|known| *known == code);
        let count = &self.counts[route as usize][at.unwrap_or(CODES.len() - 1)];
        count.fetch_add(1, Ordering::Relaxed);
        self.last.store(seconds, Ordering::Relaxed);
    }

    /// All that are not zero.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Route, u16, u64)> {
        Route::ALL.into_iter().flat_map(move |route| {
            CODES.into_iter().enumerate().filter_map(move |(at, code)| {
                let count = self.counts[route as usize][at].load(Ordering::Relaxed);
                (count > 0).then_some((route, code, count))
            })
        })
    }

    /// When the last request was answered, in seconds since 1970.
    pub(super) fn last(&self) -> Option<u64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|last| *last > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_code() {
        let tally = Tally::default();
        assert_eq!(tally.last(), None);
        tally.count(Route::Root, 200, 7);
        tally.count(Route::Root, 200, 8);
        tally.count(Route::Other, 418, 9);
        let counts: Vec<_> = tally.counts().collect();
        assert_eq!(counts, [(Route::Root, 200, 2), (Route::Other, 500, 1)]);
        assert_eq!(tally.last(), Some(9));
        for (at, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, at);
        }
    }
}
