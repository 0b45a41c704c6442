//! Requests to the credentials endpoint: whatever is sent, what comes back is answers, and
//! credentials are in them only if the token is in the request.

#![no_main]

use brs::serve::{Consumer, Server};
use brs::test_util::{Scripted, Step};
use brs::{RefreshableSession, TemporaryCredentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// The seeds have it.
const TOKEN: &str = "the-token-that-the-fuzzer-knows";
const SECRET: &[u8] = b"a-secret-key-of-nobody";

thread_local! {
    static ENDPOINT: Endpoint = Endpoint::start();
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ENDPOINT.with(|endpoint| endpoint.ask(bytes)));

struct Endpoint {
    runtime: Runtime,
    server: Server,
}

impl Endpoint {
    fn start() -> Self {
        // Time goes on as fast as it can: a wrong token slows nothing down.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime can be built");
        let server = runtime.block_on(async {
            let secret = String::from_utf8_lossy(SECRET);
            let set = TemporaryCredentials::new("ASIAEXAMPLE", secret, Some("t".into()), None);
            let script = Scripted::always(Step::Give(set));
            let session = RefreshableSession::with_strategy(script.shared()).build();
            let session = session.await.expect("the session can be built");
            session.credentials().await.expect("the script gives them");
            let consumer = Consumer::new("fuzz").all().token(TOKEN.into());
            let builder = Server::builder().session("app", session).consumer(consumer);
            builder.build().await.expect("the server can be built")
        });
        Self { runtime, server }
    }

    fn ask(&self, bytes: &[u8]) {
        let answers = self.runtime.block_on(async {
            let (mut client, socket) = tokio::io::duplex(1 << 20);
            let asking = async {
                // The server may have closed already.
                let _ = client.write_all(bytes).await;
                let _ = client.shutdown().await;
                let mut answers = Vec::new();
                let _ = client.read_to_end(&mut answers).await;
                answers
            };
            tokio::join!(asking, self.server.converse(socket)).0
        });
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."));
        let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
        assert!(!has(&answers, SECRET) || has(bytes, TOKEN.as_bytes()));
        assert!(
            !has(&answers, TOKEN.as_bytes()),
            "a token is never sent back"
        );
    }
}
