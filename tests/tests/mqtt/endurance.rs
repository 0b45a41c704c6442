//! A hundred thousand messages through a broker that is restarted and a path that is cut and slow.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use brs::mqtt::{self, Connection, Protocol, Publish};
use brs_tests::mosquitto::Mosquitto;
use brs_tests::rough_path::RoughPath;
use tokio::sync::watch;

use crate::support::{LIMIT, in_time, world};

const PUBLISHERS: usize = 200;

/// Which numbers have come, and how often.
type Seen = HashMap<usize, usize>;

/// Publishes numbers until they are used up; gives those that were reported as acknowledged and how
/// many were not.
async fn publish_all(
    connection: &Connection,
    total: usize,
    done: &watch::Sender<usize>,
) -> (HashSet<usize>, usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..PUBLISHERS {
        let (connection, next, done) = (connection.clone(), Arc::clone(&next), done.clone());
        publishers.spawn(async move {
            let (mut acknowledged, mut failed) = (Vec::new(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return (acknowledged, failed);
                }
                match connection
                    .publish(Publish::new("n", number.to_string()))
                    .await
                {
                    Ok(()) => acknowledged.push(number),
                    Err(_) => failed += 1,
                }
                done.send_modify(|done| *done += 1);
            }
        });
    }
    let (mut acknowledged, mut failed) = (HashSet::new(), 0);
    while let Some(ended) = publishers.join_next().await {
        let (numbers, errors) = ended.unwrap();
        acknowledged.extend(numbers);
        failed += errors;
    }
    (acknowledged, failed)
}

/// Figures are for readers of the run: past libtest, which shows them of tests that fail only.
fn report(figures: &str) {
    let _ = writeln!(std::io::stderr(), "endurance of MQTT: {figures}");
}

/// Resident memory in MiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap_or(0)
        / 1024
}

async fn until(done: &watch::Sender<usize>, count: usize) {
    in_time(done.subscribe().wait_for(|done| *done >= count))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_was_acknowledged_arrives_through_twenty_restarts() {
    what_was_acknowledged_arrives(Protocol::V5, 100_000, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_was_acknowledged_arrives_in_mqtt_3_too() {
    what_was_acknowledged_arrives(Protocol::V311, 20_000, 4).await;
}

async fn what_was_acknowledged_arrives(protocol: Protocol, total: usize, restarts: usize) {
    let mut broker = Mosquitto::start(&world().iot);
    let path = RoughPath::start(broker.tls_address());
    // This broker forgets at its restart the sessions that were begun with a clean start.
    let kept = |endpoint: String, client_id| {
        world()
            .options(endpoint, client_id)
            .protocol(protocol)
            .clean_start(false)
            .session_expiry(Duration::from_secs(3600))
    };
    // Two receivers: brs, and one that shares no code with it.
    let independent = broker.lasting_subscriber("n", "independent");
    let counting_independently = std::thread::spawn(move || {
        let mut seen = Seen::new();
        while let Some((_, text)) = independent.next(LIMIT)
            && text != "end"
        {
            *seen.entry(text.parse().unwrap()).or_default() += 1;
        }
        seen
    });
    let receiving = kept(broker.endpoint(), "receiver");
    let receiver = mqtt::connect(receiving).await.unwrap();
    let mut stream = in_time(receiver.subscribe("n")).await.unwrap();
    let publisher = mqtt::connect(kept(path.endpoint(), "publisher"))
        .await
        .unwrap();
    let done = watch::Sender::new(0);
    let counting = tokio::spawn(async move {
        let mut seen = Seen::new();
        while let Some(message) = stream.next().await {
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            if text == "end" {
                break;
            }
            *seen.entry(text.parse().unwrap()).or_default() += 1;
        }
        seen
    });
    let publishing = {
        let (publisher, done) = (publisher.clone(), done.clone());
        tokio::spawn(async move { publish_all(&publisher, total, &done).await })
    };
    let mut highest = Vec::new();
    for round in 1..=restarts {
        let start = round * (total / (restarts + 1));
        until(&done, start).await;
        highest.push(memory());
        path.set_delay(Duration::from_millis(if round % 3 == 0 { 2 } else { 0 }));
        until(&done, start + 500).await;
        path.cut();
        until(&done, start + 1000).await;
        broker = tokio::task::spawn_blocking(move || {
            broker.stop();
            broker.start_again();
            broker
        })
        .await
        .unwrap();
    }
    path.set_delay(Duration::ZERO);
    let (acknowledged, failed) = publishing.await.unwrap();
    in_time(publisher.publish(Publish::new("n", "end")))
        .await
        .unwrap();
    let (count, connections) = (acknowledged.len(), path.connections());
    report(&format!(
        "{protocol:?}: {count} acknowledged, {failed} failed, {connections} connections, {highest:?} MiB"
    ));
    assert_eq!((acknowledged.len(), failed), (total, 0));
    let independently = tokio::task::spawn_blocking(|| counting_independently.join().unwrap());
    for (who, seen) in [
        ("brs", in_time(counting).await.unwrap()),
        ("mosquitto_sub", in_time(independently).await.unwrap()),
    ] {
        let lost = acknowledged
            .iter()
            .filter(|number| !seen.contains_key(number))
            .count();
        let twice: usize = seen.values().map(|count| count - 1).sum();
        report(&format!(
            "{protocol:?}, {who}: {lost} lost, {twice} more than once"
        ));
        assert_eq!(lost, 0, "{who}");
    }
    // Other tests of this process come and go: of the last quarter the least counts, which what
    // grows has in it, too.
    let (first, last) = (
        highest[2],
        highest[restarts * 3 / 4..].iter().copied().min().unwrap(),
    );
    assert!(
        first > 0 && last < first + 32,
        "memory grows: {highest:?} MiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn every_publish_ends_though_the_broker_is_killed() {
    const TOTAL: usize = 5_000;
    let mut broker = Mosquitto::start(&world().iot);
    let publisher = world().connect(&broker, "survivor").await;
    let done = watch::Sender::new(0);
    let publishing = {
        let (publisher, done) = (publisher.clone(), done.clone());
        tokio::spawn(async move { publish_all(&publisher, TOTAL, &done).await })
    };
    for round in 1..=5 {
        until(&done, round * 800).await;
        broker = tokio::task::spawn_blocking(move || {
            broker.kill();
            broker.start_again();
            broker
        })
        .await
        .unwrap();
    }
    let (acknowledged, failed) = in_time(publishing).await.unwrap();
    report(&format!(
        "{} acknowledged, {failed} ended as an error",
        acknowledged.len()
    ));
    assert_eq!(acknowledged.len() + failed, TOTAL);
}
