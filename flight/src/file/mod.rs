//! `.sbx` files.
//!
//! ```text
//! header     magic, version, mode, sealing, build, target, key; check
//! frame      preamble: why, when, the configuration
//! frame ...  one chunk of a ring each
//! frame      index: place, worker and times of each chunk
//! trailer    place of the index, magic
//! ```
//!
//! A frame is a kind, the lengths plain and stored, a check, and its bytes: compressed with zstd,
//! then sealed where the file is encrypted. Seals cover the header and the order of frames, and
//! the last frame is an index, so that nothing can be left out. Integers of fixed size are
//! little-endian.
mod frame;
mod header;
mod preamble;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use header::{Header, Mode, Sealing, header};
pub use preamble::{Configuration, Preamble, Reason};
pub use read::{ReadError, Recording};
pub use write::{Key, WriteError, write};

/// The version of the format that this build reads and writes.
pub const VERSION: u16 = 1;
/// Most bytes of a configuration that can be recorded.
pub const CONFIGURATION_BYTES_MAX: usize = 8 << 20;
/// Most bytes of one frame, plain or stored.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Most bytes of all frames of a file together, plain.
pub const PLAIN_BYTES_MAX: usize = 1 << 30;
/// Most bytes of each text in a header.
pub const TEXT_BYTES_MAX: usize = 128;
