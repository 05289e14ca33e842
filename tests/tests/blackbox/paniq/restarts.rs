//! Ends that come and go.
use super::{OUTBOUND, PATIENCE, SERVER_UP, Setup, Tunnel, count, open, ping, wait_until};
use sansbox_tests::{
    json,
    origin::tcp,
    ports::has_ipv6,
    process::Signal,
    proxy::Proxy,
    socks::{self, reply},
    wire::{Ending, exchange, read_all},
};
use std::time::{Duration, Instant};

/// How long after a server came back a new connection may fail: the longest pause between dials
/// that a client had time to come to, and a dial.
const RECOVERY: Duration = Duration::from_secs(10);

/// How long it may take at most where each attempt of a client learns that it met no server.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Opens connections until one carries bytes.
fn recovers(client: &Proxy, to: std::net::SocketAddr) {
    let begin = Instant::now();
    loop {
        if let Ok(stream) = socks::open(client.addr(), None, to) {
            ping(&stream);
            let took = begin.elapsed();
            assert!(took < RECOVERY, "{took:?}: {}", client.log());
            return;
        }
        assert!(begin.elapsed() < RECOVERY, "{}", client.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_killed_server_that_comes_back_is_found_again() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::impatient();
    // Each worker has a tunnel of its own, and finds out by itself.
    setup.client["sansbox"] = json!({ "workers": 1 });
    let Tunnel { client, server } = setup.start();
    let mut held = open(&client, origin.addr());
    ping(&held);
    // Killed, it says nothing to anybody.
    drop(server);
    let server = Proxy::start(&setup.server);
    recovers(&client, origin.addr());
    // A stream of the old tunnel's ends, and not in good order: once so many probes went without an
    // answer that no loss explains it, each after twice the pause before.
    let ended = read_all(&mut held, PATIENCE * 3);
    assert_eq!((ended.ending, ended.bytes.len()), (Ending::Reset, 0));
    drop(server);
}

/// With the pauses of a profile as it is drawn: 3 attempts of 5 seconds.
#[test]
fn who_asks_while_the_server_is_away_has_an_answer_soon_after_it_is_back() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    setup.client["sansbox"] = json!({ "workers": 1 });
    let Tunnel { client, server } = setup.start();
    ping(&open(&client, origin.addr()));
    drop(server);
    let (at, to) = (client.addr(), origin.addr());
    let asked = std::thread::spawn(move || socks::open(at, None, to).map(|s| ping(&s)));
    // Attempts have met no server by then.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!asked.is_finished(), "{}", client.log());
    let _server = Proxy::start(&setup.server);
    let back = Instant::now();
    let answer = asked.join().expect("the thread that asked");
    let took = back.elapsed();
    assert_eq!(answer, Ok(()), "{}", client.log());
    assert!(took < AT_ONCE, "{took:?}: {}", client.log());
    assert_eq!(count(&client, "is down: preamble"), 0, "{}", client.log());
}

#[test]
fn a_server_that_stops_says_so_and_is_found_again() {
    let origin = tcp::echo(tcp::listener());
    let setup = Setup::impatient();
    let Tunnel { client, server } = setup.start();
    let mut held = open(&client, origin.addr());
    ping(&held);
    let (status, _) = server.stop(Signal::Term);
    assert!(status.success());
    assert_eq!(read_all(&mut held, PATIENCE).ending, Ending::Reset);
    let _server = Proxy::start(&setup.server);
    recovers(&client, origin.addr());
}

#[test]
fn a_client_that_restarts_is_served_again() {
    let origin = tcp::echo(tcp::listener());
    let setup = Setup::new();
    let Tunnel { client, server } = setup.start();
    ping(&open(&client, origin.addr()));
    // Killed and stopped in turn.
    drop(client);
    for n in 2..=4 {
        let client = Proxy::start(&setup.client);
        ping(&open(&client, origin.addr()));
        assert_eq!(count(&server, SERVER_UP), n);
        let (status, _) = client.stop(Signal::Term);
        assert!(status.success());
    }
}

#[test]
fn without_a_server_a_client_answers_after_all_attempts() {
    let origin = tcp::echo(tcp::listener());
    let setup = Setup::impatient();
    let client = Proxy::start(&setup.client);
    let begin = Instant::now();
    let code = socks::open(client.addr(), None, origin.addr()).err();
    let took = begin.elapsed();
    assert_eq!(code, Some(reply::HOST_UNREACHABLE));
    // `handshake_attempts` times `handshake_timeout`.
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    let to = origin.addr();
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let answer = exchange(client.addr(), request.as_bytes(), true, PATIENCE).text();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    let down = format!("{OUTBOUND}: tunnel to 127.0.0.1:{} is down", setup.port());
    wait_until("the log tells of both", PATIENCE, || {
        count(&client, &down) >= 2
    });
    let _server = Proxy::start(&setup.server);
    recovers(&client, origin.addr());
}

#[test]
fn a_server_is_found_by_name_and_over_ipv6() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    let port = setup.port();
    // `localhost` may be either address; the server listens on both.
    setup.server["inbounds"][0]["listen"] = json!(if has_ipv6() { "::" } else { "0.0.0.0" });
    let _server = Proxy::start(&setup.server);
    let mut servers = vec!["localhost", "127.0.0.1"];
    if has_ipv6() {
        servers.push("::1");
    }
    for server in servers {
        setup.client["outbounds"][0]["server"] = json!(server);
        setup.client["outbounds"][0]["server_port"] = json!(port);
        let client = Proxy::start(&setup.client);
        ping(&open(&client, origin.addr()));
        let up = format!("{OUTBOUND}: tunnel to {server}");
        let up = up.replace("::1", "[::1]");
        wait_until("the tunnel stands", PATIENCE, || count(&client, &up) >= 1);
    }
}

#[test]
fn a_server_whose_name_is_unknown_is_told_at_once() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    setup.client["outbounds"][0]["server"] = json!("no-such-host.invalid");
    setup.client["outbounds"][0]["server_port"] = json!(setup.port());
    let client = Proxy::start(&setup.client);
    let code = socks::open(client.addr(), None, origin.addr()).err();
    assert!(code.is_some_and(|code| code != reply::SUCCEEDED));
    let said = format!("{OUTBOUND}: lookup of no-such-host.invalid: ");
    wait_until("the client says why", PATIENCE, || {
        count(&client, &said) >= 1
    });
}
