//! `brs watch`: sessions in a table that is kept up to date, those of a running `brs serve` or some
//! of this process.
//!
//! `serving` asks the server, `own` keeps sessions of this process, `table` draws. If stdout is no
//! terminal, each change is a line.

mod own;
mod serving;
mod table;

use std::io::IsTerminal as _;
use std::time::Duration;

use brs::{Clock as _, SystemClock};

use crate::args::Watch as Args;
use crate::exit::{Done, Failure};
use crate::open::Context;
use crate::output;
use own::Own;
use serving::Serving;
use table::{Changes, Row, Screen};

/// How often the table is drawn.
const TICK: Duration = Duration::from_secs(1);

/// What the sessions are of.
enum Watched {
    Own(Own),
    Serving(Serving),
}

pub(super) async fn run(args: Args, cx: &Context) -> Result<Done, Failure> {
    let watched = if args.names.is_empty() {
        Watched::Serving(Serving::find(&args, cx)?)
    } else {
        Watched::Own(Own::open(&args.names, cx).await?)
    };
    let is_terminal = std::io::stdout().is_terminal();
    let (mut screen, mut changes) = (Screen::new(), Changes::default());
    // The first answer decides whether there is something to watch.
    let mut rows = watched.rows().await?;
    let mut problem = None;
    loop {
        let text = if is_terminal {
            screen.drawn(&watched.title(), &rows, problem.as_deref())
        } else {
            changes.lines(&rows, problem.as_deref())
        };
        if !text.is_empty() {
            output::print(&text)?;
        }
        SystemClock::new().sleep(TICK).await;
        problem = None;
        match watched.rows().await {
            Ok(new) => rows = new,
            // A server that is restarted comes back.
            Err(failure) => problem = Some(failure.to_string()),
        }
    }
}

impl Watched {
    async fn rows(&self) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Own(own) => Ok(own.rows()),
            Self::Serving(serving) => serving.rows().await,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Own(_) => "sessions of this process".to_owned(),
            Self::Serving(serving) => format!("sessions of the server at {}", serving.address),
        }
    }
}
