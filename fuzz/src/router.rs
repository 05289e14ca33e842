//! Route rules, compiled and matched, against a matcher that goes through every list.
use crate::{
    input::Input,
    reference::router::{Reference, Regex, Regexes},
};
use ipnet::IpNet;
use sansbox_core::{Domain, Host, Target};
use sansbox_engine::{
    config::model::{
        Condition, Fields, IpVersion, Network, PortRange, RejectMethod, Route, Rule, RuleAction,
        Span, Spanned,
    },
    router::{Decision, InboundId, Metadata, OutboundId, Router},
};
use std::net::{IpAddr, SocketAddr};

const LABELS: [&str; 12] = [
    "a", "b", "ab", "com", "example", "www", "co", "uk", "x-y", "0", "A", "",
];
const USERS: [&str; 4] = ["", "u", "user", "U"];
const IPS: [&str; 20] = [
    "10.0.0.1",
    "10.255.255.255",
    "11.0.0.0",
    "127.0.0.1",
    "169.254.1.1",
    "172.31.255.255",
    "172.32.0.0",
    "192.168.1.1",
    "224.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "8.8.8.8",
    "::",
    "::1",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
];

/// Rules, tags and connections made of the bytes: every verdict is that of the reference, and rules
/// are refused only for what is wrong with them.
pub fn router_rules(data: &[u8]) {
    let mut input = Input::new(data);
    let mut maker = Maker {
        regexes: Vec::new(),
        is_bad: false,
    };
    let inbound_tags = ["in", "In", "other", ""].map(String::from);
    let outbound_tags = ["direct", "proxy", "proxy"].map(String::from);
    let rules: Vec<_> = (0..1 + input.below(6))
        .map(|_| maker.rule(&mut input))
        .collect();
    let final_outbound = match input.below(4) {
        0 => None,
        1 => Some(spanned("proxy")),
        _ => Some(spanned("direct")),
    };
    let route = Route {
        rules,
        final_outbound,
        ..Route::default()
    };
    let compiled = Router::compile(&route, &inbound_tags, &outbound_tags, OutboundId(2));
    let router = match compiled {
        Ok(router) => router,
        Err(errors) => {
            assert!(maker.is_bad, "good rules are refused: {errors:?} {route:?}");
            return assert!(!errors.is_empty(), "refused without a reason");
        }
    };
    assert!(!maker.is_bad, "bad rules are compiled: {route:?}");
    let reference = Reference {
        inbound_tags: &inbound_tags,
        regexes: &maker.regexes,
    };
    for _ in 0..8 {
        let target = Target::new(host(&mut input), port(&mut input));
        let metadata = Metadata {
            inbound: InboundId(u16::from(input.byte()) % 4),
            network: network(&mut input),
            source: SocketAddr::new(ip(&mut input), port(&mut input)),
            target: &target,
            user: match input.below(3) {
                0 => None,
                _ => Some(input.pick(&USERS)),
            },
        };
        let rule = reference.rule(&route, &metadata);
        let verdict = router.route(&metadata);
        assert_eq!(
            verdict.rule.map(usize::from),
            rule,
            "{metadata:?} under {route:#?}"
        );
        assert_eq!(verdict.decision, decision(&route, rule), "{route:?}");
    }
}

fn decision(route: &Route, rule: Option<usize>) -> Decision {
    let outbound = |tag: &str| match tag {
        "direct" => OutboundId(0),
        _ => OutboundId(1),
    };
    match rule.map(|index| &route.rules[index].action) {
        Some(RuleAction::Route { outbound: tag }) => Decision::Route(outbound(&tag.value)),
        Some(&RuleAction::Reject { method, no_drop }) => Decision::Reject { method, no_drop },
        None => Decision::Route(match &route.final_outbound {
            Some(tag) => outbound(&tag.value),
            None => OutboundId(2),
        }),
    }
}

fn spanned(text: impl Into<String>) -> Spanned<String> {
    Spanned {
        value: text.into(),
        span: Span::default(),
    }
}

fn network(input: &mut Input<'_>) -> Network {
    match input.below(2) {
        0 => Network::Tcp,
        _ => Network::Udp,
    }
}

fn ip(input: &mut Input<'_>) -> IpAddr {
    match input.below(26) {
        24 => IpAddr::from(input.bytes::<4>()),
        25 => IpAddr::from(input.bytes::<16>()),
        n => IPS[n % IPS.len()].parse().expect("an address"),
    }
}

fn port(input: &mut Input<'_>) -> u16 {
    match input.below(8) {
        0 => 443,
        1 => 80,
        2 => u16::MAX,
        3 => 0,
        4 => u16::from(input.byte()),
        _ => input.u16(),
    }
}

/// Labels of the table joined by dots, sometimes with a dot at an end, sometimes with raw bytes.
fn name(input: &mut Input<'_>) -> String {
    let labels: Vec<_> = (0..input.below(5)).map(|_| input.pick(&LABELS)).collect();
    let name = labels.join(".");
    match input.below(10) {
        0 => format!(".{name}"),
        1 => format!("{name}."),
        2 => name.to_ascii_uppercase(),
        3 => {
            let n = input.below(8);
            format!("{name}{}", String::from_utf8_lossy(input.take(n)))
        }
        4 => format!("{}.{name}", "l".repeat(input.below(63) + 1)),
        _ => name,
    }
}

