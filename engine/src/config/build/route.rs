//! `route`.
use super::{Builder, take_bool, take_mark, take_records, take_string, take_text, take_texts};
use crate::config::{
    error::ErrorKind,
    model::{
        Condition, Fields, IpVersion, Network, PortRange, RejectMethod, Route, Rule, RuleAction,
        Spanned,
    },
    schema::{Record, Value, parse_prefix as parse_whole_prefix},
};
use core::net::IpAddr;
use ipnet::IpNet;

const AUTO_DETECT: &str = "auto_detect_interface";

impl Builder<'_> {
    pub(super) fn route(&mut self, record: &mut Record) -> Route {
        let rules = take_records(record, "rules");
        if !record.text("default_interface").is_empty() && record.is_true(AUTO_DETECT) {
            let reason = "`default_interface` counts before it";
            self.no_effect(record, &[AUTO_DETECT], reason);
        }
        Route {
            rules: rules.into_iter().filter_map(|r| self.rule(r)).collect(),
            final_outbound: take_text(record, "final"),
            auto_detect_interface: take_bool(record, AUTO_DETECT),
            default_interface: take_string(record, "default_interface"),
            default_mark: take_mark(record, "default_mark"),
        }
    }

    fn rule(&mut self, mut record: Record) -> Option<Rule> {
        if record.broken {
            return None;
        }
        let action = self.action(&mut record);
        let condition = self.condition(&mut record)?;
        self.all_taken(&record);
        Some(Rule {
            span: record.span,
            condition,
            action,
        })
    }

    fn action(&mut self, record: &mut Record) -> RuleAction {
        if take_string(record, "action").as_deref() == Some("reject") {
            return RuleAction::Reject {
                method: match take_string(record, "method").as_deref() {
                    Some("drop") => RejectMethod::Drop,
                    _ => RejectMethod::Default,
                },
                no_drop: take_bool(record, "no_drop"),
            };
        }
        let outbound = take_text(record, "outbound").unwrap_or_else(|| {
            let key = "outbound";
            self.tolerable(record.span, ErrorKind::MissingField { key });
            Spanned {
                value: String::new(),
                span: record.span,
            }
        });
        RuleAction::Route { outbound }
    }

    fn condition(&mut self, record: &mut Record) -> Option<Condition> {
        if take_string(record, "type").is_some() {
            return self.logical(record);
        }
        Some(Condition::Default(Box::new(self.fields(record))))
    }

    fn logical(&mut self, record: &mut Record) -> Option<Condition> {
        let mode = take_text(record, "mode");
        let invert = take_bool(record, "invert");
        let inner = take_records(record, "rules");
        if inner.is_empty() {
            self.problem(record.span, ErrorKind::MissingField { key: "rules" });
        }
        let rules = inner
            .into_iter()
            .filter_map(|mut rule| {
                let action = ["action", "outbound", "method", "no_drop"];
                self.no_effect(&rule, &action, "only the outermost rule acts");
                for key in action {
                    rule.take(key);
                }
                let condition = self.condition(&mut rule)?;
                self.all_taken(&rule);
                Some(condition)
            })
            .collect();
        let all = match mode.as_ref().map_or("", |mode| &mode.value) {
            "and" => true,
            "or" => false,
            "" => {
                self.problem(record.span, ErrorKind::MissingField { key: "mode" });
                return None;
            }
            other => {
                let span = mode.as_ref().map_or(record.span, |mode| mode.span);
                self.bad_value(span, other, "`and` or `or`");
                return None;
            }
        };
        Some(Condition::Logical { all, rules, invert })
    }

    fn fields(&mut self, record: &mut Record) -> Fields {
        Fields {
            inbound: some(take_texts(record, "inbound")),
            ip_version: self.ip_version(record),
            network: self.network(record),
            auth_user: self.names(record, "auth_user", true),
            domain: self.names(record, "domain", false),
            domain_suffix: self.names(record, "domain_suffix", false),
            domain_keyword: self.names(record, "domain_keyword", true),
            domain_regex: some(take_texts(record, "domain_regex")),
            source_ip_cidr: self.list(record, "source_ip_cidr", "an IP prefix", parse_prefix),
            source_ip_is_private: take_bool(record, "source_ip_is_private"),
            ip_cidr: self.list(record, "ip_cidr", "an IP prefix", parse_prefix),
            ip_is_private: take_bool(record, "ip_is_private"),
            source_port: take_ports(record, "source_port"),
            source_port_range: self.list(record, "source_port_range", RANGE, parse_range),
            port: take_ports(record, "port"),
            port_range: self.list(record, "port_range", RANGE, parse_range),
            invert: take_bool(record, "invert"),
        }
    }

    fn ip_version(&mut self, record: &mut Record) -> Option<IpVersion> {
        let field = record.take("ip_version")?;
        let Value::Number(number) = field.value else {
            return None;
        };
        match number {
            0 => None,
            4 => Some(IpVersion::V4),
            6 => Some(IpVersion::V6),
            other => {
                self.bad_value(field.span, &other.to_string(), "4 or 6");
                None
            }
        }
    }

    /// `network`: a name that no connection has makes sing-box's rule never match. Lenient reading
    /// keeps that: the list is then shorter, and may be empty.
    fn network(&mut self, record: &mut Record) -> Option<Vec<Network>> {
        let names = some(take_texts(record, "network"))?;
        let networks = names.into_iter().filter_map(|name| match &*name.value {
            "tcp" => Some(Network::Tcp),
            "udp" => Some(Network::Udp),
            _ => {
                let (value, expected) = (name.value, "`tcp` or `udp`");
                self.tolerable(name.span, ErrorKind::BadValue { value, expected });
                None
            }
        });
        Some(networks.collect())
    }

    fn names(&mut self, record: &mut Record, key: &str, empty: bool) -> Option<Vec<String>> {
        let expected = "a name: it is empty";
        self.list(record, key, expected, |text| {
            (empty || !text.is_empty()).then(|| text.to_owned())
        })
    }

    /// A list of text that is read further; none when absent or empty.
    fn list<T>(
        &mut self,
        record: &mut Record,
        key: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let texts = some(take_texts(record, key))?;
        let mut list = Vec::with_capacity(texts.len());
        for text in texts {
            match parse(&text.value) {
                Some(item) => list.push(item),
                None => self.bad_value(text.span, &text.value, expected),
            }
        }
        Some(list)
    }
}

