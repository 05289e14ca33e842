//! Our socks and http outbounds through servers nobody here wrote.
use crate::configs::{USER, sing_box_server, xray_server};
use sansbox_tests::{
    Value,
    body::{self, digest},
    json,
    origin::tcp,
    peers::{Peer, danted, microsocks, need, sing_box, tinyproxy, xray},
    ports::{closed_port, free_port},
    proxy::{Proxy, upstream},
    socks::{self, Destination, reply},
    wire::{SILENCE, read_all, read_exact},
};
use std::{
    io::Write as _,
    net::{Ipv4Addr, Shutdown, SocketAddr},
    thread,
};

/// Bytes of one transfer: several buffers of any kind.
const LEN: u64 = 5_000_000;

/// Sends LEN bytes through the program under test and back, for an address and a name.
fn assert_carries(outbound: Value, peer: &Peer, what: &str) {
    let origin = tcp::echo(tcp::listener());
    let proxy = Proxy::through(outbound);
    let by_name = Destination::from(("localhost", origin.addr().port()));
    for to in [origin.addr().into(), by_name] {
        let mut stream = socks::open(proxy.addr(), None, to.clone()).unwrap_or_else(|code| {
            panic!(
                "{what} to {to:?}: reply {code}\n{}\n-- peer --\n{}",
                proxy.log(),
                peer.process.log()
            )
        });
        let mut writer = stream.try_clone().expect("clone");
        let sender = thread::spawn(move || {
            body::write(&mut writer, LEN).expect("send");
            // Not every peer keeps half a connection open, so the end comes last.
            writer
        });
        let mut reader = std::io::Read::take(&mut stream, LEN);
        let got = body::digest_of(&mut reader).expect("receive");
        assert_eq!(got, digest(LEN), "{what} to {to:?}");
        let writer = sender.join().expect("all was sent");
        let _ = writer.shutdown(Shutdown::Both);
    }
}

/// Checks that half-close passes in both directions through a peer that keeps it.
fn assert_keeps_half_close(outbound: Value, what: &str) {
    let proxy = Proxy::through(outbound);
    let origin = tcp::answer_after_fin();
    let mut stream = socks::open(proxy.addr(), None, origin.addr()).expect("it connects");
    body::write(&mut stream, 100_000).expect("send");
    stream.shutdown(Shutdown::Write).expect("half-close");
    let answer = read_all(&mut stream, SILENCE);
    assert_eq!(answer.text(), digest(100_000).to_string(), "{what}");
}

/// Checks that what the upstream could not reach is not reported as reached.
fn assert_tells_refusal(outbound: Value, code: &[u8], what: &str) {
    let proxy = Proxy::through(outbound);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    match socks::open(proxy.addr(), None, to) {
        Err(got) => assert!(code.contains(&got), "{what}: reply {got}, not {code:?}"),
        Ok(_) => panic!("{what}: a closed port was reported open"),
    }
}

/// Checks that a wrong password is an error, and that the program goes on.
fn assert_wrong_password_fails(mut outbound: Value, what: &str) {
    outbound["password"] = json!("wrong");
    let origin = tcp::echo(tcp::listener());
    let proxy = Proxy::through(outbound);
    for _ in 0..2 {
        let code = socks::open(proxy.addr(), None, origin.addr()).err();
        assert!(code.is_some_and(|code| code != 0), "{what}: {code:?}");
    }
    assert_eq!(origin.accepted(), 0, "{what}");
}

#[test]
fn microsocks_carries_socks5() {
    let Some(program) = need("microsocks") else {
        return;
    };
    for user in [None, Some(USER)] {
        let peer = microsocks(&program, user);
        let outbound = upstream("socks", peer.port, user);
        let what = format!("microsocks, user {}", user.is_some());
        assert_carries(outbound.clone(), &peer, &what);
        assert_tells_refusal(outbound.clone(), &[reply::CONNECTION_REFUSED], &what);
        if user.is_some() {
            assert_wrong_password_fails(outbound, &what);
        }
    }
}

#[test]
fn dante_carries_socks4_and_socks5() {
    let Some(program) = need("danted") else {
        return;
    };
    let peer = danted(&program);
    for version in ["4", "5"] {
        let mut outbound = upstream("socks", peer.port, None);
        outbound["version"] = json!(version);
        let what = format!("dante, version {version}");
        assert_carries(outbound.clone(), &peer, &what);
        assert_keeps_half_close(outbound.clone(), &what);
        let codes: &[u8] = match version {
            "4" => &[reply::GENERAL_FAILURE, reply::CONNECTION_REFUSED],
            _ => &[reply::CONNECTION_REFUSED],
        };
        assert_tells_refusal(outbound, codes, &what);
    }
}

#[test]
fn tinyproxy_carries_connect() {
    let Some(program) = need("tinyproxy") else {
        return;
    };
    let user = ("peer", "secret");
    for user in [None, Some(user)] {
        let peer = tinyproxy(&program, user);
        let outbound = upstream("http", peer.port, user);
        let what = format!("tinyproxy, user {}", user.is_some());
        assert_carries(outbound.clone(), &peer, &what);
        let codes = [reply::GENERAL_FAILURE, reply::CONNECTION_REFUSED];
        assert_tells_refusal(outbound.clone(), &codes, &what);
        if user.is_some() {
            assert_wrong_password_fails(outbound, &what);
        }
    }
}

