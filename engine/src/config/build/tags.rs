//! Tags: who carries which.
use crate::config::{
    error::ErrorKind,
    model::Span,
    reader::Problem,
    schema::{Field, Record, Value},
};
use std::collections::BTreeSet;

/// The tags of all inbounds and outbounds, also of those that are broken.
#[derive(Debug, Default)]
pub(super) struct Tags {
    pub(super) inbounds: BTreeSet<String>,
    pub(super) outbounds: BTreeSet<String>,
}

impl Tags {
    pub(super) fn of(root: &Record) -> Self {
        let all = |key| tags(root, key).into_iter().map(|(tag, _)| tag).collect();
        Self {
            inbounds: all("inbounds"),
            outbounds: all("outbounds"),
        }
    }
}

/// The tag of an object at `index` of its list.
pub(super) fn tag_of(record: &Record, index: usize) -> String {
    match record.text("tag") {
        "" => index.to_string(),
        tag => tag.to_owned(),
    }
}

/// Finds tags that are carried twice, among inbounds and among outbounds.
pub(crate) fn check_tags(root: &Record) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (noun, key) in [("inbound", "inbounds"), ("outbound", "outbounds")] {
        let mut seen = BTreeSet::new();
        for (tag, span) in tags(root, key) {
            if !seen.insert(tag.clone()) {
                let kind = ErrorKind::DuplicateTag { noun, tag };
                problems.push(Problem { kind, span });
            }
        }
    }
    problems
}

fn tags(root: &Record, key: &str) -> Vec<(String, Span)> {
    let field = root.fields.iter().find(|field| field.row.key == key);
    let Some(Field {
        value: Value::Records(records),
        ..
    }) = field
    else {
        return Vec::new();
    };
    let span = |record: &Record| {
        let tag = record.fields.iter().find(|field| field.row.key == "tag");
        tag.map_or(record.span, |field| field.span)
    };
    let records = records.iter().enumerate();
    records
        .map(|(index, record)| (tag_of(record, index), span(record)))
        .collect()
}
