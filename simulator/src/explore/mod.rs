//! Looking for runs that fail, and making them small: swarms of faults over many seeds, what was
//! hit on the way, decision files, shrinking, branching, and where two runs part.
//!
//! | module | holds |
//! |---|---|
//! | [`swarm`] | [`Swarm`]: which faults exist in a run, drawn from its seed |
//! | [`decisions`] | [`Decisions`]: a run as a file or a line |
mod classes;
pub mod decisions;
pub mod swarm;

pub use decisions::Decisions;
pub use swarm::{Preset, Swarm};
