//! paniq: QUIC tunnels whose datagrams look like nothing (Bridgefall Paniq, `spec/paniq.md`).
//!
//! | part | holds |
//! |---|---|
//! | [`obf`] | the framer: random prefixes, header ranges, junk, signature chains |
//! | [`profile`] | the file that both ends share: JSON, CBOR, links, checks, new ones |
//! | [`Draws`] | where prefixes, headers, junk and padding come from |
pub mod obf;
pub mod profile;
mod random;

pub use random::Draws;
