//! The relay itself: independent halves, bytes sent early, many at once.
use sansbox_tests::{
    body::{self, digest},
    origin::tcp,
    proxy::Proxy,
    socks::{self, Destination},
    wire::{SILENCE, connect, read_all, read_exact, read_head},
};
use std::{
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
};

/// Opens a tunnel to `to` by SOCKS5 and by CONNECT.
fn tunnels(proxy: &Proxy, to: SocketAddr) -> [TcpStream; 2] {
    let socks = socks::open(proxy.addr(), None, to).expect("the proxy connects");
    let mut http = connect(proxy.addr());
    write!(http, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").expect("send");
    let head = read_head(&mut http);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    [socks, http]
}

#[test]
fn half_close_from_the_client_still_delivers_the_answer() {
    let origin = tcp::answer_after_fin();
    let proxy = Proxy::inbound("mixed", &[]);
    for mut stream in tunnels(&proxy, origin.addr()) {
        body::write(&mut stream, 3_000_000).expect("send");
        stream.shutdown(Shutdown::Write).expect("half-close");
        let answer = read_all(&mut stream, SILENCE);
        assert_eq!(answer.text(), digest(3_000_000).to_string());
    }
}

#[test]
fn half_close_from_the_server_keeps_the_way_in_open() {
    let (origin, received) = tcp::fin_first(b"hello");
    let proxy = Proxy::inbound("mixed", &[]);
    for mut stream in tunnels(&proxy, origin.addr()) {
        let answer = read_all(&mut stream, SILENCE);
        assert_eq!(answer.text(), "hello");
        body::write(&mut stream, 3_000_000).expect("send after the server's FIN");
        stream.shutdown(Shutdown::Write).expect("half-close");
        let got = received.recv_timeout(SILENCE).expect("the server ends");
        assert_eq!(got, digest(3_000_000));
    }
}

#[test]
fn bytes_sent_with_the_request_are_kept() {
    let origin = tcp::echo(tcp::listener());
    let proxy = Proxy::inbound("socks", &[]);
    let mut stream = connect(proxy.addr());
    let mut bytes = vec![5, 1, 0, 5, 1, 0];
    bytes.extend(Destination::from(origin.addr()).encode());
    bytes.extend(b"early");
    stream.write_all(&bytes).expect("send all at once");
    let reply = read_exact(&mut stream, 2 + 10, "the method and the reply");
    assert_eq!(reply[..5], [5, 0, 5, 0, 0], "{reply:?}");
    assert_eq!(read_exact(&mut stream, 5, "the echo"), b"early");
}

#[test]
fn socks4_answers_in_its_own_words() {
    let origin = tcp::echo(tcp::listener());
    let proxy = Proxy::inbound("socks", &[]);
    let port = origin.addr().port().to_be_bytes();
    let requests = [
        [&[4, 1], &port[..], &[127, 0, 0, 1], b"me\0"].concat(),
        [
            &[4, 1],
            &port[..],
            &[0, 0, 0, 7],
            b"\0".as_slice(),
            b"localhost\0",
        ]
        .concat(),
    ];
    for request in requests {
        let mut stream = connect(proxy.addr());
        stream.write_all(&request).expect("send");
        let reply = read_exact(&mut stream, 8, "a SOCKS4 reply");
        assert_eq!(reply[..2], [0, 0x5a], "{reply:?}");
        stream.write_all(b"ping").expect("send");
        assert_eq!(read_exact(&mut stream, 4, "the echo"), b"ping");
    }
}

#[test]
fn a_handshake_in_single_bytes_works() {
    let origin = tcp::echo(tcp::listener());
    let proxy = Proxy::inbound("mixed", &[("u", "p")]);
    let mut stream = connect(proxy.addr());
    let mut bytes = vec![5, 2, 0, 2, 1, 1, b'u', 1, b'p', 5, 1, 0];
    bytes.extend(Destination::from(("localhost", origin.addr().port())).encode());
    for byte in bytes {
        stream.write_all(&[byte]).expect("send a byte");
    }
    let answer = read_exact(&mut stream, 2 + 2 + 4, "method, verdict and reply");
    assert_eq!(answer[..7], [5, 2, 1, 0, 5, 0, 0], "{answer:?}");
}

#[test]
fn two_hundred_connections_at_once_all_carry_bytes() {
    let origin = tcp::echo(tcp::listener());
    let proxy = Proxy::inbound("mixed", &[]);
    let (to, addr) = (origin.addr(), proxy.addr());
    let open: Vec<_> = (0..200)
        .map(|_| socks::open(addr, None, to).expect("the proxy connects"))
        .collect();
    thread::scope(|scope| {
        for (number, mut stream) in open.into_iter().enumerate() {
            scope.spawn(move || {
                let content = body::bytes(1000 + number as u64);
                stream.write_all(&content).expect("send");
                stream.shutdown(Shutdown::Write).expect("half-close");
                assert_eq!(read_all(&mut stream, SILENCE).bytes, content);
            });
        }
    });
}
