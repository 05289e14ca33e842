//! `proxy.json`: requests as a Go client builds them, replies as it reads them.
use super::{Differences, list, number, octets, size, text, vectors};
use bytes::BytesMut;
use sansbox_core::{Host, Target};
use sansbox_protocols::{
    paniq::proxy::wire::{Malformed, Reply, Request},
    socks::wire::{Address, Name, Short},
};
use std::net::IpAddr;

/// Host and port as Go's `net.SplitHostPort` and `Atoi` take them apart, the port modulo 65536.
/// What has no port, or brackets in its host, is an error there and no address here.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port: i64 = port.parse().unwrap();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.contains(['[', ']']) {
        return None;
    }
    let port = u16::try_from(port.rem_euclid(65_536)).unwrap();
    Some((host, port))
}

#[test]
fn requests_are_built_as_in_go() {
    for case in list(&vectors("proxy.json"), "proxy_request") {
        let Some((host, port)) = split(text(case, "address")) else {
            assert!(case.get("error").is_some(), "{case}");
            continue;
        };
        let name = match host.parse::<IpAddr>() {
            Ok(ip) => Name::Ip(ip.to_canonical()),
            Err(_) => Name::Domain(Short::new(host.as_bytes()).unwrap()),
        };
        let request = Request {
            address: Address { name, port },
        };
        let mut out = BytesMut::new();
        request.emit(&mut out);
        assert_eq!(out, octets(case, "request"), "{case}");
        assert_eq!(Request::parse(&out), Ok(Some((request, out.len()))));
    }
}

/// Targets that ours never asks for, and why.
const DIFFERENT_TARGETS: [(&str, &str); 7] = [
    (
        ":80",
        "an empty name, with which a Go server dials itself (10.13)",
    ),
    ("[fe80::1%eth0]:1", "a zone means nothing on another host"),
    ("[a:b]:80", "no name"),
    ("ex ample:1", "no name"),
    ("1.2.3:80", "a mistyped address"),
    ("01.2.3.4:80", "a mistyped address"),
    ("例え.jp:1", "a name that its owner has not encoded"),
];

#[test]
fn targets_are_asked_for_as_in_go() {
    let mut differences = Differences::new(&DIFFERENT_TARGETS);
    for case in list(&vectors("proxy.json"), "proxy_request") {
        let address = text(case, "address");
        let Some((host, port)) = split(address) else {
            continue;
        };
        let target = Host::parse(host.as_bytes()).map(|host| Target::new(host, port));
        let ours = target.map(|target| {
            let mut out = BytesMut::new();
            Request::from(&target).emit(&mut out);
            out.to_vec()
        });
        differences.check(address, &ours, &Ok(octets(case, "request")));
    }
    differences.finish();
}

#[test]
fn replies_are_read_as_in_go() {
    for case in list(&vectors("proxy.json"), "proxy_reply") {
        let bytes = octets(case, "bytes");
        let ours = Reply::parse(&bytes);
        if let Some(error) = case.get("error").map(|error| error.as_str().unwrap()) {
            match ours {
                // What ends early: more would have to come.
                Ok(None) => assert!(error.ends_with("EOF"), "{case}"),
                Err(Malformed::Version(2)) => {
                    assert_eq!(error, "unsupported proxy version: 2");
                }
                Err(Malformed::AddressType) => assert_eq!(error, "unsupported address type"),
                other => panic!("{case}: {other:?}"),
            }
            continue;
        }
        let (reply, len) = ours.unwrap().unwrap();
        assert_eq!(u64::from(reply.status.octet()), number(case, "status"));
        assert_eq!(u64::from(reply.address.port), number(case, "port"));
        assert_eq!(bytes.len() - len, size(case, "left"), "{case}");
        let (atyp, address) = match reply.address.name {
            Name::Ip(IpAddr::V4(ip)) => (1, ip.octets().to_vec()),
            Name::Ip(IpAddr::V6(ip)) => (4, ip.octets().to_vec()),
            // The vectors show a name with its length in front.
            Name::Domain(name) => {
                let len = u8::try_from(name.as_bytes().len()).unwrap();
                (3, [&[len], name.as_bytes()].concat())
            }
        };
        assert_eq!(atyp, number(case, "atyp"), "{case}");
        assert_eq!(address, octets(case, "addr"), "{case}");
    }
}
