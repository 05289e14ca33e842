//! Text into a profile.
use crate::paniq::profile::{
    duration::{BadDuration, Nanos},
    fields::{Key, Object, Slot},
    keys::{BadKey, PrivateKey, PublicKey, ServerPin},
    model::Profile,
};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, str::FromStr};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a text is no profile, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct JsonError {
    /// The field, such as `quic.keepalive`; empty when it is the text itself.
    pub path: String,
    /// What is wrong with it.
    pub reason: JsonReason,
}

/// What is wrong with a field, or with the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JsonReason {
    /// The text is no JSON.
    #[error("no JSON at line {line} column {column}: {what}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// The field has another type.
    #[error("must be {0}")]
    Type(&'static str),
    /// The number does not fit its field.
    #[error("number out of range")]
    Range,
    /// The text is no duration.
    #[error(transparent)]
    Duration(#[from] BadDuration),
    /// The text is no key.
    #[error("{0}")]
    Key(#[from] BadKey),
}

/// Most keys that [`Profile::from_json_with_unknown`] tells of.
pub const UNKNOWN_KEYS_MAX: usize = 20;

/// A key that no profile has, and that the Go programs ignore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The object it stands in, such as `quic`; empty for the profile itself.
    pub within: &'static str,
    /// The key as written.
    pub key: String,
    /// The keys that the object has.
    pub known: Vec<&'static str>,
}

impl Profile {
    /// Reads a profile as the Go programs do: unknown keys are ignored, keys are compared without
    /// regard to case, of equal keys the last one counts (objects merge), `null` leaves a field as
    /// it is, bytes that are no UTF-8 become U+FFFD. Nothing is checked beyond types.
    ///
    /// # Errors
    /// [`JsonError`] with the path of the field.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        Ok(Self::from_json_with_unknown(text)?.0)
    }

    /// As [`Profile::from_json`], with the first [`UNKNOWN_KEYS_MAX`] keys that were ignored.
    ///
    /// # Errors
    /// As [`Profile::from_json`].
    pub fn from_json_with_unknown(text: &[u8]) -> Result<(Self, Vec<UnknownKey>), JsonError> {
        let text = Zeroizing::new(String::from_utf8_lossy(text).into_owned());
        let whole: &RawValue = serde_json::from_str(&text).map_err(|e| syntax(&e))?;
        let (mut profile, mut unknown) = (Self::default(), Vec::new());
        object(whole.get(), "", &mut profile, &mut unknown)?;
        Ok((profile, unknown))
    }
}

fn syntax(error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let what = error.to_string();
    let place = format!(" at line {line} column {column}");
    let what = what.strip_suffix(&place).unwrap_or(&what).to_owned();
    JsonError {
        path: String::new(),
        reason: JsonReason::Syntax { line, column, what },
    }
}

/// Reads the object at `path`; keys that it does not have go to `unknown`.
fn object(
    raw: &str,
    path: &'static str,
    object: &mut dyn Object,
    unknown: &mut Vec<UnknownKey>,
) -> Result<(), JsonError> {
    let at = |path: &str, reason| JsonError {
        path: path.to_owned(),
        reason,
    };
    if raw == "null" {
        return Ok(());
    }
    if !raw.starts_with('{') {
        return Err(at(path, JsonReason::Type("an object")));
    }
    // What is left to be wrong with it is an escape in a key.
    let Ok(Members(members)) = serde_json::from_str(raw) else {
        return Err(at(path, JsonReason::Type("an object whose keys are text")));
    };
    for (key, value) in members {
        let Some((name, slot)) = object.slot(Key::Name(&key)) else {
            if unknown.len() < UNKNOWN_KEYS_MAX {
                let known = object.fields().iter().map(|field| field.name).collect();
                unknown.push(UnknownKey {
                    within: path,
                    key,
                    known,
                });
            }
            continue;
        };
        if let Slot::Object(inner) = slot {
            // Objects are in the outermost one alone: their names are their paths.
            self::object(value.get(), name, inner, unknown)?;
        } else {
            let path = match path {
                "" => name.to_owned(),
                outer => format!("{outer}.{name}"),
            };
            leaf(value.get(), slot).map_err(|reason| at(&path, reason))?;
        }
    }
    Ok(())
}

/// Keys and values of an object in their order, equal keys included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Reads a value that is no object. Numbers keep their spelling, so that `1.0` is no integer.
fn leaf(raw: &str, slot: Slot<'_>) -> Result<(), JsonReason> {
    if raw == "null" {
        match slot {
            Slot::MaybeBool(place) => *place = None,
            Slot::MaybeInt(place) => *place = None,
            Slot::MaybeFloat(place) => *place = None,
            Slot::Text(_)
            | Slot::Int(_)
            | Slot::Count(_)
            | Slot::Duration(_)
            | Slot::Unsigned(_)
            | Slot::Bool(_)
            | Slot::PrivateKey(_)
            | Slot::PublicKey(_)
            | Slot::ServerPin(_)
            | Slot::Object(_) => {}
        }
        return Ok(());
    }
    match slot {
        Slot::Text(place) => *place = std::mem::take(&mut *text(raw)?),
        Slot::Int(place) | Slot::Count(place) => *place = integer(raw)?,
        Slot::MaybeInt(place) => *place = Some(integer(raw)?),
        Slot::Unsigned(place) => *place = integer(raw)?,
        Slot::MaybeFloat(place) => *place = Some(float(raw)?),
        Slot::Bool(place) => *place = boolean(raw)?,
        Slot::MaybeBool(place) => *place = Some(boolean(raw)?),
        Slot::Duration(place) => {
            let text = text(raw).map_err(|_| JsonReason::Type("a duration as text"))?;
            *place = match text.as_str() {
                "" => Nanos(0),
                text => Nanos::parse(text)?,
            };
        }
        Slot::PrivateKey(place) => *place = key(raw, PrivateKey::from_base64)?,
        Slot::PublicKey(place) => *place = key(raw, PublicKey::from_base64)?,
        Slot::ServerPin(place) => *place = key(raw, ServerPin::from_base64)?,
        Slot::Object(_) => return Err(JsonReason::Type("no object")),
    }
    Ok(())
}

fn text(raw: &str) -> Result<Zeroizing<String>, JsonReason> {
    let text = serde_json::from_str(raw).map(Zeroizing::new);
    text.map_err(|_| JsonReason::Type("text"))
}

fn key<K>(raw: &str, read: fn(&str) -> Result<K, BadKey>) -> Result<Option<K>, JsonReason> {
    let text = text(raw)?;
    match text.as_str() {
        "" => Ok(None),
        text => Ok(Some(read(text)?)),
    }
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn integer<N: FromStr>(raw: &str) -> Result<N, JsonReason> {
    if !is_number(raw) || raw.contains(['.', 'e', 'E']) {
        return Err(JsonReason::Type("an integer"));
    }
    raw.parse().map_err(|_| JsonReason::Range)
}

fn float(raw: &str) -> Result<f64, JsonReason> {
    if !is_number(raw) {
        return Err(JsonReason::Type("a number"));
    }
    let value: f64 = raw.parse().map_err(|_| JsonReason::Type("a number"))?;
    match value.is_finite() {
        true => Ok(value),
        false => Err(JsonReason::Range),
    }
}

fn boolean(raw: &str) -> Result<bool, JsonReason> {
    raw.parse().map_err(|_| JsonReason::Type("true or false"))
}
