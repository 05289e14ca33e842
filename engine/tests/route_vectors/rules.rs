//! Rules as they stand in the vector file, read into the model.
use ipnet::IpNet;
use sansbox_engine::config::model::{
    Condition, Fields, IpVersion, Network, PortRange, RejectMethod, RuleAction, Span, Spanned,
};
use serde_json::{Map, Value};
use std::net::IpAddr;

pub(crate) type Object = Map<String, Value>;

/// Fields of a rule that the router has, besides those of its action.
const FIELDS: [&str; 20] = [
    "type",
    "invert",
    "inbound",
    "ip_version",
    "network",
    "auth_user",
    "domain",
    "domain_suffix",
    "domain_keyword",
    "domain_regex",
    "source_ip_cidr",
    "source_ip_is_private",
    "ip_cidr",
    "ip_is_private",
    "source_port",
    "source_port_range",
    "port",
    "port_range",
    "rules",
    "mode",
];

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![value]
        }
    }
}

pub(crate) fn texts(rule: &Object, key: &str) -> Option<Vec<String>> {
    let items = list(rule.get(key)?);
    Some(
        items
            .iter()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect(),
    )
}

pub(crate) fn spanned(texts: Vec<String>) -> Vec<Spanned<String>> {
    let at = |value| Spanned {
        value,
        span: Span::default(),
    };
    texts.into_iter().map(at).collect()
}

fn ports(rule: &Object, key: &str) -> Option<Vec<u16>> {
    let items = list(rule.get(key)?);
    Some(
        items
            .iter()
            .map(|v| u16::try_from(v.as_u64().unwrap()).unwrap())
            .collect(),
    )
}

fn ranges(rule: &Object, key: &str) -> Option<Vec<PortRange>> {
    let range = |text: String| {
        let (start, end) = text.split_once(':').unwrap();
        PortRange {
            start: if start.is_empty() {
                0
            } else {
                start.parse().unwrap()
            },
            end: if end.is_empty() {
                u16::MAX
            } else {
                end.parse().unwrap()
            },
        }
    };
    Some(texts(rule, key)?.into_iter().map(range).collect())
}

fn nets(rule: &Object, key: &str) -> Option<Vec<IpNet>> {
    let net = |text: String| {
        text.parse()
            .unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()))
    };
    Some(texts(rule, key)?.into_iter().map(net).collect())
}

fn flag(rule: &Object, key: &str) -> bool {
    rule.get(key).is_some_and(|v| v.as_bool().unwrap())
}

/// The condition of a rule, or what of it is out of scope.
pub(crate) fn condition(rule: &Object, is_inner: bool) -> Result<Condition, String> {
    const ACTION: [&str; 4] = ["action", "outbound", "method", "no_drop"];
    // The action of a rule inside a logical one is ignored; options that change the destination
    // are dealt with by the caller.
    const OPTIONS: [&str; 6] = [
        "override_address",
        "override_port",
        "udp_connect",
        "udp_timeout",
        "server",
        "strategy",
    ];
    let is_known = |key: &&String| {
        let key = key.as_str();
        FIELDS.contains(&key) || ACTION.contains(&key) || (!is_inner && OPTIONS.contains(&key))
    };
    if let Some(key) = rule.keys().find(|key| !is_known(key)) {
        return Err(key.clone());
    }
    if rule.get("type").and_then(Value::as_str) == Some("logical") {
        let inner = rule["rules"].as_array().unwrap().iter();
        return Ok(Condition::Logical {
            all: rule["mode"] == "and",
            rules: inner
                .map(|r| condition(r.as_object().unwrap(), true))
                .collect::<Result<_, _>>()?,
            invert: flag(rule, "invert"),
        });
    }
    let network = texts(rule, "network").map(|names| {
        let name = |n: &String| match n.as_str() {
            "tcp" => Ok(Network::Tcp),
            "udp" => Ok(Network::Udp),
            other => Err(format!("network {other}")),
        };
        names.iter().map(name).collect::<Result<_, _>>()
    });
    let ip_version = rule.get("ip_version").map(|v| match v.as_u64() {
        Some(4) => IpVersion::V4,
        Some(6) => IpVersion::V6,
        other => panic!("ip_version {other:?}"),
    });
    Ok(Condition::Default(Box::new(Fields {
        inbound: texts(rule, "inbound").map(spanned),
        ip_version,
        network: network.transpose()?,
        auth_user: texts(rule, "auth_user"),
        domain: texts(rule, "domain"),
        domain_suffix: texts(rule, "domain_suffix"),
        domain_keyword: texts(rule, "domain_keyword"),
        domain_regex: texts(rule, "domain_regex").map(spanned),
        source_ip_cidr: nets(rule, "source_ip_cidr"),
        source_ip_is_private: flag(rule, "source_ip_is_private"),
        ip_cidr: nets(rule, "ip_cidr"),
        ip_is_private: flag(rule, "ip_is_private"),
        source_port: ports(rule, "source_port"),
        source_port_range: ranges(rule, "source_port_range"),
        port: ports(rule, "port"),
        port_range: ranges(rule, "port_range"),
        invert: flag(rule, "invert"),
    })))
}

/// The action of a rule; `None` when it is one that lets matching go on.
pub(crate) fn action(rule: &Object) -> Option<RuleAction> {
    let outbound = rule.get("outbound").and_then(Value::as_str);
    match rule.get("action").and_then(Value::as_str) {
        None | Some("" | "route") => Some(RuleAction::Route {
            outbound: Spanned {
                value: outbound.unwrap_or_default().to_owned(),
                span: Span::default(),
            },
        }),
        Some("reject") => Some(RuleAction::Reject {
            method: match rule.get("method").and_then(Value::as_str) {
                Some("drop") => RejectMethod::Drop,
                None | Some("" | "default") => RejectMethod::Default,
                Some(other) => panic!("method {other}"),
            },
            no_drop: flag(rule, "no_drop"),
        }),
        Some("route-options" | "resolve" | "direct") => None,
        Some(other) => panic!("action {other}"),
    }
}

/// Whether a rule that lets matching go on changes what the rules after it see.
pub(crate) fn is_changing(rule: &Object) -> bool {
    rule.get("action").and_then(Value::as_str) == Some("resolve")
        || rule.contains_key("override_address")
        || rule.contains_key("override_port")
}
