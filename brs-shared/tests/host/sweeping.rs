//! What stays in the directory, and for how long.

use super::*;

async fn fetch(cache: &Cache, name: &'static str, script: &Scripted) {
    let session = cache.session_at(&cache.path(), script, Some(name)).await;
    session.credentials().await.unwrap();
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn what_has_expired_is_removed_when_something_is_written() {
    let cache = Cache::new();
    for name in NAMES {
        fetch(&cache, name, &hourly()).await;
    }
    assert_eq!(cache.files().len(), 2 * NAMES.len());
    // As a process that died while it wrote leaves it.
    let left = cache.files()[0].with_extension("dead.tmp");
    std::fs::write(&left, "hush").unwrap();
    cache.clock.advance(HOUR + Duration::from_secs(60));
    fetch(&cache, "x", &hourly()).await;
    assert_eq!(cache.files().len(), 2, "{:?}", cache.files());
}

#[tokio::test]
async fn what_is_good_or_in_use_stays() {
    let cache = Cache::new();
    fetch(&cache, "held", &hourly()).await;
    let held = std::fs::File::open(cache.file("lock")).unwrap();
    held.try_lock().unwrap();
    let daily = Scripted::always(Step::Fresh(24 * HOUR));
    fetch(&cache, "daily", &daily).await;
    fetch(&cache, "hourly", &hourly()).await;
    cache.clock.advance(2 * HOUR);
    fetch(&cache, "x", &hourly()).await;
    let count = |ending: &str| {
        let is_one = |path: &&PathBuf| path.extension().is_some_and(|found| found == ending);
        cache.files().iter().filter(is_one).count()
    };
    let counts = (count("json"), count("lock"));
    assert_eq!(counts, (3, 3), "{:?}", cache.files());
    fetch(&cache, "daily", &daily).await;
    assert_eq!(daily.calls(), 1);
}