const RANGE: &str = "a range of ports such as `1000:2000`, `:3000` or `4000:`";

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn take_ports(record: &mut Record, key: &str) -> Option<Vec<u16>> {
    let Value::Ports(ports) = record.take(key)?.value else {
        return None;
    };
    some(ports)
}

/// `10.0.0.0/8`, or an address, which is a prefix of full length. Bits beyond the length are
/// cleared.
fn parse_prefix(text: &str) -> Option<IpNet> {
    match text.contains('/') {
        true => parse_whole_prefix(text).map(|net| net.trunc()),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

fn parse_range(text: &str) -> Option<PortRange> {
    let port = |text: &str, absent: u16| match text {
        "" => Some(absent),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    let (start, end) = text.split_once(':')?;
    Some(PortRange {
        start: port(start, 0)?,
        end: port(end, u16::MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_as_go_reads_them() {
        for (text, want) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("fd00::/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.0/33", None),
            ("10.0.0.0/08", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("/8", None),
            ("10.0.0/8", None),
            ("nope", None),
            ("", None),
        ] {
            let net = parse_prefix(text).map(|net| net.to_string());
            assert_eq!(net.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn port_ranges_may_be_open() {
        for (text, want) in [
            ("1000:2000", Some((1000, 2000))),
            (":3000", Some((0, 3000))),
            ("4000:", Some((4000, 65535))),
            (":", Some((0, 65535))),
            ("2:1", Some((2, 1))),
            ("1-2", None),
            ("1", None),
            ("1:2:3", None),
            ("+1:2", None),
            ("1:65536", None),
            ("", None),
        ] {
            let range = parse_range(text).map(|range| (range.start, range.end));
            assert_eq!(range, want, "{text}");
        }
    }
}
