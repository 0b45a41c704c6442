//! The command `brs`: sessions for programs in every language.

fn main() {}
