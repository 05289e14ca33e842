//! What every sansbox machine is built from: time and randomness as plain values, bounded byte
//! pipes, and the traits of stream and datagram protocols.
//!
//! Nothing here opens a socket, reads a clock or draws entropy. A driver (tokio, a hand-written
//! loop, the simulator) passes in the current [`Instant`] and a [`Seed`], moves bytes between
//! sockets and [`Pipe`]s, and asks for the next deadline.
//!
//! | module | holds |
//! |---|---|
//! | [`time`] | [`Instant`]: nanoseconds since the driver's epoch |
//! | [`seed`] | [`Seed`]: 32 bytes of randomness and named sub-seeds |
//! | [`pipe`] | [`Pipe`], [`End`], [`Progress`]: one direction of a byte stream |
//! | [`stream`] | [`StreamProtocol`]: a protocol on one byte stream |
//! | [`layered`] | [`Layered`]: one stream protocol inside another |
//! | [`datagram`] | [`DatagramProtocol`], [`DatagramLayer`] |
//! | [`enveloped`] | [`Enveloped`]: a datagram protocol inside a layer |
//! | [`address`] | [`Host`], [`Domain`], [`Target`]: where a connection goes |
//! | [`error`] | [`ProtocolError`], [`Blame`], [`Closing`], [`Refusal`] |
#![no_std]
extern crate alloc;

pub mod address;
pub mod datagram;
pub mod enveloped;
pub mod error;
pub mod layered;
pub mod pipe;
pub mod seed;
pub mod stream;
pub mod time;

pub use address::{BadDomain, Domain, Host, Target};
pub use datagram::{DatagramLayer, DatagramProtocol, Overhead, PacketMeta, Transmit};
pub use enveloped::Enveloped;
pub use error::{Blame, Closing, ProtocolError, Refusal};
pub use layered::{Either, Layered};
pub use pipe::{End, Pipe, Progress};
pub use seed::Seed;
pub use stream::StreamProtocol;
pub use time::Instant;
