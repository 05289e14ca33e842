//! Single values.
use super::{
    Kind,
    decode::{Decoder, Mode},
    record::Value,
    value::{
        ZonedAddress, parse_address, parse_duration, parse_integer, parse_prefix, parse_u32,
        parse_unsigned,
    },
};
use crate::config::{
    error::ErrorKind,
    model::{DomainStrategy, Network, Spanned},
    reader::{Json, Node, last_of_each},
};

const PORT: &str = "a port (0 to 65535)";
const DURATION: &str = "a duration such as `300ms`, `1h30m` or `7d`";
const PREFIX: &str = "a prefix such as `172.19.0.1/30`";
const ID: &str = "a number (0 to 4294967295)";
const MARK: &str = "a mark such as 255 or `0xff`";

impl Decoder {
    /// A value of a kind that holds no objects. `None` after a problem.
    pub(super) fn field(&mut self, node: &Node, kind: Kind, mode: Mode) -> Option<Value> {
        match kind {
            Kind::Bool | Kind::Tristate => self.boolean(node).map(Value::Bool),
            Kind::Text => self.text(node).map(|text| Value::Text(text.to_owned())),
            Kind::Port => self
                .port(node, mode)
                .map(|port| Value::Number(i64::from(port))),
            Kind::Integer => self.integer(node, mode).map(Value::Number),
            Kind::Address => self.address(node),
            Kind::Mark => self.mark(node, mode).map(Value::Mark),
            Kind::Duration => self.duration(node).map(Value::Duration),
            Kind::Timeout => {
                if let Json::Number(literal) = &node.value {
                    return self.seconds(node, literal, mode);
                }
                self.duration(node).map(Value::Duration)
            }
            Kind::Networks => self.networks(node).map(Value::Networks),
            Kind::Strategy => self.strategy(node).map(Value::Strategy),
            Kind::TextArray => match node.items() {
                Some(items) => self.texts(items).map(Value::Texts),
                None => {
                    self.wrong_type(node, "an array of text");
                    None
                }
            },
            Kind::TextList => self.text_list(node).map(Value::Texts),
            Kind::PortList => self.port_list(node, mode).map(Value::Ports),
            Kind::PrefixList => self.prefix_list(node).map(Value::Texts),
            Kind::IdList => self.id_list(node, mode).map(Value::Ids),
            Kind::Headers => self.headers(node).map(Value::Headers),
            Kind::Object(_)
            | Kind::Objects(_)
            | Kind::Variants(_)
            | Kind::Profile
            | Kind::Rules
            | Kind::Other(_) => None,
        }
    }

    fn boolean(&mut self, node: &Node) -> Option<bool> {
        if let Json::Bool(value) = node.value {
            return Some(value);
        }
        self.wrong_type(node, "true or false");
        None
    }

