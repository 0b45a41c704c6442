//! What is not used: each its own warning, and the session goes on by itself.

use super::*;

/// Opens a session of its own, which must get a set from the source, and gives its warnings.
async fn alone(cache: &Cache, path: &Path) -> Vec<&'static str> {
    let script = hourly();
    let session = cache.session_at(path, &script, Some("x")).await;
    let mut events = session.events();
    session.credentials().await.unwrap();
    assert_eq!(script.calls(), 1);
    let names = warnings(&mut events);
    // Once.
    session.refresh().await.unwrap();
    assert_eq!(warnings(&mut events), [""; 0], "after {names:?}");
    names
}

#[tokio::test]
async fn files_are_for_the_user_alone() {
    let cache = Cache::new();
    assert_eq!(alone(&cache, &cache.path()).await, [""; 0]);
    assert_eq!(mode(&cache.path()), 0o700);
    let files = cache.files();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_directory_that_does_not_fit_is_not_used() {
    let cache = Cache::new();
    let folder = cache.folder.path();
    let at = |name: &str| folder.join(name);
    for name in ["real", "open", "deaf"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    set_mode(&at("real"), 0o700);
    set_mode(&at("open"), 0o750);
    set_mode(&at("deaf"), 0o500);
    std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    for (path, expected) in [
        (at("link"), "host_cache_directory_link"),
        (at("link/"), "host_cache_directory_link"),
        (at("link/."), "host_cache_directory_link"),
        (at("open"), "host_cache_directory_mode"),
        (at("deaf"), "host_cache_directory_mode"),
        (at("file"), "host_cache_directory_file"),
        (at("file/below"), "host_cache_directory"),
        ("relative".into(), "host_cache_relative"),
        ("/proc/brs".into(), "host_cache_directory"),
    ] {
        assert_eq!(alone(&cache, &path).await, [expected], "{path:?}");
    }
    assert_eq!(at("real").read_dir().unwrap().count(), 0);
    assert_eq!(at("open").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_below_a_link_is_used() {
    let cache = Cache::new();
    let real = cache.folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    let link = cache.folder.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert_eq!(alone(&cache, &link.join("a/b")).await, [""; 0]);
    assert_eq!(mode(&real.join("a")), 0o700);
}

/// What is done to a file.
type Spoil = fn(&Path);

#[tokio::test]
async fn a_bad_entry_is_as_if_absent_and_replaced() {
    fn text(path: &Path, change: impl Fn(String) -> String) {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, change(text)).unwrap();
    }
    let spoils: [(&str, Spoil); 11] = [
        ("host_cache_entry_malformed", |path| {
            text(path, |text| text[..100].into())
        }),
        ("host_cache_entry_malformed", |path| {
            text(path, |_| "[1, 2]".into())
        }),
        ("host_cache_entry_malformed", |path| {
            std::fs::write(path, "").unwrap()
        }),
        ("host_cache_entry_other_version", |path| {
            text(path, |text| text.replace("\"version\":1", "\"version\":2"));
        }),
        ("host_cache_entry_foreign", |path| {
            text(path, |text| text.replace("\"key\":\"v1-", "\"key\":\"v1-0"));
        }),
        ("host_cache_entry_oversized", |path| {
            text(path, |text| text + &" ".repeat(64 * 1024));
        }),
        ("host_cache_entry_mode", |path| set_mode(path, 0o640)),
        ("host_cache_entry_link", |path| {
            let elsewhere = path.with_extension("elsewhere");
            std::fs::rename(path, &elsewhere).unwrap();
            std::os::unix::fs::symlink(elsewhere, path).unwrap();
        }),
        ("host_cache_entry_link", |path| {
            std::fs::hard_link(path, path.with_extension("second")).unwrap();
        }),
        ("host_cache_entry", |path| {
            std::fs::remove_file(path).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                0,
            )
            .unwrap();
        }),
        ("host_cache_entry_malformed", |path| {
            std::fs::write(path, [0xff; 500]).unwrap()
        }),
    ];
    let cache = Cache::new();
    alone(&cache, &cache.path()).await;
    for (expected, spoil) in spoils {
        let entry = cache.file("json");
        spoil(&entry);
        assert_eq!(alone(&cache, &cache.path()).await, [expected]);
        // Replaced: the next one makes no call and hears of nothing.
        let script = hourly();
        let session = cache.session(&script).await;
        let mut events = session.events();
        session.credentials().await.unwrap();
        assert_eq!(
            (script.calls(), warnings(&mut events)),
            (0, vec![]),
            "{expected}"
        );
        assert_eq!((mode(&entry), entry.is_symlink()), (0o600, false));
    }
}

#[tokio::test]
async fn a_folder_in_the_entrys_place_is_not_replaced() {
    let cache = Cache::new();
    alone(&cache, &cache.path()).await;
    let entry = cache.file("json");
    std::fs::remove_file(&entry).unwrap();
    std::fs::create_dir(&entry).unwrap();
    let names = alone(&cache, &cache.path()).await;
    assert_eq!(names, ["host_cache_entry", "host_cache_not_written"]);
    assert_eq!(cache.files().len(), 2, "no temporary file stays");
}

#[tokio::test]
async fn an_entry_that_was_put_back_is_ignored() {
    let cache = Cache::new();
    let script = hourly();
    let session = cache.session(&script).await;
    let mut events = session.events();
    session.credentials().await.unwrap();
    let old = std::fs::read(cache.file("json")).unwrap();
    let generation = cache.entry()["generation"].as_u64().unwrap();
    session.refresh().await.unwrap();
    std::fs::write(cache.file("json"), old).unwrap();
    let set = session.refresh().await.unwrap();
    assert_eq!(set.access_key_id(), "ASIASCRIPTED00000003");
    assert_eq!(warnings(&mut events), ["host_cache_entry_replayed"]);
    assert_eq!(cache.entry()["generation"], generation + 2);
}

#[tokio::test]
async fn what_is_written_after_the_directory_was_emptied_is_not_taken_for_old() {
    let cache = Cache::new();
    let (script, other) = (hourly(), hourly());
    let long_lived = cache.session(&script).await;
    let mut events = long_lived.events();
    for _ in 0..57 {
        long_lived.refresh().await.unwrap();
    }
    std::fs::remove_dir_all(cache.path()).unwrap();
    cache.clock.advance(Duration::from_secs(2700));
    let set = cache.session(&other).await.credentials().await.unwrap();
    assert_eq!(
        long_lived.credentials_valid_for(HOUR / 2).await.unwrap(),
        set
    );
    assert_eq!(warnings(&mut events), [""; 0]);
}

#[tokio::test]
async fn a_bad_lock_is_replaced_and_what_it_led_to_is_left_alone() {
    let spoils: [(&str, Spoil); 4] = [
        ("host_cache_lock_link", |path| {
            let elsewhere = path.with_extension("elsewhere");
            std::fs::write(&elsewhere, "precious").unwrap();
            std::os::unix::fs::symlink(elsewhere, path).unwrap();
        }),
        ("host_cache_lock_link", |path| {
            let elsewhere = path.with_extension("elsewhere");
            std::fs::write(&elsewhere, "precious").unwrap();
            set_mode(&elsewhere, 0o600);
            std::fs::hard_link(elsewhere, path).unwrap();
        }),
        ("host_cache_lock_mode", |path| {
            std::fs::write(path, "").unwrap();
            set_mode(path, 0o644);
        }),
        ("host_cache_lock_link", |path| {
            std::os::unix::fs::symlink("nowhere", path).unwrap();
        }),
    ];
    for (expected, spoil) in spoils {
        let cache = Cache::new();
        alone(&cache, &cache.path()).await;
        std::fs::remove_file(cache.file("json")).unwrap();
        let lock = cache.file("lock");
        std::fs::remove_file(&lock).unwrap();
        spoil(&lock);
        assert_eq!(alone(&cache, &cache.path()).await, [expected]);
        assert!(lock.symlink_metadata().unwrap().is_file() && mode(&lock) == 0o600);
        let elsewhere = lock.with_extension("elsewhere");
        if elsewhere.exists() {
            assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "precious");
        }
        assert!(!lock.with_file_name("nowhere").exists());
    }
}

#[tokio::test]
async fn a_folder_in_the_locks_place_costs_a_warning() {
    let cache = Cache::new();
    alone(&cache, &cache.path()).await;
    std::fs::remove_file(cache.file("json")).unwrap();
    let lock = cache.file("lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    assert_eq!(alone(&cache, &cache.path()).await, ["host_cache_lock"]);
}

#[tokio::test]
async fn what_a_killed_writer_left_behind_is_removed() {
    let cache = Cache::new();
    alone(&cache, &cache.path()).await;
    let (entry, lock) = (cache.file("json"), cache.file("lock"));
    std::fs::remove_file(&entry).unwrap();
    std::fs::write(&lock, "4711 abc\n").unwrap();
    let left = entry.with_extension("abc.tmp");
    std::fs::write(&left, "{\"half\":").unwrap();
    alone(&cache, &cache.path()).await;
    assert!(!left.exists());
}
