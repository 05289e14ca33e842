//! Bytes of packets: parsing and emitting, knowing nothing of state.
pub(crate) mod emit;
pub(crate) mod parse;
