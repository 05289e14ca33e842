//! Which rule matches, from sing-box's description of its matching and from what it was seen to do:
//! every group of conditions that a rule has must match, within a group any one suffices.
use ipnet::IpNet;
use sansbox_core::Host;
use sansbox_engine::{
    config::model::{Condition, Fields, IpVersion, PortRange, Route, Spanned},
    router::Metadata,
};
use std::net::IpAddr;

/// A regular expression as a tree, so that none has to be parsed.
#[derive(Clone, Debug)]
pub(crate) enum Regex {
    Start,
    End,
    Any,
    Char(char),
    /// `[..]` or `[^..]`.
    Class(Vec<char>, bool),
    Star(Box<Self>),
    Sequence(Vec<Self>),
    Either(Vec<Self>),
}

impl Regex {
    /// In Go's syntax.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Start => "^".into(),
            Self::End => "$".into(),
            Self::Any => ".".into(),
            Self::Char(c) if c.is_ascii_punctuation() => format!("\\{c}"),
            Self::Char(c) => c.to_string(),
            Self::Class(chars, is_negated) => {
                let start = if *is_negated { "[^" } else { "[" };
                format!("{start}{}]", chars.iter().collect::<String>())
            }
            Self::Star(inner) => format!("(?:{})*", inner.text()),
            Self::Sequence(parts) => parts.iter().map(Self::text).collect(),
            Self::Either(parts) => {
                let parts: Vec<_> = parts.iter().map(Self::text).collect();
                format!("(?:{})", parts.join("|"))
            }
        }
    }

    /// Where a match that starts at `at` may end.
    fn ends(&self, text: &[u8], at: usize) -> Vec<usize> {
        let one = |is_match: bool| if is_match { vec![at + 1] } else { Vec::new() };
        let here = |is_match: bool| if is_match { vec![at] } else { Vec::new() };
        let next = text.get(at).map(|b| char::from(*b));
        match self {
            Self::Start => here(at == 0),
            Self::End => here(at == text.len()),
            Self::Any => one(next.is_some()),
            Self::Char(c) => one(next == Some(*c)),
            Self::Class(chars, is_negated) => {
                one(next.is_some_and(|c| chars.contains(&c) != *is_negated))
            }
            Self::Sequence(parts) => parts.iter().fold(vec![at], |starts, part| {
                union(starts.iter().flat_map(|at| part.ends(text, *at)))
            }),
            Self::Either(parts) => union(parts.iter().flat_map(|part| part.ends(text, at))),
            Self::Star(inner) => {
                let mut all = vec![at];
                let mut done = 0;
                while let Some(from) = all.get(done).copied() {
                    for end in inner.ends(text, from) {
                        if !all.contains(&end) {
                            all.push(end);
                        }
                    }
                    done += 1;
                }
                all
            }
        }
    }

    fn is_match(&self, text: &str) -> bool {
        (0..=text.len()).any(|at| !self.ends(text.as_bytes(), at).is_empty())
    }
}

fn union(ends: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// The trees behind the texts of `domain_regex`: `(text, tree)`.
pub(crate) type Regexes = Vec<(String, Regex)>;

/// What is matched, and against which inbound tags.
pub(crate) struct Reference<'a> {
    pub(crate) inbound_tags: &'a [String],
    pub(crate) regexes: &'a Regexes,
}

/// A list that stands there with something in it: an empty one restricts nothing.
fn listed<T>(list: &Option<Vec<T>>) -> Option<&[T]> {
    list.as_deref().filter(|list| !list.is_empty())
}

