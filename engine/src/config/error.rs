//! What can be wrong with a configuration, and how it is shown.
use super::{
    model::Span,
    reader::{parse, path_of},
    render::render,
    source::Sources,
};
use core::fmt;
use thiserror::Error;

/// Most errors, and most warnings, reported in one go.
pub const ERRORS_MAX: usize = 20;

/// One error: what, where by path, where by place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{kind}", PathPrefix(.path))]
pub struct ConfigError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// JSON path such as `inbounds[0].listen_port`; empty for the whole file.
    pub path: String,
    /// Where it stood.
    pub span: Span,
}

/// Something that is read, but should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What to know.
    pub kind: WarningKind,
    /// JSON path such as `outbounds[1]`.
    pub path: String,
    /// Where it stood.
    pub span: Span,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ErrorKind {
    /// There was no file at all.
    #[error("no configuration file was given")]
    NoInput,
    /// More than [`Sources::FILES_MAX`].
    #[error("more than {limit} files")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// A file of nothing but space and comments.
    #[error("the file holds no value")]
    EmptyFile,
    /// Longer than [`FILE_BYTES_MAX`](super::FILE_BYTES_MAX).
    #[error("the file is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not JSON with comments.
    #[error("unexpected {found}, expected {wanted}")]
    Syntax {
        /// What stood there.
        found: Found,
        /// What would have been right.
        wanted: &'static str,
    },
    /// Objects and arrays nested more than [`DEPTH_MAX`](super::DEPTH_MAX) deep.
    #[error("nested more than {limit} deep")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
    /// No such key in this object.
    #[error("unknown key {key:?}{}", Nearest(.nearest.as_deref()))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The valid key that is most like it.
        nearest: Option<String>,
    },
    /// sing-box 1.12 knows it, this program does not do it.
    #[error("{noun} {name:?} is not supported yet{}", Instead(*.instead))]
    NotSupportedYet {
        /// What it is: `key`, `inbound type`, `rule action`...
        noun: &'static str,
        /// Its name as written.
        name: String,
        /// What to write instead, where there is something.
        instead: Option<&'static str>,
    },
    /// A value of another JSON type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type that fits.
        expected: &'static str,
        /// The type that stood there.
        found: &'static str,
    },
    /// The right type, but no valid value.
    #[error("{value:?} is not {expected}")]
    BadValue {
        /// The value as written.
        value: String,
        /// What would have been valid.
        expected: &'static str,
    },
    /// No such type, action or the like.
    #[error("unknown {noun} {name:?}{}", Nearest(.nearest.as_deref()))]
    UnknownType {
        /// What it names: `inbound type`, `rule action`...
        noun: &'static str,
        /// The name as written.
        name: String,
        /// The valid name that is most like it.
        nearest: Option<String>,
    },
    /// A key that has to be there is absent or empty.
    #[error("missing {key:?}")]
    MissingField {
        /// The key.
        key: &'static str,
    },
    /// None of several keys is there, of which one has to be.
    #[error("missing one of {}", .keys.join(", "))]
    MissingOneOf {
        /// The keys.
        keys: &'static [&'static str],
    },
    /// Two keys of which only one can be.
    #[error("{key:?} and {other:?} exclude each other")]
    Exclusive {
        /// The key that stands here.
        key: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A key that is known, but not with this type.
    #[error("key {key:?} cannot be used here: {reason}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A file that the configuration names and that cannot be read.
    #[error("cannot read {path:?}: {reason}")]
    File {
        /// Its path as written.
        path: String,
        /// Why not.
        reason: String,
    },
    /// Something is wrong in a profile.
    #[error("profile{}: {problem}", InFile(.file))]
    Profile {
        /// The file that holds it, with line and column if they are known; empty when it stands in
        /// the configuration.
        file: String,
        /// The field and what is wrong with it.
        problem: String,
    },
    /// Two inbounds, or two outbounds, with one tag.
    #[error("duplicate {noun} tag {tag:?}")]
    DuplicateTag {
        /// `inbound` or `outbound`.
        noun: &'static str,
        /// The tag.
        tag: String,
    },
    /// A tag that nothing carries.
    #[error("there is no {noun} {tag:?}{}", Nearest(.nearest.as_deref()))]
    UnknownReference {
        /// `inbound` or `outbound`.
        noun: &'static str,
        /// The tag as written.
        tag: String,
        /// The tag that is most like it.
        nearest: Option<String>,
    },
    /// `default` of a selector names no member of it.
    #[error("{tag:?} is not one of the selector's outbounds")]
    NotAMember {
        /// The tag as written.
        tag: String,
    },
    /// Outbounds that need each other.
    #[error("circular outbound dependency: {}", .chain.join(" -> "))]
    CircularDependency {
        /// The tags of the circle; the first is also the last.
        chain: Vec<String>,
    },
    /// Found after reading: see [`ConfigError::at`].
    #[error("{message}")]
    Other {
        /// What is wrong.
        message: String,
    },
    /// A later file has something else where an earlier one has an object.
    #[error("cannot merge {found} into the object of an earlier file")]
    CannotMerge {
        /// The JSON type that stood there.
        found: &'static str,
    },
}

/// What to know about something that is read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WarningKind {
    /// sing-box is about to drop it.
    #[error("{noun} {name:?} is deprecated in sing-box: {advice}")]
    Deprecated {
        /// What it is.
        noun: &'static str,
        /// Its name.
        name: String,
        /// What to write instead.
        advice: &'static str,
    },
    /// A key that does nothing where it stands.
    #[error("key {key:?} has no effect: {reason}")]
    NoEffect {
        /// The key as written.
        key: String,
        /// Why.
        reason: &'static str,
    },
    /// Something is odd in a profile.
    #[error("profile{}: {problem}", InFile(.file))]
    Profile {
        /// As in [`ErrorKind::Profile`].
        file: String,
        /// The field and what is odd about it.
        problem: String,
    },
    /// An error that the lenient mode lets pass.
    #[error("{0}")]
    Tolerated(ErrorKind),
}

/// What stood where something else was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The end of the file.
    End,
    /// A character.
    Char(char),
    /// A byte that begins no character.
    Byte(u8),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("end of file"),
            Self::Char('\u{feff}') => f.write_str("byte order mark"),
            Self::Char(c) => write!(f, "{c:?}"),
            Self::Byte(b) => write!(f, "byte 0x{b:02x}"),
        }
    }
}

struct Nearest<'a>(Option<&'a str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |name| write!(f, "; did you mean {name:?}?"))
    }
}

struct Instead(Option<&'static str>);

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

struct InFile<'a>(&'a str);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.0)
    }
}

struct PathPrefix<'a>(&'a str);

impl fmt::Display for PathPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "{}: ", self.0)
    }
}

impl ConfigError {
    /// An error that was found after reading, at a place that the model names: a plan that cannot
    /// be built, a regular expression that does not compile. It shows as those of reading do; its
    /// path is that within its own file.
    #[must_use]
    pub fn at(sources: &Sources, span: Span, message: &dyn fmt::Display) -> Self {
        let root = sources.file(span).and_then(|file| parse(file).ok());
        Self {
            kind: ErrorKind::Other {
                message: message.to_string(),
            },
            path: root.map(|root| path_of(&root, span)).unwrap_or_default(),
            span,
        }
    }

    /// The error for people: message, file, line, column, JSON path and the source line with a
    /// caret, ending in a newline. Passwords, keys and links in that line are shown as `*`.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        render("error", &self.kind, &self.path, self.span, sources)
    }
}

impl Warning {
    /// As [`ConfigError::render`].
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        render("warning", &self.kind, &self.path, self.span, sources)
    }
}
