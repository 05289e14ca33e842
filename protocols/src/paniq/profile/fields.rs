//! One table per object, from which both formats are read and written.
use super::{
    duration::Nanos,
    keys::{PrivateKey, PublicKey, ServerPin},
};

/// Something with named and numbered fields.
pub(super) trait Object {
    /// All fields in order.
    fn fields(&self) -> Vec<Field<'_>>;
    /// The field called `key`, and its name in JSON.
    fn slot(&mut self, key: Key<'_>) -> Option<(&'static str, Slot<'_>)>;
    /// Forgets all fields.
    fn clear(&mut self);
}

/// A field and what it holds.
pub(super) struct Field<'a> {
    /// Its number in CBOR.
    pub(super) number: u64,
    /// Its name in JSON.
    pub(super) name: &'static str,
    pub(super) value: Value<'a>,
}

/// What a field holds. `Count` and `Duration` come with the default that stands for zero and less.
pub(super) enum Value<'a> {
    Text(&'a str),
    Int(&'a i64),
    Count(&'a i64, i64),
    Duration(&'a Nanos, Nanos),
    Unsigned(&'a u64),
    Bool(&'a bool),
    MaybeBool(&'a Option<bool>),
    MaybeInt(&'a Option<i64>),
    MaybeFloat(&'a Option<f64>),
    PrivateKey(&'a Option<PrivateKey>),
    PublicKey(&'a Option<PublicKey>),
    ServerPin(&'a Option<ServerPin>),
    Object(&'a dyn Object),
}

impl Value<'_> {
    /// Does it hold nothing: zero, empty, none?
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Int(value) | Self::Count(value, _) => **value == 0,
            Self::Duration(value, _) => value.0 == 0,
            Self::Unsigned(value) => **value == 0,
            Self::Bool(value) => !**value,
            Self::MaybeBool(value) => value.is_none(),
            Self::MaybeInt(value) => value.is_none(),
            Self::MaybeFloat(value) => value.is_none(),
            Self::PrivateKey(key) => key.is_none(),
            Self::PublicKey(key) => key.is_none(),
            Self::ServerPin(pin) => pin.is_none(),
            Self::Object(object) => object.fields().iter().all(|field| field.value.is_empty()),
        }
    }
}

/// Where a field is written.
pub(super) enum Slot<'a> {
    Text(&'a mut String),
    Int(&'a mut i64),
    Count(&'a mut i64),
    Duration(&'a mut Nanos),
    Unsigned(&'a mut u64),
    Bool(&'a mut bool),
    MaybeBool(&'a mut Option<bool>),
    MaybeInt(&'a mut Option<i64>),
    MaybeFloat(&'a mut Option<f64>),
    PrivateKey(&'a mut Option<PrivateKey>),
    PublicKey(&'a mut Option<PublicKey>),
    ServerPin(&'a mut Option<ServerPin>),
    Object(&'a mut dyn Object),
}

/// What a field is called.
#[derive(Clone, Copy)]
pub(super) enum Key<'a> {
    /// In CBOR.
    Number(u64),
    /// In JSON.
    Name(&'a str),
}

impl Key<'_> {
    /// Is this the field with that number and name? Names are compared as Go does, without regard
    /// to case, whose folding also takes two letters outside ASCII to `s` and `k`.
    pub(super) fn is(self, number: u64, name: &str) -> bool {
        match self {
            Self::Number(own) => own == number,
            Self::Name(own) => own.chars().map(fold).eq(name.chars()),
        }
    }
}

const fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

/// Implements [`Object`] by a table of number, name, kind, default if the kind has one, and place.
macro_rules! fields {
    ($object:ty: $($number:literal $name:literal $kind:ident
        $([$default:expr])? ($($place:tt)+);)+) => {
        impl Object for $object {
            fn fields(&self) -> Vec<Field<'_>> {
                vec![$(Field {
                    number: $number,
                    name: $name,
                    value: Value::$kind(&self.$($place)+ $(, $default)?),
                }),+]
            }

            fn slot(&mut self, key: Key<'_>) -> Option<(&'static str, Slot<'_>)> {
                $(if key.is($number, $name) {
                    return Some(($name, Slot::$kind(&mut self.$($place)+)));
                })+
                None
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}
pub(super) use fields;
