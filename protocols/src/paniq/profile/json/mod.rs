//! Profiles as JSON, read and written as Go's `encoding/json` does (paniq.md section 8.1).
mod emit;
mod read;

pub use read::{JsonError, JsonReason, UNKNOWN_KEYS_MAX, UnknownKey};
