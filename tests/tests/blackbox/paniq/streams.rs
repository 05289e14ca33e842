//! Streams of a tunnel: bytes and ends arrive as they were sent.
use super::{PATIENCE, SERVER_UP, Setup, Tunnel, count, ping};
use rustix::{
    net::sockopt::set_socket_linger,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use sansbox_tests::{
    body::{self, digest, digest_of},
    json,
    origin::tcp::{self, TcpServer},
    socks,
    wire::{Ending, SILENCE, connect, exchange, read_all, read_exact, read_head},
};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Bytes of a bulk transfer: less where programs are not optimised.
const BULK: u64 = if cfg!(debug_assertions) {
    40_000_000
} else {
    100_000_000
};

/// Closes a connection with RST.
fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("set an option");
    drop(stream);
}

#[test]
fn bulk_arrives_unchanged_each_way() {
    let upload = tcp::answer_after_fin();
    let download = TcpServer::serve(tcp::listener(), |mut stream| {
        let _ = body::write(&mut stream, BULK);
    });
    let tunnel = Tunnel::start();
    let mut stream = tunnel.open(upload.addr());
    body::write(&mut stream, BULK).expect("send");
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!(
        read_all(&mut stream, PATIENCE).text(),
        digest(BULK).to_string()
    );
    let mut stream = tunnel.open(download.addr());
    assert_eq!(digest_of(&mut stream).expect("all of it"), digest(BULK));
}

#[test]
fn bulk_goes_both_ways_at_once() {
    let origin = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    let mut stream = tunnel.open(origin.addr());
    let mut writer = stream.try_clone().expect("clone");
    let len = BULK / 4;
    let sender = thread::spawn(move || {
        body::write(&mut writer, len).expect("send");
        writer.shutdown(Shutdown::Write).expect("half-close");
    });
    assert_eq!(digest_of(&mut stream).expect("all of it"), digest(len));
    sender.join().expect("all was sent");
}

#[test]
fn two_hundred_streams_at_once_all_carry_bytes() {
    let origin = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    let streams: Vec<_> = (0..200).map(|_| tunnel.open(origin.addr())).collect();
    thread::scope(|scope| {
        for (number, mut stream) in streams.into_iter().enumerate() {
            scope.spawn(move || {
                let content = body::bytes(100_000 + number as u64);
                let mut writer = stream.try_clone().expect("clone");
                let sent = content.clone();
                let sender = thread::spawn(move || {
                    writer.write_all(&sent).expect("send");
                    writer.shutdown(Shutdown::Write).expect("half-close");
                });
                let back = read_all(&mut stream, PATIENCE * 3);
                assert!(back.bytes == content, "{} bytes", back.bytes.len());
                assert_eq!(back.ending, Ending::Closed);
                sender.join().expect("all was sent");
            });
        }
    });
}

#[test]
fn streams_beyond_what_the_server_allows_wait_for_others_to_end() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    for profile in setup.profiles() {
        profile["quic"]["max_streams"] = 4.into();
    }
    setup.client["sansbox"] = json!({ "workers": 1 });
    let tunnel = setup.start();
    let mut held: Vec<_> = (0..4).map(|_| tunnel.open(origin.addr())).collect();
    let (client, to) = (tunnel.client.addr(), origin.addr());
    let (sender, late) = mpsc::channel();
    thread::spawn(move || sender.send(socks::open(client, None, to)));
    assert!(
        late.recv_timeout(Duration::from_millis(700)).is_err(),
        "there is no place"
    );
    held.iter().for_each(ping);
    drop(held.pop());
    let late = late.recv_timeout(PATIENCE).expect("an answer");
    ping(&late.expect("a place"));
    held.iter().for_each(ping);
}

#[test]
fn what_comes_before_the_answer_is_kept() {
    // Over SOCKS everything at once, as over HTTP: nobody waits for a reply.
    let origin = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    let to = origin.addr();
    let mut bytes = vec![5, 1, 0, 5, 1, 0];
    bytes.extend(socks::Destination::from(to).encode());
    bytes.extend(body::bytes(200_000));
    let answer = exchange(tunnel.client.addr(), &bytes, true, PATIENCE);
    assert!(
        answer.bytes[12..] == body::bytes(200_000),
        "{}",
        answer.bytes.len()
    );
    let mut bytes = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes();
    bytes.extend(b"early");
    let answer = exchange(tunnel.client.addr(), &bytes, true, PATIENCE).text();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nearly"),
        "{answer}"
    );
}

#[test]
fn a_half_close_from_the_client_still_delivers_the_answer() {
    let origin = tcp::answer_after_fin();
    let tunnel = Tunnel::start();
    for len in [0, 1, 3_000_000] {
        let mut stream = tunnel.open(origin.addr());
        body::write(&mut stream, len).expect("send");
        stream.shutdown(Shutdown::Write).expect("half-close");
        let answer = read_all(&mut stream, PATIENCE);
        assert_eq!(answer.text(), digest(len).to_string());
        assert_eq!(answer.ending, Ending::Closed);
    }
}

