//! Streams that a carrier offers, and the sessions that serve them.
use crate::{
    fake::{CLIENT, LOCAL, TARGET},
    script::{Far, Hub},
};
use sansbox_core::{End, Host, Refusal, Target};
use sansbox_engine::{
    carrier::{Event, Stream},
    machine::Wanted,
    record::CloseReason,
};
use std::cell::RefMut;

const CONFIG: &str = r#"{
    "inbounds": [{"type": "paniq", "allow_private": true, "profile": {"obfuscation": {"i1": "<t>"}}}],
    "outbounds": [{"type": "direct"}]
}"#;
const CARRIER: usize = 1;
const SESSION: usize = 2;
const STREAM: Stream = Stream(5);

/// A carrier that was asked for [`TARGET`].
fn asked(hub: &mut Hub) {
    assert_eq!(hub.server(), CARRIER);
    hub.script().begin(STREAM);
    hub.happens(
        CARRIER,
        Event::Request(STREAM, CLIENT, Wanted::Connection(TARGET.into())),
    );
}

fn far(hub: &Hub) -> RefMut<'_, Far> {
    RefMut::map(hub.script(), |script| script.far(STREAM))
}

fn closed(hub: &mut Hub) -> CloseReason {
    hub.driver.closed.pop().unwrap().closed.unwrap()
}

