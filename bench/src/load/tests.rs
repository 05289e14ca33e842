//! The generators against a plain SOCKS5 server of a few lines.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

use super::*;
use crate::socks::Credentials;

const USER: Credentials = Credentials {
    username: "user",
    password: "word",
};
const LENGTH: Duration = Duration::from_millis(200);

/// A thread per connection and direction; `password` makes it ask for [`USER`].
fn proxy(password: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client, password));
        }
    });
    address
}

fn serve(mut client: TcpStream, password: bool) -> io::Result<()> {
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting)?;
    let method = if password { 2 } else { 0 };
    client.write_all(&[5, if greeting[2] == method { method } else { 255 }])?;
    if password {
        let mut message = [0; 11];
        client.read_exact(&mut message)?;
        client.write_all(&[1, u8::from(&message != b"\x01\x04user\x04word")])?;
    }
    let mut request = [0; 10];
    client.read_exact(&mut request)?;
    let [_, _, _, _, a, b, c, d, high, low] = request;
    let server = TcpStream::connect((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut up, &mut down);
        let _ = down.shutdown(Shutdown::Both);
    });
    let (mut server, mut client) = (server, client);
    let _ = io::copy(&mut server, &mut client);
    client.shutdown(Shutdown::Both)
}

fn target(credentials: Option<Credentials>) -> Target {
    let way = Way {
        proxy: proxy(credentials.is_some()),
        credentials,
        patience: PATIENCE,
    };
    Target {
        way,
        pid: Pid::this(),
    }
}

#[test]
fn bulk_counts_both_directions() {
    for direction in [bulk::Direction::Up, bulk::Direction::Down] {
        let bulk = bulk::run(target(None), direction, LENGTH).unwrap();
        assert!(bulk.gbit_per_second > 0.01, "{bulk:?}");
        assert!(bulk.gbit_per_core_second > 0.01, "{bulk:?}");
    }
}

#[test]
fn trips_have_ordered_quantiles() {
    let trip = trip::run(target(None), LENGTH).unwrap();
    assert!(trip.p50_us > 1.0 && trip.p50_us <= trip.p99_us, "{trip:?}");
    assert!(trip.cpu_us > 0.1 && trip.rate > 10.0, "{trip:?}");
}

#[test]
fn connections_authenticate_and_are_counted() {
    let conn = conn::run(target(Some(USER)), LENGTH).unwrap();
    assert!(conn.cpu_us > 1.0 && conn.rate > 10.0, "{conn:?}");
}

#[test]
fn a_refused_user_is_an_error() {
    let wrong = Credentials {
        password: "lord",
        ..USER
    };
    let way = Way {
        proxy: proxy(true),
        credentials: Some(wrong),
        patience: PATIENCE,
    };
    let (_listener, address) = listen().unwrap();
    assert!(
        way.connect(address)
            .unwrap_err()
            .to_string()
            .contains("authentication refused")
    );
}

#[test]
fn a_proxy_that_carries_nothing_is_an_error() {
    // Accepts and holds, so the handshake runs out of patience.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Duration::from_millis(50);
    let way = Way {
        proxy: deaf.local_addr().unwrap(),
        credentials: None,
        patience,
    };
    let target = Target {
        way,
        pid: Pid::this(),
    };
    assert!(bulk::run(target, bulk::Direction::Up, LENGTH).is_err());
    assert!(trip::run(target, LENGTH).is_err());
    assert!(conn::run(target, LENGTH).is_err());
}

#[test]
fn accepted_sockets_inherit_the_reset_on_close() {
    let (listener, address) = listen().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let accepted = SockRef::from(&accepted);
    assert_eq!(accepted.linger().unwrap(), Some(Duration::ZERO));
    assert_eq!(accepted.read_timeout().unwrap(), Some(PATIENCE));
    assert!(accepted.tcp_nodelay().unwrap());
}