    fn text<'a>(&mut self, node: &'a Node) -> Option<&'a str> {
        let text = node.text();
        if text.is_none() {
            self.wrong_type(node, "text");
        }
        text
    }

    fn port(&mut self, node: &Node, mode: Mode) -> Option<u16> {
        let Json::Number(literal) = &node.value else {
            self.wrong_type(node, PORT);
            return None;
        };
        let port = parse_unsigned(literal, mode == Mode::Typed, u64::from(u16::MAX));
        if port.is_none() {
            self.bad_value(node, literal, PORT);
        }
        port.and_then(|port| u16::try_from(port).ok())
    }

    fn integer(&mut self, node: &Node, mode: Mode) -> Option<i64> {
        let Json::Number(literal) = &node.value else {
            self.wrong_type(node, "a whole number");
            return None;
        };
        let value = parse_integer(literal, mode == Mode::Typed).and_then(|v| v.try_into().ok());
        if value.is_none() {
            self.bad_value(node, literal, "a whole number");
        }
        value
    }

    fn seconds(&mut self, node: &Node, literal: &str, mode: Mode) -> Option<Value> {
        let value: Option<i64> =
            parse_integer(literal, mode == Mode::Typed).and_then(|v| v.try_into().ok());
        let nanos = value.and_then(|seconds| seconds.checked_mul(1_000_000_000));
        if nanos.is_none() {
            self.bad_value(node, literal, "a whole number of seconds below 9223372036");
        }
        nanos.map(Value::Duration)
    }

    fn duration(&mut self, node: &Node) -> Option<i64> {
        let Some(text) = node.text() else {
            self.wrong_type(node, DURATION);
            return None;
        };
        let nanos = parse_duration(text);
        if nanos.is_none() {
            self.bad_value(node, text, DURATION);
        }
        nanos
    }

    fn mark(&mut self, node: &Node, mode: Mode) -> Option<u32> {
        let (text, mark) = match &node.value {
            Json::Number(literal) => {
                let mark = parse_unsigned(literal, mode == Mode::Typed, u64::from(u32::MAX));
                (literal, mark.and_then(|mark| u32::try_from(mark).ok()))
            }
            Json::String(text) => (text, parse_u32(text)),
            Json::Null | Json::Bool(_) | Json::Array { .. } | Json::Object(_) => {
                self.wrong_type(node, MARK);
                return None;
            }
        };
        if mark.is_none() {
            self.bad_value(node, text, MARK);
        }
        mark
    }

    fn address(&mut self, node: &Node) -> Option<Value> {
        let text = self.text(node)?;
        match parse_address(text) {
            Some(ZonedAddress::Plain(ip)) => return Some(Value::Address(ip)),
            Some(ZonedAddress::Zoned) => {
                let kind = ErrorKind::NotSupportedYet {
                    noun: "address with a zone",
                    name: text.to_owned(),
                    instead: None,
                };
                self.problem(node.span, kind);
            }
            None => self.bad_value(node, text, "an IP address"),
        }
        None
    }

    fn networks(&mut self, node: &Node) -> Option<Vec<Network>> {
        let items = node.items().unwrap_or_else(|| core::slice::from_ref(node));
        let mut networks = Vec::new();
        for item in items {
            let network = match &item.value {
                Json::String(name) if name == "tcp" => Network::Tcp,
                Json::String(name) if name == "udp" => Network::Udp,
                Json::String(name) => {
                    self.bad_value(item, name, "`tcp` or `udp`");
                    return None;
                }
                Json::Null
                | Json::Bool(_)
                | Json::Number(_)
                | Json::Array { .. }
                | Json::Object(_) => {
                    self.wrong_type(item, "`tcp`, `udp` or an array of them");
                    return None;
                }
            };
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        Some(networks)
    }

    fn strategy(&mut self, node: &Node) -> Option<DomainStrategy> {
        Some(match self.text(node)? {
            "" | "as_is" => DomainStrategy::AsIs,
            "prefer_ipv4" => DomainStrategy::PreferIpv4,
            "prefer_ipv6" => DomainStrategy::PreferIpv6,
            "ipv4_only" => DomainStrategy::Ipv4Only,
            "ipv6_only" => DomainStrategy::Ipv6Only,
            other => {
                let expected = "`as_is`, `prefer_ipv4`, `prefer_ipv6`, `ipv4_only` or `ipv6_only`";
                self.bad_value(node, other, expected);
                return None;
            }
        })
    }

    /// Items of an array of text, `null` standing for empty text.
    fn texts(&mut self, items: &[Node]) -> Option<Vec<Spanned<String>>> {
        let before = self.problems.len();
        let texts = items
            .iter()
            .filter_map(|item| {
                let value = if item.is_null() { "" } else { self.text(item)? };
                Some(Spanned {
                    value: value.to_owned(),
                    span: item.span,
                })
            })
            .collect();
        (self.problems.len() == before).then_some(texts)
    }

    fn text_list(&mut self, node: &Node) -> Option<Vec<Spanned<String>>> {
        match &node.value {
            Json::Array { items, .. } => self.texts(items),
            Json::String(_) => self.texts(core::slice::from_ref(node)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => {
                self.wrong_type(node, "text or an array of text");
                None
            }
        }
    }

    fn port_list(&mut self, node: &Node, mode: Mode) -> Option<Vec<u16>> {
        let items = match &node.value {
            Json::Array { items, .. } => items.as_slice(),
            Json::Number(_) => core::slice::from_ref(node),
            Json::Null | Json::Bool(_) | Json::String(_) | Json::Object(_) => {
                self.wrong_type(node, "a port or an array of ports");
                return None;
            }
        };
        let before = self.problems.len();
        let ports = items
            .iter()
            .filter_map(|item| {
                if item.is_null() {
                    return Some(0);
                }
                self.port(item, mode)
            })
            .collect();
        (self.problems.len() == before).then_some(ports)
    }

    /// Prefixes in the notation that Go writes; empty text, which it takes for no prefix, stays.
    fn prefix_list(&mut self, node: &Node) -> Option<Vec<Spanned<String>>> {
        let before = self.problems.len();
        let mut texts = self.text_list(node)?;
        for text in texts.iter_mut().filter(|text| !text.value.is_empty()) {
            match parse_prefix(&text.value) {
                Some(prefix) => text.value = prefix.to_string(),
                None => {
                    let (value, expected) = (text.value.clone(), PREFIX);
                    self.problem(text.span, ErrorKind::BadValue { value, expected });
                }
            }
        }
        (self.problems.len() == before).then_some(texts)
    }

    fn id_list(&mut self, node: &Node, mode: Mode) -> Option<Vec<u32>> {
        let items = match &node.value {
            Json::Array { items, .. } => items.as_slice(),
            Json::Number(_) => core::slice::from_ref(node),
            Json::Null | Json::Bool(_) | Json::String(_) | Json::Object(_) => {
                self.wrong_type(node, "a number or an array of numbers");
                return None;
            }
        };
        let before = self.problems.len();
        let ids = items.iter().filter_map(|item| self.id(item, mode));
        let ids = ids.collect();
        (self.problems.len() == before).then_some(ids)
    }

    /// A number of 32 bits; `null` in a list is 0, as for ports.
    fn id(&mut self, node: &Node, mode: Mode) -> Option<u32> {
        let literal = match &node.value {
            Json::Null => return Some(0),
            Json::Number(literal) => literal,
            Json::Bool(_) | Json::String(_) | Json::Array { .. } | Json::Object(_) => {
                self.wrong_type(node, ID);
                return None;
            }
        };
        let id = parse_unsigned(literal, mode == Mode::Typed, u64::from(u32::MAX));
        if id.is_none() {
            self.bad_value(node, literal, ID);
        }
        id.and_then(|id| u32::try_from(id).ok())
    }

    fn headers(&mut self, node: &Node) -> Option<Vec<(String, Option<Vec<String>>)>> {
        let Some(members) = node.members() else {
            self.wrong_type(node, "an object of names with text or an array of text");
            return None;
        };
        let before = self.problems.len();
        let mut headers = Vec::new();
        for member in last_of_each(members) {
            if member.value.is_empty() {
                continue;
            }
            let values = if member.value.is_null() {
                None
            } else {
                let texts = self.text_list(&member.value).into_iter().flatten();
                Some(texts.map(|text| text.value).collect())
            };
            headers.push((member.key.clone(), values));
        }
        (self.problems.len() == before).then_some(headers)
    }
}
