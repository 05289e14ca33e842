//! From the configuration model to a [`Router`].
use super::{
    Decision, InboundId, LOGICAL_DEPTH_MAX, NO_RULE, OutboundId, RULES_MAX, Router, Rule,
    cidr::CidrSet,
    domain::{self, Atom},
    lines::ATOM_MAX,
    matcher::{Fields, IpGroup, Node, TargetGroup},
    pattern::{BadRegex, Keywords, Regexes},
    port::PortSet,
};
use crate::config::model::{self, Condition, Network, Networks, RuleAction, Span, Spanned};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// A mistake in the rules, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// Where.
    pub span: Span,
    /// What.
    pub kind: CompileErrorKind,
}

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileErrorKind {
    /// A rule or `final` names an outbound that is not there.
    #[error("outbound not found: {0}")]
    UnknownOutbound(String),
    /// A `domain_regex` is no regular expression of Go's syntax.
    #[error("bad regular expression: {0}")]
    BadRegex(String),
    /// The expressions of one rule are too large together.
    #[error("regular expressions too large")]
    RegexTooLarge,
    /// The keywords of one rule are too large together.
    #[error("keywords too large")]
    KeywordsTooLarge,
    /// `domain`, `domain_suffix` of all rules are too large together.
    #[error("domain lists too large")]
    DomainsTooLarge,
    /// A `domain` or `domain_suffix` holds an empty name.
    #[error("empty item is not allowed")]
    EmptyName,
    /// A logical rule has no rules.
    #[error("missing conditions")]
    EmptyLogical,
    /// Logical rules are nested deeper than [`LOGICAL_DEPTH_MAX`].
    #[error("logical rules nested deeper than {LOGICAL_DEPTH_MAX}")]
    TooDeep,
    /// There are more rules than [`RULES_MAX`].
    #[error("more than {RULES_MAX} rules")]
    TooManyRules,
}

impl Router {
    /// Compiles `route`. An inbound or outbound is known by its place in `inbound_tags` or
    /// `outbound_tags`; `default` is the outbound when `final` is absent. A rule's inbound tag that
    /// is not in `inbound_tags` never matches, as in sing-box.
    ///
    /// # Errors
    /// Every mistake found, in the order of the rules.
    pub fn compile(
        route: &model::Route,
        inbound_tags: &[String],
        outbound_tags: &[String],
        default: OutboundId,
    ) -> Result<Self, Vec<CompileError>> {
        let mut compiler = Compiler::new(inbound_tags, outbound_tags);
        if let Some(excess) = route.rules.get(RULES_MAX) {
            return Err(vec![CompileError {
                span: excess.span,
                kind: CompileErrorKind::TooManyRules,
            }]);
        }
        let mut rules = Vec::with_capacity(route.rules.len());
        for rule in &route.rules {
            rules.push(compiler.rule(rule));
        }
        let default = match &route.final_outbound {
            Some(tag) => compiler.outbound(tag),
            None => default,
        };
        compiler.finish(rules, default)
    }
}

struct Compiler<'a> {
    inbounds: BTreeMap<&'a str, InboundId>,
    outbounds: BTreeMap<&'a str, OutboundId>,
    domains: domain::Builder<'a>,
    atoms: Atom,
    /// The rule being compiled.
    span: Span,
    errors: Vec<CompileError>,
}

impl<'a> Compiler<'a> {
    fn new(inbound_tags: &'a [String], outbound_tags: &'a [String]) -> Self {
        Self {
            inbounds: indexes(inbound_tags, InboundId),
            outbounds: indexes(outbound_tags, OutboundId),
            domains: domain::Builder::default(),
            atoms: 0,
            span: Span::default(),
            errors: Vec::new(),
        }
    }

    fn error(&mut self, span: Span, kind: CompileErrorKind) {
        self.errors.push(CompileError { span, kind });
    }

    fn outbound(&mut self, tag: &Spanned<String>) -> OutboundId {
        match self.outbounds.get(tag.value.as_str()) {
            Some(&id) => id,
            None => {
                let kind = CompileErrorKind::UnknownOutbound(tag.value.clone());
                self.error(tag.span, kind);
                OutboundId(0)
            }
        }
    }

    fn rule(&mut self, rule: &'a model::Rule) -> Rule {
        self.span = rule.span;
        let condition = self.condition(&rule.condition, 0);
        let decision = match &rule.action {
            RuleAction::Route { outbound } => Decision::Route(self.outbound(outbound)),
            &RuleAction::Reject { method, no_drop } => Decision::Reject { method, no_drop },
        };
        Rule {
            condition,
            decision,
        }
    }

    fn condition(&mut self, condition: &'a Condition, depth: usize) -> Node {
        match condition {
            Condition::Default(fields) => Node::Default(Box::new(self.fields(fields))),
            Condition::Logical { all, rules, invert } => {
                let mut nodes = Vec::new();
                if rules.is_empty() {
                    self.error(self.span, CompileErrorKind::EmptyLogical);
                } else if depth == LOGICAL_DEPTH_MAX {
                    self.error(self.span, CompileErrorKind::TooDeep);
                } else {
                    nodes.extend(rules.iter().map(|rule| self.condition(rule, depth + 1)));
                }
                Node::Logical {
                    all: *all,
                    nodes: nodes.into(),
                    invert: *invert,
                }
            }
        }
    }

    fn fields(&mut self, fields: &'a model::Fields) -> Fields {
        let source_ports = fields.source_port.as_deref();
        Fields {
            inbound: self.inbounds(fields.inbound.as_deref()),
            ip_version: fields.ip_version,
            network: networks(fields.network.as_deref()),
            user: users(fields.auth_user.as_deref()),
            target: self.target(fields),
            source: ip_group(
                fields.source_ip_cidr.as_deref(),
                fields.source_ip_is_private,
            ),
            source_port: PortSet::new(source_ports, fields.source_port_range.as_deref()),
            port: PortSet::new(fields.port.as_deref(), fields.port_range.as_deref()),
            invert: fields.invert,
        }
    }

