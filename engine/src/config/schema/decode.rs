//! A tree against the tables.
//!
//! sing-box reads in two ways. *Plain* objects (the whole file, `log`, `route`) are read key by
//! key: repeated objects merge, numbers must be written without fraction or exponent. *Typed*
//! objects (inbounds, outbounds, rules and all within) go through an intermediate form first: of
//! equal keys the last counts, what holds nothing is dropped whatever its key, numbers are floats,
//! and arrays may not end with a comma.
use super::{
    Family, Kind, Object, Row, Support,
    record::{Record, Value},
    same_folded, tables,
};
use crate::config::{
    error::{ErrorKind, Found, WarningKind},
    model::Span,
    reader::{Json, Member, Node, Problem, last_of_each},
};

/// After so many problems nobody needs guesses any more, and guessing takes time.
pub(crate) const GUESSES_MAX: usize = 200;

/// Why one of several equal keys is not used.
const LAST_COUNTS: &str = "the same key follows, and the last one counts";

/// Collects what is wrong while trees are read.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<(WarningKind, Span)>,
}

/// Whether keys and numbers are read plainly or by way of the intermediate form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Typed,
}

/// Reads a whole file. What is wrong is left in the decoder; the record is then only good for
/// finding further errors.
pub(crate) fn decode(root: &Node, decoder: &mut Decoder) -> Record {
    let mut record = Record::new(&tables::TOP, root.span);
    if !matches!(root.value, Json::Null) {
        decoder.fill(root, &mut record, Mode::Plain);
    }
    record
}

impl Decoder {
    pub(super) fn problem(&mut self, span: Span, kind: ErrorKind) {
        self.problems.push(Problem { kind, span });
    }

    pub(super) fn wrong_type(&mut self, node: &Node, expected: &'static str) {
        let found = node.type_name();
        self.problem(node.span, ErrorKind::WrongType { expected, found });
    }

    pub(super) fn bad_value(&mut self, node: &Node, value: &str, expected: &'static str) {
        let value = value.to_owned();
        self.problem(node.span, ErrorKind::BadValue { value, expected });
    }

    /// An object of one shape. The record says whether something in it is wrong.
    pub(super) fn object(&mut self, node: &Node, object: &'static Object, mode: Mode) -> Record {
        let mut record = Record::new(object, node.span);
        self.fill(node, &mut record, mode);
        record
    }

    /// Adds the members of an object to a record.
    fn fill(&mut self, node: &Node, record: &mut Record, mode: Mode) {
        let before = self.problems.len();
        match node.members() {
            None => self.wrong_type(node, "an object"),
            Some(members) if mode == Mode::Plain => {
                for member in members {
                    self.member(member, record, mode);
                }
            }
            Some(members) => {
                let kept = last_of_each(members);
                if kept.len() < members.len() {
                    self.repeated(members, &kept);
                }
                for member in kept {
                    self.member(member, record, mode);
                }
            }
        }
        record.broken |= self.problems.len() > before;
    }

    fn member(&mut self, member: &Member, record: &mut Record, mode: Mode) {
        let object = record.object;
        let row = object.row(&member.key);
        let earlier = row.and_then(|row| record.get(row));
        if let Some(earlier) = earlier
            && !matches!(earlier.value, Value::Record(_))
        {
            let (key, reason) = (earlier.row.key.to_owned(), LAST_COUNTS);
            let warning = WarningKind::NoEffect { key, reason };
            self.warnings.push((warning, earlier.span));
        }
        if mode == Mode::Typed && member.value.is_empty() {
            if row.is_none() {
                self.no_effect(member, "its value holds nothing");
            }
            return;
        }
        let Some(row) = row else {
            let mut ignored = object.ignores.iter().flat_map(|rows| rows.iter());
            if ignored.any(|row| same_folded(row.key, &member.key)) {
                return self.no_effect(member, "the rule's action has no such option");
            }
            let few = self.problems.len() < GUESSES_MAX;
            let nearest = few.then(|| object.nearest(&member.key)).flatten();
            let key = member.key.clone();
            return self.problem(member.key_span, ErrorKind::UnknownKey { key, nearest });
        };
        match row.support {
            Support::Yes => self.value(&member.value, row, record, mode),
            Support::NotYet(_) if member.value.is_null() => record.clear(row),
            Support::NotYet(_) if member.value.is_empty() => {}
            // Off is what an absent key means too; `format` writes it back where Go does.
            Support::NotYet(_) if matches!(member.value.value, Json::Bool(false)) => {
                record.set(row, Value::Bool(false), member.value.span);
            }
            Support::NotYet(instead) => {
                let kind = ErrorKind::NotSupportedYet {
                    noun: "key",
                    name: member.key.clone(),
                    instead,
                };
                self.problem(member.key_span, kind);
            }
        }
    }

    /// Warns of those among equal keys that do not count.
    fn repeated(&mut self, members: &[Member], kept: &[&Member]) {
        let mut kept = kept.iter().peekable();
        for member in members {
            if kept.next_if(|next| core::ptr::eq(**next, member)).is_none() {
                self.no_effect(member, LAST_COUNTS);
            }
        }
    }

    fn no_effect(&mut self, member: &Member, reason: &'static str) {
        let key = member.key.clone();
        let warning = WarningKind::NoEffect { key, reason };
        self.warnings.push((warning, member.key_span));
    }

