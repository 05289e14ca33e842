//! Raw requests and what becomes of them before any upstream is involved.
use super::*;
use sansbox_core::{End, Refusal};

#[test]
fn good_requests_are_announced_and_rewritten() {
    let rows = [
        (GET, "a.b:80", "GET / HTTP/1.1\r\nHost: a.b\r\n\r\n"),
        (
            "GET http://u:p@a.b:81/x?y HTTP/1.1\r\nHost: other\r\nAccept: */*\r\n\r\n",
            "a.b:81",
            "GET /x?y HTTP/1.1\r\nHost: a.b:81\r\nAccept: */*\r\n\r\n",
        ),
        (
            "\r\n\r\nGET http://[::1]:81 HTTP/1.1\r\nHost:\r\n\r\n",
            "[::1]:81",
            "GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n",
        ),
        (
            "GET http://a.b/ HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
            "a.b:80",
            "GET / HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n",
        ),
        (
            "OPTIONS http://a.b HTTP/1.1\r\nHost: a.b\r\nMax-Forwards: 7\r\n\r\n",
            "a.b:80",
            "OPTIONS * HTTP/1.1\r\nHost: a.b\r\nMax-Forwards: 6\r\n\r\n",
        ),
        (
            "PUT http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\n\r\nabc",
            "a.b:80",
            "PUT / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "PUT http://a.b/ HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\
             Proxy-Authorization: Basic YTpi\r\nTrailer: X\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
            "a.b:80",
            "PUT / HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n\
             3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
        ),
        (
            "GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nConnection: x-hop, host, close\r\n\
             X-Hop: 1\r\nProxy-Connection: keep-alive\r\n\r\n",
            "a.b:80",
            "GET / HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n",
        ),
        (
            "GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            "a.b:80",
            "GET / HTTP/1.1\r\nHost: a.b\r\n\r\n",
        ),
    ];
    for (request, target, expected) in rows {
        let mut rig = Rig::new(Auth::None);
        rig.client(request);
        assert_eq!(rig.event(), request_for(target, false), "{request:?}");
        assert_eq!(rig.at_upstream(), "", "nothing before accept");
        rig.accept();
        assert_eq!(rig.at_upstream(), expected, "{request:?}");
        assert_eq!((rig.error, rig.event()), (None, None));
    }
}

fn assert_refused(request: &str, status: u16) {
    let mut rig = Rig::new(Auth::None);
    rig.client(request);
    let shown: String = request.chars().take(90).collect();
    assert_eq!(rig.event(), None, "{shown:?}");
    assert_eq!(rig.to_client.end(), End::Fin, "{shown:?}");
    let (actual, body) = rig.reply();
    assert_eq!(actual, status, "{shown:?}");
    assert!(
        body.starts_with("proxy: ") && body.ends_with('\n'),
        "{body:?}"
    );
    assert!(matches!(rig.error, Some(Error::BadRequest(_))), "{shown:?}");
    assert_eq!(rig.at_upstream(), "");
}

