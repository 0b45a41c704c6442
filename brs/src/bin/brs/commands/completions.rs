//! `brs completions SHELL`.

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::exit::{Done, Failure};
use crate::output;

pub(super) fn run(args: &Completions) -> Result<Done, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "brs", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Done::Success)
}
