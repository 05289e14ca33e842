//! paniq: QUIC tunnels whose datagrams look like nothing (Bridgefall Paniq, `spec/paniq.md`).
//!
//! | part | holds |
//! |---|---|
//! | [`obf`] | the framer: random prefixes, header ranges, junk, signature chains |
//! | [`preamble`] | what comes before QUIC: the client's attempts, the server's judgement |
//! | [`mac`], [`timestamp`] | what proves that an Initiation is fresh and from one who knows the server |
//! | [`transport`] | the envelope of one QUIC datagram |
//! | [`proxy`] | request and reply at the beginning of a stream |
//! | `tunnel` | client and server, with QUIC (feature `quic`) |
//! | [`Draws`] | where prefixes, headers, junk and padding come from |
pub mod mac;
pub mod obf;
pub mod preamble;
pub mod proxy;
mod random;
pub mod timestamp;
pub mod transport;
#[cfg(feature = "quic")]
pub mod tunnel;

pub use random::Draws;