#[test]
fn bad_first_lines_are_refused() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("GET a.b:80 HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("GET https://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n", 501),
        ("GET ftp://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n", 501),
        ("GET http://a.b/# HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("GET http://a.b/x y HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("GET  http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("GET http://a.b/  HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        (" GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n", 400),
        ("GET http://a.b/ HTTP/1.1 \r\nHost: a.b\r\n\r\n", 400),
        ("GET http://a.b/\r\n\r\n", 400),
        ("GET http://a.b/ HTTP/2.0\r\nHost: a.b\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET http://a.b/ HTTP/1.1\n", 400),
        ("GET http://a.b/ HTTP/1.1\rHost", 400),
        ("\r\n\r\n\r\n\r\n\r\nGET", 400),
        ("\x16\x03\x01", 400),
        ("CONNECT a.b HTTP/1.1\r\n\r\n", 400),
        ("CONNECT a.b:0 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT /a.b:443 HTTP/1.1\r\n\r\n", 400),
        (
            "CONNECT a.b:443 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        (
            "CONNECT a.b:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
    ] {
        assert_refused(request, status);
    }
}

#[test]
fn bad_fields_are_refused() {
    let long = format!("A: {}", "x".repeat(HEAD_LEN_MAX));
    let many = vec!["A: b"; FIELDS_MAX].join("\r\n");
    let options = format!("Connection: {}", "a,".repeat(CONNECTION_OPTIONS_MAX + 1));
    for (fields, status) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
        ("Content-Length: 1\r\nContent-Length: 2", 400),
        ("Content-Length: 1\r\nContent-Length: 1", 400),
        ("Content-Length: 1, 1", 400),
        ("Content-Length: +1", 400),
        ("Content-Length: 99999999999999999999", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("A: b\r\n c", 400),
        ("A: b\nB: c", 400),
        ("A: b\rB: c", 400),
        ("A: \0", 400),
        ("A: \x07", 400),
        ("A b", 400),
        ("A\0: b", 400),
        ("Host: c.d", 400),
        ("TE: x\r\nhost: a.b", 400),
        (&long, 431),
        (&many, 431),
        (&options, 400),
    ] {
        let request = format!("POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\n{fields}\r\n\r\n");
        assert_refused(&request, status);
    }
    assert_refused("GET http://a.b/ HTTP/1.1\r\n\r\n", 400);
    assert_refused(
        "POST http://a.b/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    );
    assert_refused(
        "TRACE http://a.b/ HTTP/1.1\r\nHost: a.b\r\nMax-Forwards: x\r\n\r\n",
        400,
    );
}

#[test]
fn the_text_of_a_refusal_says_what_to_do() {
    let mut rig = Rig::new(Auth::None);
    rig.client("GET / HTTP/1.1\r\nHost: a.b\r\n\r\n");
    assert!(rig.reply().1.contains("CONNECT host:port"));
}

#[test]
fn a_chunked_request_body_that_is_malformed_resets_the_upstream() {
    let head = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "3\r\nabcd",
        "x",
        "3\nabc",
        "-1\r\n",
        "10000000000000000\r\n",
        "0\r\n\n",
    ] {
        let mut rig = Rig::accepted(head);
        rig.client(body);
        assert!(matches!(rig.error, Some(Error::BadRequest(_))), "{body:?}");
        assert_eq!(rig.to_upstream.end(), End::Reset);
        assert_eq!((rig.reply().0, rig.event()), (400, DEAD));
        assert_eq!(rig.to_client.end(), End::Fin);
    }
}

#[test]
fn refusals_tell_the_person_what_failed() {
    let rows = [
        (Refusal::ConnectionRefused, 502),
        (Refusal::NameNotFound, 502),
        (Refusal::TimedOut, 504),
        (Refusal::Policy, 403),
        (Refusal::PrivateAddress, 403),
        (Refusal::Prohibited, 403),
        (Refusal::Exhausted, 503),
        (Refusal::AddressUnsupported, 501),
    ];
    for (refusal, status) in rows {
        for request in [GET, "CONNECT a.b:80 HTTP/1.1\r\nHost: a.b\r\n\r\n"] {
            let mut rig = Rig::new(Auth::None);
            rig.client(request);
            assert!(rig.event().is_some());
            rig.server.refuse(refusal);
            rig.run();
            let body = format!("proxy: a.b:80: {}\n", refusal.reason());
            assert_eq!(rig.reply(), (status, body));
            // The connection takes another request.
            rig.client(GET);
            assert_eq!(rig.event(), request_for("a.b:80", false));
        }
    }
}

#[test]
fn a_dropped_request_is_closed_without_a_word() {
    let mut rig = Rig::new(Auth::None);
    rig.client(GET);
    rig.server.refuse(Refusal::Dropped);
    rig.run();
    assert_eq!(
        (rig.at_client(), rig.to_client.end()),
        (String::new(), End::Fin)
    );
    assert!(rig.server.is_closed());
    assert_eq!(rig.event(), None);
}

#[test]
fn a_refused_body_is_skipped_if_short_and_closes_if_not() {
    let post = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\n";
    let rows = [
        ("Content-Length: 5\r\n", true),
        ("Content-Length: 65536\r\n", true),
        ("Content-Length: 65537\r\n", false),
        ("Transfer-Encoding: chunked\r\n", false),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", false),
        ("Content-Length: 5\r\nConnection: close\r\n", false),
    ];
    for (fields, is_kept) in rows {
        let mut rig = Rig::new(Auth::None);
        rig.client(&format!("{post}{fields}\r\n"));
        rig.server.refuse(Refusal::Policy);
        rig.run();
        let reply = rig.at_client();
        assert!(reply.starts_with("HTTP/1.1 403 "));
        assert_eq!(
            reply.contains("Connection: close\r\n"),
            !is_kept,
            "{fields}"
        );
        assert_eq!(rig.to_client.end() == End::Open, is_kept, "{fields}");
    }
    let mut rig = Rig::new(Auth::None);
    rig.client(&format!("{post}Content-Length: 5\r\n\r\nab"));
    assert!(rig.event().is_some());
    rig.server.refuse(Refusal::Policy);
    rig.run();
    assert_eq!(rig.reply().0, 403);
    rig.client(&format!("cde{GET}"));
    assert_eq!(rig.event(), request_for("a.b:80", false));
}

#[test]
fn the_last_hop_of_max_forwards_is_the_proxy() {
    for (method, status) in [("OPTIONS", 200), ("TRACE", 501)] {
        let mut rig = Rig::new(Auth::None);
        let head = format!("{method} http://a.b/ HTTP/1.1\r\nHost: a.b\r\nMax-Forwards: 0\r\n\r\n");
        rig.client(&head);
        assert_eq!((rig.event(), rig.reply().0), (None, status));
    }
    // Elsewhere the field means nothing.
    let mut rig = Rig::accepted("GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nMax-Forwards: 0\r\n\r\n");
    assert!(rig.at_upstream().contains("Max-Forwards: 0\r\n"));
}
