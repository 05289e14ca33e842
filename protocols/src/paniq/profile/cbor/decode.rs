//! CBOR into a profile.
use super::{VERSION, VERSION_KEY, skip::skip};
use crate::paniq::profile::{
    duration::Nanos,
    fields::{Key, Object, Slot},
    keys::{BadKey, PrivateKey, PublicKey, ServerPin},
    model::Profile,
};
use minicbor::{Decoder, data::Type, decode::Error as MiniError};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why bytes are no profile, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct CborError {
    /// The field, such as `quic.keepalive`; empty when it is the whole.
    pub path: String,
    /// What is wrong with it.
    pub reason: CborReason,
}

/// What is wrong with a field, or with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CborReason {
    /// The bytes end too early.
    #[error("the CBOR is cut off")]
    Truncated,
    /// They are no CBOR.
    #[error("malformed CBOR at byte {0}")]
    Malformed(usize),
    /// So many bytes follow.
    #[error("{0} bytes behind the profile")]
    Trailing(usize),
    /// The version is not there.
    #[error("version missing: this is no profile")]
    VersionMissing,
    /// The version is another one than 1.
    #[error("version {0} is not supported")]
    Version(u64),
    /// The field has another type.
    #[error("must be {0}")]
    Type(&'static str),
    /// The number does not fit its field.
    #[error("number out of range")]
    Range,
    /// The bytes are no key.
    #[error("{0}")]
    Key(#[from] BadKey),
}

impl Profile {
    /// Reads a profile as the Go programs do: unknown keys are ignored, of equal keys the last one
    /// counts, a null is an empty text, lengths may be indefinite. Nothing is checked beyond
    /// types.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        let at = |reason| CborError {
            path: String::new(),
            reason,
        };
        let mut profile = Self::default();
        let mut decoder = Decoder::new(bytes);
        let mut version = None;
        if let Type::Null | Type::Undefined = decoder.datatype().map_err(|e| at(broken(&e)))? {
            decoder.skip().map_err(|e| at(broken(&e)))?;
        } else {
            map(&mut decoder, "", &mut profile, Some(&mut version))?;
        }
        let rest = bytes.len().saturating_sub(decoder.position());
        match (rest, version) {
            (1.., _) => Err(at(CborReason::Trailing(rest))),
            (0, None) => Err(at(CborReason::VersionMissing)),
            (0, Some(VERSION)) => Ok(profile),
            (0, Some(other)) => Err(at(CborReason::Version(other))),
        }
    }
}

/// Reads the map at `path`; the outermost one has a version among its fields.
fn map(
    decoder: &mut Decoder<'_>,
    path: &str,
    object: &mut dyn Object,
    mut version: Option<&mut Option<u64>>,
) -> Result<(), CborError> {
    let at = |path: &str, reason| CborError {
        path: path.to_owned(),
        reason,
    };
    let here = |reason| at(path, reason);
    let mut left = decoder.map();
    let mut left = left
        .as_mut()
        .map_err(|e| here(mismatch(e, "a map")))?
        .take();
    loop {
        match &mut left {
            Some(0) => return Ok(()),
            Some(left) => *left -= 1,
            None if decoder.datatype().map_err(|e| here(broken(&e)))? == Type::Break => {
                return decoder.skip().map_err(|e| here(broken(&e)));
            }
            None => {}
        }
        let key = decoder.u64();
        let key = key.map_err(|e| here(mismatch(&e, "a map whose keys are numbers")))?;
        if let (Some(version), VERSION_KEY) = (&mut version, key) {
            let value = decoder.u64();
            **version = Some(value.map_err(|e| at("version", mismatch(&e, "a number")))?);
            continue;
        }
        let Some((name, slot)) = object.slot(Key::Number(key)) else {
            skip(decoder).map_err(here)?;
            continue;
        };
        let path = match path {
            "" => name.to_owned(),
            outer => format!("{outer}.{name}"),
        };
        if let Slot::Object(inner) = slot {
            inner.clear();
            map(decoder, &path, inner, None)?;
        } else {
            leaf(decoder, slot).map_err(|reason| at(&path, reason))?;
        }
    }
}