#[test]
fn a_stream_is_served_once_its_target_is_connected() {
    let mut hub = Hub::new(CONFIG);
    hub.driver.dials_are_slow = true;
    asked(&mut hub);
    let upstream = hub.driver.dialled.pop().expect("dialled");
    assert_eq!(hub.script().answered, []);
    upstream.borrow_mut().is_connected = true;
    hub.turn(SESSION);
    assert_eq!(hub.script().answered, [(STREAM, Ok(LOCAL))]);
    far(&hub).gives.extend(b"question");
    far(&hub).gives_end = Some(End::Fin);
    hub.happens(CARRIER, Event::Ready(STREAM));
    assert_eq!(upstream.borrow().sent, b"question");
    assert!(upstream.borrow().is_shut && hub.has(SESSION));
    upstream.borrow_mut().receives(b"answer");
    upstream.borrow_mut().is_ended = true;
    hub.turn(SESSION);
    assert_eq!(far(&hub).taken, b"answer");
    assert_eq!(far(&hub).taken_end, Some(End::Fin));
    assert!(!hub.has(SESSION));
    assert_eq!(closed(&mut hub), CloseReason::Completed);
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn a_carrier_chooses_what_a_stream_that_it_offers_holds() {
    let mut hub = Hub::new(CONFIG);
    assert_eq!(hub.server(), CARRIER);
    hub.script().stream_limit = Some(1000);
    hub.script().begin(STREAM).gives.extend(vec![7; 1_000_000]);
    let request = Event::Request(STREAM, CLIENT, Wanted::Connection(TARGET.into()));
    hub.driver.dials_are_slow = true;
    hub.happens(CARRIER, request);
    hub.happens(CARRIER, Event::Ready(STREAM));
    let upstream = hub.driver.dialled.pop().expect("dialled");
    upstream.borrow_mut().is_connected = true;
    // What the session held before the relay goes first.
    upstream.borrow_mut().room = 500_000;
    hub.turn(SESSION);
    assert_eq!(upstream.borrow().sent.len(), 500_000);
    let came = 1_000_000 - far(&hub).gives.len();
    assert_eq!(came, 500_000 + 1000);
}

#[test]
fn what_comes_before_the_answer_is_kept() {
    let mut hub = Hub::new(CONFIG);
    hub.driver.dials_are_slow = true;
    assert_eq!(hub.server(), CARRIER);
    hub.script().begin(STREAM).gives.extend(b"early");
    hub.happens(
        CARRIER,
        Event::Request(STREAM, CLIENT, Wanted::Connection(TARGET.into())),
    );
    hub.happens(CARRIER, Event::Ready(STREAM));
    let upstream = hub.driver.dialled.pop().expect("dialled");
    upstream.borrow_mut().is_connected = true;
    hub.turn(SESSION);
    assert_eq!(upstream.borrow().sent, b"early");
}

#[test]
fn resets_go_each_way() {
    for is_client in [true, false] {
        let mut hub = Hub::new(CONFIG);
        asked(&mut hub);
        let upstream = hub.driver.dialled.pop().expect("dialled");
        if is_client {
            far(&hub).gives_end = Some(End::Reset);
            hub.happens(CARRIER, Event::Ready(STREAM));
            assert_eq!(upstream.borrow().closed, Some(End::Reset));
            assert_eq!(closed(&mut hub), CloseReason::ClientReset);
        } else {
            upstream.borrow_mut().is_dead = true;
            hub.turn(SESSION);
            assert_eq!(far(&hub).taken_end, Some(End::Reset));
            assert_eq!(closed(&mut hub), CloseReason::UpstreamReset);
        }
        assert!(!hub.has(SESSION));
    }
}

/// A client that resets its stream takes nothing more: writing to it finds that out first.
#[test]
fn a_stopped_stream_is_a_reset_of_that_end() {
    let mut hub = Hub::new(CONFIG);
    asked(&mut hub);
    let upstream = hub.driver.dialled.pop().expect("dialled");
    upstream.borrow_mut().receives(b"for nobody");
    far(&hub).gives_end = Some(End::Reset);
    hub.happens(CARRIER, Event::Ready(STREAM));
    assert_eq!(upstream.borrow().closed, Some(End::Reset));
    assert_eq!(closed(&mut hub), CloseReason::ClientReset);
}

#[test]
fn a_refusal_is_told_and_leaves_nothing_behind() {
    let mut hub = Hub::new(CONFIG);
    assert_eq!(hub.server(), CARRIER);
    let host = Host::parse(b"nowhere.test").expect("a name");
    for n in 0..100 {
        let (stream, name) = (Stream(n), Target::new(host.clone(), 80));
        hub.script().begin(stream);
        hub.happens(
            CARRIER,
            Event::Request(stream, CLIENT, Wanted::Connection(name)),
        );
        let answer = hub.script().answered.pop();
        assert_eq!(answer, Some((stream, Err(Refusal::ResolverFailed))));
        let why = CloseReason::Refused(Refusal::ResolverFailed);
        assert_eq!(closed(&mut hub), why);
    }
    assert_eq!(hub.script().answered, [], "each was answered once");
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn without_a_session_a_stream_is_refused() {
    let mut hub = Hub::new(CONFIG);
    hub.is_barren = true;
    asked(&mut hub);
    let answered = hub.script().answered.clone();
    assert_eq!(answered, [(STREAM, Err(Refusal::General))]);
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn a_session_that_is_stopped_before_its_answer_refuses() {
    let mut hub = Hub::new(CONFIG);
    hub.driver.dials_are_slow = true;
    asked(&mut hub);
    hub.pool.stop();
    hub.turn(SESSION);
    assert!(!hub.has(SESSION));
    let answered = hub.script().answered.clone();
    assert_eq!(answered, [(STREAM, Err(Refusal::General))]);
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn a_client_that_gives_up_ends_the_dial() {
    let mut hub = Hub::new(CONFIG);
    hub.driver.dials_are_slow = true;
    asked(&mut hub);
    let upstream = hub.driver.dialled.pop().expect("dialled");
    hub.script().streams.clear();
    hub.happens(CARRIER, Event::Cancelled(STREAM));
    assert!(!hub.has(SESSION));
    assert!(upstream.borrow().closed.is_some());
    assert_eq!(closed(&mut hub), CloseReason::ClientReset);
    assert_eq!(hub.streams_of(CARRIER), 0);
}
