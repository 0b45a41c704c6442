//! A holder that is killed at any step: the next one goes on at once, and nothing is torn.

use super::*;
use brs_tests::embedded_aws::Failure;

/// A process that the system kills at the first write beyond so many blocks of 512 bytes.
fn limited(directory: &Path, blocks: u32) -> Probe {
    let mut command = Command::new("sh");
    let script = format!("ulimit -c 0; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    command
        .env_clear()
        .args(["-c", &script, env!("CARGO_BIN_EXE_shared_probe")])
        .arg(directory)
        .arg("local");
    Probe::start(&mut command)
}

/// Asks a process, which is killed by what it writes.
fn dies(mut probe: Probe) {
    probe.say("get");
    dies_by_answer(probe);
}

fn dies_by_answer(mut probe: Probe) {
    probe.say("answer");
    // Were it not killed, it would end by itself.
    drop(probe.commands.take());
    while probe.line().is_some() {}
    let printed = &probe.printed;
    assert!(
        !printed.contains("key ") && !printed.contains("error "),
        "{printed}"
    );
    assert!(!probe.child.wait().unwrap().success());
}

#[test]
fn killed_when_it_has_the_lock() {
    let cache = Cache::new();
    dies(limited(&cache.path(), 0));
    assert_eq!(cache.files("json").len(), 0);
    let mut next = cache.within("local");
    next.say("answer");
    next.key("get");
}

#[test]
fn killed_in_the_call() {
    let (aws, cache) = (EmbeddedAws::start(), Cache::new());
    aws.fail_next([Failure::Hang]);
    let (mut holder, mut next) = (cache.of_aws(&aws), cache.of_aws(&aws));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    holder.say("get");
    runtime.block_on(aws.wait_for_calls("AssumeRole", 1));
    next.say("get");
    holder.kill();
    // It was waiting for the lock: with the holder's death it has it.
    next.until("key ");
    assert_eq!(aws.calls("AssumeRole"), 2);
    assert!(!next.end().contains("warning"));
}

#[test]
fn killed_in_the_middle_of_writing() {
    let cache = Cache::new();
    dies(limited(&cache.path(), 1));
    // Half an entry, by a name that nobody reads.
    assert_eq!(
        (cache.files("json").len(), cache.files("tmp").len()),
        (0, 1)
    );
    let mut next = cache.within("local");
    next.say("answer");
    let key = next.key("get");
    assert_eq!(
        (cache.files("json").len(), cache.files("tmp").len()),
        (1, 0)
    );
    let mut third = cache.within("local");
    assert_eq!(third.key("get"), key);
    assert!(!third.end().contains("warning"));
}

#[test]
fn killed_in_the_middle_of_replacing_an_entry_leaves_the_old_one() {
    let cache = Cache::new();
    let mut first = cache.within("local");
    first.say("answer");
    let key = first.key("get");
    let before = std::fs::read(cache.file("json")).unwrap();
    let mut dying = limited(&cache.path(), 1);
    assert_eq!(dying.key("get"), key);
    dying.printed.clear();
    dying.say("reject");
    dies_by_answer(dying);
    assert_eq!(std::fs::read(cache.file("json")).unwrap(), before);
    let mut next = cache.within("local");
    assert_eq!(next.key("get"), key);
}

#[test]
fn killed_at_any_time() {
    let cache = Cache::new();
    for round in 1..=20 {
        let mut holder = cache.within("local");
        for _ in 0..100 {
            holder.say("answer");
        }
        holder.say("churn 50");
        for _ in 0..round {
            holder.until("asked");
        }
        holder.kill();
        let mut next = cache.within("local");
        next.say("answer");
        next.say("answer");
        next.key("get");
        next.key("reject");
        assert!(!next.end().contains("warning"), "round {round}");
        assert_eq!(cache.files("tmp").len(), 0, "round {round}");
    }
}

#[test]
fn a_stopped_holder_costs_the_wait_and_a_warning() {
    let cache = Cache::new();
    let mut holder = cache.within("local");
    holder.say("get");
    holder.until("asked");
    let pid = rustix::process::Pid::from_raw(holder.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();

    let mut command = probe(&cache.path());
    let command = command.arg("local").env("PROBE_TIMEOUT", "2");
    let mut next = Probe::start(command);
    next.say("answer");
    let own = next.key("get");
    let busy = format!(
        "warning host_cache_lock_busy process {} has held",
        holder.pid()
    );
    assert!(next.printed.contains(&busy), "{}", next.printed);
    // Without the lock nothing is written.
    assert_eq!(cache.files("json").len(), 0);

    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    holder.say("answer");
    let key = holder.until("key ");
    assert_ne!(key, own);
    assert_eq!(cache.within("local").key("get"), key);
}
