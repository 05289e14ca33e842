//! Very many connections that are open at the same time.
use crate::{
    hosted::{self, Hosted},
    net::{TARGET4, TARGET6},
    program::{Options, Tun},
    tools::scaled,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sansbox_tests::wire::{SILENCE, read_exact};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Threads that open connections at once.
const HANDS: usize = 8;
/// How long all of them may take to be open.
const OPENED: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(1);

/// As many open files as the system lets this process have.
fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Accepts `number` connections, and when all are there, sends each one's number back.
fn serve(listener: &TcpListener, number: usize) -> Vec<TcpStream> {
    listener.set_nonblocking(true).expect("a mode can be set");
    let deadline = Instant::now() + OPENED;
    let mut open = Vec::new();
    while open.len() < number {
        match listener.accept() {
            Ok((stream, _)) => open.push(stream),
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(TICK),
            Err(e) => panic!("accept: {e}"),
        }
        assert!(Instant::now() < deadline, "{} of {number} came", open.len());
    }
    for stream in &mut open {
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
        let name = read_exact(stream, 8, "the connection's number");
        stream.write_all(&name).expect("answer");
    }
    open
}

fn open(addr: SocketAddr) -> TcpStream {
    let timeout = Duration::from_secs(60);
    let stream = TcpStream::connect_timeout(&addr, timeout);
    let stream = stream.unwrap_or_else(|e| panic!("connect to {addr}: {e}"));
    stream.set_read_timeout(Some(timeout)).expect("a timeout");
    stream
}

/// Opens `number` connections before the first says anything, then uses and closes all.
fn hold(tun: &Tun, ip: IpAddr, number: usize) {
    let server = Hosted::new(&tun.net.server, || hosted::listener(ip));
    let addr = server.local_addr().expect("a listener has an address");
    let start = Instant::now();
    let parts = thread::scope(|scope| {
        let accepted = scope.spawn(|| serve(&server, number));
        let parts: Vec<Vec<TcpStream>> = tun.net.client.enter(|| {
            thread::scope(|scope| {
                let share = |hand| (hand..number).step_by(HANDS).map(|_| open(addr)).collect();
                let hands: Vec<_> = (0..HANDS)
                    .map(|hand| scope.spawn(move || share(hand)))
                    .collect();
                let joined = hands.into_iter().map(|hand| hand.join().expect("a hand"));
                joined.collect()
            })
        });
        println!("{number} connections to {ip} after {:.1?}", start.elapsed());
        let mut streams: Vec<_> = parts.into_iter().flatten().collect();
        for (name, stream) in (0_u64..).zip(&mut streams) {
            stream.write_all(&name.to_be_bytes()).expect("send");
        }
        for (name, stream) in (0_u64..).zip(&mut streams) {
            let back = read_exact(stream, 8, "the same number");
            assert_eq!(back, name.to_be_bytes(), "{}", tun.proxy.log());
        }
        assert_eq!(streams.len(), number);
        let accepted = accepted.join().expect("the server ends");
        assert_eq!(accepted.len(), number);
        drop(accepted);
        streams
    });
    for stream in parts {
        assert_ends(stream);
    }
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

#[test]
fn connections_by_the_thousand_are_open_at_once() {
    let limit = raise_limit();
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for (ip, number) in [
        (TARGET4, scaled(10_000, 1_000)),
        (TARGET6, scaled(1_000, 200)),
    ] {
        assert!(
            number as u64 * 2 + 100 < limit,
            "{limit} open files at most"
        );
        hold(&tun, ip, number);
    }
}

/// By hand: the machine needs some 150,000 open files and 2 GB for the kernel's sockets.
#[test]
#[ignore = "50,000 connections take more files and memory than every machine has"]
fn fifty_thousand_connections_are_open_at_once() {
    let limit = raise_limit();
    assert!(limit > 100_100, "{limit} open files at most");
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    hold(&tun, TARGET4, 50_000);
}
