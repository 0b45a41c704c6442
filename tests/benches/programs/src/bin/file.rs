//! The bare program beside `brs credential-process`: it prints a file.

use std::io::{Error, Write as _};

fn main() -> Result<(), Error> {
    let path = std::env::args_os().nth(1).unwrap_or_default();
    std::io::stdout().write_all(&std::fs::read(path)?)
}
