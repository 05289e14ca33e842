//! Drives the engine's machines over tokio sockets: listeners, dials, the resolver, timers, UDP
//! and the relay of bytes that a machine has finished with. Knows no protocol.
//!
//! | module | holds |
//! |---|---|
//! | [`runtime`] | [`Runtime::start`], [`Running`]: bind everything, start the workers, stop them |
//! | [`service`] | [`Service`]: what is served; makes the machines |
//! | [`options`] | [`Options`] |
//! | [`observer`] | [`Observer`]: what the daemon is told |
//! | [`counters`] | [`Counters`] |
//! | `worker` | one thread, one event loop: sessions, timers and pools of its own |
//! | `listener` | binding, accepting, back-off, the connection limit |
//! | `session` | the future that drives one machine; `slots` are its sockets, `stream_io` fills its pipes |
//! | `passthrough` | two sockets joined: copied first, spliced when bulk |
//! | `udp`, `association` | datagrams in batches; clients of a UDP listener |
//! | `plan` | the engine's plan as a [`Service`] |
//! | `dial`, `resolve`, `timers`, `buffers`, `pipes` | what the names say |
//!
//! Each worker is a single thread with its own listeners on the same port (`SO_REUSEPORT`), so a
//! connection never changes threads and no lock is on its way.
#![forbid(unsafe_code)]

mod association;
mod buffers;
pub mod counters;
mod dial;
mod listener;
pub mod observer;
pub mod options;
mod passthrough;
mod pipes;
mod plan;
mod resolve;
pub mod runtime;
pub mod service;
mod session;
mod slots;
mod sockets;
mod stream_io;
mod timers;
mod udp;
mod worker;

pub use counters::Counters;
pub use observer::{Observer, RuntimeEvent};
pub use options::{Options, Shutdown};
pub use runtime::{Bound, Running, Runtime, StartError};
pub use service::{InboundSockets, Network, Recorded, Service};
