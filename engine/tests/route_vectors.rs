//! Every routing decision recorded from sing-box 1.12.24, made again by the router.
//!
//! `tests/vectors/singbox/route.json` holds configurations, the requests sent through each, and
//! which rules the program logged as matched. A rule that uses something the router does not have
//! yet is left out of the configuration, and what was recorded of it decides which answer is
//! expected; a request whose outcome hangs on such a rule is counted and left out.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: a panic is its way to fail, and its counts are for people"
)]
#[path = "route_vectors/rules.rs"]
mod rules;

use core::net::{IpAddr, SocketAddr};
use rules::{Object, action, condition, is_changing, spanned, texts};
use sansbox_core::{Host, Target};
use sansbox_engine::{
    config::model::{Condition, Network, RejectMethod, Route, Rule, RuleAction, Span, Spanned},
    router::{CompileErrorKind, Decision, InboundId, Metadata, OutboundId, Router, Verdict},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Configurations that differ on purpose as a whole, with the reason.
const DIFFERENT_CONFIGS: [(&str, &str); 3] = [
    (
        "unknown-outbound",
        "sing-box fails each connection; ours refuses the configuration",
    ),
    (
        "missing-outbound",
        "sing-box fails each connection; ours refuses the configuration",
    ),
    (
        "empty-rule",
        "sing-box fails each connection; ours refuses the configuration",
    ),
];

/// Requests that differ on purpose, by what is special about them, with the reason.
const DIFFERENT_REQUESTS: [(&str, &str); 2] = [
    (
        "invalid name",
        "sing-box routes an empty destination `:0`, or `.`; ours refuses the name before routing",
    ),
    (
        "name with a zone",
        "sing-box reads `fe80::1%lo` as an address; ours refuses the name before routing",
    ),
];

#[derive(Default)]
struct Tally {
    /// Requests whose verdict was compared.
    verdicts: usize,
    /// Of those, requests of configurations wholly in scope.
    whole: usize,
    /// Single rules compared against the list of matched rules.
    rules: usize,
    /// What was left out or differs, by reason.
    apart: BTreeMap<&'static str, usize>,
    /// Rules left out, by reason.
    rules_out: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn apart(&mut self, reason: &'static str) {
        *self.apart.entry(reason).or_default() += 1;
    }
}

fn parse_file() -> Value {
    serde_json::from_str(include_str!("vectors/singbox/route.json")).unwrap()
}

/// One configuration of the file.
struct Case<'a> {
    name: &'a str,
    raw: Vec<&'a Object>,
    conditions: Vec<Option<Condition>>,
    inbounds: Vec<String>,
    outbounds: Vec<String>,
    final_outbound: Option<Spanned<String>>,
}

fn tags(config: &Value, key: &str) -> Vec<String> {
    let tag = |v: &Value| v["tag"].as_str().unwrap().to_owned();
    config[key].as_array().unwrap().iter().map(tag).collect()
}

impl<'a> Case<'a> {
    fn new(case: &'a Value, tally: &mut Tally) -> Self {
        let config = &case["config"];
        let route = config["route"].as_object().unwrap();
        let raw: Vec<_> = route
            .get("rules")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|rule| rule.as_object().unwrap())
            .collect();
        let conditions = raw
            .iter()
            .map(|rule| {
                condition(rule, false)
                    .map_err(|reason| *tally.rules_out.entry(reason).or_default() += 1)
                    .ok()
            })
            .collect();
        Self {
            name: case["name"].as_str().unwrap(),
            raw,
            conditions,
            inbounds: tags(config, "inbounds"),
            outbounds: tags(config, "outbounds"),
            final_outbound: texts(route, "final").and_then(|t| spanned(t).pop()),
        }
    }

    fn compile(&self, rules: Vec<Rule>) -> Result<Router, CompileErrorKind> {
        let route = Route {
            rules,
            final_outbound: self.final_outbound.clone(),
            ..Route::default()
        };
        Router::compile(&route, &self.inbounds, &self.outbounds, OutboundId(0))
            .map_err(|errors| errors[0].kind.clone())
    }

    /// A router of the rules in scope, and their indexes in the file.
    fn router(&self) -> Result<(Router, Vec<usize>), CompileErrorKind> {
        let (mut rules, mut indexes) = (Vec::new(), Vec::new());
        for (index, (raw, condition)) in self.raw.iter().zip(&self.conditions).enumerate() {
            if let (Some(condition), Some(action)) = (condition, action(raw)) {
                indexes.push(index);
                rules.push(Rule {
                    span: Span::default(),
                    condition: condition.clone(),
                    action,
                });
            }
        }
        Ok((self.compile(rules)?, indexes))
    }

    /// A router per rule that only tells whether its condition matches.
    fn single_rule_routers(&self) -> Vec<Option<Router>> {
        let single = |condition: &Option<Condition>| {
            let rule = Rule {
                span: Span::default(),
                condition: condition.clone()?,
                action: RuleAction::Reject {
                    method: RejectMethod::Drop,
                    no_drop: false,
                },
            };
            self.compile(vec![rule]).ok()
        };
        self.conditions.iter().map(single).collect()
    }

    fn is_whole(&self) -> bool {
        self.conditions.iter().all(Option::is_some)
            && self.raw.iter().all(|rule| action(rule).is_some())
    }
}

