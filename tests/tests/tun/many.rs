//! Very many connections that are open at the same time.
use crate::{
    net::{TARGET4, TARGET6},
    program::{Options, Tun},
    tools::{scaled, spawn},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sansbox_tests::{
    namespace::Namespace,
    peers::need,
    process::{Process, START_TIMEOUT},
    temp::TempDir,
    wire::read_exact,
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// A process of its own, because a process has only so many files.
const SERVER: &str = include_str!("many.py");
/// Threads that open connections at once.
const HANDS: usize = 8;
/// How long one connection may take, among all others.
const PATIENCE: Duration = Duration::from_secs(60);

/// As many open files as this process may have, and those that it starts.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("as much as the system allows");
    limit.maximum.unwrap_or(u64::MAX)
}

/// A server in `place` for so many connections, and its port.
pub(crate) fn serve(
    place: &Namespace,
    python: &Path,
    dir: &TempDir,
    ip: IpAddr,
    number: usize,
) -> (Process, u16) {
    let script = dir.write("many.py", SERVER);
    let arguments = format!("{} {ip} {number}", script.display());
    let mut server = spawn(place, python, &arguments);
    let line = server.wait_for_line("port ", START_TIMEOUT);
    let port = line.trim_start_matches("port ").parse();
    (server, port.expect("a port"))
}

fn open(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE);
    let stream = stream.unwrap_or_else(|e| panic!("connect to {addr}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// So many connections, opened by some threads.
fn open_all(addr: SocketAddr, number: usize) -> Vec<TcpStream> {
    thread::scope(|scope| {
        let share = |hand| (hand..number).step_by(HANDS).map(|_| open(addr)).collect();
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| scope.spawn(move || -> Vec<TcpStream> { share(hand) }))
            .collect();
        let shares = hands.into_iter().map(|hand| hand.join().expect("a hand"));
        shares.flatten().collect()
    })
}

/// Opens `number` connections before the first says anything, then uses and closes all.
fn hold(tun: &Tun, python: &Path, ip: IpAddr, number: usize) {
    let dir = TempDir::new();
    let (mut server, port) = serve(&tun.net.server, python, &dir, ip, number);
    let start = Instant::now();
    let mut streams = tun
        .net
        .client
        .enter(|| open_all(SocketAddr::new(ip, port), number));
    println!("{number} connections to {ip} after {:.1?}", start.elapsed());
    assert!(!server.log().contains("answered"), "they are open at once");
    for (name, stream) in (0_u64..).zip(&mut streams) {
        stream.write_all(&name.to_be_bytes()).expect("send");
    }
    for (name, stream) in (0_u64..).zip(&mut streams) {
        let back = read_exact(stream, 8, "the same number");
        assert_eq!(back, name.to_be_bytes(), "{}", tun.proxy.log());
    }
    server.wait_for_line(&format!("answered {number}"), PATIENCE);
    streams.into_iter().for_each(assert_ends);
    println!(
        "{number} connections to {ip}: {:.1?} in all",
        start.elapsed()
    );
}

fn assert_ends(mut stream: TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("instead of the server's end: {other:?}"),
    }
}

fn connections_are_open_at_once(to: &[(IpAddr, usize)]) {
    let Some(python) = need("python3") else {
        return;
    };
    let limit = raise_limit();
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for (ip, number) in to {
        let files = *number as u64 + 200;
        assert!(files < limit, "{files} open files, where {limit} may be");
        hold(&tun, &python, *ip, *number);
    }
}

#[test]
fn connections_by_the_thousand_are_open_at_once() {
    let to = [
        (TARGET4, scaled(10_000, 1_000)),
        (TARGET6, scaled(1_000, 200)),
    ];
    connections_are_open_at_once(&to);
}