    fn value(&mut self, node: &Node, row: &'static Row, record: &mut Record, mode: Mode) {
        if matches!(node.value, Json::Null) {
            // Go calls the reader of these two even for null, and there is no text in it.
            if matches!(row.kind, Kind::Mark | Kind::Duration) {
                self.wrong_type(node, "a value");
            } else if !matches!(
                row.kind,
                Kind::Bool | Kind::Text | Kind::Port | Kind::Integer
            ) {
                record.clear(row);
            }
            return;
        }
        let value = match row.kind {
            Kind::Object(object) => Some(self.nested(node, row, object, record, mode)),
            Kind::Objects(object) => self.objects(node, object, mode),
            Kind::Variants(family) => self.variants(node, family),
            Kind::Rules => self.rules(node),
            Kind::Profile => self.tree(node),
            Kind::Other(_) => None,
            Kind::Bool
            | Kind::Tristate
            | Kind::Text
            | Kind::Port
            | Kind::Integer
            | Kind::Address
            | Kind::Mark
            | Kind::Duration
            | Kind::Timeout
            | Kind::Networks
            | Kind::Strategy
            | Kind::TextArray
            | Kind::TextList
            | Kind::PortList
            | Kind::PrefixList
            | Kind::IdList
            | Kind::Headers => self.field(node, row.kind, mode),
        };
        if let Some(value) = value {
            record.set(row, value, node.span);
        }
    }

    fn tree(&mut self, node: &Node) -> Option<Value> {
        if node.members().is_none() {
            self.wrong_type(node, "an object");
            return None;
        }
        let mut tree = node.clone();
        tree.drop_empty();
        Some(Value::Tree(tree))
    }

    fn nested(
        &mut self,
        node: &Node,
        row: &'static Row,
        object: &'static Object,
        record: &mut Record,
        mode: Mode,
    ) -> Value {
        let earlier = record.take(row.key).map(|field| field.value);
        let mut nested = match earlier {
            Some(Value::Record(nested)) => *nested,
            _ => Record::new(object, node.span),
        };
        self.fill(node, &mut nested, mode);
        Value::Record(Box::new(nested))
    }

    fn objects(&mut self, node: &Node, object: &'static Object, mode: Mode) -> Option<Value> {
        let Some(items) = node.items() else {
            self.wrong_type(node, "an array of objects");
            return None;
        };
        let records = items.iter().map(|item| {
            if item.is_null() {
                return Record::new(object, item.span);
            }
            self.object(item, object, mode)
        });
        Some(Value::Records(records.collect()))
    }

    fn variants(&mut self, node: &Node, family: &'static Family) -> Option<Value> {
        let Some(items) = node.items() else {
            self.wrong_type(node, "an array of objects");
            return None;
        };
        let records = items.iter().map(|item| self.variant(item, family));
        Some(Value::Records(records.collect()))
    }

    fn variant(&mut self, node: &Node, family: &'static Family) -> Record {
        let before = self.problems.len();
        let shape = self.shape(node, family);
        let mut record = match shape {
            Some(object) => self.object(node, object, Mode::Typed),
            None => Record::new(&tables::TAG_ONLY, node.span),
        };
        if shape.is_none() {
            let tag = member_text(node, "tag").unwrap_or_default().to_owned();
            let tag_row = tables::TAG_ONLY.rows().find(|row| row.key == "tag");
            if let Some(row) = tag_row {
                record.set(row, Value::Text(tag), node.span);
            }
        }
        record.broken = self.problems.len() > before;
        record
    }

    /// The shape that the object's `type` names; a problem when there is none.
    fn shape(&mut self, node: &Node, family: &'static Family) -> Option<&'static Object> {
        let Some(members) = node.members() else {
            if node.is_null() {
                self.problem(node.span, ErrorKind::MissingField { key: "type" });
            } else {
                self.wrong_type(node, "an object");
            }
            return None;
        };
        self.no_trailing_comma(node);
        self.texts_or_null(members, &["type", "tag"]);
        let name = member_text(node, "type").unwrap_or_default();
        let at = members.iter().rfind(|m| m.key == "type");
        let span = at.map_or(node.span, |m| m.value.span);
        if name.is_empty() {
            match members.iter().find(|m| same_folded("type", &m.key)) {
                Some(m) if m.key != "type" => {
                    let (key, nearest) = (m.key.clone(), Some("type".to_owned()));
                    self.problem(m.key_span, ErrorKind::UnknownKey { key, nearest });
                }
                Some(m) if m.value.text().is_none() && !matches!(m.value.value, Json::Null) => {}
                _ => self.problem(span, ErrorKind::MissingField { key: "type" }),
            }
            return None;
        }
        let noun = family.type_noun;
        let Some(variant) = family.variants.iter().find(|v| v.name == name) else {
            let names = family.variants.iter().map(|v| v.name);
            let nearest = super::nearest(name, names).map(str::to_owned);
            let name = name.to_owned();
            self.problem(
                span,
                ErrorKind::UnknownType {
                    noun,
                    name,
                    nearest,
                },
            );
            return None;
        };
        if variant.object.is_none() {
            let kind = ErrorKind::NotSupportedYet {
                noun,
                name: name.to_owned(),
                instead: None,
            };
            self.problem(span, kind);
        }
        variant.object
    }

    /// Keys that sing-box looks at before equal keys are sorted out: every occurrence is checked.
    pub(super) fn texts_or_null(&mut self, members: &[Member], keys: &[&str]) {
        for member in members {
            if keys.iter().any(|key| same_folded(key, &member.key))
                && !matches!(member.value.value, Json::Null | Json::String(_))
            {
                self.wrong_type(&member.value, "text");
            }
        }
    }

    pub(super) fn no_trailing_comma(&mut self, node: &Node) {
        if let Some(span) = node.trailing_comma() {
            let found = Found::Char(',');
            let wanted = "the array to end without `,` (sing-box takes none here)";
            self.problem(span, ErrorKind::Syntax { found, wanted });
        }
    }
}

/// The text of a member, by exact key; of equal keys the last.
pub(super) fn member_text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let member = node.members()?.iter().rfind(|m| m.key == key)?;
    member.value.text()
}
