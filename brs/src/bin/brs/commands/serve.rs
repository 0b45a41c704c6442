//! `brs serve`: the sessions of the configuration for the programs of this machine.
//!
//! The server itself is the library's (`brs::serve`), what it tells the service manager included.
//! Here are the configuration and the signals: SIGHUP reads the configuration again, and sessions
//! whose data did not change keep their credentials; SIGTERM and SIGINT end the server.

mod reload;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use brs::Error;
use brs::serve::{AssumeRule, Consumer, Handle, Server, ServerBuilder};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Serve as Args;
use crate::config::Config;
use crate::config::serve::Serve;
use crate::exit::{Done, Failure};
use crate::open::{Context, How, Opened, Opener};
use reload::Reload;

/// Where the server listens if the configuration does not say.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9912);

pub(super) async fn run(args: Args, cx: &Context) -> Result<Done, Failure> {
    let config = cx.config()?;
    let settings = settings(config)?;
    let mut signals = Signals::listen()?;
    let sessions = open(&mut opener(config, cx), config).await?;
    let builder = builder(settings, &sessions).strict(args.strict);
    let server = tokio::select! {
        built = builder.build() => built.map_err(not_built)?,
        Some(()) = signals.terminate.recv() => return Ok(Done::Success),
        Some(()) = signals.interrupt.recv() => return Ok(Done::Success),
    };
    let handle = server.handle();
    tracing::info!(url = server.url(), sessions = sessions.len(), "serving");
    let mut reload = Reload::new(settings.clone(), sessions, config.sessions().clone());
    let mut serving = tokio::spawn(server.run());
    loop {
        tokio::select! {
            ended = &mut serving => {
                return match ended {
                    Ok(Ok(())) => Ok(Done::Success),
                    Ok(Err(error)) => Err(Failure::Machine(error.to_string())),
                    Err(error) => Err(Failure::Machine(format!("the server has ended: {error}"))),
                };
            }
            Some(()) = signals.reload.recv() => {
                if let Err(failure) = read_again(&mut reload, &handle, cx).await {
                    tracing::error!("the sessions stay as they were: {failure}");
                }
                if let Err(error) = handle.renew_tokens() {
                    tracing::error!("the tokens stay as they were: {error}");
                }
            }
            Some(()) = signals.terminate.recv() => handle.shutdown(),
            Some(()) = signals.interrupt.recv() => handle.shutdown(),
        }
    }
}

async fn read_again(reload: &mut Reload, handle: &Handle, cx: &Context) -> Result<(), Failure> {
    let next = reload.read_again(cx).await?;
    handle
        .replace_sessions(next.named())
        .map_err(Failure::of_opening)?;
    *reload = next;
    tracing::info!("the configuration was read again");
    Ok(())
}

/// With `--strict`, the failure may be that of a session.
fn not_built(error: Error) -> Failure {
    if error.details().contains_key("session") {
        Failure::of_refresh(error)
    } else {
        Failure::of_opening(error)
    }
}

/// `[serve]`.
fn settings(config: &Config) -> Result<&Serve, Failure> {
    let missing = |problem: &str| {
        Failure::Usage(match config.path() {
            Some(path) => format!("{}: {problem}", path.display()),
            None => format!("there is no configuration file: {problem}"),
        })
    };
    let settings = config.serve.as_ref();
    let settings =
        settings.ok_or_else(|| missing("has no `[serve]`: add it, with one table a consumer"))?;
    // Nobody could ask: a token that is in no file is known to nobody.
    if settings.consumers.is_empty() && settings.imds.is_none() {
        let problem = "`serve` has no consumers: add `[serve.consumers.NAME]` with `sessions` and `token_file`";
        return Err(missing(problem));
    }
    Ok(settings)
}

fn opener<'a>(config: &'a Config, cx: &Context) -> Opener<'a> {
    let how = How {
        unattended: true,
        ..How::default()
    };
    Opener::new(config, how, &cx.terminal)
}

/// Opens every session of the configuration.
async fn open(opener: &mut Opener<'_>, config: &Config) -> Result<Vec<Opened>, Failure> {
    let mut sessions = Vec::new();
    for name in config.sessions().keys() {
        sessions.push(opener.named(name).await?);
    }
    Ok(sessions)
}

fn builder(settings: &Serve, sessions: &[Opened]) -> ServerBuilder {
    let mut builder = Server::builder()
        .systemd(true)
        .listen(settings.listen.unwrap_or(LISTEN))
        .danger_listen(settings.danger_listen);
    for opened in sessions {
        builder = builder.session(opened.name.as_str(), opened.session.clone());
    }
    for (name, consumer) in &settings.consumers {
        let mut to = Consumer::new(name.as_str())
            .sessions(consumer.sessions.iter().map(String::as_str))
            .roles(consumer.roles.iter().map(String::as_str));
        if consumer.all {
            to = to.all();
        }
        if let Some(path) = &consumer.token_file {
            to = to.token_file(brs::kit::path::expanded(path));
        }
        if let Some(user) = &consumer.user {
            to = to.user(user.as_str());
        }
        builder = builder.consumer(to);
    }
    if let Some(time) = settings.answer_within {
        builder = builder.answer_within(time);
    }
    if let Some(address) = settings.admin {
        builder = builder.admin(address);
        if let Some(path) = settings.admin_token_file() {
            builder = builder.admin_token_file(path);
        }
    }
    if let Some(imds) = &settings.imds {
        builder = builder.imds(imds.listen, imds.session.as_str());
    }
    for rule in &settings.assume {
        let roles = rule.roles.iter().map(String::as_str);
        let to = AssumeRule::new(rule.from.as_str(), roles);
        builder = builder.assume(match &rule.region {
            Some(region) => to.region(region.as_str()),
            None => to,
        });
    }
    builder
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From before anything is fetched, so that none is lost.
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::Machine(format!("signals cannot be caught: {error}")))
        };
        Ok(Self {
            reload: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}