#[test]
fn a_half_close_from_the_target_keeps_the_way_in_open() {
    let (origin, received) = tcp::fin_first(b"hello");
    let tunnel = Tunnel::start();
    let mut stream = tunnel.open(origin.addr());
    let answer = read_all(&mut stream, PATIENCE);
    assert_eq!(
        (answer.text().as_str(), answer.ending),
        ("hello", Ending::Closed)
    );
    body::write(&mut stream, 3_000_000).expect("send after the target's FIN");
    stream.shutdown(Shutdown::Write).expect("half-close");
    let got = received.recv_timeout(PATIENCE).expect("the target ends");
    assert_eq!(got, digest(3_000_000));
}

#[test]
fn a_target_that_speaks_first_is_heard() {
    let origin = TcpServer::serve(tcp::listener(), |mut stream| {
        let _ = stream.write_all(b"220 ready\r\n");
        let mut word = [0; 4];
        let _ = stream.read_exact(&mut word);
        let _ = stream.write_all(&word);
    });
    let tunnel = Tunnel::start();
    let mut socks = tunnel.open(origin.addr());
    let mut http = connect(tunnel.client.addr());
    let to = origin.addr();
    write!(http, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").expect("send");
    assert!(read_head(&mut http).starts_with("HTTP/1.1 200"));
    for stream in [&mut socks, &mut http] {
        assert_eq!(read_exact(stream, 11, "the banner"), b"220 ready\r\n");
        stream.write_all(b"quit").expect("send");
        assert_eq!(read_all(stream, SILENCE).text(), "quit");
    }
}

#[test]
fn resets_arrive_as_resets() {
    let (sender, ends) = mpsc::channel();
    let origin = TcpServer::serve(tcp::listener(), move |mut stream| {
        let mut word = [0; 4];
        stream.read_exact(&mut word).expect("a word");
        stream.write_all(&word).expect("send");
        if word == *b"rst!" {
            return reset(stream);
        }
        let _ = sender.send(read_all(&mut stream, PATIENCE).ending);
    });
    let tunnel = Tunnel::start();
    let other = tcp::echo(tcp::listener());
    let other = tunnel.open(other.addr());

    let mut stream = tunnel.open(origin.addr());
    stream.write_all(b"rst!").expect("send");
    // The word may be lost: a reset overtakes what is on its way.
    assert_eq!(read_all(&mut stream, PATIENCE).ending, Ending::Reset);

    let stream = tunnel.open(origin.addr());
    ping(&stream);
    reset(stream);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(Ending::Reset));

    let stream = tunnel.open(origin.addr());
    ping(&stream);
    drop(stream);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(Ending::Closed));
    ping(&other);
}

#[test]
fn a_reader_that_rests_holds_its_sender_back_and_nobody_else() {
    let (sender, sent) = mpsc::channel();
    let origin = TcpServer::serve(tcp::listener(), move |mut stream| {
        let mut n = 0;
        while n < BULK && body::write(&mut stream, 100_000).is_ok() {
            n += 100_000;
            let _ = sender.send(n);
        }
    });
    let echo = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    let (other, mut resting) = (tunnel.open(echo.addr()), tunnel.open(origin.addr()));
    let mut last = 0;
    while let Ok(n) = sent.recv_timeout(Duration::from_secs(1)) {
        last = n;
    }
    assert!(
        last < BULK / 2,
        "{last} bytes were taken from the target for nobody"
    );
    ping(&other);
    let mut buffer = vec![0; 100_000];
    for _ in 0..BULK / 100_000 {
        resting.read_exact(&mut buffer).expect("the rest");
    }
    ping(&other);
}

#[test]
fn several_workers_share_the_work() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    for config in [&mut setup.client, &mut setup.server] {
        config["sansbox"] = json!({ "workers": 2 });
    }
    let tunnel = setup.start();
    // The kernel gives a connection to the worker on the CPU that it comes from.
    let cpus = sched_getaffinity(None).expect("the CPUs");
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| cpus.is_set(*cpu))
        .take(2)
        .collect();
    let mut held = Vec::new();
    for cpu in &cpus {
        let from_there = || {
            let mut there = CpuSet::new();
            there.set(*cpu);
            sched_setaffinity(None, &there).expect("a CPU");
            (0..20)
                .map(|_| tunnel.open(origin.addr()))
                .collect::<Vec<_>>()
        };
        held.extend(thread::scope(|scope| scope.spawn(from_there).join()).expect("opened"));
    }
    held.iter().for_each(ping);
    // Each worker of the client's has a tunnel of its own.
    assert_eq!(count(&tunnel.server, SERVER_UP), cpus.len());
}
