//! One QUIC datagram in one Transport frame: counter, length, padding (`docs/protocols/paniq.md`,
//! Transport).
//!
//! ```text
//! prefix of S4 | header | [u64 counter] | u16 length | one QUIC datagram | padding
//! ```
//!
//! | part | holds |
//! |---|---|
//! | [`Budget`] | how long QUIC's datagrams may be so that the envelope always fits |
//! | [`Padding`] | how many random octets follow |
//! | [`Window`] | which counters were seen (RFC 6479) |
//! | [`Codec`] | what both ends agree on, and how to write and read a frame |
//! | [`Sealer`], [`Opener`] | the two directions of one tunnel |
//! | [`Envelope`] | both as a [`DatagramLayer`](sansbox_core::DatagramLayer) |
mod budget;
mod codec;
mod padding;
#[cfg(test)]
mod tests;
mod window;

pub use budget::{Budget, BudgetError, INNER_LEN_MAX, INNER_LEN_MIN, PACKET_LEN_DEFAULT, Sizes};
pub use codec::{Codec, Envelope, EnvelopeError, OpenError, Opener, SealError, Sealed, Sealer};
pub use padding::{Padding, PaddingError, PaddingSpec};
pub use window::{
    Counting, FORWARD_JUMP_MAX, REJECT_AFTER_MESSAGES, WINDOW_LEN, Window, WindowError,
};
