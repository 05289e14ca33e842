//! Tunnels of paniq between the program under test and the Go programs `paniq-socks` and
//! `paniq-proxy`. They have no package: who has built them puts them where peers are looked for.
//!
//! The Go programs end both directions of a connection when one of them ends, so nothing here
//! closes half of one.
use sansbox_tests::{
    Value,
    body::{self, digest},
    json,
    origin::{hole::BlackHole, tcp},
    paniq::{self, docs, keyless, with},
    peers::{Peer, have, paniq_proxy, paniq_socks},
    ports::{closed_port, free_port},
    proxy::{Proxy, config, direct, inbound},
    socks,
    wire::read_exact,
};
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Bytes each way where it is about profiles.
const FEW: u64 = 1_000_000;
/// And where it is about bulk.
const MANY: u64 = 100_000_000;
const STREAMS: usize = 200;
/// Three attempts of the client, of five seconds each, and some time beside.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who the two ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    GoClient,
    GoServer,
    /// As a measure of what the Go programs can do at all.
    BothGo,
}

struct Programs {
    client: PathBuf,
    server: PathBuf,
}

impl Programs {
    fn find() -> Option<Self> {
        Some(Self {
            client: have("paniq-socks")?,
            server: have("paniq-proxy")?,
        })
    }
}

enum End {
    Own(Proxy),
    Go(Peer),
}

impl End {
    fn addr(&self) -> SocketAddr {
        match self {
            Self::Own(proxy) => proxy.addr(),
            Self::Go(peer) => peer.addr(),
        }
    }

    fn log(&self) -> String {
        match self {
            Self::Own(proxy) => proxy.log(),
            Self::Go(peer) => peer.process.log(),
        }
    }
}

/// Both ends on loopback. The server may be missing between its death and its next start.
struct Tunnel {
    pair: Pair,
    profile: Value,
    port: u16,
    client: End,
    server: Option<End>,
}

/// Without what only the server may have.
fn for_client(mut profile: Value) -> Value {
    let obfuscation = profile["obfuscation"].as_object_mut().expect("an object");
    obfuscation.remove("server_private_key");
    profile
}

fn start_server(programs: &Programs, pair: Pair, port: u16, profile: &Value) -> End {
    if pair != Pair::GoClient {
        return End::Go(paniq_proxy(&programs.server, port, profile));
    }
    let inbound = json!({
        "type": "paniq", "listen": "127.0.0.1", "listen_port": port, "profile": profile,
        "allow_private": true,
    });
    End::Own(Proxy::start(&config(inbound, json!([direct()]))))
}

impl Tunnel {
    fn start(programs: &Programs, pair: Pair, profile: &Value) -> Self {
        let port = free_port();
        let mut profile = profile.clone();
        profile["proxy_addr"] = format!("127.0.0.1:{port}").into();
        let server = Some(start_server(programs, pair, port, &profile));
        let own = for_client(profile.clone());
        let client = if pair == Pair::GoServer {
            let outbound = json!({"type": "paniq", "profile": own});
            End::Own(Proxy::start(&config(
                inbound("mixed", &[]),
                json!([outbound]),
            )))
        } else {
            End::Go(paniq_socks(&programs.client, &own))
        };
        Self {
            pair,
            profile,
            port,
            client,
            server,
        }
    }

    /// Kills the server, and starts another one in its place.
    fn restart(&mut self, programs: &Programs) {
        self.server = None;
        thread::sleep(Duration::from_millis(200));
        let (pair, port) = (self.pair, self.port);
        self.server = Some(start_server(programs, pair, port, &self.profile));
    }

    fn open(&self, to: SocketAddr) -> TcpStream {
        let opened = socks::open(self.client.addr(), None, to);
        opened.unwrap_or_else(|code| panic!("reply {code}\n{}", self.logs()))
    }