fn host(input: &mut Input<'_>) -> Host {
    match input.below(3) {
        0 => Host::Ip(ip(input)),
        _ => {
            let name = name(input);
            let domain = Domain::parse(name.as_bytes());
            domain.map_or_else(|_| Host::Ip(ip(input)), Host::Domain)
        }
    }
}

fn net(input: &mut Input<'_>) -> IpNet {
    let ip = ip(input);
    let max = if ip.is_ipv4() { 32 } else { 128 };
    let len = match input.below(4) {
        0 => max,
        1 => 8,
        _ => input.byte() % (max + 1),
    };
    IpNet::new(ip, len).expect("a length within the address")
}

fn range(input: &mut Input<'_>) -> PortRange {
    PortRange {
        start: port(input),
        end: port(input),
    }
}

/// Absent most of the time, else up to three of `item`.
fn list<T>(input: &mut Input<'_>, mut item: impl FnMut(&mut Input<'_>) -> T) -> Option<Vec<T>> {
    let n = match input.below(8) {
        0..=3 => return None,
        7 => 0,
        n => n - 3,
    };
    Some((0..n).map(|_| item(input)).collect())
}

/// Builds rules and remembers what the reference must know of them.
struct Maker {
    regexes: Regexes,
    /// A mistake was made on purpose.
    is_bad: bool,
}

impl Maker {
    fn rule(&mut self, input: &mut Input<'_>) -> Rule {
        let action = match input.below(32) {
            0..=7 => RuleAction::Reject {
                method: match input.below(2) {
                    0 => RejectMethod::Default,
                    _ => RejectMethod::Drop,
                },
                no_drop: input.one_in(2),
            },
            8 => {
                self.is_bad = true;
                RuleAction::Route {
                    outbound: spanned("nowhere"),
                }
            }
            n => RuleAction::Route {
                outbound: spanned(["direct", "proxy"][n % 2]),
            },
        };
        Rule {
            span: Span::default(),
            condition: self.condition(input, 0),
            action,
        }
    }

    fn condition(&mut self, input: &mut Input<'_>, depth: usize) -> Condition {
        if depth == 4 || !input.one_in(4) {
            return Condition::Default(Box::new(self.fields(input)));
        }
        let n = input.below(8) / 2;
        let n = if input.one_in(32) { 0 } else { n.max(1) };
        self.is_bad |= n == 0;
        Condition::Logical {
            all: input.one_in(2),
            invert: input.one_in(3),
            rules: (0..n).map(|_| self.condition(input, depth + 1)).collect(),
        }
    }

    /// The keys of a rule; a byte says which group of keys may be there, for the fuzzer's sake.
    fn fields(&mut self, input: &mut Input<'_>) -> Fields {
        let mut fields = Fields {
            invert: input.one_in(3),
            ..Fields::default()
        };
        let groups = input.byte();
        if groups & 1 != 0 {
            fields.domain = self.names(input);
            fields.domain_suffix = self.names(input);
        }
        if groups & 2 != 0 {
            fields.domain_keyword = list(input, name);
            fields.domain_regex = list(input, |input| self.regex(input));
        }
        if groups & 4 != 0 {
            fields.ip_cidr = list(input, net);
            fields.ip_is_private = input.one_in(3);
        }
        if groups & 8 != 0 {
            fields.source_ip_cidr = list(input, net);
            fields.source_ip_is_private = input.one_in(3);
        }
        if groups & 16 != 0 {
            fields.port = list(input, port);
            fields.port_range = list(input, range);
        }
        if groups & 32 != 0 {
            fields.source_port = list(input, port);
            fields.source_port_range = list(input, range);
        }
        if groups & 64 != 0 {
            fields.network = list(input, network);
            fields.ip_version = match input.below(3) {
                0 => Some(IpVersion::V4),
                1 => Some(IpVersion::V6),
                _ => None,
            };
        }
        if groups & 128 != 0 {
            fields.inbound = list(input, |i| spanned(i.pick(&["in", "other", "", "gone"])));
            fields.auth_user = list(input, |i| i.pick(&USERS).to_owned());
        }
        fields
    }

    fn names(&mut self, input: &mut Input<'_>) -> Option<Vec<String>> {
        let names = list(input, name);
        let is_empty = |names: &Vec<String>| names.iter().any(String::is_empty);
        self.is_bad |= names.as_ref().is_some_and(is_empty);
        names
    }

    fn regex(&mut self, input: &mut Input<'_>) -> Spanned<String> {
        let tree = regex(input, 0);
        let text = tree.text();
        self.regexes.push((text.clone(), tree));
        spanned(text)
    }
}

fn regex(input: &mut Input<'_>, depth: usize) -> Regex {
    let kinds = if depth == 2 { 6 } else { 10 };
    let parts = |input: &mut Input<'_>| -> Vec<Regex> {
        let n = 1 + input.below(3);
        (0..n).map(|_| regex(input, depth + 1)).collect()
    };
    match input.below(kinds) {
        0 => Regex::Start,
        1 => Regex::End,
        2 => Regex::Any,
        3 => Regex::Char(input.pick(&['.', '-', '0', 'A'])),
        4 => Regex::Char(input.pick(&['a', 'b', 'c', 'o', 'm', 'w'])),
        5 => Regex::Class(vec!['a', 'b', 'w'], input.one_in(2)),
        6 => Regex::Star(Box::new(regex(input, depth + 1))),
        7 | 8 => Regex::Sequence(parts(input)),
        _ => Regex::Either(parts(input)),
    }
}
