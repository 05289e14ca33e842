//! QUIC in virtual time: quinn-proto and rustls as hosts of a world. A run is the same, byte for
//! byte, each time; [`deterministic`] says what that takes.
//!
//! | module | holds |
//! |---|---|
//! | [`deterministic`] | every hook that replaces time and randomness of the system |
//! | [`groups`] | key exchange groups |
//! | [`capture`] | secrets and qlog for those who look at a run afterwards |
//! | [`talk`] | what is said over a stream: a request, and payload both ways |
//! | [`host`] | [`QuicHost`]: an endpoint with its connections |
pub mod capture;
mod connection;
pub mod deterministic;
mod entered;
pub mod groups;
pub mod host;
#[doc(hidden)]
pub mod probe;
pub mod talk;

pub use capture::Capture;
pub(crate) use entered::note;

pub use deterministic::{Hook, Hooks, Identity};
pub use entered::{Facts, Watch};
pub use host::{Plan, QuicHost};
pub use talk::Request;
