//! Profiles of which nobody says in what form they are.
use super::{
    cbor::{CborError, CborReason},
    json::{JsonError, UnknownKey},
    link::{LinkError, SCHEME},
    model::Profile,
};
use thiserror::Error;

/// Why bytes are no profile; the variant says as what they were read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// They are no link and no CBOR, so they should be JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// They are no text, so they should be CBOR.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// They begin as a link does.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Profile {
    /// Reads a file that holds a profile as JSON, as CBOR or as a link, and says which keys of the
    /// JSON were ignored (see [`Profile::from_json_with_unknown`]).
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_file(bytes: &[u8]) -> Result<(Self, Vec<UnknownKey>), ReadError> {
        let text = bytes.trim_ascii();
        let scheme = text.get(..SCHEME.len()).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
            let link = std::str::from_utf8(text).map_err(|_| LinkError::Base64)?;
            return Ok((Self::from_link(link)?, Vec::new()));
        }
        // A map, or whatever else is no text, begins with one of the upper four kinds of CBOR.
        if bytes.first().is_some_and(|byte| *byte >= 0x80) {
            return Ok((Self::from_printed_cbor(bytes)?, Vec::new()));
        }
        Ok(Self::from_json_with_unknown(bytes)?)
    }

    /// As [`Profile::from_cbor`], also with the newline that `bf` prints behind it.
    ///
    /// # Errors
    /// As [`Profile::from_cbor`].
    pub fn from_printed_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        let read = Self::from_cbor(bytes);
        match (&read, bytes.split_last()) {
            (Err(error), Some((b'\n', rest))) if error.reason == CborReason::Trailing(1) => {
                Self::from_cbor(rest)
            }
            _ => read,
        }
    }
}
