//! How connections begin and end.
use crate::{
    hosted,
    net::{TARGET4, TARGET6, TARGETS},
    program::{Options, Tun, is_ours},
};
use rustix::net::sockopt::set_socket_linger;
use sansbox_tests::{
    body::{self, digest},
    wire::{Ending, SILENCE, connect, read_all, read_exact},
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

const LEN: u64 = 1_000_000;

#[test]
fn a_server_answers_after_the_end_of_the_question() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let server = hosted::tcp(&tun.net.server, ip, |mut stream| {
            let got = body::digest_of(&mut stream).expect("the question, to its end");
            let _ = stream.write_all(got.to_string().as_bytes());
        });
        let addr = server.addr();
        let answer = tun.net.client.enter(|| {
            let mut stream = connect(addr);
            body::write(&mut stream, LEN).expect("send");
            stream.shutdown(Shutdown::Write).expect("send the end");
            read_all(&mut stream, SILENCE)
        });
        assert_eq!(
            answer.text(),
            digest(LEN).to_string(),
            "{}",
            tun.proxy.log()
        );
        assert_eq!(answer.ending, Ending::Closed);
    }
}

#[test]
fn a_client_goes_on_after_the_end_of_the_answer() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let (sender, receiver) = mpsc::channel();
        let server = hosted::tcp(&tun.net.server, ip, move |mut stream| {
            let _ = stream.write_all(b"all I have");
            let _ = stream.shutdown(Shutdown::Write);
            let _ = sender.send(body::digest_of(&mut stream));
        });
        let addr = server.addr();
        tun.net.client.enter(|| {
            let mut stream = connect(addr);
            let answer = read_all(&mut stream, SILENCE);
            assert_eq!(answer.text(), "all I have", "{}", tun.proxy.log());
            assert_eq!(answer.ending, Ending::Closed);
            body::write(&mut stream, LEN).expect("send after the end of the answer");
        });
        let got = receiver.recv_timeout(SILENCE).expect("the question ends");
        assert_eq!(got.expect("no reset"), digest(LEN));
    }
}

fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger can be set");
    drop(stream);
}

#[test]
fn a_reset_of_the_client_reaches_the_server() {
    if !is_ours("sing-box makes a FIN of every RST") {
        return;
    }
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let (sender, receiver) = mpsc::channel();
        let server = hosted::tcp(&tun.net.server, ip, move |mut stream| {
            let _ = stream.set_read_timeout(Some(SILENCE));
            let _ = stream.write_all(b"x");
            let mut rest = [0; 16];
            let _ = sender.send(stream.read(&mut rest).map_err(|e| e.kind()));
        });
        let addr = server.addr();
        tun.net.client.enter(|| {
            let mut stream = connect(addr);
            let _ = read_exact(&mut stream, 1, "greeting");
            reset(stream);
        });
        let got = receiver.recv_timeout(SILENCE * 2).expect("an end came");
        assert_eq!(got, Err(ErrorKind::ConnectionReset), "{}", tun.proxy.log());
    }
}

#[test]
fn a_reset_of_the_server_reaches_the_client() {
    if !is_ours("sing-box makes a FIN of every RST") {
        return;
    }
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let server = hosted::tcp(&tun.net.server, ip, |mut stream| {
            let mut first = [0];
            let _ = stream.read(&mut first);
            reset(stream);
        });
        let addr = server.addr();
        let answer = tun.net.client.enter(|| {
            let mut stream = connect(addr);
            stream.write_all(b"x").expect("send");
            read_all(&mut stream, SILENCE)
        });
        assert_eq!(answer.ending, Ending::Reset, "{}", tun.proxy.log());
        assert_eq!(answer.bytes, b"");
    }
}

/// A connection of its own: a question, its end, the same back, its end.
pub(crate) fn short(addr: SocketAddr, content: &[u8]) {
    let mut stream = connect(addr);
    stream.write_all(content).expect("send");
    stream.shutdown(Shutdown::Write).expect("send the end");
    let answer = read_all(&mut stream, SILENCE);
    assert_eq!(answer.ending, Ending::Closed);
    assert!(
        answer.bytes == content,
        "{} bytes came back",
        answer.bytes.len()
    );
}

#[test]
fn a_hundred_short_connections_at_once() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for (ip, number) in [(TARGET4, 100), (TARGET6, 100)] {
        let server = hosted::tcp(&tun.net.server, ip, |mut stream| {
            let mut content = Vec::new();
            if stream.read_to_end(&mut content).is_ok() {
                let _ = stream.write_all(&content);
            }
        });
        let addr = server.addr();
        tun.net.client.enter(|| {
            thread::scope(|scope| {
                for n in 0..number {
                    scope.spawn(move || short(addr, &body::bytes(1 + n * 97)));
                }
            });
        });
        assert!(server.accepted() >= 100);
    }
}
