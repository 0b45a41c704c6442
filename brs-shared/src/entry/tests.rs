//! What is read and what is not, and what a set and a failure are good for.

use super::*;
use brs_core::Fingerprint;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000_000 + seconds)
}

fn key() -> Key {
    Key::of(&Fingerprint::new("x"))
}

fn other() -> Owner {
    Owner::of(1, "other").unwrap()
}

/// Obtained at 0, lives as long as that.
fn lives(lifetime: Duration) -> Entry {
    let credentials = TemporaryCredentials::new(
        "ASIAENTRY",
        "hush-secret",
        Some("hush-token".into()),
        Some(at(0) + lifetime),
    );
    Entry::with_set(7, &other(), credentials, at(0), Duration::from_millis(150))
}

fn wanted(reason: RefreshReason, previous: Option<&str>, seconds: u64) -> Wanted<'_> {
    Wanted {
        reason,
        previous_access_key_id: previous,
        own: Own::Absent,
        now: at(seconds),
    }
}

fn first(seconds: u64) -> Wanted<'static> {
    wanted(RefreshReason::First, None, seconds)
}

fn read(bytes: &[u8]) -> Result<Entry, Unusable> {
    Entry::from_bytes(bytes, &key(), 0)
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let error = Error::request("no such role: check it")
        .unrecoverable()
        .with_code("AccessDenied")
        .with_status(403);
    let mut before = lives(HOUR);
    before.set.as_mut().unwrap().credentials = lives(HOUR)
        .set
        .unwrap()
        .credentials
        .with_server_time(at(3))
        .with_account_id("123456789012");
    let entry = Entry::with_failure(8, &other(), Some(&before), &error, at(10), false);
    let bytes = entry.to_bytes(&key()).unwrap();
    let again = read(&bytes).unwrap();
    assert_eq!((again.generation, &again.writer), (8, &other()));
    assert_eq!((&again.set, &again.failure), (&entry.set, &entry.failure));
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["credentials"]["Version"], 1);
    assert_eq!(json["credentials"]["AccessKeyId"], "ASIAENTRY");

    let empty = Entry::with_failure(1, &other(), None, &error, at(10), false);
    let again = read(&empty.to_bytes(&key()).unwrap()).unwrap();
    assert!(again.set.is_none() && again.expiration().is_none());
}

