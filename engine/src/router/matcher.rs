//! The matching algebra of sing-box 1.12.
//!
//! A rule of fields matches when every one of these groups that it has matches, within a group any
//! one suffices: destination (`domain*`, `ip_cidr`, `ip_is_private`), destination port (`port`,
//! `port_range`), source (`source_ip_cidr`, `source_ip_is_private`), source port, and each other
//! field by itself. `invert` turns the result around, except in a rule with no condition at all,
//! which always matches. An empty list is a key that stands there and restricts nothing.
use super::{
    InboundId, Metadata,
    cidr::{self, CidrSet},
    domain::{Atom, DomainTable, Hits},
    name::{Lowered, Name},
    pattern::{Keywords, Regexes},
    port::PortSet,
};
use crate::config::model::{IpVersion, Network, Networks};
use core::net::IpAddr;
use sansbox_core::Host;

/// A connection as the rules see it.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    inbound: InboundId,
    network: Network,
    source: IpAddr,
    source_port: u16,
    target: Destination<'a>,
    port: u16,
    user: &'a str,
    domains: &'a DomainTable,
    hits: Hits,
}

#[derive(Debug)]
enum Destination<'a> {
    Ip(IpAddr),
    Name(Name<'a>),
}

impl<'a> Subject<'a> {
    /// [`Self::look_up`] is to follow: what it finds is not moved any more.
    pub(super) fn new(
        metadata: &Metadata<'a>,
        domains: &'a DomainTable,
        lowered: &'a mut Lowered,
    ) -> Self {
        let target = match &metadata.target.host {
            // sing-box unmaps IPv4-mapped IPv6 addresses before it looks at rules.
            Host::Ip(ip) => Destination::Ip(ip.to_canonical()),
            Host::Domain(domain) => Destination::Name(Name::new(domain, lowered)),
        };
        Self {
            inbound: metadata.inbound,
            network: metadata.network,
            source: metadata.source.ip().to_canonical(),
            source_port: metadata.source.port(),
            target,
            port: metadata.target.port,
            // sing-box holds "no user" as an empty name, which a rule may list.
            user: metadata.user.unwrap_or_default(),
            domains,
            hits: Hits::starting_at(0),
        }
    }

    /// Finds who lists the name.
    pub(super) fn look_up(&mut self) {
        if let Destination::Name(name) = self.target
            && !self.domains.is_empty()
        {
            self.domains.look_up(name, &mut self.hits);
        }
    }

    pub(super) fn hits(&self) -> &Hits {
        &self.hits
    }

    /// Moves to the next window of atoms; `None` when there are no more.
    pub(super) fn advance_hits(&mut self) -> Option<()> {
        let from = self.hits.next_from()?;
        self.hits = Hits::starting_at(from);
        self.look_up();
        Some(())
    }

    fn has_atom(&self, name: Name<'_>, atom: Atom) -> bool {
        self.hits
            .contains(atom)
            .unwrap_or_else(|| self.domains.contains(name, atom))
    }
}

/// A condition, compiled.
#[derive(Debug)]
pub(super) enum Node {
    Default(Box<Fields>),
    Logical {
        all: bool,
        nodes: Box<[Self]>,
        invert: bool,
    },
}

impl Node {
    pub(super) fn is_match(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Default(fields) => fields.is_match(subject),
            Self::Logical { all, nodes, invert } => {
                let mut nodes = nodes.iter();
                let is_match = if *all {
                    nodes.all(|node| node.is_match(subject))
                } else {
                    nodes.any(|node| node.is_match(subject))
                };
                is_match != *invert
            }
        }
    }

    /// An atom without which this condition cannot match.
    pub(super) fn needed_atom(&self) -> Option<Atom> {
        match self {
            Self::Default(fields) => fields.needed_atom(),
            Self::Logical { all, nodes, invert } if *all && !invert => {
                nodes.iter().find_map(Self::needed_atom)
            }
            Self::Logical { .. } => None,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Default(fields) => fields.memory_bytes(),
            Self::Logical { nodes, .. } => nodes.iter().map(Self::memory_bytes).sum(),
        }
    }
}

/// A rule of fields, compiled. `None`: no condition.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) inbound: Option<Box<[InboundId]>>,
    pub(super) ip_version: Option<IpVersion>,
    pub(super) network: Option<Networks>,
    pub(super) user: Option<Box<[Box<str>]>>,
    pub(super) target: Option<TargetGroup>,
    pub(super) source: Option<IpGroup>,
    pub(super) source_port: Option<PortSet>,
    pub(super) port: Option<PortSet>,
    pub(super) invert: bool,
}

