//! Whether a connection is alive: when to ask, when to take no answer for one, when to wait no
//! longer.
//!
//! Nothing here touches a socket or a clock. All of it is asked in two steps, the first of which
//! asks the server or gives it one more chance: a process that was stopped for minutes finds its
//! deadlines passed and the answers unread.

use std::time::Duration;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing, before that time.
    Nothing(Option<Duration>),
    /// To ask the server whether it is there.
    Ask,
    /// To give the connection up: it is dead.
    Dead,
}

/// Asks whenever nothing was received for the keep-alive, whatever was sent, and whenever nothing
/// was sent for it, which is what the server counts on.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// `None` where the server wants none.
    every: Option<Duration>,
    heard: Duration,
    sent: Duration,
    /// Where the question ends on the line, and when it had left.
    asked: Option<(u64, Option<Duration>)>,
}

impl Pulse {
    pub(crate) fn new(every: Duration, now: Duration) -> Self {
        Self {
            every: Some(every).filter(|every| !every.is_zero()),
            heard: now,
            sent: now,
            asked: None,
        }
    }

    /// Something has come, which answers any question.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.asked = None;
    }

    /// Everything before that position has left.
    pub(crate) fn left(&mut self, touched: u64, now: Duration) {
        if let Some((_, left @ None)) = self.asked.as_mut().filter(|(end, _)| *end <= touched) {
            *left = Some(now);
        }
    }

    pub(crate) fn sent(&mut self, now: Duration) {
        self.sent = now;
    }

    /// The question was queued, and ends there.
    pub(crate) fn asked(&mut self, end: u64) {
        self.asked = Some((end, None));
    }

    pub(crate) fn due(&self, now: Duration) -> Due {
        let Some(every) = self.every else {
            return Due::Nothing(None);
        };
        let (at, then) = match self.asked {
            None => (self.heard.min(self.sent) + every, Due::Ask),
            Some((_, Some(left))) => (left + every / 2, Due::Dead),
            // What is written and finds no way out is bounded by the line itself.
            Some((_, None)) => return Due::Nothing(None),
        };
        if now >= at {
            then
        } else {
            Due::Nothing(Some(at))
        }
    }
}

/// Watches over what a server has been given to answer.
#[derive(Debug)]
pub(crate) struct Watch {
    patience: Duration,
    /// When the server last answered anything.
    answered: Duration,
    /// When it was given its last chance, and for which deadline.
    warned: Option<(Duration, Duration)>,
}

/// The shortest and the longest patience; one and a half times that until the connection is given
/// up.
const PATIENCE: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(40)];
/// How many times that one of many may remain without an answer.
const FOR_ONE: u32 = 8;

impl Watch {
    pub(crate) fn new(keep_alive: Duration, now: Duration) -> Self {
        Self {
            patience: keep_alive.clamp(PATIENCE[0], PATIENCE[1]),
            answered: now,
            warned: None,
        }
    }

    pub(crate) fn answered(&mut self, now: Duration) {
        self.answered = now;
    }

    /// `since` is when the oldest question left that is not answered.
    pub(crate) fn due(&self, since: Option<Duration>, now: Duration) -> Due {
        let Some(since) = since else {
            return Due::Nothing(None);
        };
        let at = self.deadline(since);
        if now < at {
            return Due::Nothing(Some(at));
        }
        let Some((when, _)) = self.warned.filter(|(_, deadline)| *deadline == at) else {
            return Due::Ask;
        };
        let at = when + self.patience / 2;
        if now >= at {
            Due::Dead
        } else {
            Due::Nothing(Some(at))
        }
    }

    /// The server gets its last chance.
    pub(crate) fn warn(&mut self, since: Option<Duration>, now: Duration) {
        self.warned = since.map(|since| (now, self.deadline(since)));
    }

    fn deadline(&self, since: Duration) -> Duration {
        (self.answered.max(since) + self.patience).min(since + self.patience * FOR_ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_server_is_asked_when_nothing_came_whatever_was_sent() {
        let mut pulse = Pulse::new(second(5), second(100));
        for sent in 101..105 {
            pulse.sent(second(sent));
            assert_eq!(pulse.due(second(sent)), Due::Nothing(Some(second(105))));
        }
        assert_eq!(pulse.due(second(105)), Due::Ask);
        pulse.asked(10);
        assert_eq!(
            pulse.due(second(300)),
            Due::Nothing(None),
            "it is not on its way yet"
        );
        pulse.left(9, second(300));
        pulse.left(10, second(301));
        pulse.left(11, second(302));
        assert_eq!(
            pulse.due(second(303)),
            Due::Nothing(Some(Duration::from_millis(303_500)))
        );
        assert_eq!(pulse.due(second(304)), Due::Dead);
        pulse.heard(second(304));
        pulse.sent(second(304));
        assert_eq!(pulse.due(second(304)), Due::Nothing(Some(second(309))));
    }

    #[test]
    fn a_server_that_is_only_listened_to_hears_of_the_client_all_the_same() {
        let mut pulse = Pulse::new(second(5), second(0));
        pulse.heard(second(4));
        assert_eq!(pulse.due(second(5)), Due::Ask);
    }

    #[test]
    fn a_server_that_wants_no_keep_alive_is_not_asked() {
        assert_eq!(
            Pulse::new(Duration::ZERO, Duration::ZERO).due(second(9999)),
            Due::Nothing(None)
        );
    }

    #[test]
    fn what_is_not_answered_is_waited_for_twice() {
        let mut watch = Watch::new(second(5), second(0));
        assert_eq!(watch.due(None, second(99)), Due::Nothing(None));
        assert_eq!(
            watch.due(Some(second(2)), second(9)),
            Due::Nothing(Some(second(10)))
        );
        assert_eq!(
            watch.due(Some(second(2)), second(5000)),
            Due::Ask,
            "the process may have been stopped"
        );
        watch.warn(Some(second(2)), second(5000));
        assert_eq!(
            watch.due(Some(second(2)), second(5003)),
            Due::Nothing(Some(second(5004)))
        );
        assert_eq!(watch.due(Some(second(2)), second(5004)), Due::Dead);
        watch.answered(second(5004));
        assert_eq!(
            watch.due(Some(second(5003)), second(5005)),
            Due::Nothing(Some(second(5012)))
        );
    }

    #[test]
    fn one_that_is_never_answered_is_noticed_among_others_that_are() {
        let mut watch = Watch::new(second(5), second(0));
        for now in 0..64 {
            watch.answered(second(now));
            assert!(matches!(
                watch.due(Some(second(0)), second(now)),
                Due::Nothing(Some(_))
            ));
        }
        assert_eq!(watch.due(Some(second(0)), second(64)), Due::Ask);
        watch.warn(Some(second(0)), second(64));
        watch.answered(second(68));
        assert_eq!(watch.due(Some(second(0)), second(68)), Due::Dead);
    }
}
