//! `RedisStore` on servers that answer what a test says: what is said of them. With real ones:
//! `tests/tests/fleet`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use brs_core::SecretSource;
use brs_shared::RedisStore;

/// A server that gives this answer to whatever it reads, and counts its connections.
fn server(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(answer);
                }
            });
        }
    });
    (address.to_string(), accepted)
}

/// All that a session says of this store during its first refresh.
async fn said_of(store: RedisStore) -> String {
    let fleet = Fleet::new(store, Seal::from_keys(ONE).unwrap());
    let shared = Shared::new(Told(hourly().shared()), fleet);
    let builder = RefreshableSession::with_strategy(shared);
    let session = builder.build().await.unwrap();
    let mut events = session.events();
    session.credentials().await.unwrap();
    let mut said = String::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::Warning { .. } = event {
            said.push_str(&format!("{event:?}\n"));
        }
    }
    assert!(!said.is_empty());
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_quotes_shows_neither_user_nor_password() {
    // As Redis 7.0 answers with `rename-command` for these commands.
    for (answer, url) in [
        (
            &b"-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'who-4712' \
               'hush-4711' \r\n+OK\r\n+OK\r\n"[..],
            "redis://who-4712:hush-4711@ADDRESS/?protocol=resp3",
        ),
        (
            b"-ERR unknown command 'AUTH', with args beginning with: 'who-4712' 'hush-4711' \r\n\
              +OK\r\n+OK\r\n",
            "redis://who-4712:hush-4711@ADDRESS",
        ),
    ] {
        let (address, _) = server(answer);
        let store = RedisStore::new(url.replace("ADDRESS", &address)).unwrap();
        let said = said_of(store).await;
        assert!(!said.contains("4711") && !said.contains("4712"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_take_longer_than_an_operation() {
    let (address, accepted) = server(b"+OK\r\n");
    let (given, gives) = std::sync::mpsc::channel::<()>();
    let gives = std::sync::Mutex::new(gives);
    let password = SecretSource::blocking_function(move || {
        // A secrets manager.
        let _ = gives
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_millis(700));
        Ok::<_, std::io::Error>("hush")
    });
    let store = RedisStore::new(format!("redis://{address}")).unwrap();
    let said = said_of(store.password(password)).await;
    drop(given);
    assert!(accepted.load(Ordering::SeqCst) > 0, "{said}");
    assert!(!said.contains("did not answer"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_does_not_come_is_named() {
    let (address, _) = server(b"+OK\r\n");
    let password = SecretSource::blocking_function(|| {
        std::thread::park();
        Ok::<_, std::io::Error>("hush")
    });
    let store = RedisStore::new(format!("redis://{address}")).unwrap();
    let said = said_of(store.password(password)).await;
    assert!(
        said.contains("the password did not come within 4000 ms"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_the_settings_is_named_and_not_the_servers_version() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("ca.pem");
    std::fs::write(&pem, "this is no PEM").unwrap();
    let (address, _) = server(b"-ERR DB index is out of range\r\n+OK\r\n+OK\r\n");
    let at = |url: &str| RedisStore::new(url.replace("ADDRESS", &address)).unwrap();
    for (store, named) in [
        (
            at("redis://ADDRESS").trust_store(&pem),
            "`trust_store` is for TLS",
        ),
        (
            at("rediss://ADDRESS").trust_store(&pem),
            "holds no certificates",
        ),
        (at("redis://ADDRESS/99"), "does not have the database"),
    ] {
        let said = said_of(store).await;
        assert!(
            said.contains(named) && !said.contains("check its version"),
            "{said}"
        );
    }
}
