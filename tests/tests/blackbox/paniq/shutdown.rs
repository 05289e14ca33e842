//! The end of either side, and what is left behind while both go on.
use super::{OUTBOUND, PATIENCE, SERVER_DOWN, SERVER_UP, Setup, Tunnel, count, ping, wait_until};
use sansbox_tests::{
    json,
    origin::tcp,
    process::{Memory, Signal},
    proxy::Proxy,
    wire::{Ending, read_all},
};
use std::{
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_client_that_stops_tells_its_server_at_once() {
    let origin = tcp::echo(tcp::listener());
    let Tunnel { client, server } = Tunnel::start();
    let idle = {
        let tunnel = super::open(&client, origin.addr());
        ping(&tunnel);
        tunnel
    };
    drop(idle);
    let (status, log) = client.stop(Signal::Term);
    assert!(status.success(), "{log}");
    // It is told, not found out: silence would take `quic.idle_timeout`, two minutes.
    wait_until("the server knows", Duration::from_secs(1), || {
        count(&server, SERVER_DOWN) == count(&server, SERVER_UP)
    });
    assert_eq!(count(&server, SERVER_UP), 1);
}

#[test]
fn a_server_that_stops_tells_its_clients_at_once() {
    let origin = tcp::echo(tcp::listener());
    let Tunnel { client, server } = Tunnel::start();
    ping(&super::open(&client, origin.addr()));
    let (status, log) = server.stop(Signal::Term);
    assert!(status.success(), "{log}");
    let down = format!("{OUTBOUND}: tunnel to ");
    wait_until("the client knows", Duration::from_secs(1), || {
        count(&client, &down) == 2 && client.log().contains("is down: ")
    });
}

#[test]
fn running_streams_have_the_grace_time_and_are_reset_then() {
    let origin = tcp::echo(tcp::listener());
    for is_server in [false, true] {
        let Tunnel { client, server } = Tunnel::start();
        let (mut stream, finished) = (
            super::open(&client, origin.addr()),
            super::open(&client, origin.addr()),
        );
        ping(&stream);
        ping(&finished);
        let [mut stopping, other] = if is_server {
            [server, client]
        } else {
            [client, server]
        };
        stopping.process().signal(Signal::Term);
        let begin = Instant::now();
        // What runs goes on for as long as connections of other protocols may.
        ping(&finished);
        finished.shutdown(Shutdown::Write).expect("half-close");
        let mut finished = finished;
        assert_eq!(read_all(&mut finished, PATIENCE).ending, Ending::Closed);
        assert_eq!(read_all(&mut stream, PATIENCE).ending, Ending::Reset);
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(300), "{took:?}");
        let status = stopping.process().wait_exit(PATIENCE);
        assert!(status.success(), "{}", stopping.log());
        let down = if is_server { "is down: " } else { SERVER_DOWN };
        wait_until("the other end knows", Duration::from_secs(1), || {
            count(&other, down) >= 1
        });
    }
}

#[test]
fn a_server_that_stops_takes_no_new_streams() {
    let origin = tcp::echo(tcp::listener());
    let Tunnel { client, mut server } = Tunnel::start();
    let held = super::open(&client, origin.addr());
    ping(&held);
    server.process().signal(Signal::Term);
    thread::sleep(Duration::from_millis(150));
    let refused = sansbox_tests::socks::open(client.addr(), None, origin.addr());
    assert!(refused.is_err());
    assert_eq!(origin.accepted(), 1);
    let status = server.process().wait_exit(PATIENCE);
    assert!(status.success(), "{}", server.log());
}

/// Files that a process has open, and bytes of memory that it uses.
fn usage(proxy: &mut Proxy) -> (usize, u64) {
    let process = proxy.process();
    (process.open_files(), process.memory(Memory::Now))
}

/// As many connections one after the other as told, of which one in four is refused, one reset.
fn rounds(tunnel: &Tunnel, origin: &tcp::TcpServer, closed: std::net::SocketAddr, n: usize) {
    for n in 0..n {
        if n % 4 == 3 {
            let client = tunnel.client.addr();
            let refused = sansbox_tests::socks::open(client, None, closed);
            assert!(refused.is_err());
            continue;
        }
        let mut stream = tunnel.open(origin.addr());
        ping(&stream);
        match n % 4 {
            0 => {
                stream.shutdown(Shutdown::Write).expect("half-close");
                assert_eq!(read_all(&mut stream, PATIENCE).ending, Ending::Closed);
            }
            1 => drop(stream),
            _ => {
                let reset = Some(Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&stream, reset).expect("set");
                drop(stream);
            }
        }
    }
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let origin = tcp::echo(tcp::listener());
    let closed = sansbox_tests::ports::closed_port();
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], closed));
    let mut setup = Setup::new();
    for config in [&mut setup.client, &mut setup.server] {
        config["log"]["level"] = json!("info");
        config["sansbox"] = json!({ "workers": 1 });
    }
    let mut tunnel = setup.start();
    let settle = |tunnel: &Tunnel| {
        wait_until("all ended", PATIENCE, || {
            [&tunnel.client, &tunnel.server].iter().all(|proxy| {
                let opened = count(proxy, "inbound connection from");
                count(proxy, " closed: ") == opened
            })
        });
    };
    // What is made once is there after some.
    rounds(&tunnel, &origin, closed, 200);
    settle(&tunnel);
    let before = [usage(&mut tunnel.client), usage(&mut tunnel.server)];
    rounds(&tunnel, &origin, closed, 1000);
    settle(&tunnel);
    let deadline = Instant::now() + PATIENCE;
    for (before, proxy) in before
        .into_iter()
        .zip([&mut tunnel.client, &mut tunnel.server])
    {
        let (files, memory) = before;
        let mut now = usage(proxy);
        // On a machine with other work to do a tunnel may just have made place for another one.
        while now.0 > files && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(100));
            now = usage(proxy);
        }
        assert_eq!(now.0, files, "files");
        // A kilobyte for each would be one too many.
        let most = memory + 1000 * 1024;
        assert!(now.1 < most, "{memory} bytes became {}", now.1);
    }
    let (_, log) = tunnel.client.stop(Signal::Term);
    assert!(log.contains("served 1200 connections"), "{log}");
}
