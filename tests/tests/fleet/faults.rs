//! What is done to Redis while hosts use it: an event at most, no caller's error.

use super::*;

use brs::SecretSource;
use brs_tests::redis::{Redis, RedisCluster};
use brs_tests::rough_path::RoughPath;
use brs_tests::{EmbeddedAws, EmbeddedIot};

#[tokio::test]
#[ignore = "needs redis"]
async fn a_store_that_stops_costs_one_warning_a_host() {
    let mut redis = Redis::start();
    let script = hourly();
    let hosts = [Host::new(at(&redis.url())), Host::new(at(&redis.url()))];
    let mut sessions = Vec::new();
    for host in &hosts {
        for name in ["x", "y"] {
            sessions.push(host.session(&script, name).await);
        }
    }
    let mut events: Vec<Events> = sessions.iter().map(RefreshableSession::events).collect();
    for session in &sessions {
        key_id(session).await;
    }
    assert_eq!(script.calls(), 2);
    redis.kill();
    for session in &sessions {
        new_key_id(session).await;
        new_key_id(session).await;
    }
    assert_eq!(script.calls(), 2 + 8);
    let warned: Vec<_> = events.iter_mut().map(warnings).collect();
    // By the first of each host's sessions that noticed.
    assert_eq!(warned.concat(), ["fleet_store_failed"; 2]);
    assert!(hosts.iter().all(|host| host.status().failures == 1));
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_store_that_starts_again_is_used_at_once() {
    let mut redis = Redis::start();
    let script = hourly();
    let host = Host::new(at(&redis.url()));
    let session = host.session(&script, "x").await;
    let mut events = session.events();
    key_id(&session).await;
    redis.kill();
    redis.start_again();
    let id = new_key_id(&session).await;
    assert!(warnings(&mut events).is_empty());
    let other = Host::new(at(&redis.url()));
    assert_eq!(key_id(&other.session(&script, "x").await).await, id);
    assert_eq!((script.calls(), host.status().failures), (2, 0));
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_store_that_is_slow_or_cut_off_is_not_waited_for() {
    let redis = Redis::start();
    let path = RoughPath::start(redis.address());
    let script = hourly();
    let host = Host::new(at(&format!("redis://{}", path.address())));
    let session = host.session(&script, "x").await;
    key_id(&session).await;
    // Longer than an operation may take: to a host no different from no network at all.
    path.set_delay(Duration::from_secs(60));
    let mut events = session.events();
    let began = std::time::Instant::now();
    new_key_id(&session).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(warnings(&mut events), ["fleet_store_failed"]);
    // The others have a way to it.
    let other = Host::new(at(&redis.url()));
    assert_eq!(
        key_id(&other.session(&script, "x").await).await,
        "ASIASCRIPTED00000001"
    );
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_connection_that_was_cut_is_made_again() {
    let redis = Redis::start();
    let path = RoughPath::start(redis.address());
    let script = hourly();
    let host = Host::new(at(&format!("redis://{}", path.address())));
    let session = host.session(&script, "x").await;
    for n in 1..=5 {
        assert_eq!(new_key_id(&session).await, format!("ASIASCRIPTED{n:08}"));
        path.cut();
    }
    assert_eq!(host.status().failures, 0);
    assert_eq!(host.status().asked, 5);
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_full_store_gives_what_it_has_and_takes_nothing() {
    let redis = Redis::start_with(&["--maxmemory-policy", "noeviction"]);
    let script = hourly();
    let host = Host::new(at(&redis.url()));
    key_id(&host.session(&script, "x").await).await;
    redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    let other = Host::new(at(&redis.url()));
    assert_eq!(
        key_id(&other.session(&script, "x").await).await,
        "ASIASCRIPTED00000001"
    );
    let session = other.session(&script, "y").await;
    let mut events = session.events();
    key_id(&session).await;
    assert_eq!(script.calls(), 2);
    let Some(Some(Event::Warning { name, message, .. })) = events
        .next()
        .now_or_never()
        .filter(|event| matches!(event, Some(Event::Warning { .. })))
        .or_else(|| events.next().now_or_never())
    else {
        panic!("no warning");
    };
    assert_eq!(name, "fleet_store_failed");
    assert!(
        message.contains("is full: raise its `maxmemory`"),
        "{message}"
    );
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_promoted_replica_goes_on_with_what_the_primary_had() {
    let (mut primary, replica) = (Redis::start(), Redis::start());
    let path = RoughPath::start(primary.address());
    let url = format!("redis://{}", path.address());
    let script = hourly();
    let host = Host::new(at(&url));
    let session = host.session(&script, "x").await;
    let port = primary.address().port().to_string();
    replica.tell(&["REPLICAOF", "127.0.0.1", &port]);
    replica.tell_until(&["INFO", "replication"], "master_link_status:up");
    let id = key_id(&session).await;
    replica.tell_until(&["DBSIZE"], "1");
    primary.kill();
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    path.redirect(replica.address());
    path.cut();
    let other = Host::new(at(&url));
    assert_eq!(key_id(&other.session(&script, "x").await).await, id);
    assert_eq!(script.calls(), 1);
    new_key_id(&session).await;
    assert_eq!((script.calls(), host.status().failures), (2, 0));
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_demoted_primary_is_left_for_the_new_one() {
    let (old, new) = (Redis::start(), Redis::start());
    let path = RoughPath::start(old.address());
    let script = hourly();
    let host = Host::new(at(&format!("redis://{}", path.address())));
    let session = host.session(&script, "x").await;
    key_id(&session).await;
    // The connection stays, and leads to a replica.
    let port = new.address().port().to_string();
    old.tell(&["REPLICAOF", "127.0.0.1", &port]);
    path.redirect(new.address());
    new_key_id(&session).await;
    assert_eq!((script.calls(), host.status().failures), (2, 0));
    assert!(new.tell(&["DBSIZE"]).contains('1') || new.tell(&["DBSIZE"]).contains('2'));
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_node_of_a_cluster_that_dies_costs_no_callers_error() {
    let mut cluster = RedisCluster::start();
    let script = hourly();
    let host = Host::new(RedisStore::cluster(cluster.urls()).unwrap());
    let mut sessions = Vec::new();
    for n in 0..9 {
        let session = host.session(&script, &n.to_string()).await;
        key_id(&session).await;
        sessions.push(session);
    }
    assert_eq!((script.calls(), host.status().failures), (9, 0));
    cluster.nodes[0].kill();
    for session in &sessions {
        new_key_id(session).await;
    }
    assert_eq!(script.calls(), 18);
}

#[tokio::test]
#[ignore = "needs redis"]
async fn entries_that_were_tampered_with_are_ignored_and_replaced() {
    let redis = Redis::start();
    let script = hourly();
    for (n, (command, name)) in [
        (
            &["SETRANGE", "KEY", "200", "hush"][..],
            "fleet_entry_tampered",
        ),
        (
            &["SET", "KEY", "foreign and long enough to be read"],
            "fleet_entry_malformed",
        ),
        (&["SETRANGE", "KEY", "100000", "x"], "fleet_entry_oversized"),
    ]
    .into_iter()
    .enumerate()
    {
        let round = n.to_string();
        key_id(&Host::new(at(&redis.url())).session(&script, &round).await).await;
        let keys = redis.tell(&["KEYS", "brs:*:set"]);
        let key = keys.lines().next().unwrap();
        let command: Vec<&str> = command
            .iter()
            .map(|part| if *part == "KEY" { key } else { part })
            .collect();
        redis.tell(&command);
        let session = Host::new(at(&redis.url())).session(&script, &round).await;
        let mut events = session.events();
        let id = key_id(&session).await;
        assert_eq!(warnings(&mut events), [name]);
        let late = Host::new(at(&redis.url())).session(&script, &round).await;
        assert_eq!(key_id(&late).await, id);
        redis.tell(&["FLUSHALL"]);
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn another_fleets_keys_do_not_open_and_nothing_is_unsealed() {
    let redis = Redis::start();
    let script = hourly();
    let session = Host::new(at(&redis.url())).session(&script, "x").await;
    let set = session.credentials().await.unwrap();
    let other = "k1:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let stranger = Host::sealing(at(&redis.url()), other);
    let strange = stranger.session(&script, "x").await;
    let mut events = strange.events();
    assert_ne!(key_id(&strange).await, set.access_key_id());
    assert_eq!(warnings(&mut events), ["fleet_entry_tampered"]);
    let dump = redis.dump();
    assert!(holds(&dump, "brs:{v1-"), "it is a dump");
    for secret in [
        set.secret_access_key(),
        set.session_token().unwrap(),
        set.access_key_id(),
    ] {
        assert!(!holds(&dump, secret), "{secret}");
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn tls_a_user_and_a_password_are_used_and_wrong_ones_are_told() {
    let aws = EmbeddedAws::start();
    let iot = EmbeddedIot::start(&aws);
    let (certificate, key) = iot.server_identity();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (file("server.pem", &certificate), file("server.key", &key));
    let authority = file("authority.pem", &iot.trust_store());
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let redis = Redis::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    // What the documents say that a user needs, and no more.
    redis.tell(&[
        "ACL",
        "SETUSER",
        "brs",
        "on",
        ">hush hush",
        "~brs:*",
        "+eval",
        "+getrange",
        "+get",
        "+set",
        "+pttl",
        "+del",
    ]);
    let url = format!("rediss://localhost:{port}");
    let password = file("password", "hush hush\n");
    let store = at(&url)
        .user("brs")
        .password(SecretSource::file(&password))
        .trust_store(&authority);
    contract::check(&store, "v1-a").await;
    assert!(!format!("{store:?}").contains("hush"));

    let wrong = at(&url)
        .user("brs")
        .password("hash")
        .trust_store(&authority);
    let error = wrong.load("v1-a").await.unwrap_err();
    assert!(
        error.to_string().contains("refuses user or password"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hash"), "{error:?}");
    let error = at(&url).load("v1-a").await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    redis.tell(&["ACL", "SETUSER", "brs", "-set"]);
    let error = store.lease("v1-b", "a-1", HOUR).await.unwrap_err();
    assert!(error.to_string().contains("allow EVAL"), "{error}");
}
