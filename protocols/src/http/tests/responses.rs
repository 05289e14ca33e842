//! Raw responses of an upstream and what the client gets of them.
use super::*;
use sansbox_core::{End, Refusal};

/// Method, client version, response, what the client sees, is the upstream reusable, is the
/// client connection kept.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str, bool, bool);

fn assert_passed(row: Row<'_>, fin: bool) {
    let (method, version, response, expected, reusable, is_kept) = row;
    let mut rig = Rig::accepted(&format!(
        "{method} http://a.b/ HTTP/{version}\r\nHost: a.b\r\n\r\n"
    ));
    rig.upstream(response);
    if fin {
        assert_eq!(rig.event(), None, "{response:?}");
        rig.upstream_fin();
    }
    assert_eq!(rig.at_client(), expected, "{response:?}");
    let done = ServerEvent::UpstreamDone { reusable };
    assert_eq!(rig.event(), Some(done), "{response:?}");
    assert_eq!(rig.to_client.end() == End::Open, is_kept, "{response:?}");
    assert_eq!((rig.error, rig.event()), (None, None));
}

#[test]
fn bodies_end_where_their_framing_says() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nT: 1\r\n\r\n";
    let rows: [Row<'_>; 9] = [
        ("GET", "1.1", OK, OK, true, true),
        ("GET", "1.1", chunked, chunked, true, true),
        (
            "HEAD",
            "1.1",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            true,
            true,
        ),
        (
            "GET",
            "1.1",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            true,
            true,
        ),
        (
            "GET",
            "1.1",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
            true,
            true,
        ),
        (
            "GET",
            "1.1",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close, x\r\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            false,
            true,
        ),
        (
            "GET",
            "1.1",
            "HTTP/1.0 200\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx",
            false,
            true,
        ),
        (
            "GET",
            "1.1",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            true,
            true,
        ),
        // Bytes behind the end are not a second response.
        (
            "GET",
            "1.1",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            false,
            true,
        ),
    ];
    for row in rows {
        assert_passed(row, false);
    }
}

#[test]
fn http10_clients_get_no_chunks_and_a_close() {
    assert_passed(
        (
            "GET",
            "1.0",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n\
             2;x\r\nab\r\n3\r\ncde\r\n0\r\nT: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde",
            true,
            false,
        ),
        false,
    );
    assert_passed(
        (
            "GET",
            "1.0",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            true,
            false,
        ),
        false,
    );
}

#[test]
fn a_body_until_close_closes_the_client_too() {
    for version in ["1.0", "1.1"] {
        assert_passed(
            (
                "GET",
                version,
                "HTTP/1.1 200 OK\r\n\r\nabc",
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
                false,
                false,
            ),
            true,
        );
    }
}

