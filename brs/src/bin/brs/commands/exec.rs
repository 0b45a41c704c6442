//! `brs exec`: runs a program that gets its credentials from a session, and from nowhere else.
//!
//! The program asks an endpoint of this process, as programs in containers do (`environment`). What
//! would take precedence over the endpoint is kept from it: keys in the environment, and profiles
//! with keys (`files`). While it runs, this process passes signals on and waits (`child`); the
//! endpoint ends with it.

mod child;
mod environment;
mod files;
mod profile;

use std::process::Command;

use brs::serve::{Consumer, Server, Token};

use crate::args::Exec;
use crate::exit::{Done, Failure};
use crate::open::{Context, How, Opened};
use environment::Child;
use files::Files;

pub(super) async fn run(args: Exec, cx: &Context) -> Result<Done, Failure> {
    let [program, arguments @ ..] = &args.command[..] else {
        return Err(Failure::Usage("no program is named".to_owned()));
    };
    let opened = cx.open_with(&args.session, How::default()).await?;
    let mut command = Command::new(program);
    command.args(arguments);
    let region = opened
        .session
        .sdk_config()
        .region()
        .map(ToString::to_string);
    let child = Child {
        session: opened.name.clone(),
        region,
    };
    if args.env {
        return with_keys(&args, &opened, &child, command).await;
    }
    if !args.lazy {
        opened.credentials().await?;
    }

    // From here on the terminal is the program's.
    opened.ask_no_more();
    let token = Token::random();
    let files = Files::make(args.token_file.then(|| token.expose()), |files| {
        if args.keep_files {
            for warning in files::taking_precedence() {
                tracing::warn!("{warning}");
            }
            Ok(())
        } else {
            files.hide_credentials(args.session.profile.as_deref())
        }
    })?;
    let server = Server::builder()
        .session(opened.name.as_str(), opened.session.clone())
        .consumer(Consumer::new("exec").all().token(token.clone()))
        .listen(([127, 0, 0, 1], 0).into())
        .build()
        .await
        .map_err(Failure::of_opening)?;
    child.with_endpoint(&mut command, &server.url(), token.expose(), &files);

    let handle = server.handle();
    let serving = tokio::spawn(server.run());
    let ended = child::run(command).await;
    // What is in flight is answered: programs that the child left behind may have asked.
    handle.shutdown();
    match serving.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the endpoint has ended with an error: {error}"),
        Err(error) => tracing::warn!("the endpoint has ended: {error}"),
    }
    drop(files);
    ended
        .map(Done::Child)
        .map_err(|error| not_started(program, error))
}

/// Hands over the keys themselves, and becomes the program.
async fn with_keys(
    args: &Exec,
    opened: &Opened,
    child: &Child,
    mut command: Command,
) -> Result<Done, Failure> {
    use std::os::unix::process::CommandExt as _;

    let set = opened.credentials().await?;
    let expires = set.expiration().map(crate::output::timestamp);
    if let Some(expires) = expires {
        tracing::warn!("nothing renews the keys that the program gets: they expire at {expires}");
    }
    child.with_keys(&mut command, &set, args.keep_files);
    let error = command.exec();
    Err(not_started(command.get_program(), error))
}

fn not_started(program: &std::ffi::OsStr, error: std::io::Error) -> Failure {
    Failure::Start {
        program: program.to_string_lossy().into_owned(),
        error,
    }
}
