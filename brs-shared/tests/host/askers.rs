//! Who asks may change under an open session: what is stored, and under whose key.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Whom a file names, as token files, profiles and device certificates do.
#[derive(Debug)]
struct ByFile {
    path: PathBuf,
    /// Whom the file names from the middle of the next call on.
    next: Option<&'static str>,
    fails: bool,
    calls: Arc<AtomicUsize>,
}

impl ByFile {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            next: None,
            fails: false,
            calls: Arc::default(),
        }
    }

    fn who(&self) -> std::io::Result<String> {
        std::fs::read_to_string(&self.path)
    }
}

#[async_trait]
impl RefreshStrategy for ByFile {
    fn method(&self) -> &'static str {
        "by-file"
    }

    fn source(&self) -> &'static str {
        "by-file"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(next) = self.next {
            std::fs::write(&self.path, next).unwrap();
        }
        if self.fails {
            return Err(Error::request("denied")
                .unrecoverable()
                .with_code("AccessDenied"));
        }
        let id = format!("ASIA{}", self.who().unwrap());
        let end = cx.clock().now() + HOUR;
        Ok(TemporaryCredentials::new(id, "secret", None, Some(end)))
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("by-file").with("who", self.who().ok()?))
    }
}

async fn open(cache: &Cache, source: ByFile) -> RefreshableSession {
    let builder = RefreshableSession::with_strategy(Shared::new(source, cache.store()));
    builder.clock(cache.clock.clone()).build().await.unwrap()
}

async fn key_id(session: &RefreshableSession) -> String {
    let set = session.credentials().await.unwrap();
    set.access_key_id().to_owned()
}

#[tokio::test]
async fn a_set_is_shared_with_those_for_whom_it_was_fetched() {
    let cache = Cache::new();
    let path = cache.folder.path().join("who");
    std::fs::write(&path, "ALICE").unwrap();
    let long_lived = open(&cache, ByFile::new(&path)).await;
    std::fs::write(&path, "BOB").unwrap();
    assert_eq!(key_id(&long_lived).await, "ASIABOB");

    let bob = ByFile::new(&path);
    let calls = Arc::clone(&bob.calls);
    assert_eq!(key_id(&open(&cache, bob).await).await, "ASIABOB");
    assert_eq!(calls.load(Ordering::SeqCst), 0, "Bob's is in the cache");

    std::fs::write(&path, "ALICE").unwrap();
    let alice = open(&cache, ByFile::new(&path)).await;
    assert_eq!(key_id(&alice).await, "ASIAALICE");
    assert_eq!(
        long_lived.refresh().await.unwrap().access_key_id(),
        "ASIAALICE"
    );
}

#[tokio::test]
async fn what_the_source_said_while_the_asker_changed_is_not_shared() {
    for fails in [false, true] {
        let cache = Cache::new();
        let path = cache.folder.path().join("who");
        std::fs::write(&path, "ALICE").unwrap();
        let changed = ByFile {
            next: Some("BOB"),
            fails,
            ..ByFile::new(&path)
        };
        let answer = open(&cache, changed).await.credentials().await;
        assert_eq!(answer.is_err(), fails);
        let is_entry = |path: &PathBuf| path.extension().is_some_and(|found| found == "json");
        assert!(!cache.files().iter().any(is_entry), "{:?}", cache.files());
        for who in ["ALICE", "BOB"] {
            std::fs::write(&path, who).unwrap();
            let next = ByFile::new(&path);
            let calls = Arc::clone(&next.calls);
            let session = open(&cache, next).await;
            assert_eq!(key_id(&session).await, format!("ASIA{who}"));
            assert_eq!(calls.load(Ordering::SeqCst), 1, "{who}");
        }
    }
}

#[tokio::test]
async fn a_session_shares_once_it_can_be_told_who_asks() {
    let cache = Cache::new();
    let path = cache.folder.path().join("who");
    let early = open(&cache, ByFile::new(&path)).await;
    std::fs::write(&path, "ALICE").unwrap();
    assert_eq!(key_id(&early).await, "ASIAALICE");
    let second = ByFile::new(&path);
    let calls = Arc::clone(&second.calls);
    assert_eq!(key_id(&open(&cache, second).await).await, "ASIAALICE");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}
