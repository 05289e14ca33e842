//! UDP through a tunnel between two daemons, where both profiles announce it.
use sansbox_tests::{
    body,
    origin::{dns, tcp, udp},
    peers::{dnsmasq, need},
    ports::free_port,
    proxy::{Proxy, config, direct, inbound},
    socks::{Association, Destination, open},
    wire::read_exact,
};
use serde_json::{Value, json};
use std::{io::Write as _, net::Ipv4Addr, thread, time::Duration};

/// How long to wait for a datagram that must not come.
const NOTHING: Duration = Duration::from_millis(600);

/// What a profile says of datagrams, and how far a server's clients reach.
#[derive(Clone, Copy)]
struct Case {
    client: bool,
    server: bool,
    allow_private: bool,
}

impl Case {
    const GOOD: Self = Self {
        client: true,
        server: true,
        allow_private: true,
    };
}

fn profile(port: u16, has_datagrams: bool) -> Value {
    let mut profile = json!({
        "proxy_addr": format!("127.0.0.1:{port}"),
        "obfuscation": { "i1": "<t>", "s4": 8 },
    });
    if has_datagrams {
        profile["sansbox_udp"] = true.into();
    }
    profile
}

/// A server, and a client with a mixed inbound.
fn tunnel(case: Case) -> (Proxy, Proxy) {
    let port = free_port();
    let listener = json!({
        "type": "paniq", "tag": "in", "listen": "127.0.0.1", "listen_port": port,
        "allow_private": case.allow_private, "profile": profile(port, case.server),
    });
    let server = Proxy::start(&config(listener, json!([direct()])));
    let outbound = json!({ "type": "paniq", "tag": "up", "profile": profile(port, case.client) });
    let client = Proxy::start(&config(inbound("mixed", &[]), json!([outbound])));
    (server, client)
}

/// A connection goes through, whatever becomes of datagrams.
fn tcp_works(client: &Proxy) {
    let origin = tcp::echo(tcp::listener());
    let mut stream = open(client.addr(), None, origin.addr()).expect("a connection");
    stream.write_all(b"by TCP").expect("send");
    assert_eq!(read_exact(&mut stream, 6, "the echo"), b"by TCP");
}

#[test]
fn datagrams_to_many_targets_go_through_the_tunnel_and_come_back() {
    let (_server, client) = tunnel(Case::GOOD);
    let origins: Vec<_> = (0..3).map(|_| udp::echo(udp::socket())).collect();
    let association = Association::open(client.addr(), None);
    for origin in &origins {
        let to = Destination::from(origin.addr());
        for len in [0, 1, 100, 1200, 1400, 9000] {
            let content = body::bytes(len);
            let (from, back) = association.ask(&to, &content);
            assert_eq!(from, to, "source of the answer");
            assert!(back == content, "{len} bytes");
        }
    }
    let named = Destination::from(("localhost", origins[0].addr().port()));
    assert_eq!(association.ask(&named, b"by name").1, b"by name");
    tcp_works(&client);
}

#[test]
fn many_clients_at_once_get_their_own_answers() {
    let (_server, client) = tunnel(Case::GOOD);
    let origin = udp::echo(udp::socket());
    thread::scope(|scope| {
        for n in 0..8_usize {
            let (client, to) = (client.addr(), Destination::from(origin.addr()));
            scope.spawn(move || {
                let association = Association::open(client, None);
                for round in 0..20_usize {
                    let content = format!("{n}/{round}");
                    let (_, mut back) = association.ask(&to, content.as_bytes());
                    // The answer to an earlier try may still come.
                    while back != content.as_bytes() {
                        let text = String::from_utf8(back).expect("text");
                        assert!(text.starts_with(&format!("{n}/")), "{text} for {n}");
                        back = association.ask(&to, content.as_bytes()).1;
                    }
                }
            });
        }
    });
}

#[test]
fn names_are_asked_for_through_the_tunnel() {
    let (_server, client) = tunnel(Case::GOOD);
    let association = Association::open(client.addr(), None);
    let ip = Ipv4Addr::new(192, 0, 2, 46);
    let ours = dns::responder(ip);
    let (_, answer) = association.ask(&ours.addr().into(), &dns::query(4711, "a.test"));
    assert_eq!(dns::address(&answer, 4711), Some(ip), "our responder");
    let Some(program) = need("dnsmasq") else {
        return;
    };
    let server = dnsmasq(&program, "a.test", ip);
    let (_, answer) = association.ask(&server.addr().into(), &dns::query(4712, "a.test"));
    assert_eq!(dns::address(&answer, 4712), Some(ip), "dnsmasq");
}

#[test]
fn datagrams_are_refused_where_either_profile_does_not_announce_them() {
    let origin = udp::echo(udp::socket());
    for (client, server) in [(false, true), (true, false), (false, false)] {
        let case = Case {
            client,
            server,
            ..Case::GOOD
        };
        let (_server, proxy) = tunnel(case);
        let association = Association::open(proxy.addr(), None);
        for to in [
            Destination::from(origin.addr()),
            Destination::from(("localhost", origin.addr().port())),
        ] {
            association.send(&to, b"lost");
            association.send(&to, b"lost as well");
        }
        assert_eq!(association.receive(NOTHING), None, "{client} {server}");
        assert_eq!(origin.received(), 0, "{client} {server}");
        tcp_works(&proxy);
    }
}

#[test]
fn private_targets_are_not_reached_unless_the_server_allows_it() {
    let origin = udp::echo(udp::socket());
    let (_server, client) = tunnel(Case {
        allow_private: false,
        ..Case::GOOD
    });
    let association = Association::open(client.addr(), None);
    association.send(&origin.addr().into(), b"by address");
    let named = Destination::from(("localhost", origin.addr().port()));
    association.send(&named, b"by name");
    assert_eq!(association.receive(NOTHING), None);
    assert_eq!(origin.received(), 0);
}