/// What is wrong with bytes that are no CBOR.
pub(super) fn broken(error: &MiniError) -> CborReason {
    match error.is_end_of_input() {
        true => CborReason::Truncated,
        false => CborReason::Malformed(error.position().unwrap_or_default()),
    }
}

/// The same where another type may stand than the one `wanted`.
fn mismatch(error: &MiniError, wanted: &'static str) -> CborReason {
    match error.is_end_of_input() {
        true => CborReason::Truncated,
        false => CborReason::Type(wanted),
    }
}

fn leaf(decoder: &mut Decoder<'_>, slot: Slot<'_>) -> Result<(), CborReason> {
    match slot {
        Slot::Text(place) => *place = text(decoder)?,
        Slot::Int(place) => *place = signed(decoder)?,
        Slot::Count(place) => *place = count(decoder)?,
        Slot::MaybeInt(place) => *place = Some(count(decoder)?),
        Slot::Unsigned(place) => *place = unsigned(decoder)?,
        Slot::Duration(place) => {
            let span = Nanos::from_millis(unsigned(decoder)?);
            *place = span.ok_or(CborReason::Range)?;
        }
        Slot::Bool(place) => *place = boolean(decoder)?,
        Slot::MaybeBool(place) => *place = Some(boolean(decoder)?),
        Slot::MaybeFloat(place) => *place = Some(float(decoder)?),
        Slot::PrivateKey(place) => *place = key(decoder, PrivateKey::from_slice)?,
        Slot::PublicKey(place) => *place = key(decoder, PublicKey::from_slice)?,
        Slot::ServerPin(place) => *place = key(decoder, ServerPin::from_slice)?,
        Slot::Object(_) => return Err(CborReason::Type("no map")),
    }
    Ok(())
}

fn datatype(decoder: &Decoder<'_>) -> Result<Type, CborReason> {
    decoder.datatype().map_err(|e| broken(&e))
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, CborReason> {
    if let Type::Null | Type::Undefined = datatype(decoder)? {
        decoder.skip().map_err(|e| broken(&e))?;
        return Ok(String::new());
    }
    let wrong = |e: MiniError| mismatch(&e, "text");
    let mut text = String::new();
    for part in decoder.str_iter().map_err(wrong)? {
        text.push_str(part.map_err(wrong)?);
    }
    Ok(text)
}

fn unsigned(decoder: &mut Decoder<'_>) -> Result<u64, CborReason> {
    decoder
        .u64()
        .map_err(|e| mismatch(&e, "a number, not negative"))
}

fn count(decoder: &mut Decoder<'_>) -> Result<i64, CborReason> {
    i64::try_from(unsigned(decoder)?).map_err(|_| CborReason::Range)
}

fn signed(decoder: &mut Decoder<'_>) -> Result<i64, CborReason> {
    let number = decoder.int().map_err(|e| mismatch(&e, "a number"))?;
    i64::try_from(number).map_err(|_| CborReason::Range)
}

fn boolean(decoder: &mut Decoder<'_>) -> Result<bool, CborReason> {
    decoder.bool().map_err(|e| mismatch(&e, "true or false"))
}

fn float(decoder: &mut Decoder<'_>) -> Result<f64, CborReason> {
    let wrong = |e: MiniError| mismatch(&e, "a floating-point number");
    decoder.f64().map_err(wrong)
}

fn key<K>(
    decoder: &mut Decoder<'_>,
    read: fn(&[u8]) -> Result<K, BadKey>,
) -> Result<Option<K>, CborReason> {
    let wrong = |e: MiniError| mismatch(&e, "a byte string");
    let mut bytes = Zeroizing::new(Vec::with_capacity(32));
    for part in decoder.bytes_iter().map_err(wrong)? {
        bytes.extend_from_slice(part.map_err(wrong)?);
    }
    match bytes.is_empty() {
        true => Ok(None),
        false => Ok(Some(read(&bytes)?)),
    }
}
