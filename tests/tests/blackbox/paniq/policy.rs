//! Which targets a server reaches for its clients.
use super::{PATIENCE, Setup, Tunnel, count, open, ping, wait_until};
use sansbox_tests::{
    json,
    origin::tcp::{self, TcpServer},
    ports::has_ipv6,
    proxy::upstream,
    socks::{self, Destination, reply},
    wire::read_exact,
};
use std::{io::Write as _, net::SocketAddr, sync::mpsc};

/// A server that keeps its own networks to itself.
fn guarded() -> Setup {
    let mut setup = Setup::new();
    let inbound = setup.server["inbounds"][0].as_object_mut();
    inbound.expect("an object").remove("allow_private");
    setup
}

/// The SOCKS reply to a request for a target.
fn code(tunnel: &Tunnel, to: impl Into<Destination>) -> u8 {
    match socks::open(tunnel.client.addr(), None, to) {
        Ok(_) => reply::SUCCEEDED,
        Err(code) => code,
    }
}

#[test]
fn what_is_private_is_refused() {
    let (v4, port) = {
        let origin = tcp::echo(tcp::listener());
        let port = origin.addr().port();
        (origin, port)
    };
    let v6 = has_ipv6().then(|| std::net::TcpListener::bind(("::1", port)).expect("bind"));
    let tunnel = guarded().start();
    let addresses = [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "2002:7f00:1::1",
        "fec0::1",
    ];
    for address in addresses {
        let to = SocketAddr::new(address.parse().expect("an address"), port);
        assert_eq!(code(&tunnel, to), reply::GENERAL_FAILURE, "{address}");
    }
    // Names are judged by what they resolve to.
    assert_eq!(code(&tunnel, ("localhost", port)), reply::GENERAL_FAILURE);
    assert_eq!(code(&tunnel, ("127.0.0.1", port)), reply::GENERAL_FAILURE);
    let refused = "closed: the address is private, and allow_private is off";
    let n = addresses.len() + 2;
    wait_until("a line for each", PATIENCE, || {
        count(&tunnel.server, refused) >= n
    });
    let log = tunnel.server.log();
    assert!(!log.contains("connected to"), "{log}");
    assert_eq!(v4.accepted(), 0);
    drop(v6);
}

#[test]
fn what_is_private_is_reached_where_that_is_allowed() {
    let origin = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    ping(&tunnel.open(origin.addr()));
    let to = ("localhost", origin.addr().port());
    ping(&socks::open(tunnel.client.addr(), None, to).expect("connected"));
}

#[test]
fn what_is_public_is_dialled() {
    // By a SOCKS server behind the server, which goes nowhere.
    let (sender, asked) = mpsc::channel();
    let behind = TcpServer::serve(tcp::listener(), move |mut stream| {
        read_exact(&mut stream, 3, "methods");
        stream.write_all(&[5, 0]).expect("answer");
        let request = read_exact(&mut stream, 10, "a request");
        stream
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .expect("answer");
        let word = read_exact(&mut stream, 4, "a word");
        stream.write_all(&word).expect("send");
        let _ = sender.send(request);
    });
    let mut setup = guarded();
    setup.server["outbounds"] = json!([upstream("socks", behind.addr().port(), None)]);
    let tunnel = setup.start();
    let stream = open(&tunnel.client, SocketAddr::from(([8, 8, 4, 4], 853)));
    ping(&stream);
    let request = asked.recv_timeout(PATIENCE).expect("a request");
    assert_eq!(request, [5, 1, 0, 1, 8, 8, 4, 4, 3, 0x55]);
    // What is private is refused on any way out.
    let private = SocketAddr::from(([10, 1, 2, 3], 80));
    assert_eq!(code(&tunnel, private), reply::GENERAL_FAILURE);
    assert_eq!(behind.accepted(), 1);
}

#[test]
fn rules_of_the_server_hold_for_its_clients() {
    let (open_to_all, closed) = (tcp::echo(tcp::listener()), tcp::echo(tcp::listener()));
    let mut setup = Setup::new();
    setup.server["route"] = json!({
        "rules": [
            { "inbound": "in", "port": closed.addr().port(), "action": "reject" },
            { "domain_suffix": "blocked.test", "action": "reject", "method": "drop" },
        ],
    });
    let tunnel = setup.start();
    let other = tunnel.open(open_to_all.addr());
    assert_eq!(code(&tunnel, closed.addr()), reply::GENERAL_FAILURE);
    assert_ne!(code(&tunnel, ("www.blocked.test", 80)), reply::SUCCEEDED);
    assert_eq!(closed.accepted(), 0);
    ping(&other);
}

#[test]
fn rules_of_the_client_choose_what_goes_through_the_tunnel() {
    let (near, far) = (tcp::echo(tcp::listener()), tcp::echo(tcp::listener()));
    let mut setup = Setup::new();
    let outbounds = setup.client["outbounds"].as_array_mut().expect("an array");
    outbounds.push(sansbox_tests::proxy::direct());
    setup.client["route"] = json!({
        "rules": [{ "port": near.addr().port(), "outbound": "direct" }],
    });
    let tunnel = setup.start();
    for origin in [&near, &far] {
        ping(&tunnel.open(origin.addr()));
    }
    let (near, far) = (near.addr().to_string(), far.addr().to_string());
    wait_until("the server tells of one", PATIENCE, || {
        count(&tunnel.server, &far) > 0
    });
    assert_eq!(count(&tunnel.server, &near), 0, "{}", tunnel.server.log());
}
