//! paniq: a client and a server of the program under test, and the tunnel between them on
//! loopback.
mod policy;
mod refusals;
mod restarts;
mod shutdown;
mod strangers;
mod streams;

use sansbox_tests::{
    Value, json,
    paniq::profiles,
    ports::free_port,
    proxy::{Proxy, config, direct, inbound},
    socks,
    wire::read_exact,
};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// What a server logs when a client has a tunnel.
const SERVER_UP: &str = "inbound/paniq[in]: tunnel is up";
/// And when it has no more.
const SERVER_DOWN: &str = "inbound/paniq[in]: tunnel is down";
/// Name of a test's tunnel in the client's log.
const OUTBOUND: &str = "outbound/paniq[up]";
/// How long something may take that happens at once, on a machine with other work to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Configurations of both ends, to be changed before they start.
struct Setup {
    server: Value,
    client: Value,
}

impl Setup {
    /// A server that lets its clients reach loopback, and a client for it.
    fn new() -> Self {
        let port = free_port();
        let [server, client] = profiles(&format!("127.0.0.1:{port}"));
        let server = json!({
            "type": "paniq",
            "tag": "in",
            "listen": "127.0.0.1",
            "listen_port": port,
            "profile": server,
            "allow_private": true,
        });
        Self {
            server: config(server, json!([direct()])),
            client: config(inbound("mixed", &[]), json!([up(client)])),
        }
    }

    /// The same, of which a client learns early that nobody answers: 2 attempts of half a second.
    fn impatient() -> Self {
        let mut setup = Self::new();
        for profile in setup.profiles() {
            profile["handshake_timeout"] = "500ms".into();
            profile["handshake_attempts"] = 2.into();
        }
        setup
    }

    /// Both profiles, the server's first.
    fn profiles(&mut self) -> [&mut Value; 2] {
        let Self { server, client } = self;
        [
            &mut server["inbounds"][0]["profile"],
            &mut client["outbounds"][0]["profile"],
        ]
    }

    /// Where the server listens.
    fn port(&self) -> u16 {
        let port = self.server["inbounds"][0]["listen_port"].as_u64();
        let port = port.and_then(|port| u16::try_from(port).ok());
        port.expect("a port")
    }

    fn start(&self) -> Tunnel {
        let server = Proxy::start(&self.server);
        let client = Proxy::start(&self.client);
        Tunnel { client, server }
    }
}

/// Both ends.
struct Tunnel {
    client: Proxy,
    server: Proxy,
}

impl Tunnel {
    fn start() -> Self {
        Setup::new().start()
    }

    /// A connection through the tunnel.
    #[track_caller]
    fn open(&self, to: SocketAddr) -> TcpStream {
        open(&self.client, to)
    }
}

/// A connection through a client.
#[track_caller]
fn open(client: &Proxy, to: SocketAddr) -> TcpStream {
    match socks::open(client.addr(), None, to) {
        Ok(stream) => stream,
        Err(code) => panic!("SOCKS reply {code}; the client said:\n{}", client.log()),
    }
}

/// Sends something over a stream to a server that echoes, and awaits it back.
#[track_caller]
fn ping(mut stream: &TcpStream) {
    stream.write_all(b"ping").expect("send");
    assert_eq!(read_exact(&mut stream, 4, "the echo"), b"ping");
}

/// An outbound tagged `up`.
fn up(profile: Value) -> Value {
    json!({ "type": "paniq", "tag": "up", "profile": profile })
}

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, timeout: Duration, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + timeout;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How often a program said something.
fn count(proxy: &Proxy, needle: &str) -> usize {
    proxy.log().matches(needle).count()
}
