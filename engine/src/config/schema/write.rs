//! A record as text, the way sing-box's `format` and `merge` write it: keys in the order of the
//! tables, what is absent or the same as absent left out, lists of one as that one, two spaces of
//! indent, and Go's escapes.
use super::{
    Kind, Row,
    record::{Record, Value},
    value::format_duration,
};
use crate::config::{
    model::{DomainStrategy, Network},
    reader::{Json, Node},
};
use core::fmt::Write as _;
use zeroize::Zeroizing;

/// The record as `merge` writes it, ending in a newline.
pub(crate) fn to_json(record: &Record) -> String {
    print(&tree(record))
}

/// The record as `format` writes it: also without what holds nothing, ending in a newline.
pub(crate) fn to_json_without_empty(record: &Record) -> String {
    let mut root = tree(record);
    drop_empty(&mut root);
    print(&root)
}

/// A value ready to be written.
#[derive(PartialEq, Eq)]
pub(super) enum Out {
    /// A scalar as it is written.
    Raw(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Out {
    fn text(text: &str) -> Self {
        Self::Raw(quote(text))
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Raw(_) => false,
            Self::Array(items) => items.iter().all(Self::is_empty),
            Self::Object(members) => members.iter().all(|(_, value)| value.is_empty()),
        }
    }
}

/// The record as `merge` writes it.
pub(super) fn tree(record: &Record) -> Out {
    let mut members = Vec::new();
    for row in record.object.rows() {
        match record.get(row) {
            Some(field) if row.always || !is_default(row, &field.value) => {
                members.push((row.key.to_owned(), value(row, &field.value)));
            }
            None if row.always => members.push((row.key.to_owned(), default(row))),
            Some(_) | None => {}
        }
    }
    Out::Object(members)
}

fn is_default(row: &Row, value: &Value) -> bool {
    let absent_differs = matches!(row.kind, Kind::Tristate)
        || matches!(row.kind, Kind::Other(kind) if kind != "boolean");
    !absent_differs && value.is_zero()
}

/// What is written for a key that is always written and was absent.
fn default(row: &Row) -> Out {
    let text = if matches!(row.kind, Kind::TextArray) {
        "null"
    } else if matches!(row.kind, Kind::Port | Kind::Integer) {
        "0"
    } else {
        "\"\""
    };
    Out::Raw(text.to_owned())
}

fn value(row: &Row, value: &Value) -> Out {
    match value {
        Value::Bool(flag) => Out::Raw(flag.to_string()),
        Value::Text(text) => Out::text(text),
        Value::Number(number) => Out::Raw(number.to_string()),
        Value::Address(ip) => Out::text(&ip.to_string()),
        Value::Mark(mark) => Out::text(&format!("{mark:#x}")),
        Value::Duration(nanos) => Out::text(&format_duration(*nanos)),
        Value::Networks(list) => collapsed(list.iter().map(network)),
        Value::Strategy(strategy) => Out::text(strategy_name(*strategy)),
        Value::Texts(list) if matches!(row.kind, Kind::TextArray) => {
            Out::Array(list.iter().map(|text| Out::text(&text.value)).collect())
        }
        Value::Texts(list) => collapsed(list.iter().map(|text| Out::text(&text.value))),
        Value::Ports(list) => collapsed(list.iter().map(|port| Out::Raw(port.to_string()))),
        Value::Ids(list) => collapsed(list.iter().map(|id| Out::Raw(id.to_string()))),
        Value::Headers(list) => headers(list),
        Value::Tree(node) => as_written(node),
        Value::Record(record) => tree(record),
        Value::Records(list) => {
            let typed = matches!(row.kind, Kind::Variants(_) | Kind::Rules);
            let items = list.iter().map(|record| {
                let mut item = tree(record);
                if typed {
                    drop_empty(&mut item);
                }
                item
            });
            Out::Array(items.collect())
        }
    }
}

/// A value as it stands in the text, compact.
pub(crate) fn to_json_as_written(node: &Node) -> Zeroizing<String> {
    Zeroizing::new(print(&as_written(node)))
}

fn as_written(node: &Node) -> Out {
    match &node.value {
        Json::Null => Out::Raw("null".to_owned()),
        Json::Bool(value) => Out::Raw(value.to_string()),
        Json::Number(literal) => Out::Raw(literal.clone()),
        Json::String(text) => Out::text(text),
        Json::Array { items, .. } => Out::Array(items.iter().map(as_written).collect()),
        Json::Object(members) => {
            let members = members.iter();
            Out::Object(
                members
                    .map(|member| (member.key.clone(), as_written(&member.value)))
                    .collect(),
            )
        }
    }
}

fn headers(list: &[(String, Option<Vec<String>>)]) -> Out {
    let mut members: Vec<_> = list
        .iter()
        .map(|(name, values)| {
            let value = match values {
                None => Out::Raw("null".to_owned()),
                Some(values) => collapsed(values.iter().map(|value| Out::text(value))),
            };
            (name.clone(), value)
        })
        .collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    Out::Object(members)
}

/// A list of one is written as that one.
fn collapsed(items: impl Iterator<Item = Out>) -> Out {
    let mut items: Vec<Out> = items.collect();
    match items.pop() {
        Some(only) if items.is_empty() => only,
        Some(last) => {
            items.push(last);
            Out::Array(items)
        }
        None => Out::Array(items),
    }
}

fn network(network: &Network) -> Out {
    Out::text(match network {
        Network::Tcp => "tcp",
        Network::Udp => "udp",
    })
}

const fn strategy_name(strategy: DomainStrategy) -> &'static str {
    match strategy {
        DomainStrategy::AsIs => "",
        DomainStrategy::PreferIpv4 => "prefer_ipv4",
        DomainStrategy::PreferIpv6 => "prefer_ipv6",
        DomainStrategy::Ipv4Only => "ipv4_only",
        DomainStrategy::Ipv6Only => "ipv6_only",
    }
}

fn drop_empty(out: &mut Out) {
    match out {
        Out::Raw(_) => {}
        Out::Array(items) => items.iter_mut().for_each(drop_empty),
        Out::Object(members) => {
            members.retain(|(_, value)| !value.is_empty());
            members.iter_mut().for_each(|(_, value)| drop_empty(value));
        }
    }
}

fn print(root: &Out) -> String {
    let mut text = String::new();
    print_at(root, 0, &mut text);
    text.push('\n');
    text
}

fn print_at(out: &Out, depth: usize, text: &mut String) {
    let newline = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(core::iter::repeat_n("  ", depth));
    };
    match out {
        Out::Raw(raw) => text.push_str(raw),
        Out::Array(items) if items.is_empty() => text.push_str("[]"),
        Out::Object(members) if members.is_empty() => text.push_str("{}"),
        Out::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                newline(text, depth + 1);
                print_at(item, depth + 1, text);
            }
            newline(text, depth);
            text.push(']');
        }
        Out::Object(members) => {
            text.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                newline(text, depth + 1);
                text.push_str(&quote(key));
                text.push_str(": ");
                print_at(value, depth + 1, text);
            }
            newline(text, depth);
            text.push('}');
        }
    }
}

/// A JSON string with the escapes that Go uses: also `<`, `>`, `&`, U+2028 and U+2029.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
