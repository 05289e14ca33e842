//! All of a runtime but its executor: sockets, threads, lookups and the future that drives the
//! engine's machines with them. Knows no protocol.
//!
//! | module | holds |
//! |---|---|
//! | [`runtime`] | [`Runtime::start`], [`Running`]: bind everything, start the workers, stop them |
//! | [`worker`] | [`Worker`]: one event loop as a future, for an executor of the caller's |
//! | [`reactor`] | [`Reactor`]: what an executor gives |
//! | [`options`] | [`Options`] |
//! | [`observer`] | [`Observer`]: what the daemon is told |
//! | `local`, `shared` | what the sessions of one worker share, and what all workers do |
//! | `net` | what a runtime does for a machine that has its turn |
//! | `listen`, `acceptor`, `reception` | binding; accepting, with back-off; datagrams of a UDP listener |
//! | `dial`, `sockets`, `udp` | outbound sockets, options of sockets, datagrams in batches |
//! | `devices`, `steering`, `tuning` | the devices of inbounds, a queue for each worker; what may be changed while they are served |
//! | `echo` | sockets for echo requests |
//! | [`tun`] | TUN devices, their routes, and where other packets leave |
//! | `pipes`, `resolve`, `process` | kernel pipes for splice(2), the system's resolver, CPUs and files |
//!
//! Each worker has its own listeners on the same port (`SO_REUSEPORT`), so a connection never
//! changes workers and no lock is on its way. What is served is a [`Service`] of the engine, which
//! also has the loop around each machine: [`sansbox_engine::drive`].
mod acceptor;
mod devices;
mod dial;
mod echo;
mod errors;
#[cfg(test)]
#[path = "../tests-common/isolated.rs"]
mod isolated;
mod listen;
mod local;
mod net;
pub mod observer;
pub mod options;
mod pipes;
mod process;
pub mod reactor;
mod reception;
mod resolve;
pub mod runtime;
mod shared;
mod sockets;
mod steering;
pub mod tun;
mod tuning;
mod udp;
pub mod worker;

pub use devices::RoutesHandle;
pub use observer::{Observer, RuntimeEvent};
pub use options::{DeviceFile, Options, Shutdown};
pub use reactor::Reactor;
pub use runtime::{Bound, DeviceError, Running, Runtime, StartError};
pub use sansbox_engine::drive::{Counters, InboundSockets, Network, Recorded, Service};
pub use worker::Worker;