#[test]
fn what_is_no_entry_is_named_without_its_content() {
    let good = lives(HOUR).to_bytes(&key()).unwrap();
    let text = String::from_utf8(good.to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let mut long = text.clone().into_bytes();
    long.resize(MAX_BYTES + 1, b' ');
    let other_key = Key::of(&Fingerprint::new("y"));
    for (bytes, expected) in [
        (Vec::new(), Unusable::Malformed),
        (b"[1]".to_vec(), Unusable::Malformed),
        (b"hush".to_vec(), Unusable::Malformed),
        (b"{\"version\":2}".to_vec(), Unusable::OtherVersion),
        (
            changed("\"version\":1", "\"version\":2"),
            Unusable::OtherVersion,
        ),
        (
            changed("\"version\":1", "\"version\":-1"),
            Unusable::Malformed,
        ),
        (changed("AccessKeyId", "hush"), Unusable::Malformed),
        (changed("\"other\"", "\"hush hush\""), Unusable::Malformed),
        (
            changed("\"generation\":7", "\"generation\":\"hush\""),
            Unusable::Malformed,
        ),
        (long, Unusable::Oversized),
        (
            lives(HOUR).to_bytes(&other_key).unwrap().to_vec(),
            Unusable::Foreign,
        ),
    ] {
        let error = read(&bytes).unwrap_err();
        assert_eq!(error, expected, "{}", String::from_utf8_lossy(&bytes));
        assert!(!format!("{error} {error:?}").contains("hush"));
    }
    for length in 0..good.len() {
        assert_eq!(read(&good[..length]).unwrap_err(), Unusable::Malformed);
    }
}

#[test]
fn no_debug_shows_a_secret() {
    let shown = format!("{:?}", lives(HOUR));
    assert!(
        shown.contains("ASIAENTRY") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn an_older_generation_than_one_that_was_seen_is_replayed() {
    let bytes = lives(HOUR).to_bytes(&key()).unwrap();
    let seen = Generations::default();
    for generation in [5, 7, 6] {
        seen.saw(&key(), generation);
    }
    assert_eq!(seen.highest(&key()), 7);
    assert_eq!(seen.next(&key(), UNIX_EPOCH), 8, "the clock was set back");
    let now = seen.next(&key(), at(0));
    assert_eq!(now, to_millis(at(0)));
    // What is older than any set is forgotten once there is much.
    for n in 0..2048 {
        let key = Key::of(&Fingerprint::new("x").with("n", n));
        seen.saw(&key, now);
    }
    assert_eq!(seen.highest(&key()), 0);
    assert!(Entry::from_bytes(&bytes, &key(), 7).is_ok());
    assert_eq!(
        Entry::from_bytes(&bytes, &key(), 8).unwrap_err(),
        Unusable::Replayed
    );
}

#[test]
fn a_set_is_used_until_its_advisory_window() {
    for (lifetime, last) in [(3600, 2699), (900, 599), (7200, 3599), (200, 99)] {
        let entry = lives(Duration::from_secs(lifetime));
        assert!(entry.usable(first(last)).is_some(), "{lifetime}");
        assert!(entry.usable(first(last + 1)).is_none(), "{lifetime}");
    }
}

#[test]
fn a_set_in_its_window_is_given_in_place_of_a_failure() {
    let entry = lives(HOUR);
    assert!(entry.fallback(first(3594)).is_some());
    assert!(entry.fallback(first(3596)).is_none());
    assert!(entry.fallback(first(9999)).is_none());
}

#[test]
fn the_set_that_is_to_be_replaced_is_no_replacement() {
    for reason in [
        RefreshReason::Advisory,
        RefreshReason::Mandatory,
        RefreshReason::Expired,
        RefreshReason::Invalidated,
        RefreshReason::Requested,
    ] {
        let own = wanted(reason, Some("ASIAENTRY"), 1);
        assert!(lives(HOUR).usable(own).is_none(), "{reason:?}");
        assert!(lives(HOUR).fallback(own).is_none(), "{reason:?}");
        let newer = wanted(reason, Some("ASIAOLDER"), 1);
        assert!(lives(HOUR).usable(newer).is_some(), "{reason:?}");
    }
}

#[test]
fn a_set_that_expires_before_the_callers_own_is_no_replacement() {
    let end = at(0) + HOUR;
    for (own, is_given) in [
        (Own::Absent, true),
        (Own::Until(end - Duration::from_secs(1)), true),
        (Own::Until(end), true),
        (Own::Until(end + Duration::from_secs(1)), false),
        (Own::Endless, false),
    ] {
        let wanted = Wanted {
            own,
            ..wanted(RefreshReason::Requested, Some("ASIAOWN"), 1)
        };
        let entry = lives(HOUR);
        assert_eq!(entry.usable(wanted).is_some(), is_given, "{own:?}");
        assert_eq!(entry.fallback(wanted).is_some(), is_given, "{own:?}");
        assert_eq!(entry.still_valid(wanted).is_some(), is_given, "{own:?}");
    }
}

#[test]
fn a_requested_set_is_as_good_as_new() {
    let requested = |seconds| wanted(RefreshReason::Requested, Some("ASIAOLDER"), seconds);
    assert!(lives(HOUR).usable(requested(29)).is_some());
    assert!(lives(HOUR).usable(requested(31)).is_none());
}

#[test]
fn a_rejected_set_is_marked_and_given_to_nobody() {
    let rejection = wanted(RefreshReason::Invalidated, Some("ASIAENTRY"), 1);
    let entry = lives(HOUR);
    assert!(entry.is_to_be_marked(rejection));
    assert!(!entry.is_to_be_marked(wanted(RefreshReason::Invalidated, Some("ASIAOTHER"), 1)));
    assert!(!entry.is_to_be_marked(wanted(RefreshReason::Advisory, Some("ASIAENTRY"), 1)));
    let marked = entry.rejected(8, &other());
    assert!(!marked.is_to_be_marked(rejection));
    let again = read(&marked.to_bytes(&key()).unwrap()).unwrap();
    assert!(again.usable(first(1)).is_none() && again.fallback(first(1)).is_none());
}

#[test]
fn a_set_without_an_end_is_used_until_it_is_rejected() {
    let endless = TemporaryCredentials::new("AKIAENDLESS", "hush", None, None);
    let entry = Entry::with_set(1, &other(), endless, at(0), Duration::ZERO);
    assert!(entry.usable(first(1_000_000_000)).is_some());
    assert!(entry.rejected(2, &other()).usable(first(1)).is_none());
}

#[test]
fn a_lifetime_is_counted_from_the_sources_clock() {
    // This host's clock is three hours ahead of the source's.
    let ahead = 3 * 3600;
    let credentials = lives(HOUR).set.unwrap().credentials.with_server_time(at(0));
    let entry = Entry::with_set(1, &other(), credentials, at(ahead), Duration::ZERO);
    let given = entry.usable(first(ahead + 600)).unwrap();
    assert_eq!(given.server_time(), Some(at(600)));
    assert!(entry.usable(first(ahead + 2700)).is_none());
}

#[test]
fn a_set_from_the_future_is_not_given() {
    let entry = Entry::with_set(
        1,
        &other(),
        lives(24 * HOUR).set.unwrap().credentials,
        at(1000),
        Duration::ZERO,
    );
    assert!(entry.usable(first(990)).is_some());
    assert!(entry.usable(first(900)).is_none());
}

#[test]
fn the_failure_of_another_holds_for_a_while_and_comes_back_as_an_error() {
    let error = Error::request("slow down")
        .throttled()
        .with_code("Throttling")
        .with_status(429);
    let held = |entry: &Entry, owner: &Owner, now: SystemTime| {
        let wanted = Wanted { now, ..first(0) };
        entry.holding(owner, wanted, |_| true)
    };
    let this = Owner::this();
    let mut entry = Entry::with_failure(1, &other(), None, &error, at(0), false);
    assert!(held(&entry, &this, at(1)).is_none());
    // The tries of one refresh, and what fails during the pause, do not make it longer.
    for (now, is_again) in [(1, true), (0, false)] {
        entry = Entry::with_failure(1, &other(), Some(&entry), &error, at(now), is_again);
        assert!(held(&entry, &this, at(now)).is_some());
        assert!(held(&entry, &this, at(now + 1)).is_none());
    }
    // Pauses double.
    for now in [1, 3, 7] {
        entry = Entry::with_failure(1, &other(), Some(&entry), &error, at(now), false);
    }
    let again = held(&entry, &this, at(14)).unwrap();
    let told = "slow down; process 1, which shares the credentials, was told so (remembered";
    assert!(again.to_string().starts_with(told), "{again}");
    assert_eq!(
        (again.code(), again.status()),
        (Some("Throttling"), Some(429))
    );
    assert!(again.is_throttled() && again.refresh_allowed_at() == Some(at(15)));
    assert!(held(&entry, &this, at(15)).is_none());
    assert!(held(&entry, &other(), at(14)).is_none(), "its own");
    // The clock was set back by a day.
    assert!(held(&entry, &this, at(0) - 24 * HOUR).is_none());
    assert_eq!(entry.expiration(), None);
}

#[test]
fn a_refusal_of_another_holds_once_and_not_what_was_requested() {
    let error = Error::request("no such role").unrecoverable();
    let entry = Entry::with_failure(1, &other(), None, &error, at(0), false);
    let this = Owner::this();
    assert!(entry.holding(&this, first(1), |_| false).is_some());
    assert!(entry.holding(&this, first(1), |_| true).is_none());
    let requested = wanted(RefreshReason::Requested, None, 1);
    assert!(entry.holding(&this, requested, |_| false).is_none());

    let holds = Holds::default();
    assert!(!holds.were(&key(), at(5), at(0)));
    assert!(!holds.were(&key(), at(9), at(4)), "the first one counts");
    assert!(holds.were(&key(), at(9), at(5)));
    holds.end(&key());
    assert!(!holds.were(&key(), at(9), at(5)));
}

#[test]
fn a_text_from_outside_is_fit_for_a_terminal() {
    let error = Error::credential("red \u{1b}[31m and \u{202e}back");
    let entry = Entry::with_failure(1, &other(), None, &error, at(0), false);
    let again = read(&entry.to_bytes(&key()).unwrap()).unwrap();
    let held = again.holding(&Owner::this(), first(0), |_| false).unwrap();
    assert!(held.to_string().starts_with("red [31m and back"), "{held}");
}

#[test]
fn whatever_a_changed_byte_makes_of_an_entry_can_be_written_again() {
    let error = Error::request("no such role").with_code("AccessDenied");
    let entry = Entry::with_failure(8, &other(), Some(&lives(HOUR)), &error, at(10), false);
    let good = entry.to_bytes(&key()).unwrap();
    for at in 0..good.len() {
        for byte in *b"\0 \"\\{}[],:-.09eEZnu\xc3\xff" {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            let Ok(entry) = read(&bytes) else { continue };
            let _ = (entry.usable(first(1)), entry.still_valid(first(1)));
            let _ = entry.holding(&Owner::this(), first(11), |_| false);
            let again = read(&entry.to_bytes(&key()).unwrap()).unwrap();
            assert_eq!((entry.set, entry.failure), (again.set, again.failure));
        }
    }
}
