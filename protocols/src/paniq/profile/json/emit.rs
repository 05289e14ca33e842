//! A profile into text.
use crate::paniq::profile::{
    fields::{Object, Value},
    model::Profile,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use std::io;
use zeroize::Zeroizing;

impl Profile {
    /// The profile as JSON for people, indented by two spaces, without what is not given. Keys
    /// stand in it, so it is wiped when dropped.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<String> {
        // The length first: a buffer that grows would leave copies of keys behind.
        let mut length = Length(0);
        let whole = Whole(self);
        let counted = serde_json::to_writer_pretty(&mut length, &whole);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
        let written = serde_json::to_writer_pretty(&mut *bytes, &whole);
        debug_assert!(counted.is_ok() && written.is_ok(), "no writer here fails");
        let text = String::from_utf8(std::mem::take(&mut *bytes));
        Zeroizing::new(text.unwrap_or_default())
    }
}

/// How many bytes were written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Whole<'a>(&'a dyn Object);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.0.fields() {
            if !field.value.is_empty() {
                map.serialize_entry(field.name, &field.value)?;
            }
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Int(value) | Self::Count(value, _) => value.serialize(serializer),
            Self::Duration(value, _) => serializer.collect_str(value),
            Self::Unsigned(value) => value.serialize(serializer),
            Self::Bool(value) => value.serialize(serializer),
            Self::MaybeBool(value) => value.serialize(serializer),
            Self::MaybeInt(value) => value.serialize(serializer),
            Self::MaybeFloat(value) => value.serialize(serializer),
            Self::PrivateKey(key) => match key {
                Some(key) => key.to_base64().serialize(serializer),
                None => serializer.serialize_none(),
            },
            Self::PublicKey(key) => match key {
                Some(key) => key.to_base64().serialize(serializer),
                None => serializer.serialize_none(),
            },
            Self::ServerPin(pin) => match pin {
                Some(pin) => pin.to_base64().serialize(serializer),
                None => serializer.serialize_none(),
            },
            Self::Object(object) => Whole(*object).serialize(serializer),
        }
    }
}
