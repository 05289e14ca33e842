//! Clients nobody here wrote on our server.
use crate::configs::{USER, sing_box_client, xray_client};
use sansbox_tests::{
    body::{self, digest},
    json,
    origin::{tcp, udp},
    peers::{Peer, need, sing_box, xray},
    ports::free_port,
    proxy::{Proxy, upstream},
    socks::{self, Association, Destination},
};
use std::{net::Shutdown, thread};

const LEN: u64 = 3_000_000;

/// Sends LEN bytes in at the peer, through the program under test, and back.
fn assert_carries(peer: &Peer, proxy: &Proxy, what: &str) {
    let origin = tcp::echo(tcp::listener());
    let by_name = Destination::from(("localhost", origin.addr().port()));
    for to in [origin.addr().into(), by_name] {
        let stream = socks::open(peer.addr(), None, to.clone());
        let mut stream = stream.unwrap_or_else(|code| {
            panic!(
                "{what} to {to:?}: reply {code}\n{}\n-- peer --\n{}",
                proxy.log(),
                peer.process.log()
            )
        });
        let mut writer = stream.try_clone().expect("clone");
        let sender = thread::spawn(move || {
            body::write(&mut writer, LEN).expect("send");
            writer
        });
        let mut reader = std::io::Read::take(&mut stream, LEN);
        let got = body::digest_of(&mut reader).expect("receive");
        assert_eq!(got, digest(LEN), "{what} to {to:?}\n{}", proxy.log());
        let writer = sender.join().expect("all was sent");
        let _ = writer.shutdown(Shutdown::Both);
    }
}

fn assert_echoes(peer: &Peer, proxy: &Proxy, what: &str) {
    let origin = udp::echo(udp::socket());
    let association = Association::open(peer.addr(), None);
    for len in [5, 512, 1200] {
        let content = body::bytes(len);
        let (_, back) = association.ask(&origin.addr().into(), &content);
        assert!(
            back == content,
            "{what}, {len} bytes of UDP\n{}",
            proxy.log()
        );
    }
}

#[test]
fn xray_speaks_to_each_inbound() {
    let Some(program) = need("xray") else { return };
    for (protocol, kind) in [
        ("socks", "socks"),
        ("http", "http"),
        ("socks", "mixed"),
        ("http", "mixed"),
    ] {
        for user in [None, Some(USER)] {
            let users: Vec<_> = user.into_iter().collect();
            let proxy = Proxy::inbound(kind, &users);
            let port = free_port();
            let config = xray_client(port, protocol, proxy.port(), user);
            let peer = xray(&program, port, &config);
            let what = format!("xray {protocol} to {kind}, user {}", user.is_some());
            assert_carries(&peer, &proxy, &what);
            if protocol == "socks" {
                assert_echoes(&peer, &proxy, &what);
            }
        }
    }
}

#[test]
fn sing_box_speaks_to_each_inbound() {
    let Some(program) = need("sing-box") else {
        return;
    };
    for (protocol, version, kind) in [
        ("socks", "5", "socks"),
        ("socks", "4", "mixed"),
        ("socks", "4a", "mixed"),
        ("socks", "5", "mixed"),
        ("http", "", "http"),
        ("http", "", "mixed"),
    ] {
        for user in [None, Some(USER)] {
            if version.starts_with('4') && user.is_some() {
                continue;
            }
            let users: Vec<_> = user.into_iter().collect();
            let proxy = Proxy::inbound(kind, &users);
            let mut outbound = upstream(protocol, proxy.port(), user);
            if !version.is_empty() {
                outbound["version"] = json!(version);
            }
            let port = free_port();
            let peer = sing_box(&program, port, &sing_box_client(port, &outbound));
            let what = format!("sing-box {protocol}{version} to {kind}");
            assert_carries(&peer, &proxy, &what);
            if version == "5" {
                assert_echoes(&peer, &proxy, &what);
            }
        }
    }
}
