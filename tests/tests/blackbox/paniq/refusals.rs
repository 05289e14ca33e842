//! Targets that cannot be reached: one stream is told so, and the others do not notice.
use super::{PATIENCE, SERVER_UP, Setup, Tunnel, count, ping, wait_until};
use sansbox_tests::{
    json,
    origin::{hole::BlackHole, tcp, udp},
    ports::closed_port,
    socks::{self, Association, Destination, greet, reply},
    wire::{SILENCE, exchange},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

/// The answer of an HTTP proxy to CONNECT.
fn connect_to(tunnel: &Tunnel, authority: &str) -> String {
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    exchange(tunnel.client.addr(), request.as_bytes(), true, SILENCE).text()
}

#[test]
fn a_refused_target_is_told_and_hurts_nobody_else() {
    let origin = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    let other = tunnel.open(origin.addr());
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    for _ in 0..20 {
        // The protocol has one word for all failures (`docs/protocols/paniq.md`).
        let code = socks::open(tunnel.client.addr(), None, to).err();
        assert_eq!(code, Some(reply::GENERAL_FAILURE));
        ping(&other);
    }
    let answer = connect_to(&tunnel, &to.to_string());
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains(&to.to_string()), "{answer}");
    ping(&other);
    // The operator of the server learns more.
    wait_until("the server says why", PATIENCE, || {
        count(&tunnel.server, "connection refused") >= 21
    });
    assert_eq!(
        count(&tunnel.client, "tunnel to"),
        count(&tunnel.client, "is up")
    );
}

#[test]
fn an_unknown_name_is_told() {
    let tunnel = Tunnel::start();
    let name = "no-such-host.invalid";
    let code = socks::open(tunnel.client.addr(), None, (name, 80)).err();
    assert_eq!(code, Some(reply::GENERAL_FAILURE));
    let answer = connect_to(&tunnel, &format!("{name}:443"));
    assert!(
        answer.starts_with("HTTP/1.1 502") && answer.contains(name),
        "{answer}"
    );
    // It was the server that looked it up.
    wait_until("the server says why", PATIENCE, || {
        tunnel.server.log().contains("no such host")
    });
}

#[test]
fn a_black_hole_takes_its_time_and_nobody_elses() {
    let hole = BlackHole::new();
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    setup.server["outbounds"][0]["connect_timeout"] = json!("2s");
    let tunnel = setup.start();
    let other = tunnel.open(origin.addr());
    let begin = Instant::now();
    let (client, to) = (tunnel.client.addr(), hole.addr);
    let lost: Vec<_> = (0..8)
        .map(|_| thread::spawn(move || socks::open(client, None, to).err()))
        .collect();
    while begin.elapsed() < Duration::from_secs(1) {
        ping(&other);
        ping(&tunnel.open(origin.addr()));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(lost.iter().all(|lost| !lost.is_finished()));
    for lost in lost {
        let code = lost.join().expect("an answer");
        assert_eq!(code, Some(reply::GENERAL_FAILURE));
    }
    assert!(
        begin.elapsed() > Duration::from_millis(1900),
        "{:?}",
        begin.elapsed()
    );
    ping(&other);
}

#[test]
fn a_client_that_does_not_wait_cancels_the_dial() {
    let hole = BlackHole::new();
    let mut setup = Setup::new();
    setup.server["outbounds"][0]["connect_timeout"] = json!("1m");
    let tunnel = setup.start();
    let mut stream = greet(tunnel.client.addr(), None);
    let mut bytes = vec![5, 1, 0];
    bytes.extend(Destination::from(hole.addr).encode());
    std::io::Write::write_all(&mut stream, &bytes).expect("send");
    let dialled = format!("outbound connection to {}", hole.addr);
    wait_until("the server dials", PATIENCE, || {
        count(&tunnel.server, &dialled) == 1
    });
    // Reset, because a FIN alone may be half of a conversation.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("set");
    drop(stream);
    let closed = format!("to {} closed", hole.addr);
    wait_until("the server gives it up", PATIENCE, || {
        count(&tunnel.server, &closed) == 1
    });
}

/// As with other outbounds without UDP: SOCKS has answered before it is known which outbound a
/// datagram takes.
#[test]
fn udp_does_not_go_through() {
    let origin = udp::echo(udp::socket());
    let tunnel = Tunnel::start();
    let association = Association::open(tunnel.client.addr(), None);
    association.send(&origin.addr().into(), b"lost");
    assert!(association.receive(Duration::from_millis(300)).is_none());
    let failed = format!("to {} failed: command not supported", origin.addr());
    wait_until("the client says why", PATIENCE, || {
        count(&tunnel.client, &failed) == 1
    });
    assert_eq!(count(&tunnel.server, SERVER_UP), 0, "nobody needs a tunnel");
}