impl Reference<'_> {
    /// The first rule that matches.
    pub(crate) fn rule(&self, route: &Route, metadata: &Metadata<'_>) -> Option<usize> {
        route
            .rules
            .iter()
            .position(|rule| self.is_match(&rule.condition, metadata))
    }

    fn is_match(&self, condition: &Condition, metadata: &Metadata<'_>) -> bool {
        match condition {
            Condition::Default(fields) => self.fields(fields, metadata),
            Condition::Logical { all, rules, invert } => {
                let mut results = rules.iter().map(|rule| self.is_match(rule, metadata));
                let result = match all {
                    true => results.all(|r| r),
                    false => results.any(|r| r),
                };
                result != *invert
            }
        }
    }

    fn fields(&self, fields: &Fields, metadata: &Metadata<'_>) -> bool {
        let source = metadata.source;
        let groups = [
            listed(&fields.inbound).map(|tags| self.inbound(tags, metadata)),
            fields
                .ip_version
                .map(|version| is_version(&metadata.target.host, version)),
            listed(&fields.network).map(|list| list.contains(&metadata.network)),
            listed(&fields.auth_user)
                .map(|list| list.iter().any(|user| user == metadata.user.unwrap_or(""))),
            self.destination(fields, &metadata.target.host),
            ip_group(
                listed(&fields.source_ip_cidr),
                fields.source_ip_is_private,
                Some(unmapped(source.ip())),
            ),
            ports(
                listed(&fields.source_port),
                listed(&fields.source_port_range),
                source.port(),
            ),
            ports(
                listed(&fields.port),
                listed(&fields.port_range),
                metadata.target.port,
            ),
        ];
        let conditions: Vec<bool> = groups.into_iter().flatten().collect();
        conditions.is_empty() || conditions.iter().all(|c| *c) != fields.invert
    }

    fn inbound(&self, tags: &[Spanned<String>], metadata: &Metadata<'_>) -> bool {
        let tag = &self.inbound_tags[usize::from(metadata.inbound.0)];
        tags.iter().any(|listed| listed.value == *tag)
    }

    fn destination(&self, fields: &Fields, host: &Host) -> Option<bool> {
        let name = match host {
            Host::Domain(domain) => Some(domain.as_str().to_ascii_lowercase()),
            Host::Ip(_) => None,
        };
        let ip = match host {
            Host::Ip(ip) => Some(unmapped(*ip)),
            Host::Domain(_) => None,
        };
        let by_name = |matches: &dyn Fn(&str) -> bool| name.as_deref().is_some_and(matches);
        let groups = [
            listed(&fields.domain).map(|list| by_name(&|n| list.iter().any(|d| d == n))),
            listed(&fields.domain_suffix)
                .map(|list| by_name(&|n| list.iter().any(|s| has_suffix(n, s)))),
            listed(&fields.domain_keyword)
                .map(|list| by_name(&|n| list.iter().any(|k| n.contains(&k[..])))),
            listed(&fields.domain_regex).map(|list| by_name(&|n| self.regex(list, n))),
            ip_group(listed(&fields.ip_cidr), fields.ip_is_private, ip),
        ];
        let groups: Vec<bool> = groups.into_iter().flatten().collect();
        (!groups.is_empty()).then(|| groups.contains(&true))
    }

    fn regex(&self, list: &[Spanned<String>], name: &str) -> bool {
        list.iter().any(|expression| {
            let found = self.regexes.iter().find(|(t, _)| *t == expression.value);
            found.is_some_and(|(_, tree)| tree.is_match(name))
        })
    }
}

/// `example.com` is a suffix of itself and of what is below it; `.example.com` only of the latter.
fn has_suffix(name: &str, suffix: &str) -> bool {
    match suffix.starts_with('.') {
        true => name.ends_with(suffix),
        false => name == suffix || name.ends_with(&format!(".{suffix}")),
    }
}

fn is_version(host: &Host, version: IpVersion) -> bool {
    match host {
        Host::Domain(_) => false,
        Host::Ip(ip) => unmapped(*ip).is_ipv4() == (version == IpVersion::V4),
    }
}

fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn ip_group(nets: Option<&[IpNet]>, private: bool, ip: Option<IpAddr>) -> Option<bool> {
    if nets.is_none() && !private {
        return None;
    }
    Some(ip.is_some_and(|ip| {
        let is_in = nets.is_some_and(|nets| nets.iter().any(|net| is_within(net, ip)));
        is_in || (private && is_private(ip))
    }))
}

/// Bit by bit.
fn is_within(net: &IpNet, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let is_same_family = net.addr().is_ipv4() == ip.is_ipv4();
    let differing = bits(net.addr()) ^ bits(ip);
    is_same_family && differing.leading_zeros() >= u32::from(net.prefix_len())
}

/// What the public internet does not route: private, loopback, link-local, multicast, unspecified.
fn is_private(ip: IpAddr) -> bool {
    let nets = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "0.0.0.0/32",
        "fc00::/7",
        "::1/128",
        "fe80::/10",
        "ff00::/8",
        "::/128",
    ];
    nets.iter()
        .any(|net| is_within(&net.parse().expect("a prefix"), ip))
}

fn ports(list: Option<&[u16]>, ranges: Option<&[PortRange]>, port: u16) -> Option<bool> {
    if list.is_none() && ranges.is_none() {
        return None;
    }
    let is_listed = list.is_some_and(|list| list.contains(&port));
    let in_range = |range: &PortRange| (range.start..=range.end).contains(&port);
    Some(is_listed || ranges.is_some_and(|ranges| ranges.iter().any(in_range)))
}
