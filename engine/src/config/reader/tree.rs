//! The tree.
use crate::config::model::Span;
use std::collections::BTreeSet;

/// A value and where it stood.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Json,
    pub(crate) span: Span,
}

/// A JSON value.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// The literal as written: integers and fractions are told apart later.
    Number(String),
    String(String),
    Array {
        items: Vec<Node>,
        /// A comma before the closing bracket, which only some readers accept.
        trailing_comma: Option<Span>,
    },
    Object(Vec<Member>),
}

/// A key and its value. Keys may repeat.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// The JSON type, for messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self.value {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array { .. } => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// Whether it is `null`.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.value, Json::Null)
    }

    /// Whether sing-box's typed objects take the value as absent: arrays and objects that hold
    /// nothing, or only such values.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Json::Array { items, .. } => items.iter().all(Self::is_empty),
            Json::Object(members) => members.iter().all(|m| m.value.is_empty()),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
        }
    }

    /// Takes the members out that [`Self::is_empty`], at every depth.
    pub(crate) fn drop_empty(&mut self) {
        match &mut self.value {
            Json::Object(members) => {
                members.retain(|member| !member.value.is_empty());
                members
                    .iter_mut()
                    .for_each(|member| member.value.drop_empty());
            }
            Json::Array { items, .. } => items.iter_mut().for_each(Self::drop_empty),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    /// The first array in the value that ends with a comma.
    pub(crate) fn trailing_comma(&self) -> Option<Span> {
        match &self.value {
            Json::Array {
                items,
                trailing_comma,
            } => items
                .iter()
                .find_map(Self::trailing_comma)
                .or(*trailing_comma),
            Json::Object(members) => members.iter().find_map(|m| m.value.trailing_comma()),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
        }
    }

    /// The members, for an object.
    pub(crate) fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Json::Object(members) => Some(members),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array { .. } => {
                None
            }
        }
    }

    /// The items, for an array.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Json::Array { items, .. } => Some(items),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                None
            }
        }
    }

    /// The text, for a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Json::String(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array { .. } | Json::Object(_) => {
                None
            }
        }
    }
}

/// The members that count in a typed object: of equal keys the last.
pub(crate) fn last_of_each(members: &[Member]) -> Vec<&Member> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<&Member> = members
        .iter()
        .rev()
        .filter(|m| seen.insert(m.key.as_str()))
        .collect();
    kept.reverse();
    kept
}
