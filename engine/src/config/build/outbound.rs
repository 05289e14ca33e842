//! `outbounds`.
use super::{
    Builder,
    inbound::{take_address, take_networks},
    tags::tag_of,
    take_bool, take_mark, take_port, take_string, take_text, take_texts, take_tristate,
};
use crate::config::{
    error::{ErrorKind, WarningKind},
    model::{Dial, DomainStrategy, Outbound, OutboundKind, SocksVersion, Span, Spanned, User},
    schema::{Record, Value},
};
use core::net::IpAddr;
use sansbox_core::{Host, Target};

/// Longest name and password that SOCKS5 can carry (RFC 1929 section 2), in bytes.
const SOCKS_LOGIN_LEN_MAX: usize = 255;

/// Dial keys that are about sockets of the outbound's own.
const SOCKET_KEYS: [&str; 8] = [
    "bind_interface",
    "inet4_bind_address",
    "inet6_bind_address",
    "routing_mark",
    "reuse_addr",
    "connect_timeout",
    "udp_fragment",
    "fallback_delay",
];

/// Dial keys that a paniq outbound cannot use.
const NOT_FOR_PANIQ: [(&str, &str); 2] = [
    (
        "detour",
        "tunnels through another outbound are not supported yet",
    ),
    (
        "fallback_delay",
        "a tunnel is dialled to one address at a time",
    ),
];

