//! Profiles as JSON, read and written as Go's `encoding/json` does (`docs/protocols/paniq.md`,
//! The profile).
mod emit;
mod read;

pub use read::{JsonError, JsonReason, UNKNOWN_KEYS_MAX, UnknownKey};