    fn inbounds(&self, tags: Option<&[Spanned<String>]>) -> Option<Box<[InboundId]>> {
        let tags = non_empty(tags)?;
        let known = tags
            .iter()
            .filter_map(|tag| self.inbounds.get(tag.value.as_str()));
        let mut ids: Vec<_> = known.copied().collect();
        ids.sort_unstable();
        Some(ids.into())
    }

    fn target(&mut self, fields: &'a model::Fields) -> Option<TargetGroup> {
        let group = TargetGroup {
            atom: self.atom(
                fields.domain.as_deref().unwrap_or_default(),
                fields.domain_suffix.as_deref().unwrap_or_default(),
            ),
            keywords: self.keywords(fields.domain_keyword.as_deref()),
            regexes: self.regexes(fields.domain_regex.as_deref()),
            ip: ip_group(fields.ip_cidr.as_deref(), fields.ip_is_private),
        };
        let is_empty = group.atom.is_none()
            && group.keywords.is_none()
            && group.regexes.is_none()
            && group.ip.is_none();
        (!is_empty).then_some(group)
    }

    fn atom(&mut self, domains: &'a [String], suffixes: &'a [String]) -> Option<Atom> {
        if domains.is_empty() && suffixes.is_empty() {
            return None;
        }
        if domains.iter().chain(suffixes).any(String::is_empty) {
            self.error(self.span, CompileErrorKind::EmptyName);
        }
        if self.atoms == ATOM_MAX {
            self.error(self.span, CompileErrorKind::DomainsTooLarge);
            return None;
        }
        let atom = self.atoms;
        self.atoms += 1;
        for name in domains {
            self.domains.insert_domain(atom, name);
        }
        for suffix in suffixes {
            self.domains.insert_suffix(atom, suffix);
        }
        Some(atom)
    }

    fn keywords(&mut self, keywords: Option<&[String]>) -> Option<Keywords> {
        let compiled = Keywords::new(non_empty(keywords)?);
        compiled
            .map_err(|_| self.error(self.span, CompileErrorKind::KeywordsTooLarge))
            .ok()
    }

    fn regexes(&mut self, expressions: Option<&[Spanned<String>]>) -> Option<Regexes> {
        let expressions = non_empty(expressions)?;
        let compiled = Regexes::new(expressions.iter().map(|e| e.value.as_str()));
        let bad = match compiled {
            Ok(regexes) => return Some(regexes),
            Err(bad) => bad,
        };
        for bad in bad {
            let (span, kind) = match bad {
                BadRegex::Syntax(index, message) => (
                    expressions.get(index).map_or(self.span, |e| e.span),
                    CompileErrorKind::BadRegex(message),
                ),
                BadRegex::TooLarge => (self.span, CompileErrorKind::RegexTooLarge),
            };
            self.error(span, kind);
        }
        None
    }

    fn finish(
        mut self,
        rules: Vec<Rule>,
        default: OutboundId,
    ) -> Result<Router, Vec<CompileError>> {
        let mut unindexed = Vec::new();
        let mut rule_of_atom = vec![NO_RULE; usize::try_from(self.atoms).unwrap_or_default()];
        for (index, rule) in (0u16..).zip(&rules) {
            let atom = rule.condition.needed_atom();
            let slot = atom
                .and_then(|atom| usize::try_from(atom).ok())
                .and_then(|atom| rule_of_atom.get_mut(atom));
            match slot {
                Some(slot) => *slot = index,
                None => unindexed.push(index),
            }
        }
        let domains = match self.domains.build() {
            Ok(domains) if self.errors.is_empty() => domains,
            Ok(_) => return Err(self.errors),
            Err(domain::TooLarge) => {
                self.errors.push(CompileError {
                    span: self.span,
                    kind: CompileErrorKind::DomainsTooLarge,
                });
                return Err(self.errors);
            }
        };
        Ok(Router {
            rules: rules.into(),
            unindexed: unindexed.into(),
            rule_of_atom: rule_of_atom.into(),
            domains,
            default,
        })
    }
}

/// Places of the tags; the first of equal ones, none beyond what an id holds.
fn indexes<Id>(tags: &[String], id: impl Fn(u16) -> Id) -> BTreeMap<&str, Id> {
    let mut map = BTreeMap::new();
    for (index, tag) in (0..=u16::MAX).zip(tags) {
        map.entry(tag.as_str()).or_insert_with(|| id(index));
    }
    map
}

/// The list, unless it is absent or empty: in sing-box an empty list restricts nothing.
fn non_empty<T>(list: Option<&[T]>) -> Option<&[T]> {
    list.filter(|list| !list.is_empty())
}

fn networks(list: Option<&[Network]>) -> Option<Networks> {
    let list = non_empty(list)?;
    Some(Networks {
        tcp: list.contains(&Network::Tcp),
        udp: list.contains(&Network::Udp),
    })
}

fn users(list: Option<&[String]>) -> Option<Box<[Box<str>]>> {
    let mut users: Vec<Box<str>> = non_empty(list)?.iter().map(|u| u.as_str().into()).collect();
    users.sort_unstable();
    Some(users.into())
}

fn ip_group(nets: Option<&[IpNet]>, is_private: bool) -> Option<IpGroup> {
    let cidr = CidrSet::new(nets);
    (cidr.is_some() || is_private).then_some(IpGroup { cidr, is_private })
}
