//! Several messages on one connection.
use super::*;
use sansbox_core::End;

const POST: &str = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 4\r\n";

#[test]
fn a_connection_carries_request_after_request() {
    let mut rig = Rig::new(Auth::None);
    for _ in 0..3 {
        rig.client(GET);
        assert_eq!(rig.event(), request_for("a.b:80", false));
        rig.accept();
        assert_eq!(rig.at_upstream(), "GET / HTTP/1.1\r\nHost: a.b\r\n\r\n");
        rig.upstream(OK);
        assert_eq!((rig.at_client().as_str(), rig.event()), (OK, DONE));
    }
    rig.client_fin();
    assert!(rig.server.is_closed());
    assert_eq!((rig.to_client.end(), rig.error), (End::Fin, None));
}

#[test]
fn pipelined_requests_wait_for_the_response_before_them() {
    let mut rig = Rig::new(Auth::None);
    let other = GET.replace("a.b", "c.d");
    rig.client(&format!("{GET}{other}"));
    assert_eq!(rig.event(), request_for("a.b:80", false));
    rig.accept();
    assert_eq!((rig.event(), rig.from_client.len()), (None, other.len()));
    rig.upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    assert_eq!(rig.event(), None);
    rig.upstream("k");
    assert_eq!(rig.event(), DONE);
    assert_eq!(rig.event(), request_for("c.d:80", false));
    rig.at_upstream();
    rig.fresh_upstream();
    rig.accept();
    assert_eq!(rig.at_upstream(), "GET / HTTP/1.1\r\nHost: c.d\r\n\r\n");
    rig.upstream("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(
        rig.at_client(),
        format!("{OK}HTTP/1.1 204 No Content\r\n\r\n")
    );
}

#[test]
fn a_kept_upstream_that_closes_is_reported_before_the_next_request() {
    let mut rig = Rig::accepted(GET);
    rig.upstream(OK);
    assert_eq!(rig.event(), DONE);
    rig.upstream_fin();
    assert_eq!(rig.event(), DEAD);

    // In the same round as the next request.
    let mut rig = Rig::accepted(GET);
    rig.upstream(OK);
    assert_eq!(rig.event(), DONE);
    let _ = rig.from_upstream.finish();
    rig.client(GET);
    assert_eq!(
        (rig.event(), rig.event()),
        (DEAD, request_for("a.b:80", false))
    );

    // With the last byte of the response.
    let mut rig = Rig::accepted(GET);
    rig.from_upstream.push_slice(OK.as_bytes());
    rig.upstream_fin();
    assert_eq!((rig.event(), rig.event()), (DEAD, None));
}

#[test]
fn a_kept_upstream_that_speaks_unasked_is_not_used_again() {
    let mut rig = Rig::accepted(GET);
    rig.upstream(OK);
    assert_eq!(rig.event(), DONE);
    rig.upstream(OK);
    rig.client(GET);
    assert_eq!(
        (rig.event(), rig.event()),
        (DEAD, request_for("a.b:80", false))
    );
    assert_eq!(rig.at_client(), OK);
}

#[test]
fn a_kept_upstream_that_closes_under_a_request_is_502() {
    let mut rig = Rig::accepted(GET);
    rig.upstream(OK);
    rig.at_client();
    rig.client(GET);
    assert_eq!(
        (rig.event(), rig.event()),
        (DONE, request_for("a.b:80", false))
    );
    rig.accept();
    rig.upstream_fin();
    assert_eq!((rig.reply().0, rig.event()), (502, DEAD));
}

#[test]
fn a_request_body_streams_and_the_next_request_follows() {
    let mut rig = Rig::accepted(&format!("{POST}\r\nab"));
    assert!(rig.at_upstream().ends_with("\r\n\r\nab"));
    rig.client(&format!("cd{GET}"));
    assert_eq!((rig.at_upstream().as_str(), rig.event()), ("cd", None));
    rig.upstream(OK);
    assert_eq!(
        (rig.event(), rig.event()),
        (DONE, request_for("a.b:80", false))
    );
}

#[test]
fn interim_responses_are_passed_on_and_the_body_follows() {
    let mut rig = Rig::accepted(&format!("{POST}Expect: 100-continue\r\n\r\n"));
    assert!(rig.at_upstream().contains("Expect: 100-continue\r\n"));
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    rig.upstream(interim);
    assert_eq!(rig.at_client(), interim);
    rig.client("abcd");
    assert_eq!(rig.at_upstream(), "abcd");
    rig.upstream(OK);
    assert_eq!((rig.at_client().as_str(), rig.event()), (OK, DONE));
    assert_eq!(rig.to_client.end(), End::Open);
}

