//! Each field by itself: what it matches and what it does not.
use super::*;

fn range(start: u16, end: u16) -> Option<Vec<PortRange>> {
    Some(vec![PortRange { start, end }])
}

fn example() -> Request {
    Request::default()
}

fn six() -> Request {
    Request::to("2001:db8::1")
}

fn four() -> Request {
    Request::to("10.0.0.1")
}

fn udp() -> Request {
    Request {
        network: Network::Udp,
        ..example()
    }
}

fn nobody() -> Request {
    Request {
        user: None,
        ..example()
    }
}

fn public() -> Request {
    Request {
        source: "[::ffff:8.8.8.8]:9",
        ..example()
    }
}

/// A condition, a request that it matches, and one that it does not; inverted the other way round.
fn check<const N: usize>(table: [(Condition, Request, Request); N]) {
    for (condition, matching, other) in table {
        assert!(matching.is_match(&condition), "{condition:?}");
        assert!(!other.is_match(&condition), "{condition:?}");
        let Condition::Default(fields) = condition else {
            panic!("a rule of fields")
        };
        let inverted = plain(Fields {
            invert: true,
            ..*fields
        });
        assert!(!matching.is_match(&inverted), "{inverted:?}");
        assert!(other.is_match(&inverted), "{inverted:?}");
    }
}

#[test]
fn where_it_came_in() {
    check([
        (
            fields!(inbound: Some(vec![at("t1".into(), 0)])),
            example(),
            Request {
                inbound: 2,
                ..example()
            },
        ),
        (fields!(ip_version: Some(IpVersion::V4)), four(), six()),
        (
            fields!(ip_version: Some(IpVersion::V4)),
            Request::to("::ffff:a00:1"),
            example(),
        ),
        (fields!(ip_version: Some(IpVersion::V6)), six(), four()),
        (fields!(ip_version: Some(IpVersion::V6)), six(), example()),
        (fields!(network: Some(vec![Network::Tcp])), example(), udp()),
        (fields!(network: Some(vec![Network::Udp])), udp(), example()),
        (
            fields!(auth_user: texts(&["bob", "alice"])),
            example(),
            nobody(),
        ),
        (
            fields!(auth_user: texts(&["Alice", ""])),
            nobody(),
            example(),
        ),
    ]);
}

#[test]
fn names() {
    check([
        (
            fields!(domain: texts(&["www.example.com"])),
            Request::to("WWW.example.COM"),
            Request::to("example.com"),
        ),
        (
            fields!(domain: texts(&["www.example.com"])),
            example(),
            Request::to("www.example.com."),
        ),
        (
            fields!(domain_suffix: texts(&["example.com"])),
            example(),
            Request::to("notexample.com"),
        ),
        (
            fields!(domain_suffix: texts(&[".example.com"])),
            example(),
            Request::to("example.com"),
        ),
        (
            fields!(domain_keyword: texts(&["amp"])),
            example(),
            Request::to("a.mp"),
        ),
        (fields!(domain_keyword: texts(&[""])), example(), four()),
        (
            fields!(domain_regex: Some(vec![at("^w+\\.".into(), 0)])),
            example(),
            Request::to("ww-w.de"),
        ),
    ]);
}

#[test]
fn addresses_and_ports() {
    check([
        (
            fields!(source_ip_cidr: nets(&["127.0.0.0/8"])),
            example(),
            public(),
        ),
        (
            fields!(source_ip_cidr: nets(&["8.8.8.8/32"])),
            public(),
            example(),
        ),
        (fields!(source_ip_is_private: true), example(), public()),
        (
            fields!(ip_cidr: nets(&["10.0.0.0/8", "::1/128"])),
            Request::to("::ffff:10.0.0.1"),
            Request::to("11.0.0.0"),
        ),
        (
            fields!(ip_cidr: nets(&["0.0.0.0/0", "::/0"])),
            four(),
            example(),
        ),
        (fields!(ip_is_private: true), four(), Request::to("8.8.8.8")),
        (fields!(source_port: Some(vec![4000])), example(), public()),
        (
            fields!(source_port_range: range(3999, 4000)),
            example(),
            public(),
        ),
        (
            fields!(port: Some(vec![443])),
            example(),
            Request {
                port: 444,
                ..example()
            },
        ),
        (
            fields!(port_range: range(0, 443)),
            example(),
            Request {
                port: 444,
                ..example()
            },
        ),
    ]);
}
