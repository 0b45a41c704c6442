//! For authors of strategies and for brs's own tests: a clock that stands still until it is told to
//! move, a strategy that does what a script says, and the contract that every strategy must keep.

mod clock;
pub mod contract;
mod scripted;

pub use clock::ManualClock;
pub use scripted::{Gate, Scripted, Step};
