//! The configuration reference, written from the tables.
use super::{Family, Group, Kind, Object, Row, Support, tables};
use core::fmt::Write as _;
use std::collections::BTreeSet;

const HEAD: &str = "\
# Configuration reference

<!-- Written by a test from the tables in engine/src/config/schema/tables. Do not edit; run
`BLESS=1 cargo test -p sansbox-engine --test config_reference`. -->

Keys, types and their meaning are those of sing-box 1.12. What sing-box knows and sansbox does not
do yet is refused with its place in the file; it is never ignored.

| word | meaning |
|---|---|
| text | a JSON string |
| list of X | one X, or an array of X |
| duration | text such as `300ms`, `1h30m` or `7d`; not negative |
| mark | a number, or text such as `0x2023` |
| profile | an object as [paniq.md](protocols/paniq.md#the-profile) says |
";

const RULES: [&Object; 4] = [
    &tables::RULE_ROUTE,
    &tables::RULE_REJECT,
    &tables::LOGICAL_ROUTE,
    &tables::LOGICAL_REJECT,
];

/// The reference page in Markdown.
pub(crate) fn reference_markdown() -> String {
    let mut page = Page {
        text: HEAD.to_owned(),
        shown: BTreeSet::new(),
    };
    page.object(&tables::TOP);
    page.text
}

struct Page {
    text: String,
    /// Titles that have their section already.
    shown: BTreeSet<&'static str>,
}

impl Page {
    fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.text, "\n{text}");
        }
    }

    /// The section of an object, then those of what is in it.
    fn object(&mut self, object: &'static Object) {
        if !self.shown.insert(object.title) {
            return;
        }
        self.paragraph(&format!("## {}", object.title));
        self.paragraph(object.doc);
        for title in object.groups.iter().filter_map(|group| group.title) {
            self.paragraph(&format!("Also the [{title}](#{}).", anchor(title)));
        }
        let own = |group: &&Group| group.title.is_none();
        let rows: Vec<&Row> = object
            .groups
            .iter()
            .filter(own)
            .flat_map(|g| g.rows)
            .collect();
        self.rows(&rows);
        for group in object.groups {
            if let Some(title) = group.title
                && self.shown.insert(title)
            {
                self.paragraph(&format!("## {title}"));
                self.rows(&group.rows.iter().collect::<Vec<_>>());
            }
        }
        for row in object.rows() {
            if let Kind::Object(nested) | Kind::Objects(nested) = row.kind {
                self.object(nested);
            } else if let Kind::Variants(family) = row.kind {
                self.family(family);
            } else if matches!(row.kind, Kind::Rules) {
                self.rules();
            }
        }
    }

    fn rows(&mut self, rows: &[&Row]) {
        let (done, missing): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.support == Support::Yes);
        if !done.is_empty() {
            self.paragraph("| key | value | when absent | meaning |\n|---|---|---|---|");
        }
        for row in done {
            let key = row.key.to_lowercase();
            let default = if row.default.is_empty() {
                "-"
            } else {
                row.default
            };
            let _ = writeln!(
                self.text,
                "| `{key}` | {} | {default} | {} |",
                kind_name(row.kind),
                row.doc
            );
        }
        let missing = missing.iter().map(|row| {
            let advice = match row.support {
                Support::NotYet(Some(advice)) => format!(": {advice}"),
                Support::NotYet(None) | Support::Yes => String::new(),
            };
            format!("`{}` ({}{advice})", row.key, kind_name(row.kind))
        });
        self.not_yet("keys", missing.collect());
    }

    fn family(&mut self, family: &'static Family) {
        let missing = family.variants.iter().filter(|v| v.object.is_none());
        let missing = missing.map(|v| format!("`{}`", v.name)).collect();
        self.paragraph(&format!("## Types of {}s", family.noun));
        self.paragraph("`type` says which of the following shapes an object has.");
        self.not_yet("types", missing);
        for object in family.variants.iter().filter_map(|v| v.object) {
            self.object(object);
        }
    }

    fn rules(&mut self) {
        if self.shown.insert("Rules") {
            let actions = tables::ACTION_NAMES.iter().filter(|(_, done)| !done);
            let actions = actions.map(|(name, _)| format!("`{name}`")).collect();
            self.paragraph("## Rules");
            self.paragraph("`type` and `action` say which of the following shapes a rule has.");
            self.not_yet("actions", actions);
            RULES.into_iter().for_each(|rule| self.object(rule));
        }
    }

    fn not_yet(&mut self, what: &str, names: Vec<String>) {
        if !names.is_empty() {
            self.paragraph(&format!("Not supported yet, {what}: {}.", names.join(", ")));
        }
    }
}

/// The anchor that Markdown viewers give a title.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::Tristate => "boolean",
        Kind::Text | Kind::Strategy => "text",
        Kind::Port => "port",
        Kind::Integer => "number",
        Kind::Address => "IP address",
        Kind::Mark => "mark",
        Kind::Duration => "duration",
        Kind::Timeout => "duration, or seconds as a number",
        Kind::Networks => "list of `tcp`, `udp`",
        Kind::TextArray => "array of text",
        Kind::TextList => "list of text",
        Kind::PortList => "list of ports",
        Kind::PrefixList => "list of prefixes",
        Kind::IdList => "list of numbers",
        Kind::Headers | Kind::Object(_) => "object",
        Kind::Objects(_) | Kind::Variants(_) => "array of objects",
        Kind::Profile => "profile",
        Kind::Rules => "array of rules",
        Kind::Other(name) => name,
    }
}