/// One request of the file.
struct Request<'a> {
    json: &'a Value,
    inbound: InboundId,
    network: Network,
    source: SocketAddr,
    target: Target,
    matched: Vec<usize>,
}

fn port(value: &Value) -> u16 {
    u16::try_from(value.as_u64().unwrap()).unwrap()
}

impl<'a> Request<'a> {
    /// `Err` with an entry of [`DIFFERENT_REQUESTS`] when ours refuses it before routing.
    fn new(json: &'a Value, case: &Case<'_>) -> Result<Self, &'static str> {
        let name = json["dst"].as_str().unwrap();
        let Ok(host) = Host::parse(name.as_bytes()) else {
            return Err(DIFFERENT_REQUESTS[usize::from(name.contains('%'))].0);
        };
        let inbound = case.inbounds.iter().position(|tag| *tag == json["in"]);
        let source: IpAddr = json["src"].as_str().unwrap().parse().unwrap();
        let matched = json["rules"].as_array().unwrap().iter();
        Ok(Self {
            json,
            inbound: InboundId(u16::try_from(inbound.unwrap()).unwrap()),
            network: if json["net"] == "tcp" {
                Network::Tcp
            } else {
                Network::Udp
            },
            source: SocketAddr::new(source, port(&json["sport"])),
            target: Target::new(host, port(&json["port"])),
            matched: matched
                .map(|v| usize::try_from(v.as_u64().unwrap()).unwrap())
                .collect(),
        })
    }

    fn route(&self, router: &Router) -> Verdict {
        router.route(&Metadata {
            inbound: self.inbound,
            network: self.network,
            source: self.source,
            target: &self.target,
            user: self.json.get("user").and_then(Value::as_str),
        })
    }

    /// The verdict in the words of the file: rule, kind, outbound or method.
    fn expected(&self) -> (Option<usize>, String) {
        let text = |key| {
            self.json
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match text("verdict") {
            "final" => (None, format!("route {}", text("outbound"))),
            "route" => (
                self.matched.last().copied(),
                format!("route {}", text("outbound")),
            ),
            "reject" => (
                self.matched.last().copied(),
                format!("reject {}", text("method")),
            ),
            // Only "UDP is not supported by outbound: TAG" comes here: the choice was made.
            "error" => {
                let (_, tag) = text("error").rsplit_once(": ").unwrap();
                (self.matched.last().copied(), format!("route {tag}"))
            }
            other => panic!("verdict {other}"),
        }
    }

    /// A name that was refused must have been routed with an empty destination, or as an address
    /// with a zone: else it is no deliberate difference.
    fn is_refused_rightly(json: &Value, reason: &str) -> bool {
        let dial = json.get("dial").and_then(Value::as_str);
        let is_overridden = json["rules"].as_array().is_some_and(|r| r.len() > 1);
        let is_empty = |d: &str| d.starts_with(':') || d == ".:80" || d.starts_with(".:");
        let is_zone = reason == DIFFERENT_REQUESTS[1].0;
        dial.is_none_or(|d| is_overridden || is_zone != is_empty(d))
    }
}

fn in_words(verdict: Verdict, case: &Case<'_>, indexes: &[usize]) -> (Option<usize>, String) {
    let rule = verdict.rule.map(|r| indexes[usize::from(r)]);
    let words = match verdict.decision {
        Decision::Route(OutboundId(o)) => format!("route {}", case.outbounds[usize::from(o)]),
        Decision::Reject { method, .. } => match method {
            RejectMethod::Default => "reject default".to_owned(),
            RejectMethod::Drop => "reject drop".to_owned(),
        },
    };
    (rule, words)
}

/// Index of the first matched rule after which the rules see something else than the client sent.
fn first_change(case: &Case<'_>, matched: &[usize]) -> Option<usize> {
    let mut matched = matched.iter().copied();
    matched.find(|&index| is_changing(case.raw[index]))
}