#[test]
fn a_final_response_instead_of_100_closes_the_connection() {
    let mut rig = Rig::accepted(&format!("{POST}Expect: 100-continue\r\n\r\n"));
    rig.upstream("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        rig.at_client(),
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!((rig.event(), rig.to_client.end()), (DEAD, End::Fin));
    // What the client had under way is dropped, and its FIN ends it.
    rig.client("abcd");
    assert!(rig.from_client.is_empty() && !rig.server.is_closed());
    rig.client_fin();
    assert!(rig.server.is_closed());
    assert_eq!((rig.error, rig.event()), (None, None));
}

#[test]
fn an_early_response_streams_against_the_body() {
    let mut rig = Rig::accepted(&format!("{POST}\r\n"));
    rig.upstream("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    assert!(rig.at_client().contains("Connection: close\r\n"));
    rig.at_upstream();
    for byte in ["a", "b", "c", "d"] {
        rig.client(byte);
        assert_eq!(rig.at_upstream(), byte);
        rig.upstream(byte);
        assert_eq!(rig.at_client(), byte);
    }
    assert_eq!((rig.event(), rig.to_client.end()), (DONE, End::Fin));
}

#[test]
fn a_client_that_stops_sending_may_still_read_an_early_response() {
    let mut rig = Rig::accepted(&format!("{POST}\r\nab"));
    rig.upstream("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nn");
    rig.client_fin();
    rig.upstream("o");
    assert!(rig.at_client().ends_with("\r\n\r\nno"));
    assert_eq!((rig.event(), rig.error), (DEAD, None));
    assert!(rig.server.is_closed());
}

#[test]
fn a_half_closed_client_gets_its_response() {
    let mut rig = Rig::new(Auth::None);
    rig.client(GET);
    rig.client_fin();
    assert!(rig.event().is_some());
    rig.accept();
    assert_eq!(rig.to_upstream.end(), End::Open, "the FIN stays here");
    rig.upstream(OK);
    assert_eq!(rig.at_client(), OK);
    assert_eq!((rig.to_client.end(), rig.error), (End::Fin, None));
    assert!(rig.server.is_closed());
}

#[test]
fn a_client_that_ends_inside_a_message_is_an_error() {
    let mut rig = Rig::new(Auth::None);
    rig.client("GET http://a.b/ HT");
    rig.client_fin();
    assert_eq!(
        (rig.error, rig.at_client().as_str()),
        (Some(Error::Truncated), "")
    );

    let mut rig = Rig::accepted(&format!("{POST}\r\nab"));
    rig.client_fin();
    assert_eq!(
        (rig.error, rig.to_upstream.end()),
        (Some(Error::Truncated), End::Reset)
    );
    assert_eq!(rig.event(), DEAD);
    assert!(rig.server.is_closed());

    let mut rig = Rig::accepted(GET);
    let _ = rig.from_client.reset();
    rig.run();
    assert_eq!(
        (rig.error, rig.to_upstream.end()),
        (Some(Error::Reset), End::Reset)
    );
}

#[test]
fn an_upstream_that_takes_no_more_may_still_have_answered() {
    let mut rig = Rig::accepted(&format!("{POST}\r\n"));
    let _ = rig.to_upstream.reset();
    rig.client("abcd");
    assert!(
        rig.from_client.is_empty(),
        "the rest of the body is dropped"
    );
    rig.from_upstream.push_slice(OK.as_bytes());
    rig.upstream_fin();
    assert_eq!((rig.at_client().as_str(), rig.event()), (OK, DEAD));
    // An end that was there before the request head.
    let mut rig = Rig::new(Auth::None);
    rig.client(GET);
    let _ = (rig.to_upstream.reset(), rig.from_upstream.reset());
    assert!(rig.event().is_some());
    rig.accept();
    assert_eq!((rig.reply().0, rig.event()), (502, DEAD));
}

#[test]
fn connection_close_ends_after_the_response() {
    let mut rig =
        Rig::accepted("GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n");
    rig.client(GET);
    rig.upstream(OK);
    assert!(rig.at_client().contains("Connection: close\r\n"));
    assert_eq!(
        (rig.event(), rig.event()),
        (DONE, None),
        "the second request is dropped"
    );
    assert_eq!(rig.to_client.end(), End::Fin);
}

#[test]
fn body_segments_are_moved_not_copied() {
    let head = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 9000\r\n\r\n";
    let mut rig = Rig::accepted(head);
    rig.at_upstream();
    let segment = BytesMut::from(&[b'x'; 9000][..]);
    let at = segment.as_ptr();
    rig.from_client.push(segment);
    rig.run();
    assert_eq!(rig.to_upstream.take(9000).map(|s| s.as_ptr()), Some(at));
}