    /// Sends bytes to a server that echoes, and checks what comes back.
    fn echo(&self, to: SocketAddr, len: u64) {
        let stream = self.open(to);
        let mut writer = stream.try_clone().expect("clone");
        let sender = thread::spawn(move || body::write(&mut writer, len));
        let got = body::digest_of(&mut (&stream).take(len)).expect("receive");
        sender.join().expect("no panic").expect("send");
        assert_eq!(got, digest(len), "{}", self.logs());
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn logs(&self) -> String {
        let server = self.server.as_ref().map(End::log).unwrap_or_default();
        format!(
            "-- client --\n{}\n-- server --\n{server}",
            self.client.log()
        )
    }
}

/// Profiles, and what each is there for.
fn profiles() -> Vec<(&'static str, Value)> {
    let [fresh, _] = paniq::profiles("127.0.0.1:9");
    let counters = json!({"transport_replay": true});
    let padding = |min: u32, max: u32, burst: f64| {
        json!({
            "pad_min": min, "pad_max": max,
            "pad_burst_min": max, "pad_burst_max": max, "pad_burst_prob": burst,
        })
    };
    let without_proof = json!({"encrypted_timestamp": false, "require_encrypted_timestamp": false});
    vec![
        ("docs", docs()),
        ("counters", with(docs(), "obfuscation", &counters)),
        ("fresh", fresh.clone()),
        ("fresh, counters", with(fresh, "obfuscation", &counters)),
        (
            "no padding",
            with(docs(), "transport_padding", &padding(0, 0, 0.0)),
        ),
        (
            "most padding",
            with(docs(), "transport_padding", &padding(100, 107, 1.0)),
        ),
        ("MAC1 alone", with(docs(), "obfuscation", &without_proof)),
        ("keyless", keyless()),
    ]
}

#[test]
fn any_profile_carries() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let origin = tcp::echo(tcp::listener());
    for (name, profile) in profiles() {
        for pair in [Pair::GoClient, Pair::GoServer] {
            // The Go server does not start without a key.
            if name == "keyless" && pair == Pair::GoServer {
                continue;
            }
            let tunnel = Tunnel::start(&programs, pair, &profile);
            tunnel.echo(origin.addr(), FEW);
            eprintln!("{name}, {pair:?}: {FEW} bytes each way");
        }
    }
}

#[test]
fn bulk_is_whole_and_many_streams_fit() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let origin = tcp::echo(tcp::listener());
    for pair in [Pair::BothGo, Pair::GoClient, Pair::GoServer] {
        let tunnel = Tunnel::start(&programs, pair, &docs());
        let begun = Instant::now();
        tunnel.echo(origin.addr(), MANY);
        eprintln!("{pair:?}: {MANY} bytes each way took {:?}", begun.elapsed());
        thread::scope(|scope| {
            for _ in 0..STREAMS {
                scope.spawn(|| tunnel.echo(origin.addr(), 50_000));
            }
        });
    }
}

#[test]
fn targets_that_cannot_be_reached_hurt_nobody_else() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let (origin, hole) = (tcp::echo(tcp::listener()), BlackHole::new());
    for pair in [Pair::GoClient, Pair::GoServer] {
        let tunnel = Tunnel::start(&programs, pair, &docs());
        let mut other = tunnel.open(origin.addr());
        let refused = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
        for to in [refused, hole.addr] {
            // One word for all failures.
            let code = socks::open(tunnel.client.addr(), None, to).err();
            assert_eq!(code, Some(socks::reply::GENERAL_FAILURE), "{to}");
            // The Go client gives up the whole tunnel when one target cannot be had.
            if pair == Pair::GoServer {
                other.write_all(b"ping").expect("send");
                assert_eq!(read_exact(&mut other, 4, "the echo"), b"ping");
            }
        }
        tunnel.echo(origin.addr(), 1000);
    }
}

#[test]
fn a_server_that_comes_again_serves_again() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let origin = tcp::echo(tcp::listener());
    for pair in [Pair::GoClient, Pair::GoServer] {
        let mut tunnel = Tunnel::start(&programs, pair, &docs());
        tunnel.echo(origin.addr(), FEW);
        tunnel.restart(&programs);
        let begun = Instant::now();
        // The first ones may still believe in the tunnel that is gone.
        while socks::open(tunnel.client.addr(), None, origin.addr()).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{}", tunnel.logs());
        }
        tunnel.echo(origin.addr(), FEW);
        eprintln!("{pair:?}: served again after {:?}", begun.elapsed());
    }
}
