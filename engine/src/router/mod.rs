//! The router: route rules compiled once into an immutable matcher.
//!
//! | module | holds |
//! |---|---|
//! | [`compile`] | from the configuration model to the matcher, with typed errors |
//! | `matcher` | the matching algebra of sing-box 1.12 |
//! | `domain` | names and suffixes of all rules in one hash table |
//! | `cidr`, `port` | sorted ranges |
//! | `pattern`, `go_regex` | keywords; regular expressions in Go's syntax |
//! | `name` | a name in lower case and its hash |
//!
//! A look-up allocates nothing, takes no lock and reads no clock. One exception: a `domain_regex`
//! too large for an automaton built ahead of time (1 MiB) builds it while matching, in a bounded
//! cache that is allocated at its first use.
//!
//! Rules that only a listed name can make match cost nothing until such a name comes; every other
//! rule before the deciding one is evaluated in turn, about 10 ns each.
mod cidr;
pub mod compile;
mod domain;
mod go_regex;
mod lines;
mod matcher;
mod name;
mod pattern;
mod port;

use crate::config::model::{Network, RejectMethod};
use core::net::SocketAddr;
use domain::{Atom, DomainTable};
use matcher::{Node, Subject};
use name::Lowered;
use sansbox_core::Target;

pub use crate::ids::{InboundId, OutboundId};
pub use compile::{CompileError, CompileErrorKind};

/// Most rules that a route holds.
pub const RULES_MAX: usize = u16::MAX as usize;
/// Deepest nesting of logical rules.
pub const LOGICAL_DEPTH_MAX: usize = 64;

/// What is known of a connection or an association when it is routed.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// Where it came in.
    pub inbound: InboundId,
    /// TCP or UDP.
    pub network: Network,
    /// The client's address. For UDP over SOCKS, that of the control connection.
    pub source: SocketAddr,
    /// Where it wants to go.
    pub target: &'a Target,
    /// The authenticated user.
    pub user: Option<&'a str>,
}

/// What the rules say about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the deciding rule; `None` when none matched and `final` decided.
    pub rule: Option<u16>,
    /// What to do.
    pub decision: Decision,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Pass it to an outbound.
    Route(OutboundId),
    /// Refuse it.
    Reject {
        /// How.
        method: RejectMethod,
        /// Never turn `default` into `drop` under a flood.
        no_drop: bool,
    },
}

/// Route rules, compiled. Immutable; share it between threads.
#[derive(Debug)]
pub struct Router {
    rules: Box<[Rule]>,
    /// Rules that may match whatever names are listed, ascending. The others are looked at only
    /// when the atom they need was hit.
    unindexed: Box<[u16]>,
    /// Rule that each atom is needed by, or [`NO_RULE`].
    rule_of_atom: Box<[u16]>,
    domains: DomainTable,
    default: OutboundId,
}

/// No rule needs the atom to match. Not an index: there are at most [`RULES_MAX`] rules.
const NO_RULE: u16 = u16::MAX;

#[derive(Debug)]
struct Rule {
    condition: Node,
    decision: Decision,
}

impl Router {
    /// The first rule that matches, in the order of the configuration.
    #[must_use]
    pub fn route(&self, metadata: &Metadata<'_>) -> Verdict {
        let mut lowered = Lowered::default();
        let mut subject = Subject::new(metadata, &self.domains, &mut lowered);
        subject.look_up();
        let mut candidates = Candidates {
            unindexed: &self.unindexed,
            hits: 0,
        };
        while let Some(index) = candidates.next(self, &mut subject) {
            let Some(rule) = self.rules.get(usize::from(index)) else {
                break;
            };
            if rule.condition.is_match(&subject) {
                return Verdict {
                    rule: Some(index),
                    decision: rule.decision,
                };
            }
        }
        Verdict {
            rule: None,
            decision: Decision::Route(self.default),
        }
    }

    /// Heap bytes of the compiled sets of names, prefixes, keywords and expressions.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let nodes: usize = self.rules.iter().map(|r| r.condition.memory_bytes()).sum();
        nodes + self.domains.memory_bytes()
    }

    /// How many distinct pairs of rule and domain or suffix are compiled in.
    #[must_use]
    pub fn domain_count(&self) -> usize {
        self.domains.len()
    }
}

/// Indexes of the rules worth evaluating, ascending: those without a needed atom, merged with those
/// whose needed atom was hit. Atoms are numbered in the order of the rules.
struct Candidates<'a> {
    unindexed: &'a [u16],
    hits: usize,
}

impl Candidates<'_> {
    fn next(&mut self, router: &Router, subject: &mut Subject<'_>) -> Option<u16> {
        let indexed = self.next_indexed(router, subject);
        match (self.unindexed.split_first(), indexed) {
            (Some((&plain, rest)), indexed) if indexed.is_none_or(|i| plain < i) => {
                self.unindexed = rest;
                Some(plain)
            }
            (_, indexed) => {
                self.hits += usize::from(indexed.is_some());
                indexed
            }
        }
    }

    /// The next rule whose needed atom was hit, left in place.
    fn next_indexed(&mut self, router: &Router, subject: &mut Subject<'_>) -> Option<u16> {
        loop {
            match subject.hits().atoms().get(self.hits) {
                Some(&atom) => match router.rule_needing(atom) {
                    Some(rule) => return Some(rule),
                    None => self.hits += 1,
                },
                None => {
                    subject.advance_hits()?;
                    self.hits = 0;
                }
            }
        }
    }
}

impl Router {
    fn rule_needing(&self, atom: Atom) -> Option<u16> {
        let rule = *self.rule_of_atom.get(usize::try_from(atom).ok()?)?;
        (rule != NO_RULE).then_some(rule)
    }
}

#[cfg(test)]
mod tests;
