//! Who gets a permit, and when.

use std::time::UNIX_EPOCH;

use futures_util::FutureExt;

use super::*;
use crate::test_util::ManualClock;

fn place(wanted: Wanted) -> Arc<Place> {
    let place = Arc::new(Place::default());
    if wanted != Wanted::Unattended {
        place.wait_for("limiter-test");
    }
    place
}

/// Whether the permit is there; its call begins.
fn begins(permit: &mut Permit) -> bool {
    permit.now_or_never().flatten().map(Held::begin).is_some()
}

#[tokio::test]
async fn permits_whose_calls_have_not_begun_count_as_tokens() {
    let manual = ManualClock::new(UNIX_EPOCH);
    let clock: Arc<dyn Clock> = Arc::new(manual.clone());
    let limiter = Limiter::adaptive(1, 1);
    let mut first = limiter.line_up(&place(Wanted::Awaited), &clock);
    let held = (&mut first).now_or_never().flatten().unwrap();
    let mut second = limiter.line_up(&place(Wanted::Awaited), &clock);
    for _ in 0..10 {
        settle(&manual).await;
        manual.advance(Duration::from_secs(1));
        assert!(!begins(&mut second), "one is held, of one");
    }
    // One that is dropped goes back, and is the next one's.
    drop(held);
    assert!(second.await.map(Held::begin).is_some());
    assert_eq!(limiter.status().calls, 1);
}

/// Lets the driver of the line run until it sleeps.
async fn settle(clock: &ManualClock) {
    clock.sleepers(1).await;
}

#[tokio::test]
async fn awaited_calls_come_before_unattended_ones_and_a_call_moves_up() {
    let manual = ManualClock::new(UNIX_EPOCH);
    let clock: Arc<dyn Clock> = Arc::new(manual.clone());
    let limiter = Limiter::adaptive(1, 1);
    let mut first = limiter.line_up(&place(Wanted::Unattended), &clock);
    assert!(begins(&mut first));
    let moved = place(Wanted::Unattended);
    let mut permits = [
        (
            "unattended",
            limiter.line_up(&place(Wanted::Unattended), &clock),
        ),
        ("moved", limiter.line_up(&moved, &clock)),
        ("awaited", limiter.line_up(&place(Wanted::Awaited), &clock)),
    ];
    moved.wait_for("limiter-test");
    assert_eq!(
        (limiter.status().awaited, limiter.status().unattended),
        (2, 1)
    );
    let mut order = Vec::new();
    for _ in 0..3 {
        settle(&manual).await;
        manual.advance(Duration::from_secs(1));
        settle_or_done(&manual, &limiter).await;
        for (name, permit) in &mut permits {
            if !order.contains(name) && begins(permit) {
                order.push(*name);
            }
        }
    }
    assert_eq!(order, ["moved", "awaited", "unattended"]);
    assert_eq!(limiter.status().calls, 4);
}

async fn settle_or_done(clock: &ManualClock, limiter: &Limiter) {
    let is_empty = || {
        let status = limiter.status();
        status.awaited + status.unattended == 0
    };
    while !is_empty() && clock.sleeping() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_that_leaves_the_line_takes_no_permit() {
    let manual = ManualClock::new(UNIX_EPOCH);
    let clock: Arc<dyn Clock> = Arc::new(manual.clone());
    let limiter = Limiter::adaptive(1, 1);
    let mut first = limiter.line_up(&place(Wanted::Awaited), &clock);
    assert!(begins(&mut first));
    let leaves = limiter.line_up(&place(Wanted::Awaited), &clock);
    let stays = limiter.line_up(&place(Wanted::Awaited), &clock);
    drop(leaves);
    settle(&manual).await;
    manual.advance(Duration::from_secs(1));
    assert!(stays.await.map(Held::begin).is_some());
    assert_eq!(limiter.status().calls, 2);
}
