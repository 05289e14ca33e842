//! Profiles as CBOR: maps with numbered keys (`docs/protocols/paniq.md`, CBOR; RFC 7049
//! section 3.9).
mod decode;
mod encode;
mod skip;

pub use decode::{CborError, CborReason};
pub use encode::EncodeError;

/// The only version of the mapping.
const VERSION: u64 = 1;
/// The number of the version in the outer map.
const VERSION_KEY: u64 = 0;
