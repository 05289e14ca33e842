//! Drives the engine's machines over tokio: what `sansbox-runtime` does, with tokio to wait.
//!
//! | module | holds |
//! |---|---|
//! | [`reactor`] | [`Executor`]: tokio's sockets, time and threads |
//!
//! All else is [`sansbox_runtime`]'s, under the same names as in every other runtime.
#![forbid(unsafe_code)]

pub mod reactor;

pub use reactor::Executor;
pub use sansbox_runtime::{
    Bound, Counters, DeviceError, DeviceFile, InboundSockets, Network, Observer, Options, Reactor,
    Recorded, RoutesHandle, Running, RuntimeEvent, Service, Shutdown, StartError, observer,
    options,
};

/// Starts workers on tokio.
pub type Runtime = sansbox_runtime::Runtime<Executor>;
/// One event loop as a future, for a tokio runtime of the caller's.
pub type Worker<S> = sansbox_runtime::Worker<S, Executor>;
