//! What a client is told when its connection cannot be made.
use sansbox_tests::{
    curl::{curl, exit},
    namespace::Namespace,
    origin::{http::HttpServer, tcp},
    peers::need,
    ports::closed_port,
    proxy::{Proxy, config, direct, inbound},
    socks::{self, Destination, reply},
    wire::{Answer, Ending, SILENCE, connect, exchange, read_exact},
};
use serde_json::json;
use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
};

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn socks5_code(proxy: SocketAddr, to: impl Into<Destination>) -> u8 {
    socks::open(proxy, None, to).map_or_else(|code| code, |_| reply::SUCCEEDED)
}

fn socks4_code(proxy: SocketAddr, to: SocketAddr) -> u8 {
    let SocketAddr::V4(to) = to else {
        panic!("SOCKS4 knows only IPv4")
    };
    let mut stream = connect(proxy);
    let port = to.port().to_be_bytes();
    stream
        .write_all(&[&[4, 1], &port[..], &to.ip().octets(), b"\0"].concat())
        .expect("send");
    read_exact(&mut stream, 8, "a SOCKS4 reply")[1]
}

fn http(proxy: SocketAddr, request: &str) -> Answer {
    exchange(proxy, request.as_bytes(), false, SILENCE)
}

fn get(proxy: SocketAddr, authority: &str) -> Answer {
    http(
        proxy,
        &format!(
            "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        ),
    )
}

fn connect_to(proxy: SocketAddr, authority: &str) -> Answer {
    http(
        proxy,
        &format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"),
    )
}

/// Checks the status and that the body tells a person what failed: the destination and the why.
fn assert_tells(answer: &Answer, status: u16, words: &[&str]) {
    let text = answer.text();
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-type: text/"), "{text}");
    assert!(head.contains("content-length:"), "{text}");
    for word in words {
        assert!(
            body.to_ascii_lowercase().contains(&word.to_lowercase()),
            "the body does not say {word:?}: {text}"
        );
    }
}

#[test]
fn a_refused_dial_is_told_in_each_protocol() {
    let proxy = Proxy::inbound("mixed", &[]);
    let to = loopback(closed_port());
    assert_eq!(
        socks5_code(proxy.addr(), to),
        reply::CONNECTION_REFUSED,
        "SOCKS5"
    );
    assert_eq!(socks4_code(proxy.addr(), to), 0x5b, "SOCKS4");
    let authority = to.to_string();
    assert_tells(
        &get(proxy.addr(), &authority),
        502,
        &[&authority, "refused"],
    );
    assert_tells(
        &connect_to(proxy.addr(), &authority),
        502,
        &[&authority, "refused"],
    );
}

#[test]
fn an_unknown_name_is_told_in_each_protocol() {
    let proxy = Proxy::inbound("mixed", &[]);
    let name = "no-such-host.invalid";
    assert_eq!(
        socks5_code(proxy.addr(), (name, 80)),
        reply::HOST_UNREACHABLE,
        "SOCKS5"
    );
    let request = [&[4, 1, 0, 80, 0, 0, 0, 1, 0], name.as_bytes(), b"\0"].concat();
    let answer = exchange(proxy.addr(), &request, false, SILENCE);
    assert_eq!(answer.bytes.get(..2), Some(&[0, 0x5b][..]), "SOCKS4a");
    assert_tells(&get(proxy.addr(), name), 502, &[name]);
    assert_tells(
        &connect_to(proxy.addr(), &format!("{name}:443")),
        502,
        &[name],
    );
}

#[test]
fn curl_reports_what_failed() {
    let Some(program) = need("curl") else { return };
    let proxy = Proxy::inbound("mixed", &[]);
    let address = proxy.addr().to_string();
    let url = format!("http://127.0.0.1:{}/", closed_port());
    for option in ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"] {
        let got = curl(&program, [option, &address, &url]);
        assert_eq!(got.code, exit::PROXY, "{option}: {got:?}");
    }
    let got = curl(&program, ["-x", &address, "-i", &url]).ok();
    assert_eq!(got.statuses(), [502], "{got:?}");
    let got = curl(&program, ["-x", &address, "-p", "-v", &url]);
    assert_eq!(got.code, exit::RECV_ERROR, "{got:?}");
    assert_eq!(got.statuses(), [502], "{got:?}");
    let got = curl(&program, ["--socks5", &url[7..url.len() - 1], &url]);
    assert_eq!(got.code, exit::COULDNT_CONNECT, "no proxy there: {got:?}");
}

