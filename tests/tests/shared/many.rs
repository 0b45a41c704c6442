//! What processes share: sets, failures, rejections, and a person's time.

use super::*;
use brs_tests::embedded_aws::Failure;

const ROLE_CALLS: &str = "AssumeRole";

#[test]
fn two_hundred_processes_make_one_call() {
    const PROCESSES: usize = 200;
    let (aws, cache) = (EmbeddedAws::start(), Cache::new());
    aws.add_role("arn:aws:iam::123456789012:role/demo");
    let mut probes: Vec<_> = (0..PROCESSES).map(|_| cache.of_aws(&aws)).collect();
    for probe in &mut probes {
        probe.say("get");
    }
    let mut printed: Vec<_> = probes.into_iter().map(Probe::end).collect();
    printed.sort();
    printed.dedup();
    assert_eq!(aws.calls(ROLE_CALLS), 1, "{printed:?}");
    // They have printed one key, and nothing else.
    assert_eq!(printed.len(), 1, "{printed:?}");
    assert_eq!(printed[0].lines().count(), 2, "{printed:?}");
    let shown = printed.concat();
    for secret in aws.issued_secrets() {
        assert!(!shown.contains(&secret));
    }
}

#[test]
fn nothing_but_the_entry_holds_a_secret() {
    let (aws, cache) = (EmbeddedAws::start(), Cache::new());
    let mut probe = cache.of_aws(&aws);
    probe.key("get");
    let secrets = aws.issued_secrets();
    assert!(!secrets.is_empty());
    let holds = |path: &Path| {
        let content = std::fs::read_to_string(path).unwrap();
        secrets.iter().any(|secret| content.contains(secret))
    };
    assert!(holds(&cache.file("json")) && !holds(&cache.file("lock")));
    assert!(
        !std::fs::read_to_string(cache.file("json"))
            .unwrap()
            .contains(aws.secret_access_key())
    );
    let printed = probe.end();
    assert!(secrets.iter().all(|secret| !printed.contains(secret)));
}

#[test]
fn the_failure_of_one_is_the_failure_of_all_for_a_while() {
    let (aws, cache) = (EmbeddedAws::start(), Cache::new());
    aws.fail_always(Some(Failure::AccessDenied));
    let (mut one, mut other) = (cache.of_aws(&aws), cache.of_aws(&aws));
    one.say("get");
    let error = one.until("error ");
    assert_eq!(cache.entry()["failure"]["recovery"], "person");
    other.say("get");
    let remembered = other.until("error ");
    assert_eq!(aws.calls(ROLE_CALLS), 1);
    assert!(
        remembered.starts_with(&error) && remembered.contains("(remembered"),
        "{remembered}"
    );
    // The one that heard it has the pauses of its own session.
    one.say("refresh");
    one.until("error ");
    assert_eq!(aws.calls(ROLE_CALLS), 2);
}

#[test]
fn a_rejection_by_one_marks_the_set_for_all() {
    let (aws, cache) = (EmbeddedAws::start(), Cache::new());
    let (mut one, mut other) = (cache.of_aws(&aws), cache.of_aws(&aws));
    let rejected = one.key("get");
    assert_eq!(other.key("get"), rejected);
    aws.fail_always(Some(Failure::Status(500)));
    one.say("reject");
    one.until("error ");
    assert_eq!(cache.entry()["set"]["invalidated"], true);
    aws.fail_always(None);
    let calls = aws.calls(ROLE_CALLS);
    let new = one.key("refresh");
    assert_ne!(new, rejected);
    // The other one, when it is told, finds what has replaced it.
    assert_eq!(other.key("reject"), new);
    assert_eq!(aws.calls(ROLE_CALLS), calls + 1);
}

#[test]
fn one_process_asks_a_person_and_the_others_say_for_whom_they_wait() {
    let cache = Cache::new();
    let mut asks = cache.within("person");
    asks.say("get");
    asks.until("asked");
    let mut waits = [cache.within("person"), cache.within("person")];
    for waits in &mut waits {
        waits.say("get");
        let warning = waits.until("warning ");
        let expected = format!(
            "warning host_cache_waiting process {} is asking",
            asks.pid()
        );
        assert!(warning.starts_with(&expected), "{warning}");
    }
    asks.say("answer");
    let key = asks.until("key ");
    for mut waits in waits {
        assert_eq!(waits.until("key "), key);
        assert!(!waits.end().contains("asked"));
    }
}

#[test]
fn readers_never_see_a_mixed_set() {
    const TIMES: usize = 300;
    let cache = Cache::new();
    let mut writers = [cache.within("local"), cache.within("local")];
    for writer in &mut writers {
        for _ in 0..=TIMES {
            writer.say("answer");
        }
    }
    writers[0].key("get");
    let path = cache.file("json");
    let seen = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            loop {
                let text = std::fs::read(&path).unwrap();
                let entry: serde_json::Value = serde_json::from_slice(&text).unwrap();
                let set = &entry["credentials"];
                let number = set["AccessKeyId"]
                    .as_str()
                    .unwrap()
                    .strip_prefix("ASIA")
                    .unwrap();
                assert_eq!(set["SecretAccessKey"], format!("hush-secret-{number}"));
                let token = set["SessionToken"].as_str().unwrap();
                assert!(token.starts_with(&format!("hush-token-{number}-")));
                seen.insert(number.to_owned());
                if path.with_extension("end").exists() {
                    return seen;
                }
            }
        });
        for writer in &mut writers {
            writer.say(&format!("churn {TIMES}"));
        }
        for writer in &mut writers {
            for _ in 0..TIMES {
                writer.until("key ");
            }
        }
        std::fs::write(path.with_extension("end"), "").unwrap();
        reading.join().unwrap()
    });
    assert!(seen.len() > 10, "{} sets were seen", seen.len());
}
