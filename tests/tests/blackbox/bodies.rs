//! HTTP messages through the plain proxy: framing, hop-by-hop fields, pipelining, upgrades.
use sansbox_tests::{
    body::{self, digest},
    origin::http::HttpServer,
    proxy::Proxy,
    wire::{Ending, SILENCE, connect, exchange, read_all, read_exact, read_head},
};
use std::io::{Read as _, Write as _};

/// Sends `request` with `ORIGIN` replaced by the server's authority; returns all that comes.
fn ask(request: &str) -> (String, HttpServer) {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("mixed", &[]);
    let bytes = request.replace("ORIGIN", &origin.addr().to_string());
    let answer = exchange(proxy.addr(), bytes.as_bytes(), false, SILENCE);
    assert_ne!(answer.ending, Ending::StillOpen, "{}", answer.text());
    (answer.text(), origin)
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let (answer, origin) = ask("GET http://ORIGIN/head?q=1 HTTP/1.1\r\nHost: ORIGIN\r\n\
         Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
         Proxy-Authorization: Basic c2VjcmV0OnNlY3JldA==\r\nX-Mine: 1\r\nX-Kept: 2\r\n\
         Connection: close, X-Mine\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let heads = origin.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    let head = &heads[0];
    assert!(
        head.starts_with("GET /head?q=1 HTTP/1.1\r\n"),
        "origin form: {head}"
    );
    let lower = head.to_ascii_lowercase();
    for gone in [
        "proxy-connection",
        "keep-alive:",
        "proxy-authorization",
        "x-mine",
    ] {
        assert!(!lower.contains(gone), "{gone} went on: {head}");
    }
    assert!(lower.contains("x-kept: 2"), "{head}");
    assert_eq!(lower.matches("\r\nhost:").count(), 1, "{head}");
}

#[test]
fn the_target_of_the_request_line_wins_over_host() {
    let (answer, origin) =
        ask("GET http://ORIGIN/head HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = origin.heads().remove(0).to_ascii_lowercase();
    assert!(
        head.contains(&format!("host: {}\r\n", origin.addr())),
        "RFC 9112 section 3.2.2: {head}"
    );
    assert!(!head.contains("other.test"), "{head}");
}

#[test]
fn chunked_request_bodies_pass_through() {
    let content = body::bytes(30_000);
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("http", &[]);
    let mut stream = connect(proxy.addr());
    write!(
        stream,
        "POST http://{0}/digest HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n",
        origin.addr()
    )
    .expect("send a head");
    for chunk in content.chunks(7001) {
        write!(stream, "{:X};name=\"quoted; value\"\r\n", chunk.len()).expect("send a size");
        stream.write_all(chunk).expect("send a chunk");
        stream.write_all(b"\r\n").expect("end a chunk");
    }
    stream
        .write_all(b"0\r\nX-Trailer: 1\r\n\r\n")
        .expect("send the end");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let want = digest(30_000).to_string();
    let got = read_exact(&mut stream, want.len(), "the digest");
    assert_eq!(String::from_utf8_lossy(&got), want);
}

#[test]
fn chunked_answers_keep_their_trailer() {
    let (answer, _origin) =
        ask("GET http://ORIGIN/chunked/25000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("X-End: reached"), "trailer");
    assert!(answer.ends_with("\r\n\r\n"), "end of the trailer section");
}

#[test]
fn an_answer_without_length_ends_with_the_connection() {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("http", &[]);
    let request = format!(
        "GET http://{0}/close/70000 HTTP/1.1\r\nHost: {0}\r\n\r\n",
        origin.addr()
    );
    let mut stream = connect(proxy.addr());
    stream.write_all(request.as_bytes()).expect("send");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let rest = read_all(&mut stream, SILENCE);
    assert_eq!(rest.ending, Ending::Closed);
    assert_eq!(rest.bytes, body::bytes(70_000));
}

#[test]
fn head_204_and_304_have_no_body_and_leave_the_connection_usable() {
    let (answer, origin) = ask(
        "HEAD http://ORIGIN/bytes/999 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n\
         GET http://ORIGIN/status/204 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n\
         GET http://ORIGIN/status/304 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n\
         GET http://ORIGIN/bytes/0 HTTP/1.1\r\nHost: ORIGIN\r\nConnection: close\r\n\r\n",
    );
    let statuses: Vec<_> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
        .map(|rest| &rest[..3])
        .collect();
    assert_eq!(statuses, ["200", "204", "304", "200"], "{answer}");
    assert_eq!(origin.heads().len(), 4);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (answer, origin) = ask(
        "GET http://ORIGIN/slow/300 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n\
         GET http://ORIGIN/status/201 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n\
         GET http://ORIGIN/status/202 HTTP/1.1\r\nHost: ORIGIN\r\nConnection: close\r\n\r\n",
    );
    let statuses: Vec<_> = answer
        .lines()
        .filter_map(|line| line.split_once("HTTP/1.1 "))
        .map(|(_, rest)| &rest[..3])
        .collect();
    assert_eq!(statuses, ["200", "201", "202"], "{answer}");
    assert_eq!(origin.heads().len(), 3);
}

#[test]
fn bytes_sent_right_behind_connect_reach_the_server() {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("http", &[]);
    let request = format!(
        "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n\
         GET /bytes/5 HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n",
        origin.addr()
    );
    let mut stream = connect(proxy.addr());
    stream.write_all(request.as_bytes()).expect("send");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        !head.to_ascii_lowercase().contains("content-length"),
        "RFC 9110 section 9.3.6: {head}"
    );
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(read_all(&mut stream, SILENCE).bytes, body::bytes(5));
}

#[test]
fn an_upgraded_connection_becomes_a_tunnel() {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("http", &[]);
    let mut stream = connect(proxy.addr());
    write!(
        stream,
        "GET http://{0}/upgrade HTTP/1.1\r\nHost: {0}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        origin.addr()
    )
    .expect("send");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains("upgrade: echo"), "{head}");
    for round in 0..3 {
        let text = format!("not http at all {round}\n");
        stream.write_all(text.as_bytes()).expect("send");
        let back = read_exact(&mut stream, text.len(), "an echo");
        assert_eq!(back, text.as_bytes());
    }
    drop(stream);
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn a_client_of_http_1_0_gets_an_answer_it_understands() {
    // Chunks are unknown to HTTP/1.0: such an answer ends with the connection.
    for (path, len) in [("bytes/5", 5), ("chunked/25000", 25_000)] {
        let origin = HttpServer::start();
        let proxy = Proxy::inbound("mixed", &[]);
        let request = format!("GET {} HTTP/1.0\r\n\r\n", origin.url(&format!("/{path}")));
        let mut stream = connect(proxy.addr());
        stream.write_all(request.as_bytes()).expect("send");
        let head = read_head(&mut stream);
        assert!(
            head.starts_with("HTTP/1.") && head.contains(" 200 "),
            "{head}"
        );
        assert!(
            !head.to_ascii_lowercase().contains("transfer-encoding"),
            "{head}"
        );
        let rest = read_all(&mut stream, SILENCE);
        assert_eq!(rest.ending, Ending::Closed, "{path}");
        assert!(
            rest.bytes == body::bytes(len),
            "{path}: {} bytes",
            rest.bytes.len()
        );
    }
}

#[test]
fn a_body_in_single_bytes_arrives_whole() {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("mixed", &[]);
    let mut stream = connect(proxy.addr());
    let request = format!(
        "POST http://{0}/digest HTTP/1.1\r\nHost: {0}\r\nContent-Length: 100\r\n\
         Connection: close\r\n\r\n",
        origin.addr()
    );
    for byte in request.into_bytes().into_iter().chain(body::bytes(100)) {
        stream.write_all(&[byte]).expect("send a byte");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    assert!(answer.ends_with(&digest(100).to_string()), "{answer}");
}