#[test]
fn broken_heads_become_502_and_the_client_is_kept() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(HEAD_LEN_MAX));
    let ok = "HTTP/1.1 200 OK\r\n";
    let rows = [
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n".to_owned(),
        "HTTP/1.1 200 OK\rX".to_owned(),
        "HTTP/2 200\r\n\r\n".to_owned(),
        "ICY 200 OK\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        format!("{ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("{ok}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        format!("{ok}Content-Length: x\r\n\r\n"),
        format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n"),
        format!("{ok}Transfer-Encoding: identity\r\n\r\n"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("{ok}A : b\r\n\r\n"),
        format!("{ok}A: b\r\n c\r\n\r\n"),
        format!("{ok}A: \0\r\n\r\n"),
        long,
    ];
    for response in rows {
        let shown: String = response.chars().take(80).collect();
        let mut rig = Rig::accepted(GET);
        rig.upstream(&response);
        let (status, body) = rig.reply();
        assert_eq!((status, rig.event()), (502, DEAD), "{shown:?}");
        assert!(body.contains("answer is broken"), "{body}");
        assert_eq!((rig.error, rig.to_client.end()), (None, End::Open));
        rig.fresh_upstream();
        rig.client(GET);
        assert_eq!(rig.event(), request_for("a.b:80", false));
    }
}

#[test]
fn an_upstream_that_closes_without_an_answer_becomes_502() {
    for partial in ["", "HTTP/1.1 2", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut rig = Rig::accepted(GET);
        rig.upstream(partial);
        rig.at_client();
        rig.upstream_fin();
        assert_eq!((rig.reply().0, rig.event()), (502, DEAD), "{partial:?}");
    }
    let mut rig = Rig::accepted(GET);
    let _ = (rig.from_upstream.reset(), rig.to_upstream.reset());
    rig.run();
    assert_eq!((rig.reply().0, rig.event()), (502, DEAD));
}

#[test]
fn a_body_that_breaks_off_closes_the_client() {
    let rows = [
        ("Content-Length: 5\r\n\r\nabc", false, End::Fin),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
            false,
            End::Fin,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabcdeX",
            false,
            End::Fin,
        ),
        ("A: b\r\n\r\nabc", true, End::Reset),
    ];
    for (rest, reset, end) in rows {
        let mut rig = Rig::accepted(GET);
        rig.upstream(&format!("HTTP/1.1 200 OK\r\n{rest}"));
        match reset {
            true => drop(rig.from_upstream.reset()),
            false => drop(rig.from_upstream.finish()),
        }
        rig.run();
        assert!(
            matches!(rig.error, Some(Error::ResponseBroken(_))),
            "{rest:?}"
        );
        assert_eq!((rig.to_client.end(), rig.event()), (end, DEAD), "{rest:?}");
    }
    let mut rig = Rig::accepted("GET http://a.b/ HTTP/1.0\r\n\r\n");
    rig.upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc");
    rig.upstream_fin();
    assert_eq!(
        rig.to_client.end(),
        End::Reset,
        "a FIN would look like the end of the body"
    );
}

#[test]
fn a_silent_upstream_can_be_given_up() {
    let mut rig = Rig::accepted(GET);
    rig.upstream("HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(rig.reply().0, 102);
    rig.server.refuse(Refusal::TimedOut);
    rig.run();
    assert_eq!(
        rig.reply(),
        (504, "proxy: connection timed out\n".to_owned())
    );
    rig.client(GET);
    assert_eq!(rig.event(), request_for("a.b:80", false));
    // After the final head it is too late.
    let mut rig = Rig::accepted(GET);
    rig.upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    rig.at_client();
    rig.server.refuse(Refusal::TimedOut);
    rig.run();
    assert_eq!(rig.at_client(), "");
}

#[test]
fn a_502_to_a_request_with_a_body_closes_the_client() {
    let head = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 4\r\n\r\n";
    for body in ["", "ab", "abcd"] {
        let mut rig = Rig::accepted(head);
        rig.client(body);
        rig.upstream("nonsense\r\n\r\n");
        assert!(
            rig.at_client().contains("\r\nConnection: close\r\n"),
            "{body}"
        );
        assert_eq!((rig.event(), rig.to_client.end()), (DEAD, End::Fin));
        assert_eq!(rig.error, None);
    }
}

#[test]
fn surplus_bytes_spoil_the_upstream_of_a_closing_client_too() {
    let mut rig = Rig::accepted("GET http://a.b/ HTTP/1.0\r\n\r\n");
    rig.upstream(&format!("{OK}x"));
    assert_eq!((rig.event(), rig.to_client.end()), (DEAD, End::Fin));
}

#[test]
fn a_head_that_fills_its_pipe_is_too_large() {
    let mut rig = Rig::accepted(GET);
    rig.from_upstream = Pipe::new(64);
    rig.upstream(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(64)));
    assert_eq!((rig.reply().0, rig.event()), (502, DEAD));

    let mut rig = Rig::new(Auth::None);
    rig.from_client = Pipe::new(64);
    rig.client(&format!("GET http://a.b/{}", "x".repeat(64)));
    assert_eq!((rig.reply().0, rig.event()), (431, None));
}
