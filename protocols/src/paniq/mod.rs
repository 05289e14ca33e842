//! paniq: QUIC tunnels whose datagrams look like nothing (Bridgefall Paniq, `spec/paniq.md`).
//!
//! | part | holds |
//! |---|---|
//! | [`obf`] | the framer: random prefixes, header ranges, junk, signature chains |
pub mod obf;
