//! What may stand in a configuration: one table per object.
//!
//! Reading ([`decode`]), `format` ([`write`]), the reference page ([`reference`]) and the guesses
//! of what was meant all come from these tables. To add a key, add a [`Row`] and take it in
//! `config::build`; to add a type, add a [`Variant`].
mod decode;
mod differences;
mod fields;
mod nearest;
mod record;
mod reference;
mod rules;
mod tables;
mod value;
mod write;

pub(crate) use decode::{Decoder, GUESSES_MAX, decode};
pub(crate) use differences::differences;
pub(crate) use nearest::nearest;
pub(crate) use record::{Field, Record, Value};
pub(crate) use reference::reference_markdown;
pub(crate) use value::{parse_prefix, parse_u32};
pub(crate) use write::{to_json, to_json_as_written, to_json_without_empty};

/// One key of an object.
#[derive(Debug)]
pub(crate) struct Row {
    /// The key, as `format` writes it.
    pub(crate) key: &'static str,
    /// What its value is.
    pub(crate) kind: Kind,
    /// What an absent key means, for the reference page.
    pub(crate) default: &'static str,
    /// What it is for, for the reference page.
    pub(crate) doc: &'static str,
    /// Whether this program does it.
    pub(crate) support: Support,
    /// `format` writes the key even when its value is the default.
    pub(crate) always: bool,
}

/// Whether this program does what a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does.
    Yes,
    /// sing-box does; here the key is refused, unless it is `null`, `false`, or holds nothing. The
    /// text says what to write instead.
    NotYet(Option<&'static str>),
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`; `false` is the same as absent.
    Bool,
    /// `true`, `false` or absent, all different.
    Tristate,
    /// Text; empty is the same as absent.
    Text,
    /// 0 to 65535; 0 is the same as absent.
    Port,
    /// A whole number.
    Integer,
    /// An IP address.
    Address,
    /// A firewall mark: a number, or text in Go's notation (`0x2023`, `0b1`, `010`, `1_000`).
    Mark,
    /// Go's duration with days: `1h30m`, `7d`.
    Duration,
    /// A duration, or a number of seconds.
    Timeout,
    /// `tcp`, `udp` or a list of them.
    Networks,
    /// `domain_strategy`.
    Strategy,
    /// An array of text.
    TextArray,
    /// Text or an array of text.
    TextList,
    /// A port or an array of ports.
    PortList,
    /// A prefix with its length (`10.0.0.1/8`) or an array of them.
    PrefixList,
    /// A number of 32 bits or an array of them.
    IdList,
    /// Names with text or an array of text each.
    Headers,
    /// One object.
    Object(&'static Object),
    /// An array of objects of one shape.
    Objects(&'static Object),
    /// An array of objects whose `type` says their shape.
    Variants(&'static Family),
    /// A paniq profile, which has its own reader.
    Profile,
    /// An array of route rules.
    Rules,
    /// What is not supported yet; the text is for the reference page only.
    Other(&'static str),
}

/// Rows that are matched together.
#[derive(Debug)]
pub(crate) struct Group {
    /// Title on the reference page, for keys that several objects share.
    pub(crate) title: Option<&'static str>,
    /// The rows in the order `format` writes them.
    pub(crate) rows: &'static [Row],
    /// Keys are matched by their exact case. Elsewhere letter case does not matter.
    pub(crate) exact: bool,
}

/// An object: its groups of keys in the order `format` writes them.
#[derive(Debug)]
pub(crate) struct Object {
    /// Title on the reference page.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// The keys.
    pub(crate) groups: &'static [Group],
    /// Keys that are unknown here, but known to other shapes of the same object, have no effect.
    pub(crate) ignores: &'static [&'static [Row]],
}

/// Objects told apart by `type`.
#[derive(Debug)]
pub(crate) struct Family {
    /// `inbound` or `outbound`.
    pub(crate) noun: &'static str,
    /// `inbound type` or `outbound type`.
    pub(crate) type_noun: &'static str,
    /// The shapes.
    pub(crate) variants: &'static [Variant],
}

/// One `type` of a [`Family`].
#[derive(Debug)]
pub(crate) struct Variant {
    /// The value of `type`.
    pub(crate) name: &'static str,
    /// The shape; absent when this program does not do the type yet.
    pub(crate) object: Option<&'static Object>,
}

impl Object {
    /// All rows in writing order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.groups.iter().flat_map(|group| group.rows)
    }

    /// The row of a key: by exact case first, then regardless of case where that is allowed.
    pub(crate) fn row(&self, key: &str) -> Option<&'static Row> {
        let exact = self.rows().find(|row| row.key == key);
        exact.or_else(|| {
            self.groups
                .iter()
                .filter(|group| !group.exact)
                .flat_map(|group| group.rows)
                .find(|row| same_folded(row.key, key))
        })
    }

    /// The key that is most like `key`, in lower case as people write it.
    pub(crate) fn nearest(&self, key: &str) -> Option<String> {
        nearest(key, self.rows().map(|row| row.key)).map(str::to_lowercase)
    }
}

/// Whether two keys are the same to Go, which folds letter case in Unicode's simple way. Only two
/// characters beyond ASCII fold to ASCII letters: U+017F (long s) and U+212A (Kelvin sign).
pub(crate) fn same_folded(ascii: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    ascii.chars().map(fold).eq(key.chars().map(fold))
}

#[cfg(test)]
mod tests;
