//! QUIC in virtual time: quinn-proto and rustls as hosts of a world. A run is the same, byte for
//! byte, each time; [`sansbox_quic::hooks`] says what that takes.
//!
//! | module | holds |
//! |---|---|
//! | [`deterministic`] | the world's time, randomness and keys for the hooks of `sansbox-quic` |
//! | [`groups`] | key exchange groups that count |
//! | [`capture`] | secrets and qlog for those who look at a run afterwards |
//! | [`talk`] | what is said over a stream: a request, and payload both ways |
//! | [`host`] | [`QuicHost`]: an endpoint with its connections |
pub mod capture;
mod connection;
pub mod deterministic;
mod facts;
pub mod groups;
pub mod host;
#[doc(hidden)]
pub mod probe;
pub mod talk;

pub use capture::Capture;
pub(crate) use facts::note;

pub(crate) use deterministic::SERVER_NAME;
pub use deterministic::{Hook, Hooks, Identity};
pub use facts::{Facts, Watch};
pub use host::{Plan, QuicHost};
pub use talk::Request;
