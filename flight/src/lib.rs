//! The flight recorder: what machines were told and a digest of what they answered.
//!
//! [`Machine::apply`](sansbox_engine::machine::Machine::apply) is the only door into a machine,
//! so whoever stands in front of it knows everything that the machine ever knows. [`Tapped`]
//! stands there and writes each input to a [`Tape`], which a daemon makes of a [`Ring`] per
//! worker. A ring is cheap enough to be always on, and forgets. What it still holds is written
//! to a file when something went wrong or somebody asks, and a replay feeds it to a fresh machine
//! of the same build: same inputs, same bytes.
//!
//! | module | holds |
//! |---|---|
//! | [`tap`] | [`Tapped`], [`Tape`]: a machine whose inputs are written down |
//! | [`device`] | [`TappedDevice`]: the same for the carrier of a TUN device |
//! | [`outputs`] | [`Outputs`]: the digest of what a machine does |
//! | [`ring`] | [`Ring`], [`Snapshot`]: the last records of one worker |
//! | [`wire`] | records as bytes |
//! | [`file`](mod@file) | `.sbx` files: [`write`](file::write), [`Recording`] |
//! | [`keys`] | to whom a file is encrypted |
//! | [`track`] | the records of one machine, picked out of a recording |
//! | [`build`] | which build this is |
//!
//! Nothing here reads a clock, draws entropy or opens a file: the caller brings all three.
pub mod build;
pub mod device;
pub mod file;
pub mod keys;
pub mod outputs;
pub mod ring;
pub mod tap;
pub mod track;
mod whole;
pub mod wire;

pub use device::TappedDevice;
pub use file::{Header, Mode, Preamble, Reason, Recording};
pub use keys::{KeyPair, PrivateKey, PublicKey};
pub use outputs::Outputs;
pub use ring::{Ring, Snapshot};
pub use tap::{Origin, Tape, Tapped};
pub use track::{Track, TrackId};
pub use whole::HEAD_BYTES_MAX;
