//! Our socks outbound carrying UDP through servers nobody here wrote.
use crate::configs::{USER, sing_box_server, xray_server};
use sansbox_tests::{
    Value, body,
    origin::{dns, udp},
    peers::{Peer, danted, dnsmasq, need, sing_box, xray},
    ports::free_port,
    proxy::{Proxy, upstream},
    socks::{Association, Destination},
};
use std::net::Ipv4Addr;

fn assert_carries(outbound: Value, peer: &Peer, what: &str) {
    let proxy = Proxy::through(outbound);
    let association = Association::open(proxy.addr(), None);
    let origin = udp::echo(udp::socket());
    let other = udp::echo(udp::socket());
    for len in [5, 100, 512, 1200, 1400] {
        for to in [origin.addr(), other.addr()] {
            let content = body::bytes(len);
            let (from, back) = association.ask(&to.into(), &content);
            assert_eq!(from, to.into(), "{what}: source of the answer");
            assert!(
                back == content,
                "{what}, {len} bytes\n{}\n-- peer --\n{}",
                proxy.log(),
                peer.process.log()
            );
        }
    }
    let ip = Ipv4Addr::new(192, 0, 2, 99);
    let responder = dns::responder(ip);
    let to = Destination::from(responder.addr());
    let (_, answer) = association.ask(&to, &dns::query(7, "c.test"));
    assert_eq!(dns::address(&answer, 7), Some(ip), "{what}: DNS");
}

#[test]
fn dante_carries_udp() {
    let Some(program) = need("danted") else {
        return;
    };
    let peer = danted(&program);
    assert_carries(upstream("socks", peer.port, None), &peer, "dante");
}

#[test]
fn xray_carries_udp() {
    let Some(program) = need("xray") else { return };
    for user in [None, Some(USER)] {
        let port = free_port();
        let peer = xray(&program, port, &xray_server("socks", port, user));
        assert_carries(upstream("socks", port, user), &peer, "xray");
    }
}

#[test]
fn sing_box_carries_udp() {
    let Some(program) = need("sing-box") else {
        return;
    };
    for user in [None, Some(USER)] {
        let port = free_port();
        let peer = sing_box(&program, port, &sing_box_server("mixed", port, user));
        assert_carries(upstream("socks", port, user), &peer, "sing-box");
    }
}

#[test]
fn dns_from_dnsmasq_comes_back_through_xray() {
    let (Some(program), Some(server)) = (need("xray"), need("dnsmasq")) else {
        return;
    };
    let ip = Ipv4Addr::new(192, 0, 2, 98);
    let server = dnsmasq(&server, "d.test", ip);
    let port = free_port();
    let _peer = xray(&program, port, &xray_server("socks", port, None));
    let proxy = Proxy::through(upstream("socks", port, None));
    let association = Association::open(proxy.addr(), None);
    let (_, answer) = association.ask(&server.addr().into(), &dns::query(8, "d.test"));
    assert_eq!(dns::address(&answer, 8), Some(ip));
}
