//! Keywords and regular expressions over lower-case names.
use super::{go_regex, name::Name};
use aho_corasick::{AhoCorasick, BuildError};
use regex_automata::{
    Input,
    dfa::{Automaton, StartKind, dense},
    meta,
    nfa::thompson,
    util::syntax,
};

/// Largest automaton built ahead of time for the expressions of one rule, in bytes.
const DFA_SIZE_MAX: usize = 1 << 20;
/// Most memory that building it may take, in bytes.
const DFA_BUILD_SIZE_MAX: usize = 4 << 20;
/// Largest program of the expressions of one rule, in bytes.
const NFA_SIZE_MAX: usize = 16 << 20;
/// Cache of the lazy automaton that stands in for too large a one, in bytes.
const LAZY_CACHE_SIZE: usize = 1 << 20;

/// `domain_keyword`: any of several strings anywhere in the name.
#[derive(Debug)]
pub(super) struct Keywords(AhoCorasick);

impl Keywords {
    pub(super) fn new(keywords: &[String]) -> Result<Self, BuildError> {
        AhoCorasick::new(keywords).map(Self)
    }

    pub(super) fn is_match(&self, name: Name<'_>) -> bool {
        self.0.is_match(name.as_bytes())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.0.memory_usage()
    }
}

/// Why expressions were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadRegex {
    /// The expression at an index has a mistake.
    Syntax(usize, String),
    /// All together exceed [`NFA_SIZE_MAX`].
    TooLarge,
}

/// `domain_regex`: any of several expressions.
///
/// They become one automaton, which matches in time linear in the name and allocates nothing. Where
/// that would exceed [`DFA_SIZE_MAX`], a lazily built one takes its place, whose cache is allocated
/// once and reused.
#[derive(Debug)]
pub(super) enum Regexes {
    Dense(Box<dense::DFA<Vec<u32>>>),
    Lazy(meta::Regex),
}

impl Regexes {
    pub(super) fn new<'a>(
        expressions: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Vec<BadRegex>> {
        let (mut parsed, mut bad) = (Vec::new(), Vec::new());
        for (index, expression) in expressions.enumerate() {
            let hir = go_regex::translate(expression).and_then(|translated| {
                syntax::parse_with(&translated, &syntax::Config::new()).map_err(|e| reason(&e))
            });
            match hir {
                Ok(hir) => parsed.push(hir),
                Err(message) => bad.push(BadRegex::Syntax(index, message)),
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let too_large = || vec![BadRegex::TooLarge];
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .nfa_size_limit(Some(NFA_SIZE_MAX))
                    .which_captures(thompson::WhichCaptures::None),
            )
            .build_many_from_hir(&parsed)
            .map_err(|_| too_large())?;
        let dense = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    // Names are ASCII, so the bytes on which this gives up never come.
                    .unicode_word_boundary(true)
                    .dfa_size_limit(Some(DFA_SIZE_MAX))
                    .determinize_size_limit(Some(DFA_BUILD_SIZE_MAX)),
            )
            .build_from_nfa(&nfa);
        if let Ok(dfa) = dense {
            return Ok(Self::Dense(Box::new(dfa)));
        }
        meta::Builder::new()
            .configure(
                meta::Config::new()
                    .nfa_size_limit(Some(NFA_SIZE_MAX))
                    .hybrid_cache_capacity(LAZY_CACHE_SIZE)
                    .dfa(false),
            )
            .build_many_from_hir(&parsed)
            .map(Self::Lazy)
            .map_err(|_| too_large())
    }

    pub(super) fn is_match(&self, name: Name<'_>) -> bool {
        let input = Input::new(name.as_bytes()).earliest(true);
        match self {
            Self::Dense(dfa) => matches!(dfa.try_search_fwd(&input), Ok(Some(_))),
            Self::Lazy(regex) => regex.is_match(input),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Dense(dfa) => dfa.memory_usage(),
            Self::Lazy(regex) => regex.memory_usage(),
        }
    }
}

/// The reason in an error whose full text repeats the expression over several lines.
fn reason(error: &impl ToString) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
