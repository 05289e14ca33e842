//! Drives the engine's machines over async-io: what `sansbox-runtime` does, with the reactor of
//! smol to wait. That reactor serves every executor, so a [`Worker`] runs inside async-std, too.
//!
//! | module | holds |
//! |---|---|
//! | [`reactor`] | [`Executor`]: async-io's sockets, time and threads |
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

/// Starts workers on smol.
pub type Runtime = sansbox_runtime::Runtime<Executor>;
/// One event loop as a future, for any executor of the caller's.
pub type Worker<S> = sansbox_runtime::Worker<S, Executor>;
