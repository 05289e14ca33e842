//! A profile into canonical CBOR.
use super::{VERSION, VERSION_KEY};
use crate::paniq::profile::{
    fields::{Field, Object, Value},
    model::Profile,
};
use minicbor::{Encoder, encode::Error};
use std::convert::Infallible;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a profile cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The format is for clients: it must say where the server is.
    #[error("proxy_addr: required")]
    ProxyAddrMissing,
    /// The format has no negative numbers; this field holds one.
    #[error("{0}: must not be negative")]
    Negative(String),
}

type Out = Encoder<Vec<u8>>;
/// Writing to memory does not fail.
type Written = Result<(), Error<Infallible>>;

/// Room for any usual profile: a buffer that grows would leave copies of keys behind.
const USUAL_LEN: usize = 4096;

impl Profile {
    /// The profile as canonical CBOR: definite lengths, sorted keys, shortest numbers. What is not
    /// given or equal to its default is left out; of the padding all five fields are written when
    /// one is given, as those that are missing then would be read as zero. Durations are cut
    /// to whole milliseconds, but never to zero.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn to_cbor(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        if self.proxy_addr.is_empty() {
            return Err(EncodeError::ProxyAddrMissing);
        }
        let mut profile = self.clone();
        profile.transport_padding = self.transport_padding.completed();
        if let Some(path) = negative(&profile) {
            return Err(EncodeError::Negative(path));
        }
        let mut out = Encoder::new(Vec::with_capacity(USUAL_LEN));
        let written = map(&mut out, &profile, true);
        debug_assert!(written.is_ok(), "no writer here fails");
        Ok(Zeroizing::new(out.into_writer()))
    }
}

/// The path of the first number that CBOR could only hold as another one.
fn negative(object: &dyn Object) -> Option<String> {
    object.fields().iter().find_map(|field| {
        if let Value::Object(inner) = field.value {
            return negative(inner).map(|path| format!("{}.{path}", field.name));
        }
        let is_negative = matches!(field.value, Value::Int(..0) | Value::MaybeInt(Some(..0)));
        is_negative.then(|| field.name.to_owned())
    })
}

/// Writes `object`; the outermost one begins with the version.
fn map(out: &mut Out, object: &dyn Object, is_outermost: bool) -> Written {
    let fields = object.fields();
    let kept = || fields.iter().filter(|field| !is_left_out(&field.value));
    let version = u64::from(is_outermost);
    let count = u64::try_from(kept().count()).unwrap_or(u64::MAX);
    out.map(count + version)?;
    if is_outermost {
        out.u64(VERSION_KEY)?.u64(VERSION)?;
    }
    for Field { number, value, .. } in kept() {
        out.u64(*number)?;
        self::value(out, value)?;
    }
    Ok(())
}

/// Is it absent, or the same as absent?
fn is_left_out(value: &Value<'_>) -> bool {
    if let Value::Count(count, default) = value {
        **count <= 0 || *count == default
    } else if let Value::Duration(span, default) = value {
        span.0 <= 0 || *span == default
    } else if let Value::Object(object) = value {
        object.fields().iter().all(|f| is_left_out(&f.value))
    } else {
        value.is_empty()
    }
}

fn value(out: &mut Out, value: &Value<'_>) -> Written {
    match value {
        Value::Text(text) => out.str(text)?,
        Value::Int(number) | Value::Count(number, _) => out.i64(**number)?,
        Value::Duration(span, _) => out.u64(span.positive_millis().unwrap_or(0))?,
        Value::Unsigned(number) => out.u64(**number)?,
        Value::Bool(yes) => out.bool(**yes)?,
        Value::MaybeBool(yes) => out.bool(yes.unwrap_or_default())?,
        Value::MaybeInt(number) => out.i64(number.unwrap_or_default())?,
        Value::MaybeFloat(number) => return float(out, number.unwrap_or_default()),
        Value::PrivateKey(key) => out.bytes(key.as_ref().map_or(&[], |key| key.as_bytes()))?,
        Value::PublicKey(key) => out.bytes(key.as_ref().map_or(&[], |key| key.as_bytes()))?,
        Value::ServerPin(pin) => out.bytes(pin.as_ref().map_or(&[], |pin| pin.as_bytes()))?,
        Value::Object(object) => return map(out, *object, false),
    };
    Ok(())
}

/// The shortest of three formats that keeps the value.
fn float(out: &mut Out, value: f64) -> Written {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is checked that nothing was lost"
    )]
    let single = value as f32;
    if f64::from(single).to_bits() != value.to_bits() {
        return out.f64(value)?.ok();
    }
    let mut half = Encoder::new(Vec::new());
    half.f16(single)?;
    let read = minicbor::Decoder::new(half.writer()).f16();
    match read.is_ok_and(|read| read.to_bits() == single.to_bits()) {
        true => out.f16(single)?.ok(),
        false => out.f32(single)?.ok(),
    }
}
