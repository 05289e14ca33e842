//! QUIC and TLS as state machines: quinn-proto and rustls with time, randomness and keys as
//! arguments, so that the same seed gives the same packets.
//!
//! | module | holds |
//! |---|---|
//! | [`hooks`] | every hook that replaces time and randomness of the system |
//! | [`identity`] | certificates without an authority |
//! | [`endpoint`] | connections and their streams, without a socket |
//! | [`groups`] | key exchange groups |
//! | [`parameters`] | transport parameters that are sent otherwise |
//! | `cold` | keys of packets, expanded while they are used |
//! | `phases` | packet keys of the phases to come |
//! | `session` | TLS that is given up after the handshake |
//! | `arena` | memory for what comes over streams |
//! | `turn` | whose time and randomness the libraries are using now |
mod arena;
mod cold;
pub mod endpoint;
pub mod groups;
pub mod hooks;
pub mod identity;
pub mod parameters;
mod phases;
mod session;
mod streams;
mod turn;

pub use endpoint::{Activity, ConnectionId, Endpoint, Event, Lost, Outgoing, StreamId, Windows};
pub use hooks::{Hook, Hooks, Sources};
pub use identity::{Identity, Key, Pin};
pub use parameters::Parameters;
pub use quinn_proto;
pub use rustls;
pub use turn::Turn;
