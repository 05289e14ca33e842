use super::*;
use crate::config::model::{
    Condition, Fields, IpVersion, PortRange, Route, Rule as ModelRule, RuleAction, Span, Spanned,
};
use ipnet::IpNet;
use sansbox_core::Host;

macro_rules! fields {
    ($($key:ident: $value:expr),* $(,)?) => {
        plain(Fields { $($key: $value,)* ..Fields::default() })
    };
}

mod fields;
mod mistakes;
mod order;

fn tags(count: u16) -> Vec<String> {
    (0..count).map(|i| format!("t{i}")).collect()
}

fn at<T>(value: T, start: u32) -> Spanned<T> {
    let span = Span {
        file: 0,
        start,
        end: start + 1,
    };
    Spanned { value, span }
}

fn texts(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(|&s| s.to_owned()).collect())
}

fn nets(items: &[&str]) -> Option<Vec<IpNet>> {
    Some(items.iter().map(|s| s.parse().unwrap()).collect())
}

fn route_to(tag: &str) -> RuleAction {
    RuleAction::Route {
        outbound: at(tag.to_owned(), 7),
    }
}

fn rule(condition: Condition, action: RuleAction) -> ModelRule {
    ModelRule {
        span: Span::default(),
        condition,
        action,
    }
}

fn plain(fields: Fields) -> Condition {
    Condition::Default(Box::new(fields))
}

fn logical(all: bool, invert: bool, rules: Vec<Condition>) -> Condition {
    Condition::Logical { all, rules, invert }
}

/// Rule `i` goes to outbound `t(i+1)`, the rest to `t0`.
fn compile(conditions: Vec<Condition>) -> Result<Router, Vec<CompileError>> {
    let count = u16::try_from(conditions.len()).unwrap();
    let numbered = (1..).zip(conditions);
    let rules = numbered
        .map(|(i, c)| rule(c, route_to(&format!("t{i}"))))
        .collect();
    let route = Route {
        rules,
        final_outbound: None,
        ..Route::default()
    };
    Router::compile(&route, &tags(4), &tags(count + 1), OutboundId(0))
}

/// A request: inbound 1, TCP, from 127.0.0.1:4000 by alice to example.com:443.
struct Request {
    inbound: u16,
    network: Network,
    source: &'static str,
    host: String,
    port: u16,
    user: Option<&'static str>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            inbound: 1,
            network: Network::Tcp,
            source: "127.0.0.1:4000",
            host: "www.example.com".to_owned(),
            port: 443,
            user: Some("alice"),
        }
    }
}

impl Request {
    fn to(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            ..Self::default()
        }
    }

    fn rule(&self, router: &Router) -> Option<u16> {
        let target = Target::new(Host::parse(self.host.as_bytes()).unwrap(), self.port);
        let verdict = router.route(&Metadata {
            inbound: InboundId(self.inbound),
            network: self.network,
            source: self.source.parse().unwrap(),
            target: &target,
            user: self.user,
        });
        assert_eq!(
            verdict.decision,
            Decision::Route(OutboundId(verdict.rule.map_or(0, |r| r + 1)))
        );
        verdict.rule
    }

    fn is_match(&self, condition: &Condition) -> bool {
        self.rule(&compile(vec![condition.clone()]).unwrap())
            .is_some()
    }
}

#[test]
fn upper_case_on_the_rules_side_never_matches() {
    for condition in [
        fields!(domain: texts(&["WWW.EXAMPLE.COM"])),
        fields!(domain_suffix: texts(&["Example.com"])),
        fields!(domain_keyword: texts(&["EXAMPLE"])),
        fields!(domain_regex: Some(vec![at("^WWW".into(), 0)])),
    ] {
        assert!(!Request::default().is_match(&condition), "{condition:?}");
        assert!(
            !Request::to("WWW.EXAMPLE.COM").is_match(&condition),
            "{condition:?}"
        );
    }
}

#[test]
fn destination_fields_are_alternatives() {
    let condition = fields!(
        domain: texts(&["a.b"]),
        domain_suffix: texts(&["c.d"]),
        domain_keyword: texts(&["key"]),
        domain_regex: Some(vec![at("^x".into(), 0)]),
        ip_cidr: nets(&["8.8.8.0/24"]),
        ip_is_private: true,
    );
    for host in [
        "a.b",
        "z.c.d",
        "monkey.de",
        "xy.de",
        "8.8.8.8",
        "10.0.0.1",
        "::1",
    ] {
        assert!(Request::to(host).is_match(&condition), "{host}");
    }
    for host in ["z.a.b", "e.f", "1.1.1.1", "2001:db8::1"] {
        assert!(!Request::to(host).is_match(&condition), "{host}");
    }
}