/// `domain*`, `ip_cidr` and `ip_is_private`, of which at least one is there.
#[derive(Debug, Default)]
pub(super) struct TargetGroup {
    pub(super) atom: Option<Atom>,
    pub(super) keywords: Option<Keywords>,
    pub(super) regexes: Option<Regexes>,
    pub(super) ip: Option<IpGroup>,
}

/// Prefixes and "is private" of one side, of which at least one is there.
#[derive(Debug)]
pub(super) struct IpGroup {
    pub(super) cidr: Option<CidrSet>,
    pub(super) is_private: bool,
}

impl Fields {
    fn is_match(&self, subject: &Subject<'_>) -> bool {
        if self.is_unconditional() {
            return true;
        }
        self.is_match_upright(subject) != self.invert
    }

    fn is_match_upright(&self, subject: &Subject<'_>) -> bool {
        // Cheap ones first; the order does not show.
        self.network.is_none_or(|n| match subject.network {
            Network::Tcp => n.tcp,
            Network::Udp => n.udp,
        }) && self.port.as_ref().is_none_or(|p| p.contains(subject.port))
            && self
                .inbound
                .as_ref()
                .is_none_or(|i| i.binary_search(&subject.inbound).is_ok())
            && self.ip_version.is_none_or(|v| subject.is_ip_version(v))
            && self
                .source_port
                .as_ref()
                .is_none_or(|p| p.contains(subject.source_port))
            && self
                .user
                .as_ref()
                .is_none_or(|users| users.binary_search_by(|u| (**u).cmp(subject.user)).is_ok())
            && self
                .source
                .as_ref()
                .is_none_or(|s| s.is_match(subject.source))
            && self.target.as_ref().is_none_or(|t| t.is_match(subject))
    }

    fn is_unconditional(&self) -> bool {
        self.inbound.is_none()
            && self.ip_version.is_none()
            && self.network.is_none()
            && self.user.is_none()
            && self.target.is_none()
            && self.source.is_none()
            && self.source_port.is_none()
            && self.port.is_none()
    }

    fn needed_atom(&self) -> Option<Atom> {
        let target = self.target.as_ref().filter(|_| !self.invert)?;
        let is_only_atom =
            target.keywords.is_none() && target.regexes.is_none() && target.ip.is_none();
        target.atom.filter(|_| is_only_atom)
    }

    fn memory_bytes(&self) -> usize {
        let target = self.target.as_ref();
        let ip_sets = [self.source.as_ref(), target.and_then(|t| t.ip.as_ref())];
        let ip_bytes: usize = ip_sets
            .into_iter()
            .filter_map(|group| group?.cidr.as_ref())
            .map(CidrSet::memory_bytes)
            .sum();
        let keywords = target.and_then(|t| t.keywords.as_ref());
        let regexes = target.and_then(|t| t.regexes.as_ref());
        ip_bytes
            + keywords.map_or(0, Keywords::memory_bytes)
            + regexes.map_or(0, Regexes::memory_bytes)
    }
}

impl TargetGroup {
    fn is_match(&self, subject: &Subject<'_>) -> bool {
        match &subject.target {
            Destination::Ip(ip) => self.ip.as_ref().is_some_and(|set| set.is_match(*ip)),
            &Destination::Name(name) => {
                self.atom.is_some_and(|a| subject.has_atom(name, a))
                    || self.keywords.as_ref().is_some_and(|k| k.is_match(name))
                    || self.regexes.as_ref().is_some_and(|r| r.is_match(name))
            }
        }
    }
}

impl IpGroup {
    fn is_match(&self, ip: IpAddr) -> bool {
        self.is_private && cidr::is_private(ip)
            || self.cidr.as_ref().is_some_and(|set| set.contains(ip))
    }
}

impl Subject<'_> {
    /// A name is of no version.
    fn is_ip_version(&self, version: IpVersion) -> bool {
        match (&self.target, version) {
            (Destination::Ip(ip), IpVersion::V4) => ip.is_ipv4(),
            (Destination::Ip(ip), IpVersion::V6) => ip.is_ipv6(),
            (Destination::Name(_), _) => false,
        }
    }
}