#[test]
fn xray_carries_socks_and_http() {
    let Some(program) = need("xray") else { return };
    for (inbound, outbound) in [("socks", "socks"), ("http", "http"), ("mixed", "socks")] {
        for user in [None, Some(USER)] {
            let port = free_port();
            let peer = xray(&program, port, &xray_server(inbound, port, user));
            let outbound = upstream(outbound, port, user);
            let what = format!("xray {inbound}, user {}", user.is_some());
            assert_carries(outbound.clone(), &peer, &what);
            if user.is_some() {
                assert_wrong_password_fails(outbound, &what);
            }
        }
    }
}

#[test]
fn xray_takes_socks4_and_socks4a() {
    let Some(program) = need("xray") else { return };
    let port = free_port();
    let peer = xray(&program, port, &xray_server("mixed", port, None));
    for version in ["4", "4a"] {
        let mut outbound = upstream("socks", port, None);
        outbound["version"] = json!(version);
        assert_carries(outbound, &peer, &format!("xray, version {version}"));
    }
}

#[test]
fn sing_box_carries_socks_http_and_mixed() {
    let Some(program) = need("sing-box") else {
        return;
    };
    for (inbound, outbound) in [
        ("socks", "socks"),
        ("http", "http"),
        ("mixed", "socks"),
        ("mixed", "http"),
    ] {
        for user in [None, Some(USER)] {
            let port = free_port();
            let peer = sing_box(&program, port, &sing_box_server(inbound, port, user));
            let outbound = upstream(outbound, port, user);
            let what = format!("sing-box {inbound}, user {}", user.is_some());
            assert_carries(outbound.clone(), &peer, &what);
            assert_keeps_half_close(outbound.clone(), &what);
            if user.is_some() {
                assert_wrong_password_fails(outbound, &what);
            }
        }
    }
}

#[test]
fn sing_box_takes_socks4_and_socks4a() {
    let Some(program) = need("sing-box") else {
        return;
    };
    let port = free_port();
    let peer = sing_box(&program, port, &sing_box_server("socks", port, None));
    for version in ["4", "4a"] {
        let mut outbound = upstream("socks", port, None);
        outbound["version"] = json!(version);
        assert_carries(outbound, &peer, &format!("sing-box, version {version}"));
    }
}

#[test]
fn an_upstream_that_is_down_is_told_to_the_client() {
    for kind in ["socks", "http"] {
        let outbound = upstream(kind, closed_port(), None);
        let codes = [reply::GENERAL_FAILURE, reply::CONNECTION_REFUSED];
        assert_tells_refusal(outbound, &codes, kind);
    }
}

/// An upstream that answers with `bytes` and closes.
fn scripted(bytes: &'static [u8]) -> tcp::TcpServer {
    tcp::TcpServer::serve(tcp::listener(), move |mut stream| {
        let mut first = [0; 512];
        let _ = std::io::Read::read(&mut stream, &mut first);
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

#[test]
fn an_upstream_that_talks_nonsense_is_told_to_the_client() {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    let cases: [(&str, &'static [u8]); 10] = [
        ("socks", b""),
        ("socks", b"\x05"),
        ("socks", b"\x04\x00"),
        ("socks", b"\x05\xff"),
        ("socks", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("socks", b"\x05\x00\x05\x00\x00\x09\x00\x00\x00\x00\x00\x00"),
        ("http", b""),
        ("http", b"HTTP/1.1 2"),
        ("http", b"\x05\x00\r\n\r\n"),
        ("http", b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (kind, bytes) in cases {
        let server = scripted(bytes);
        let proxy = Proxy::through(upstream(kind, server.addr().port(), None));
        let code = socks::open(proxy.addr(), None, to).err();
        assert!(
            code.is_some_and(|code| code != 0),
            "{kind} {bytes:?}: {code:?}"
        );
    }
}

#[test]
fn bytes_that_come_with_the_upstreams_answer_are_kept() {
    let cases: [(&str, &'static [u8]); 3] = [
        ("http", b"HTTP/1.1 200 OK\r\n\r\nearly"),
        ("http", b"HTTP/1.0 200 Fine\r\nServer: x\r\n\r\nearly"),
        // A bound address may be a name.
        ("socks", b"\x05\x00\x05\x00\x00\x03\x04host\x00\x50early"),
    ];
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    for (kind, bytes) in cases {
        let server = scripted(bytes);
        let proxy = Proxy::through(upstream(kind, server.addr().port(), None));
        let mut stream = socks::open(proxy.addr(), None, to)
            .unwrap_or_else(|code| panic!("{kind}: reply {code}: {}", proxy.log()));
        assert_eq!(
            read_exact(&mut stream, 5, "early bytes"),
            b"early",
            "{kind}"
        );
    }
}