#[test]
fn ports_and_ranges_are_alternatives_and_so_are_sources() {
    let range = PortRange { start: 80, end: 90 };
    let ports = fields!(port: Some(vec![443]), port_range: Some(vec![range]));
    let source = fields!(source_ip_cidr: nets(&["8.0.0.0/8"]), source_ip_is_private: true);
    for (port, expected) in [(443, true), (85, true), (91, false)] {
        let request = Request {
            port,
            ..Request::default()
        };
        assert_eq!(request.is_match(&ports), expected, "{port}");
    }
    for (from, expected) in [
        ("8.1.1.1:1", true),
        ("10.0.0.1:1", true),
        ("9.0.0.1:1", false),
    ] {
        let request = Request {
            source: from,
            ..Request::default()
        };
        assert_eq!(request.is_match(&source), expected, "{from}");
    }
}

#[test]
fn groups_must_all_match() {
    let all = Fields {
        inbound: Some(vec![at("t1".to_owned(), 0)]),
        network: Some(vec![Network::Tcp]),
        auth_user: texts(&["alice"]),
        domain_suffix: texts(&["example.com"]),
        source_ip_is_private: true,
        source_port: Some(vec![4000]),
        port: Some(vec![443]),
        ..Fields::default()
    };
    let example = Request::default;
    assert!(example().is_match(&plain(all.clone())));
    let inverted = plain(Fields {
        invert: true,
        ..all.clone()
    });
    let all = plain(all);
    for request in [
        Request {
            inbound: 0,
            ..example()
        },
        Request {
            network: Network::Udp,
            ..example()
        },
        Request {
            user: None,
            ..example()
        },
        Request::to("example.org"),
        Request {
            source: "8.8.8.8:4000",
            ..example()
        },
        Request {
            source: "127.0.0.1:4001",
            ..example()
        },
        Request {
            port: 80,
            ..example()
        },
    ] {
        assert!(!request.is_match(&all));
        assert!(request.is_match(&inverted));
    }
}

#[test]
fn empty_lists_restrict_nothing_and_a_rule_without_condition_matches_even_inverted() {
    for invert in [false, true] {
        assert!(Request::default().is_match(&fields!(invert: invert)));
        assert!(Request::default().is_match(&fields!(
            invert: invert,
            inbound: Some(vec![]),
            network: Some(vec![]),
            auth_user: Some(vec![]),
            domain: Some(vec![]),
            domain_suffix: Some(vec![]),
            domain_keyword: Some(vec![]),
            domain_regex: Some(vec![]),
            ip_cidr: Some(vec![]),
            source_ip_cidr: Some(vec![]),
            source_port: Some(vec![]),
            source_port_range: Some(vec![]),
            port: Some(vec![]),
            port_range: Some(vec![]),
        )));
    }
    let only_port = fields!(domain: Some(vec![]), ip_cidr: Some(vec![]), port: Some(vec![80]));
    assert!(!Request::default().is_match(&only_port));
}

#[test]
fn an_unknown_inbound_never_matches() {
    let unknown = || Some(vec![at("nosuch".to_owned(), 0)]);
    assert!(!Request::default().is_match(&fields!(inbound: unknown())));
    assert!(Request::default().is_match(&fields!(inbound: unknown(), invert: true)));
}

#[test]
fn logical_rules_nest_and_invert() {
    let yes = || fields!(port: Some(vec![443]));
    let no = || fields!(domain: texts(&["other.net"]));
    for (condition, expected) in [
        (logical(true, false, vec![yes(), yes()]), true),
        (logical(true, false, vec![yes(), no()]), false),
        (logical(true, true, vec![yes(), no()]), true),
        (logical(false, false, vec![no(), yes()]), true),
        (logical(false, false, vec![no(), no()]), false),
        (logical(false, true, vec![no(), yes()]), false),
        (
            logical(true, false, vec![logical(false, true, vec![no()]), yes()]),
            true,
        ),
        (
            logical(
                false,
                false,
                vec![logical(true, false, vec![yes(), no()]), no()],
            ),
            false,
        ),
    ] {
        assert_eq!(
            Request::default().is_match(&condition),
            expected,
            "{condition:?}"
        );
    }
}

#[test]
fn reject_and_final_are_verdicts() {
    let reject = RuleAction::Reject {
        method: RejectMethod::Drop,
        no_drop: true,
    };
    let route = Route {
        rules: vec![rule(fields!(port: Some(vec![1])), reject)],
        final_outbound: Some(at("t2".to_owned(), 0)),
        ..Route::default()
    };
    let router = Router::compile(&route, &[], &tags(3), OutboundId(0)).unwrap();
    let verdict = |port| {
        router.route(&Metadata {
            inbound: InboundId(0),
            network: Network::Udp,
            source: "127.0.0.1:1".parse().unwrap(),
            target: &Target::new(Host::parse(b"a.b").unwrap(), port),
            user: None,
        })
    };
    let decision = Decision::Reject {
        method: RejectMethod::Drop,
        no_drop: true,
    };
    assert_eq!(
        verdict(1),
        Verdict {
            rule: Some(0),
            decision
        }
    );
    let decision = Decision::Route(OutboundId(2));
    assert_eq!(
        verdict(2),
        Verdict {
            rule: None,
            decision
        }
    );
}

#[test]
fn a_router_is_shared_between_threads() {
    fn is_shareable<T: Send + Sync>() {}
    is_shareable::<Router>();
}
