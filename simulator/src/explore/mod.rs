//! Looking for runs that fail, and making them small: swarms of faults over many seeds, what was
//! hit on the way, decision files, shrinking, branching, and where two runs part.
//!
//! | module | holds |
//! |---|---|
//! | [`swarm`] | [`Swarm`]: which faults exist in a run, drawn from its seed |
//! | [`sweep`] | [`Sweep`]: many seeds, on many threads and machines |
//! | [`shrink`] | a failing run with the fewest bad things |
//! | [`branch`] | how likely a failure is from some moment on |
//! | [`bisect`] | where two runs part |
//! | [`threads`] | work on many threads, told in the order of one |
//! | [`decisions`] | [`Decisions`]: a run as a file or a line |
pub mod bisect;
pub mod branch;
pub mod decisions;
pub(crate) mod planted;
pub mod shrink;
pub mod swarm;
pub mod sweep;
pub mod threads;

pub use decisions::Decisions;
pub use swarm::{Preset, Swarm};
pub use sweep::Sweep;
