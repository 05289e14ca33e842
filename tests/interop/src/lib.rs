//! What the tests of tunnels with live peers are made of: our machines on UDP sockets of loopback,
//! and the programs of `tests/peers` at the other end.
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | [`Host`]: sockets and a clock around an [`End`] |
//! | [`plain`] | QUIC of a tunnel without its envelope |
//! | [`whole`] | tunnels as they are |
//! | [`app`] | [`App`]: who is at the end of a stream, asking or asked |
//! | [`peer`] | the programs, and what they tell |
pub mod app;
pub mod host;
pub mod peer;
pub mod plain;
pub mod whole;

pub use app::App;
pub use host::{End, Host, Told};
pub use peer::Peer;
