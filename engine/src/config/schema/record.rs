//! An object after its keys and types were checked.
use super::{Object, Row, Support};
use crate::config::{
    model::{DomainStrategy, Network, Span, Spanned},
    reader::Node,
};
use core::net::IpAddr;

/// An object whose keys are known and whose values have the right types.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) object: &'static Object,
    pub(crate) span: Span,
    pub(crate) fields: Vec<Field>,
    /// Something in it is wrong; it is kept to find further errors.
    pub(crate) broken: bool,
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) row: &'static Row,
    pub(crate) value: Value,
    /// Where the value stood.
    pub(crate) span: Span,
}

/// A value of a [`Kind`](super::Kind).
#[derive(Debug)]
pub(crate) enum Value {
    Bool(bool),
    Text(String),
    Number(i64),
    Address(IpAddr),
    Mark(u32),
    /// Nanoseconds, possibly negative.
    Duration(i64),
    Networks(Vec<Network>),
    Strategy(DomainStrategy),
    Texts(Vec<Spanned<String>>),
    Ports(Vec<u16>),
    Ids(Vec<u32>),
    /// `None`: `null`, which `format` writes back.
    Headers(Vec<(String, Option<Vec<String>>)>),
    /// An object, as it stands there but for what holds nothing.
    Tree(Node),
    Record(Box<Record>),
    Records(Vec<Record>),
}

impl Value {
    /// Whether the value is the same as none.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Text(text) => text.is_empty(),
            Self::Number(value) | Self::Duration(value) => *value == 0,
            Self::Mark(mark) => *mark == 0,
            Self::Networks(list) => list.is_empty(),
            Self::Strategy(strategy) => *strategy == DomainStrategy::AsIs,
            Self::Texts(list) => list.is_empty(),
            Self::Ports(list) => list.is_empty(),
            Self::Ids(list) => list.is_empty(),
            Self::Headers(list) => list.is_empty(),
            Self::Records(list) => list.is_empty(),
            Self::Address(_) | Self::Tree(_) | Self::Record(_) => false,
        }
    }
}

impl Record {
    pub(crate) const fn new(object: &'static Object, span: Span) -> Self {
        Self {
            object,
            span,
            fields: Vec::new(),
            broken: false,
        }
    }

    /// Sets a key, replacing what an earlier one of the same name set.
    pub(crate) fn set(&mut self, row: &'static Row, value: Value, span: Span) {
        self.clear(row);
        self.fields.push(Field { row, value, span });
    }

    /// Makes a key absent.
    pub(crate) fn clear(&mut self, row: &'static Row) {
        self.fields.retain(|field| !core::ptr::eq(field.row, row));
    }

    /// The value of a key.
    pub(crate) fn get(&self, row: &Row) -> Option<&Field> {
        self.fields
            .iter()
            .find(|field| core::ptr::eq(field.row, row))
    }

    /// The text of a key; empty when absent.
    pub(crate) fn text(&self, key: &str) -> &str {
        let field = self.fields.iter().find(|field| field.row.key == key);
        match field.map(|field| &field.value) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether a key is `true`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        let field = self.fields.iter().find(|field| field.row.key == key);
        matches!(field.map(|field| &field.value), Some(Value::Bool(true)))
    }

    /// Takes a key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Field> {
        let at = self.fields.iter().position(|field| field.row.key == key)?;
        Some(self.fields.swap_remove(at))
    }

    /// The keys that were not taken out, of those that this program does.
    pub(crate) fn left(&self) -> impl Iterator<Item = &'static str> {
        let done = |field: &&Field| field.row.support == Support::Yes;
        self.fields.iter().filter(done).map(|field| field.row.key)
    }
}
