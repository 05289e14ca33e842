//! The configuration reference, written from the tables.
use super::{Family, Group, Kind, Object, Row, Support, tables};
use core::fmt::Write as _;

/// The reference page in Markdown.
pub(crate) fn reference_markdown() -> String {
    let mut page = String::from(
        "# Configuration reference\n\n\
         <!-- Written by a test from the tables in engine/src/config/schema/tables. Do not edit: \
         run `BLESS=1 cargo test -p sansbox-engine --test config_reference`. -->\n\n\
         Keys, types and their meaning are those of sing-box 1.12. What sing-box knows and \
         sansbox does not do yet is refused with its place in the file; it is never ignored.\n\n\
         | word | meaning |\n|---|---|\n\
         | text | a JSON string |\n\
         | list of X | one X, or an array of X |\n\
         | duration | text such as `300ms`, `1h30m` or `7d`; not negative |\n\
         | mark | a number, or text such as `0x2023` |\n\n",
    );
    section(&tables::TOP, &mut page);
    page
}

fn section(object: &'static Object, page: &mut String) {
    let _ = writeln!(page, "## {}\n", object.title);
    if !object.doc.is_empty() {
        let _ = writeln!(page, "{}\n", object.doc);
    }
    let done = object.rows().filter(|row| row.support == Support::Yes);
    let _ = writeln!(
        page,
        "| key | value | when absent | meaning |\n|---|---|---|---|"
    );
    for row in done {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            row.key.to_lowercase(),
            kind_name(row.kind),
            if row.default.is_empty() {
                "-"
            } else {
                row.default
            },
            row.doc
        );
    }
    page.push('\n');
    not_yet(object, page);
    for row in object.rows() {
        match row.kind {
            Kind::Object(nested) => section(nested, page),
            Kind::Variants(family) => self::family(family, page),
            Kind::Rules if object.title == "`route`" => rules(page),
            _ => {}
        }
    }
}

fn not_yet(object: &'static Object, page: &mut String) {
    let missing = |row: &&Row| row.support == Support::NotYet;
    let names: Vec<String> = object
        .groups
        .iter()
        .flat_map(|group: &Group| group.rows.iter())
        .filter(missing)
        .map(|row| format!("`{}` ({})", row.key, kind_name(row.kind)))
        .collect();
    if !names.is_empty() {
        let _ = writeln!(page, "Not supported yet: {}.\n", names.join(", "));
    }
}

fn family(family: &'static Family, page: &mut String) {
    let built = family.variants.iter().filter_map(|v| v.object);
    let planned: Vec<String> = family
        .variants
        .iter()
        .filter(|v| v.object.is_none())
        .map(|v| format!("`{}`", v.name))
        .collect();
    let _ = writeln!(
        page,
        "## Types of `{}s`\n\nOne section per type follows. Not supported yet: {}.\n",
        family.noun,
        planned.join(", ")
    );
    let mut users = None;
    for object in built {
        section(object, page);
        for row in object.rows() {
            if let Kind::Objects(nested) = row.kind {
                users = Some(nested);
            }
        }
    }
    if let Some(users) = users {
        section(users, page);
    }
}

fn rules(page: &mut String) {
    for object in [
        &tables::RULE_ROUTE,
        &tables::RULE_REJECT,
        &tables::LOGICAL_ROUTE,
        &tables::LOGICAL_REJECT,
    ] {
        section(object, page);
    }
    let planned: Vec<String> = tables::ACTION_NAMES
        .iter()
        .filter(|(_, done)| !done)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let _ = writeln!(page, "Actions not supported yet: {}.\n", planned.join(", "));
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::Tristate => "boolean",
        Kind::Text => "text",
        Kind::Port => "port",
        Kind::Integer => "number",
        Kind::Address => "IP address",
        Kind::Mark => "mark",
        Kind::Duration => "duration",
        Kind::Timeout => "duration, or seconds as a number",
        Kind::Networks => "list of `tcp`, `udp`",
        Kind::Strategy => "text",
        Kind::TextArray => "array of text",
        Kind::TextList => "list of text",
        Kind::PortList => "list of ports",
        Kind::Headers => "object",
        Kind::Object(_) => "object",
        Kind::Objects(_) | Kind::Variants(_) => "array of objects",
        Kind::Rules => "array of rules",
        Kind::Other(name) => name,
    }
}
