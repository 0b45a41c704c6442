//! The demo: real SDK calls that keep working while their credentials expire and are replaced.
//!
//! Without arguments it needs no AWS account: the embedded AWS issues credentials that live ten
//! seconds. With `--role-arn` it does the same against real AWS with the user's profile. Started by
//! `cargo xtask demo`. Exit code 1 if any call failed.

mod devices;
mod fleet;
mod messages;
mod screen;
mod serve;
mod sessions;

use std::process::ExitCode;
use std::time::Duration;

use brs::Error;
use clap::Parser;
use tokio::time::{Instant, MissedTickBehavior, interval};

use messages::Messages;
use screen::Screen;
use sessions::Demo;

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// SDK calls that keep working while their credentials expire and are replaced.
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "cargo xtask demo")]
struct Arguments {
    /// Assume this role at real AWS instead of using the embedded one
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// The profile with the base credentials, for real AWS
    #[arg(long, requires = "role_arn")]
    profile: Option<String>,
    /// The region, for real AWS
    #[arg(long, requires = "role_arn")]
    region: Option<String>,
    /// Add an MFA session (TOTP) and a role that asks for MFA on top of it
    #[arg(long, conflicts_with = "role_arn")]
    mfa: bool,
    /// Add a device with a certificate, at an embedded credentials provider of AWS IoT
    #[arg(long, conflicts_with = "role_arn")]
    iot: bool,
    /// Add a device whose key is in a PKCS#11 token (SoftHSM2, set up by `cargo xtask demo`)
    #[arg(long, conflicts_with = "role_arn")]
    pkcs11: bool,
    /// Add a server outside of AWS with a certificate, at an embedded IAM Roles Anywhere
    #[arg(long, conflicts_with = "role_arn")]
    anywhere: bool,
    /// Publish and receive by MQTT through mosquitto, which `cargo xtask demo` sets up, while
    /// connections are cut
    #[arg(long, conflicts_with = "role_arn")]
    mqtt: bool,
    /// Show four processes that share the credentials of forty roles through Redis, which
    /// `cargo xtask demo` sets up, while one of them is killed and Redis is away
    #[arg(long, conflicts_with_all = ["role_arn", "mfa", "iot", "pkcs11", "mqtt"])]
    fleet: bool,
    /// Show `brs serve` with three sessions, through which boto3 and the AWS SDK for JavaScript call,
    /// which `cargo xtask demo` sets up, while connections are cut
    #[arg(long, conflicts_with_all = ["role_arn", "mfa", "iot", "pkcs11", "mqtt", "anywhere", "fleet"])]
    serve: bool,
    /// Be one of the processes of `--fleet`
    #[arg(long, hide = true)]
    host: Option<String>,
    /// How long to run: 30 seconds, a fleet 90, `--serve` 60, unless told otherwise
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// How long the embedded AWS's credentials live
    #[arg(long, value_name = "SECONDS", default_value_t = 10, conflicts_with = "role_arn",
          value_parser = clap::value_parser!(u64).range(3..=3600))]
    lifetime: u64,
    /// Calls per second of each session, and messages of each connection
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rate: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    if let Some(host) = &arguments.host {
        return fleet::host(host, arguments.rate).await;
    }
    if arguments.fleet {
        return fleet::run(
            arguments.seconds.unwrap_or(90),
            arguments.lifetime,
            arguments.rate,
        )
        .await;
    }
    if arguments.serve {
        let seconds = arguments.seconds.unwrap_or(60);
        return serve::run(seconds, arguments.lifetime, arguments.rate).await;
    }
    let mut demo = match &arguments.role_arn {
        Some(role_arn) => {
            Demo::real(
                role_arn,
                arguments.profile.as_deref(),
                arguments.region.as_deref(),
            )
            .await?
        }
        None => {
            let mut demo = Demo::embedded(Duration::from_secs(arguments.lifetime)).await?;
            if arguments.mfa {
                demo.add_mfa().await?;
            }
            if arguments.iot || arguments.pkcs11 || arguments.anywhere {
                demo.add_devices(arguments.iot, arguments.pkcs11, arguments.anywhere)
                    .await?;
            }
            if arguments.mqtt {
                demo.add_messages().await?;
            }
            demo
        }
    };
    demo.introduction()
        .iter()
        .for_each(|line| screen::say(line));
    let begin = Instant::now();
    let limit = Duration::from_secs(arguments.seconds.unwrap_or(30));
    let callers: Vec<_> = demo
        .watched()
        .iter()
        .map(|watched| watched.call_until(begin + limit, arguments.rate))
        .collect();

    if let Some(messages) = demo.messages_mut() {
        messages.run(arguments.rate).await?;
    }

    let mut screen = Screen::open(demo.watched().len(), demo.links().len());
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let interrupted = tokio::signal::ctrl_c();
    let mut interrupted = std::pin::pin!(interrupted);
    while begin.elapsed() < limit {
        tokio::select! {
            _ = frames.tick() => screen.draw(begin.elapsed(), demo.watched(), demo.links()),
            _ = &mut interrupted => break,
        }
    }
    // A call that hangs has the SDK's own limits; who does not want to wait for those says so once
    // more.
    let stopped = async {
        for caller in callers {
            caller.stop().await;
        }
        if let Some(messages) = demo.messages_mut() {
            messages.stop().await;
        }
    };
    tokio::select! {
        () = stopped => {}
        _ = tokio::signal::ctrl_c() => {
            drop(screen);
            std::process::exit(130);
        }
    }
    screen.draw(begin.elapsed(), demo.watched(), demo.links());
    drop(screen);
    Ok(summary(&demo, begin.elapsed()))
}

fn summary(demo: &Demo, ran: Duration) -> ExitCode {
    let mut failures = 0;
    screen::say("");
    for watched in demo.watched() {
        let (status, stats) = (watched.session().status(), watched.stats());
        failures += stats.failures;
        screen::say(&format!(
            "{}: {} calls with {} sets of credentials, {} failed, longest wait {} ms",
            watched.name(),
            stats.calls,
            status.refreshes(),
            stats.failures,
            stats.longest_wait.as_millis()
        ));
        if let Some(error) = stats.last_error {
            screen::say(&format!("  last error: {error}"));
        }
    }
    let by_mqtt = demo.messages().map(Messages::summary).unwrap_or_default();
    for line in [demo.mfa_codes(), demo.handshakes()]
        .into_iter()
        .flatten()
        .chain(by_mqtt)
    {
        screen::say(&line);
    }
    failures += demo.messages().map_or(0, Messages::failures);
    let verdict = match (failures, demo.messages().is_some()) {
        (0, false) => "no call failed",
        (0, true) => "no call failed and no message was lost",
        _ => "some calls or messages failed",
    };
    let source_calls = demo.source_calls();
    screen::say(&format!(
        "{verdict} in {:.0} s; the source was asked {source_calls}",
        ran.as_secs_f64()
    ));
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