impl Builder<'_> {
    pub(super) fn outbound(&mut self, mut record: Record, index: usize) -> Option<Outbound> {
        if record.broken {
            return None;
        }
        let tag = tag_of(&record, index);
        record.take("tag");
        let name = take_text(&mut record, "type");
        if name.as_ref().is_some_and(|name| name.value == "paniq") {
            self.unusable(&record, &NOT_FOR_PANIQ);
        }
        let dial = self.dial(&mut record);
        let kind = match name.as_ref().map_or("", |name| &name.value) {
            "direct" => Some(OutboundKind::Direct),
            "block" => {
                let span = name.map_or(record.span, |name| name.span);
                self.warnings.push((block_is_deprecated(), span));
                Some(OutboundKind::Block)
            }
            "socks" => self.socks(&mut record),
            "http" => self.http(&mut record),
            "paniq" => {
                let paniq = self.paniq_outbound(&mut record);
                paniq.map(|paniq| OutboundKind::Paniq(Box::new(paniq)))
            }
            _ => self.selector(&mut record),
        }?;
        self.all_taken(&record);
        Some(Outbound {
            tag,
            span: record.span,
            dial,
            kind,
        })
    }

    fn dial(&mut self, record: &mut Record) -> Dial {
        if !record.text("detour").is_empty() {
            self.no_effect(record, &SOCKET_KEYS, "`detour` opens the connections");
        }
        let inet4 = self.bind_address(record, "inet4_bind_address", "an IPv4 address");
        let inet6 = self.bind_address(record, "inet6_bind_address", "an IPv6 address");
        Dial {
            detour: take_text(record, "detour"),
            bind_interface: take_string(record, "bind_interface"),
            auto_detect_interface: false,
            inet4_bind_address: match inet4 {
                Some(IpAddr::V4(ip)) => Some(ip),
                Some(IpAddr::V6(_)) | None => None,
            },
            inet6_bind_address: match inet6 {
                Some(IpAddr::V6(ip)) => Some(ip),
                Some(IpAddr::V4(_)) | None => None,
            },
            routing_mark: take_mark(record, "routing_mark"),
            reuse_addr: take_bool(record, "reuse_addr"),
            connect_timeout: self.take_duration(record, "connect_timeout"),
            udp_fragment: take_tristate(record, "udp_fragment"),
            domain_strategy: match record.take("domain_strategy").map(|field| field.value) {
                Some(Value::Strategy(strategy)) => strategy,
                _ => DomainStrategy::AsIs,
            },
            fallback_delay: self.take_duration(record, "fallback_delay"),
        }
    }

    fn bind_address(
        &mut self,
        record: &mut Record,
        key: &str,
        expected: &'static str,
    ) -> Option<IpAddr> {
        let span = record
            .fields
            .iter()
            .find(|field| field.row.key == key)?
            .span;
        let ip = take_address(record, key)?;
        if ip.is_ipv4() != key.starts_with("inet4") {
            self.bad_value(span, &ip.to_string(), expected);
        }
        Some(ip)
    }

    pub(super) fn host(&mut self, text: &Spanned<String>) -> Option<Host> {
        let host = Host::parse(text.value.as_bytes());
        if host.is_err() {
            self.bad_value(text.span, &text.value, "an IP address or a domain name");
        }
        host.ok()
    }

    /// `server` and `server_port`.
    fn server(&mut self, record: &mut Record) -> Option<Target> {
        let port = take_port(record, "server_port");
        let Some(server) = take_text(record, "server") else {
            self.problem(record.span, ErrorKind::MissingField { key: "server" });
            return None;
        };
        let host = self.host(&server)?;
        if port.is_none() {
            let key = "server_port";
            self.tolerable(record.span, ErrorKind::MissingField { key });
        }
        Some(Target::new(host, port.unwrap_or(0)))
    }

    fn socks(&mut self, record: &mut Record) -> Option<OutboundKind> {
        let version = take_text(record, "version");
        let version = match version.as_ref().map_or("5", |version| &version.value) {
            "4" => Some(SocksVersion::V4),
            "4a" => Some(SocksVersion::V4a),
            "5" => Some(SocksVersion::V5),
            other => {
                let span = version.as_ref().map_or(record.span, |version| version.span);
                self.bad_value(span, other, "`4`, `4a` or `5`");
                None
            }
        };
        let user = take_user(record);
        if let Some(user) = &user {
            for (key, text) in [("username", &user.username), ("password", &user.password)] {
                if text.len() > SOCKS_LOGIN_LEN_MAX {
                    self.bad_value(record.span, key, "short enough for SOCKS (255 bytes)");
                }
            }
        }
        let network = take_networks(record, "network");
        let server = self.server(record);
        Some(OutboundKind::Socks {
            server: server?,
            version: version?,
            user,
            network,
        })
    }

    fn http(&mut self, record: &mut Record) -> Option<OutboundKind> {
        let user = take_user(record);
        let path = take_text(record, "path");
        if let Some(path) = &path
            && path.value.bytes().any(|b| b <= b' ' || b == 0x7f)
        {
            self.bad_value(path.span, &path.value, "a path without spaces");
        }
        let field = record.take("headers");
        let span = field.as_ref().map_or(record.span, |field| field.span);
        let headers = match field.map(|field| field.value) {
            Some(Value::Headers(headers)) => self.headers(headers, span),
            _ => Vec::new(),
        };
        Some(OutboundKind::Http {
            server: self.server(record)?,
            user,
            path: path.map(|path| path.value).unwrap_or_default(),
            headers,
        })
    }

    fn headers(
        &mut self,
        headers: Vec<(String, Option<Vec<String>>)>,
        span: Span,
    ) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (name, values) in headers {
            if name.is_empty() || !name.bytes().all(is_token) {
                self.bad_value(span, &name, "a header name");
            }
            for value in values.unwrap_or_default() {
                if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
                    self.bad_value(span, &name, "a header with a value of one line");
                }
                out.push((name.clone(), value));
            }
        }
        out
    }

    fn selector(&mut self, record: &mut Record) -> Option<OutboundKind> {
        let outbounds = take_texts(record, "outbounds");
        let default = take_text(record, "default");
        let interrupt_exist_connections = take_bool(record, "interrupt_exist_connections");
        if outbounds.is_empty() {
            let key = "outbounds";
            self.problem(record.span, ErrorKind::MissingField { key });
            return None;
        }
        if let Some(default) = &default
            && !outbounds.iter().any(|tag| tag.value == default.value)
        {
            let tag = default.value.clone();
            self.problem(default.span, ErrorKind::NotAMember { tag });
        }
        Some(OutboundKind::Selector {
            outbounds,
            default,
            interrupt_exist_connections,
        })
    }
}

fn block_is_deprecated() -> WarningKind {
    WarningKind::Deprecated {
        noun: "outbound type",
        name: "block".to_owned(),
        advice: "use a rule with \"action\": \"reject\"",
    }
}

fn take_user(record: &mut Record) -> Option<User> {
    let username = take_string(record, "username");
    let password = take_string(record, "password");
    (username.is_some() || password.is_some()).then(|| User {
        username: username.unwrap_or_default(),
        password: password.unwrap_or_default(),
    })
}

/// A byte of a token (RFC 9110 section 5.6.2), which is what header names are.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