#[test]
fn a_block_outbound_refuses_by_policy() {
    let origin = HttpServer::start();
    let proxy = Proxy::through(json!({ "type": "block", "tag": "no" }));
    assert_policy(&proxy, origin.addr());
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn a_reject_rule_refuses_by_policy_and_leaves_others_alone() {
    let (refused, served) = (HttpServer::start(), HttpServer::start());
    let mut config = config(inbound("mixed", &[]), json!([direct()]));
    config["route"] = json!({
        "rules": [{ "port": refused.addr().port(), "action": "reject" }],
    });
    let proxy = Proxy::start(&config);
    assert_policy(&proxy, refused.addr());
    assert_eq!(refused.accepted(), 0);
    assert_eq!(socks5_code(proxy.addr(), served.addr()), reply::SUCCEEDED);
}

fn assert_policy(proxy: &Proxy, to: SocketAddr) {
    assert_eq!(socks5_code(proxy.addr(), to), reply::NOT_ALLOWED, "SOCKS5");
    assert_eq!(socks4_code(proxy.addr(), to), 0x5b, "SOCKS4");
    let authority = to.to_string();
    assert_tells(&get(proxy.addr(), &authority), 403, &[&authority]);
    assert_tells(&connect_to(proxy.addr(), &authority), 403, &[&authority]);
}

#[test]
fn a_dropping_rule_says_nothing() {
    let origin = tcp::echo(tcp::listener());
    let mut config = config(inbound("mixed", &[]), json!([direct()]));
    config["route"] = json!({
        "rules": [{ "ip_cidr": "127.0.0.0/8", "action": "reject", "method": "drop" }],
    });
    let proxy = Proxy::start(&config);
    let mut bytes = vec![5, 1, 0, 5, 1, 0];
    bytes.extend(Destination::from(origin.addr()).encode());
    let answer = exchange(proxy.addr(), &bytes, false, SILENCE);
    assert_eq!(answer.bytes, [5, 0], "the method, and no reply");
    assert_ne!(answer.ending, Ending::StillOpen);
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn rules_choose_the_way_by_name_port_and_user() {
    let origin = HttpServer::start();
    let port = origin.addr().port();
    let users = [("alice", "a"), ("bob", "b")];
    let mut config = config(
        inbound("mixed", &users),
        json!([{ "type": "block", "tag": "no" }, direct()]),
    );
    config["route"] = json!({
        "rules": [
            { "domain_suffix": ["localhost"], "auth_user": ["bob"], "action": "reject" },
            { "domain": ["localhost"], "port": [port], "outbound": "direct" },
            { "ip_cidr": ["127.0.0.1/32"], "auth_user": "alice", "outbound": "direct" },
        ],
        "final": "no",
    });
    let proxy = Proxy::start(&config);
    let (alice, bob) = (Some(users[0]), Some(users[1]));
    let code = |user, to: Destination| {
        socks::open(proxy.addr(), user, to).map_or_else(|code| code, |_| reply::SUCCEEDED)
    };
    let name = Destination::from(("localhost", port));
    let addr = Destination::from(origin.addr());
    assert_eq!(code(alice, name.clone()), reply::SUCCEEDED, "second rule");
    assert_eq!(code(bob, name), reply::NOT_ALLOWED, "first rule");
    assert_eq!(code(alice, addr.clone()), reply::SUCCEEDED, "third rule");
    assert_eq!(code(bob, addr), reply::NOT_ALLOWED, "final");
}

#[test]
fn networks_and_hosts_out_of_reach_are_told_apart() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    here.join("198.51.100.1/24", &there, "198.51.100.2/24");
    let mut entry = inbound("mixed", &[]);
    entry["listen"] = json!("127.0.0.1");
    let proxy = Proxy::start_in(&config(entry, json!([direct()])), Some(here.name()));
    let addr = proxy.addr();
    let to = |ip: [u8; 4]| SocketAddr::from((Ipv4Addr::from(ip), 9));
    // No route leads there.
    let code = here.enter(|| socks5_code(addr, to([203, 0, 113, 9])));
    assert_eq!(code, reply::NETWORK_UNREACHABLE);
    // On the wire, but nobody has this address.
    let code = here.enter(|| socks5_code(addr, to([198, 51, 100, 77])));
    assert_eq!(code, reply::HOST_UNREACHABLE);
}
