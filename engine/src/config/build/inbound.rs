//! `inbounds`.
use super::{
    Builder, tags::tag_of, take_bool, take_mark, take_port, take_records, take_string, take_text,
    take_tristate,
};
use crate::config::{
    model::{Inbound, InboundKind, Listen, Network, Networks, User},
    schema::{Record, Value},
};
use core::net::IpAddr;
use sansbox_core::Host;

/// Listen keys that a paniq inbound cannot use.
const NOT_FOR_PANIQ: [(&str, &str); 4] = [
    ("tcp_keep_alive", "a paniq inbound listens on UDP"),
    ("tcp_keep_alive_interval", "a paniq inbound listens on UDP"),
    ("udp_timeout", "the profile's quic.idle_timeout says it"),
    ("sansbox_allow_public", "whoever has the profile is served"),
];

impl Builder<'_> {
    pub(super) fn inbound(&mut self, mut record: Record, index: usize) -> Option<Inbound> {
        if record.broken {
            return None;
        }
        let tag = tag_of(&record, index);
        record.take("tag");
        let name = take_string(&mut record, "type").unwrap_or_default();
        if name == "paniq" {
            self.unusable(&record, &NOT_FOR_PANIQ);
        }
        if name == "tun" {
            let tun = self.tun_inbound(&mut record);
            self.all_taken(&record);
            return Some(Inbound {
                tag,
                span: record.span,
                listen: Listen::default(),
                kind: InboundKind::Tun(Box::new(tun)),
            });
        }
        let listen = self.listen(&mut record);
        let kind = match name.as_str() {
            "socks" => InboundKind::Socks {
                users: users(&mut record),
            },
            "http" => InboundKind::Http {
                users: users(&mut record),
            },
            "mixed" => InboundKind::Mixed {
                users: users(&mut record),
            },
            "paniq" => InboundKind::Paniq(Box::new(self.paniq_inbound(&mut record)?)),
            _ => self.direct_inbound(&mut record),
        };
        self.all_taken(&record);
        Some(Inbound {
            tag,
            span: record.span,
            listen,
            kind,
        })
    }

    fn listen(&mut self, record: &mut Record) -> Listen {
        let absent = Listen::default();
        Listen {
            listen: take_address(record, "listen").unwrap_or(absent.listen),
            listen_port: take_port(record, "listen_port").unwrap_or(absent.listen_port),
            bind_interface: take_string(record, "bind_interface"),
            routing_mark: take_mark(record, "routing_mark"),
            reuse_addr: take_bool(record, "reuse_addr"),
            tcp_keep_alive: self.take_duration(record, "tcp_keep_alive"),
            tcp_keep_alive_interval: self.take_duration(record, "tcp_keep_alive_interval"),
            udp_fragment: take_tristate(record, "udp_fragment"),
            udp_timeout: self.take_duration(record, "udp_timeout"),
            allow_public: take_bool(record, "sansbox_allow_public"),
        }
    }

    fn direct_inbound(&mut self, record: &mut Record) -> InboundKind {
        let address = take_text(record, "override_address");
        InboundKind::Direct {
            network: take_networks(record, "network"),
            override_address: address.and_then(|text| {
                let host = Host::parse(text.value.as_bytes());
                if host.is_err() {
                    self.bad_value(text.span, &text.value, "an IP address or a domain name");
                }
                host.ok()
            }),
            override_port: take_port(record, "override_port"),
        }
    }
}

fn users(record: &mut Record) -> Vec<User> {
    let records = take_records(record, "users").into_iter();
    records
        .map(|mut user| User {
            username: take_string(&mut user, "Username").unwrap_or_default(),
            password: take_string(&mut user, "Password").unwrap_or_default(),
        })
        .collect()
}

pub(super) fn take_address(record: &mut Record, key: &str) -> Option<IpAddr> {
    let Value::Address(ip) = record.take(key)?.value else {
        return None;
    };
    Some(ip)
}

/// A list of networks; both when absent or empty.
pub(super) fn take_networks(record: &mut Record, key: &str) -> Networks {
    match record.take(key).map(|field| field.value) {
        Some(Value::Networks(list)) if !list.is_empty() => Networks {
            tcp: list.contains(&Network::Tcp),
            udp: list.contains(&Network::Udp),
        },
        _ => Networks::BOTH,
    }
}
