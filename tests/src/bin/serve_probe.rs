//! A small service with an endpoint that systemd starts; the tests start it as systemd would.
//!
//! Prints the endpoint's address and its token. The signal SIGHUP renews the token, SIGTERM ends
//! the service.

use std::process::ExitCode;

use aws_credential_types::Credentials;
use brs::RefreshableSession;
use brs::serve::Server;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let (mut hangup, mut term) = (
        signal(SignalKind::hangup())?,
        signal(SignalKind::terminate())?,
    );
    let keys = Credentials::from_keys("AKIAIOSFODNN7EXAMPLE", "hush", None);
    let session = RefreshableSession::with_provider(keys)
        .region("eu-west-1")
        .build()
        .await?;
    let server = Server::builder()
        .session("app", session)
        .systemd(true)
        .build()
        .await?;
    let token = server.token().ok_or("there is one consumer")?;
    println!("{} {}", server.local_addr(), token.expose());
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    loop {
        tokio::select! {
            _ = hangup.recv() => handle.renew_tokens()?,
            _ = term.recv() => break,
        }
    }
    handle.shutdown();
    running.await??;
    Ok(())
}
