//! Deadlines.
use super::*;
use sansbox_core::End;

#[test]
fn a_silent_client_is_closed_without_a_word() {
    let mut rig = Rig::new(Auth::None);
    assert_eq!(rig.server.poll_timeout(), Some(after(10)));
    assert_eq!(rig.at(9), Ok(Progress::NONE));
    let phase = Phase::FirstByte;
    assert_eq!(rig.at(10), Err(Error::Timeout { phase }));
    assert_eq!(
        (rig.at_client().as_str(), rig.to_client.end()),
        ("", End::Fin)
    );
    assert!(rig.server.is_closed());
    assert_eq!(rig.server.poll_timeout(), None);
}

#[test]
fn a_slow_head_gets_408() {
    let mut rig = Rig::new(Auth::None);
    rig.client("GET ");
    rig.now = after(9);
    rig.client("http://a.b/ ");
    let phase = Phase::RequestHead;
    assert_eq!(rig.at(10), Err(Error::Timeout { phase }));
    assert_eq!((rig.reply().0, rig.to_client.end()), (408, End::Fin));
    // Input is dropped for a while, then the connection is closed.
    assert_eq!(rig.server.poll_timeout(), Some(after(12)));
    assert_eq!(rig.at(12), Ok(Progress::MADE));
    assert!(rig.server.is_closed());
    assert_eq!(rig.server.poll_timeout(), None);
}

#[test]
fn a_later_head_is_timed_from_its_first_byte() {
    let mut rig = Rig::accepted(GET);
    assert_eq!(
        rig.server.poll_timeout(),
        None,
        "exchanges are timed by the owner"
    );
    rig.now = after(100);
    rig.upstream(OK);
    rig.at_client();
    assert_eq!(
        rig.server.poll_timeout(),
        Some(after(100) + KEEP_ALIVE_TIMEOUT)
    );
    rig.now = after(150);
    rig.client("G");
    assert_eq!(rig.server.poll_timeout(), Some(after(160)));
    rig.now = after(155);
    rig.client("E");
    let phase = Phase::RequestHead;
    assert_eq!(rig.at(160), Err(Error::Timeout { phase }));
    assert_eq!(rig.reply().0, 408);
}

#[test]
fn an_idle_kept_connection_is_closed_quietly() {
    let mut rig = Rig::accepted(GET);
    rig.upstream(OK);
    rig.at_client();
    assert_eq!(rig.at(KEEP_ALIVE_TIMEOUT.as_secs()), Ok(Progress::MADE));
    assert_eq!(
        (rig.at_client().as_str(), rig.to_client.end()),
        ("", End::Fin)
    );
    assert!(rig.server.is_closed());
}

#[test]
fn a_refused_body_that_does_not_come_ends_the_connection() {
    let mut rig = Rig::new(Auth::Basic);
    rig.client("POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(rig.reply().0, 407);
    assert_eq!(rig.server.poll_timeout(), Some(after(10)));
    rig.client("abc");
    assert_eq!(
        rig.server.poll_timeout(),
        Some(Instant::ZERO + KEEP_ALIVE_TIMEOUT)
    );
    rig.client("POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\n\r\nab");
    let phase = Phase::RefusedBody;
    assert_eq!(rig.at(10), Err(Error::Timeout { phase }));
    assert!(rig.server.is_closed());
}