/// Each rule by itself, up to where matching ended or the destination changed.
fn check_single_rules(
    case: &Case<'_>,
    request: &Request<'_>,
    routers: &[Option<Router>],
    tally: &mut Tally,
) {
    let is_decided = request
        .matched
        .last()
        .is_some_and(|&last| action(case.raw[last]).is_some());
    let decided = request.matched.last().copied().filter(|_| is_decided);
    // A failed `resolve` ends matching too, and is a change.
    let end = first_change(case, &request.matched)
        .or(decided)
        .map_or(routers.len(), |index| index + 1);
    for (index, router) in routers.iter().enumerate().take(end) {
        let Some(router) = router else { continue };
        let is_match = request.route(router).rule.is_some();
        if is_match != request.matched.contains(&index) {
            let text = format!(
                "{} rule {index}: ours {is_match}: {}",
                case.name, request.json
            );
            tally.failures.push(text);
        }
        tally.rules += 1;
    }
}

fn check_verdict(
    case: &Case<'_>,
    request: &Request<'_>,
    (router, indexes): &(Router, Vec<usize>),
    tally: &mut Tally,
) {
    let matched = &request.matched;
    if first_change(case, matched)
        .is_some_and(|index| matched.last() != Some(&index) || action(case.raw[index]).is_none())
    {
        return tally.apart("a rule changed the destination: not in scope yet");
    }
    if request.json.get("flood").is_some() {
        return tally.apart("the flood switch of reject: not the router's");
    }
    let (rule, words) = request.expected();
    if rule.is_some_and(|index| case.conditions[index].is_none()) {
        return tally.apart("decided by a rule that is not in scope yet");
    }
    // A rule that lets matching go on is the last one logged when nothing after it matched.
    let rule = rule.filter(|index| indexes.contains(index));
    let ours = in_words(request.route(router), case, indexes);
    if ours != (rule, words) {
        let text = format!("{}: ours {ours:?}: {}", case.name, request.json);
        tally.failures.push(text);
    }
    tally.verdicts += 1;
    tally.whole += usize::from(case.is_whole());
}

fn check_case(json: &Value, tally: &mut Tally) {
    let case = Case::new(json, tally);
    let Some(requests) = json.get("requests").and_then(Value::as_array) else {
        return check_start_error(json, &case, tally);
    };
    let different = DIFFERENT_CONFIGS
        .iter()
        .find(|(name, _)| *name == case.name);
    let router = match (case.router(), different) {
        (Err(CompileErrorKind::UnknownOutbound(_)), Some((_, reason))) => {
            *tally.apart.entry(reason).or_default() += requests.len();
            None
        }
        (Ok(router), None) => Some(router),
        (result, _) => panic!("{}: {:?}", case.name, result.map(|_| "compiled")),
    };
    let single = case.single_rule_routers();
    for json in requests {
        match Request::new(json, &case) {
            Ok(request) => {
                check_single_rules(&case, &request, &single, tally);
                if let Some(router) = &router {
                    check_verdict(&case, &request, router, tally);
                }
            }
            Err(reason) => {
                assert!(
                    Request::is_refused_rightly(json, reason),
                    "{}: {json}",
                    case.name
                );
                if router.is_some() {
                    tally.apart(reason);
                }
            }
        }
    }
}

/// What `run` refused must be refused by the router, where it is the router's to say.
fn check_start_error(json: &Value, case: &Case<'_>, tally: &mut Tally) {
    let error = json["start_error"].as_str().unwrap();
    let ours = case
        .router()
        .map(|_| "compiled")
        .map_err(|kind| kind.to_string());
    let is_routers = ["not found: nosuch", "missing conditions", "empty item"]
        .iter()
        .any(|part| error.contains(part))
        && !error.contains("rule-set");
    if is_routers {
        let message = ours.expect_err(case.name);
        let (_, tail) = error.rsplit_once(": ").unwrap();
        assert!(
            message.ends_with(tail),
            "{}: {message} / {error}",
            case.name
        );
        tally.apart("configurations refused at start by both");
    } else {
        tally.apart("configurations refused at start: the reader's to refuse");
    }
}

#[test]
fn decisions_are_those_of_sing_box() {
    let file = parse_file();
    let mut tally = Tally::default();
    for case in file["cases"].as_array().unwrap() {
        check_case(case, &mut tally);
    }
    println!(
        "{} verdicts equal or not ({} of them in configurations wholly in scope), \
         {} single rules compared, {} failures",
        tally.verdicts,
        tally.whole,
        tally.rules,
        tally.failures.len()
    );
    for (reason, count) in &tally.apart {
        println!("  {count:5} apart: {reason}");
    }
    for (field, count) in &tally.rules_out {
        println!("  {count:5} rules left out: {field}");
    }
    assert!(
        tally.failures.is_empty(),
        "{} differ:\n{}",
        tally.failures.len(),
        tally
            .failures
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    for reason in DIFFERENT_CONFIGS
        .map(|(_, reason)| reason)
        .into_iter()
        .chain(DIFFERENT_REQUESTS.map(|(what, _)| what))
    {
        assert!(
            tally.apart.contains_key(reason),
            "no longer differs: {reason}"
        );
    }
    assert!(
        tally.verdicts > 3000 && tally.rules > 8000,
        "too little was compared"
    );
}
