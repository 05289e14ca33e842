//! QUIC and TLS as state machines: quinn-proto and rustls with time, randomness and keys as
//! arguments, so that the same seed gives the same packets.
//!
//! | module | holds |
//! |---|---|
//! | [`hooks`] | every hook that replaces time and randomness of the system |
//! | [`groups`] | key exchange groups |
//! | `turn` | whose time and randomness the libraries are using now |
pub mod groups;
pub mod hooks;
mod turn;

pub use hooks::{Hook, Hooks, Sources};
pub use turn::Turn;
