//! Looking for runs that fail, and making them small: swarms of faults over many seeds, what was
//! hit on the way, decision files, shrinking, branching, and where two runs part.
//!
//! | module | holds |
//! |---|---|
//! | [`swarm`] | [`Swarm`]: which faults exist in a run, drawn from its seed |
//! | [`sweep`] | [`Sweep`]: many seeds, on many threads and machines |
//! | [`shrink`] | a failing run with the fewest bad things |
//! | [`decisions`] | [`Decisions`]: a run as a file or a line |
mod classes;
pub mod decisions;
pub mod shrink;
pub mod swarm;
pub mod sweep;

pub use decisions::Decisions;
pub use swarm::{Preset, Swarm};
pub use sweep::Sweep;
