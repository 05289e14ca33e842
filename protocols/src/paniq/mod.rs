//! paniq: QUIC tunnels whose datagrams look like nothing (Bridgefall Paniq, `spec/paniq.md`).
//!
//! | part | holds |
//! |---|---|
//! | [`obf`] | the framer: random prefixes, header ranges, junk, signature chains |
//! | [`Draws`] | where prefixes, headers, junk and padding come from |
pub mod obf;
mod random;

pub use random::Draws;
