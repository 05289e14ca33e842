//! Configuration: sing-box 1.12 JSON read into one typed model.
//!
//! ```
//! use sansbox_engine::config::{ReadOptions, Sources, read};
//!
//! let text = r#"{"inbounds": [{"type": "socks", "lisen_port": 1080}]} // a comment"#;
//! let sources = Sources::single("config.json", text);
//! let errors = read(&sources, &ReadOptions::default()).unwrap_err();
//! assert_eq!(
//!     errors[0].to_string(),
//!     r#"inbounds[0].lisen_port: unknown key "lisen_port"; did you mean "listen_port"?"#
//! );
//! ```
//!
//! Nothing here opens a file: [`Sources`] holds what the caller has read, and [`Outside`] reads what
//! it names. The way is text -> tree
//! with places (`reader`) -> records checked against tables (`schema`) -> model (`build`).
mod build;
mod error;
mod inline;
pub mod model;
mod outside;
mod reader;
mod render;
mod schema;
mod source;

pub use error::{ConfigError, ERRORS_MAX, ErrorKind, Found, Warning, WarningKind};
pub use inline::inline;
pub use outside::{Files, NAMED_FILE_BYTES_MAX, Outside};
pub use reader::{DEPTH_MAX, FILE_BYTES_MAX};
pub use source::{Source, Sources};

use build::{Builder, build, check_tags};
use model::{Config, Span};
use reader::{Node, Problem, path_of};
use schema::{Decoder, Record, decode};

/// How strictly to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Turn into warnings what sing-box starts with and fails at per connection, if at all: a rule
    /// without an outbound (read as the empty tag) or with an unknown one, a rule with an unknown
    /// inbound or network, a server without a port (read as 0). What sing-box refuses to start
    /// with stays an error.
    pub lenient: bool,
}

/// Reads all files into one configuration; several are merged as [`merge`] does. At most
/// [`ERRORS_MAX`] warnings come with it. They may name no further files: [`read_with`] takes those.
///
/// # Errors
/// What is wrong, in the order of the text, at most [`ERRORS_MAX`]; never empty.
pub fn read(
    sources: &Sources,
    options: &ReadOptions,
) -> Result<(Config, Vec<Warning>), Vec<ConfigError>> {
    read_with(sources, options, &Outside::default())
}

/// As [`read`], with files that the configuration names and the time.
///
/// # Errors
/// As [`read`].
pub fn read_with(
    sources: &Sources,
    options: &ReadOptions,
    outside: &Outside<'_>,
) -> Result<(Config, Vec<Warning>), Vec<ConfigError>> {
    let (root, record, decoder) = decode_all(sources)?;
    let mut builder = Builder {
        problems: decoder.problems,
        warnings: decoder.warnings,
        lenient: options.lenient,
        outside: *outside,
    };
    let config = build(record, &mut builder);
    if builder.problems.is_empty() {
        builder
            .warnings
            .sort_by_key(|(_, span)| (span.file, span.start));
        let first = builder.warnings.into_iter().take(ERRORS_MAX);
        let warnings = first.map(|(kind, span)| Warning {
            kind,
            path: path_of(&root, span),
            span,
        });
        return Ok((config, warnings.collect()));
    }
    Err(located(builder.problems, Some(&root)))
}

/// One file as sing-box's `format` writes it, ending in a newline: keys in the order of the
/// reference, defaults and comments left out. `format` without `-w` prints one more newline.
///
/// # Errors
/// As [`read`], but only what makes the text unreadable: values that are well formed but wrong,
/// and references, are not looked at.
pub fn format(source: &Source) -> Result<String, Vec<ConfigError>> {
    let (root, record, problems) = decode_one(source)?;
    if problems.problems.is_empty() {
        return Ok(schema::to_json_without_empty(&record));
    }
    Err(located(problems.problems, Some(&root)))
}

/// All files as one, as sing-box's `merge` writes it, ending in a newline. Files are taken in the
/// order of their paths; objects merge key by key, arrays append, and in every other conflict the
/// earlier file wins.
///
/// # Errors
/// As [`format()`], for each file and for the merged whole.
pub fn merge(sources: &Sources) -> Result<String, Vec<ConfigError>> {
    let (root, record, decoder) = decode_all(sources)?;
    if decoder.problems.is_empty() {
        return Ok(schema::to_json(&record));
    }
    Err(located(decoder.problems, Some(&root)))
}

/// Paths such as `inbounds[0].mtu` of what is not alike in two configurations, each merged from its
/// files; empty when they mean the same. Files that they name are not looked at.
///
/// # Errors
/// As [`merge`], of the first that cannot be read.
pub fn differences(one: &Sources, other: &Sources) -> Result<Vec<String>, Vec<ConfigError>> {
    let record = |sources| {
        let (root, record, decoder) = decode_all(sources)?;
        if decoder.problems.is_empty() {
            return Ok(record);
        }
        Err(located(decoder.problems, Some(&root)))
    };
    Ok(schema::differences(&record(one)?, &record(other)?))
}

/// The configuration reference as a Markdown page.
#[must_use]
pub fn reference_markdown() -> String {
    schema::reference_markdown()
}

type Decoded = (Node, Record, Decoder);

fn decode_one(source: &Source) -> Result<Decoded, Vec<ConfigError>> {
    let root = reader::parse(source).map_err(|problem| located(vec![problem], None))?;
    Ok(decode_tree(root))
}

fn decode_tree(root: Node) -> Decoded {
    let mut decoder = Decoder::default();
    let record = decode(&root, &mut decoder);
    decoder.problems.extend(check_tags(&record));
    (root, record, decoder)
}

fn decode_all(sources: &Sources) -> Result<Decoded, Vec<ConfigError>> {
    if let [source] = sources.files() {
        return decode_one(source);
    }
    let limit = Sources::FILES_MAX;
    if sources.files().len() > limit {
        return Err(nowhere(ErrorKind::TooManyFiles { limit }));
    }
    let mut errors = Vec::new();
    let mut trees = Vec::new();
    for source in sources.files() {
        match decode_one(source) {
            Err(more) => errors.extend(more),
            Ok((root, _, decoder)) => {
                errors.extend(located(decoder.problems, Some(&root)));
                trees.push(root);
            }
        }
    }
    errors.truncate(ERRORS_MAX);
    if !errors.is_empty() {
        return Err(errors);
    }
    match reader::merge(trees) {
        Ok(Some(root)) => Ok(decode_tree(root)),
        Ok(None) => Err(nowhere(ErrorKind::NoInput)),
        Err(problem) => Err(located(vec![problem], None)),
    }
}

/// An error that stands at no place.
fn nowhere(kind: ErrorKind) -> Vec<ConfigError> {
    let span = Span::default();
    located(vec![Problem { kind, span }], None)
}

/// Problems in the order of the text, each once, with their paths in `root`.
fn located(mut problems: Vec<Problem>, root: Option<&Node>) -> Vec<ConfigError> {
    problems.sort_by_key(|problem| (problem.span.file, problem.span.start));
    problems.dedup_by(|a, b| a.span == b.span && a.kind == b.kind);
    problems.truncate(ERRORS_MAX);
    problems
        .into_iter()
        .map(|Problem { kind, span }| ConfigError {
            kind,
            path: root.map(|root| path_of(root, span)).unwrap_or_default(),
            span,
        })
        .collect()
}
