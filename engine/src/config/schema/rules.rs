//! Route rules: their shape depends on `type` and `action`.
use super::{
    Object,
    decode::{Decoder, Mode, member_text},
    nearest,
    record::{Record, Value},
    tables::{ACTION_NAMES, LOGICAL_REJECT, LOGICAL_ROUTE, RULE_REJECT, RULE_ROUTE, RULE_TYPES},
};
use crate::config::{error::ErrorKind, model::Span, reader::Node};

impl Decoder {
    pub(super) fn rules(&mut self, node: &Node) -> Option<Value> {
        let Some(items) = node.items() else {
            self.wrong_type(node, "an array of rules");
            return None;
        };
        let records = items.iter().map(|item| self.rule(item));
        Some(Value::Records(records.collect()))
    }

    fn rule(&mut self, node: &Node) -> Record {
        let before = self.problems.len();
        let Some(members) = node.members() else {
            self.wrong_type(node, "an object");
            let mut record = Record::new(&RULE_ROUTE, node.span);
            record.broken = true;
            return record;
        };
        self.no_trailing_comma(node);
        self.texts_or_null(members, &["type"]);
        let logical = self.is_logical(node);
        let reject = self.is_reject(node);
        let (object, certain): (&'static Object, bool) = match (logical, reject) {
            (Some(false), Some(false)) => (&RULE_ROUTE, true),
            (Some(false), Some(true)) => (&RULE_REJECT, true),
            (Some(true), Some(false)) => (&LOGICAL_ROUTE, true),
            (Some(true), Some(true)) => (&LOGICAL_REJECT, true),
            (Some(true), None) => (&LOGICAL_ROUTE, false),
            (_, _) => (&RULE_ROUTE, false),
        };
        let shape_known = self.problems.len();
        let mut record = self.object(node, object, Mode::Typed);
        if !certain {
            // What the unknown type or action would allow is unknown too.
            let mut index = 0;
            self.problems.retain(|problem| {
                index += 1;
                index <= shape_known || !matches!(problem.kind, ErrorKind::UnknownKey { .. })
            });
        }
        self.check_reject(node, &record);
        normalize(&mut record);
        record.broken = self.problems.len() > before;
        record
    }

    /// `type`: whether it is `logical`. `None` after a problem.
    fn is_logical(&mut self, node: &Node) -> Option<bool> {
        match member_text(node, "type").unwrap_or_default() {
            "" | "default" => Some(false),
            "logical" => Some(true),
            name => {
                let nearest = nearest(name, RULE_TYPES).map(str::to_owned);
                let (noun, name) = ("rule type", name.to_owned());
                let span = value_span(node, "type");
                self.problem(
                    span,
                    ErrorKind::UnknownType {
                        noun,
                        name,
                        nearest,
                    },
                );
                None
            }
        }
    }

    /// `action`: whether it is `reject`. `None` after a problem.
    fn is_reject(&mut self, node: &Node) -> Option<bool> {
        let name = member_text(node, "action").unwrap_or_default();
        let noun = "rule action";
        let span = value_span(node, "action");
        let known = ACTION_NAMES.iter().find(|(known, _)| *known == name);
        match (name, known) {
            ("" | "route", _) => Some(false),
            ("reject", _) => Some(true),
            (_, Some(_)) => {
                let kind = ErrorKind::NotSupportedYet {
                    noun,
                    name: name.to_owned(),
                    instead: None,
                };
                self.problem(span, kind);
                None
            }
            (_, None) => {
                let names = ACTION_NAMES.iter().map(|(known, _)| *known);
                let nearest = nearest(name, names).map(str::to_owned);
                let name = name.to_owned();
                self.problem(
                    span,
                    ErrorKind::UnknownType {
                        noun,
                        name,
                        nearest,
                    },
                );
                None
            }
        }
    }

    fn check_reject(&mut self, node: &Node, record: &Record) {
        let method = record.text("method");
        if !matches!(method, "" | "default" | "drop") {
            let nearest = nearest(method, ["default", "drop"]).map(str::to_owned);
            let (noun, name) = ("reject method", method.to_owned());
            let span = value_span(node, "method");
            self.problem(
                span,
                ErrorKind::UnknownType {
                    noun,
                    name,
                    nearest,
                },
            );
        }
        if method == "drop" && record.is_true("no_drop") {
            let (value, expected) = ("no_drop".to_owned(), "possible with method `drop`");
            let span = value_span(node, "no_drop");
            self.problem(span, ErrorKind::BadValue { value, expected });
        }
    }
}

fn value_span(node: &Node, key: &str) -> Span {
    let member = node
        .members()
        .and_then(|members| members.iter().rfind(|m| super::same_folded(key, &m.key)));
    member.map_or(node.span, |m| m.value.span)
}

/// Words that mean the same as no word.
fn normalize(record: &mut Record) {
    for (key, word) in [
        ("type", "default"),
        ("action", "route"),
        ("method", "default"),
    ] {
        if record.text(key) == word {
            record.take(key);
        }
    }
}
