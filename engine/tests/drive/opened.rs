//! Sessions that ask a carrier for a stream.
use crate::{
    fake::{LOCAL, TARGET, Wire},
    script::Hub,
};
use core::time::Duration;
use sansbox_core::{End, Refusal};
use sansbox_engine::{
    carrier::{Event, Path, Stream, Transmit},
    drive::Counters,
    machine::{Cause, Undelivered},
    record::CloseReason,
};
use std::{cell::RefCell, rc::Rc};

const CONFIG: &str = r#"{
    "inbounds": [{"type": "direct", "override_address": "127.0.0.1", "override_port": 2}],
    "outbounds": [{"type": "paniq", "profile":
        {"proxy_addr": "127.0.0.1:9", "obfuscation": {"i1": "<t>"}}}]
}"#;
/// The session and the carrier that it makes.
const SESSION: usize = 1;
const CARRIER: usize = 2;
const STREAM: Stream = Stream(0);
/// What a stream may hold on its way, with all buffers beside it.
const HELD_MAX: usize = 512 * 1024;

type Client = Rc<RefCell<Wire>>;

/// A session that waits for the answer of a carrier.
fn asking() -> (Hub, Client) {
    let mut hub = Hub::new(CONFIG);
    let (number, client) = hub.client();
    assert_eq!(number, SESSION);
    assert!(hub.has(CARRIER));
    assert_eq!(hub.script().opened, [(STREAM, TARGET.into())]);
    (hub, client)
}

/// A session that has its stream.
fn connected() -> (Hub, Client) {
    let (mut hub, client) = asking();
    hub.happens(CARRIER, Event::Connected(STREAM, LOCAL));
    (hub, client)
}

/// Says that the far end has something to do.
fn ready(hub: &mut Hub) {
    hub.happens(CARRIER, Event::Ready(STREAM));
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn closed(hub: &mut Hub) -> CloseReason {
    hub.driver.closed.pop().unwrap().closed.unwrap()
}

#[test]
fn bytes_wait_for_the_answer_and_go_both_ways_after_it() {
    let (mut hub, client) = asking();
    client.borrow_mut().receives(b"early");
    hub.turn(SESSION);
    assert_eq!(hub.script().far(STREAM).taken, b"");
    hub.happens(CARRIER, Event::Connected(STREAM, LOCAL));
    assert_eq!(hub.script().far(STREAM).taken, b"early");
    hub.script().far(STREAM).gives.extend(b"answer");
    ready(&mut hub);
    assert_eq!(client.borrow().sent, b"answer");
    // Nobody has a turn for nothing.
    let turns = hub.turns;
    ready(&mut hub);
    assert_eq!(hub.turns, turns + 1);
}

#[test]
fn ends_go_each_way_by_themselves() {
    let (mut hub, client) = connected();
    client.borrow_mut().receives(b"question");
    client.borrow_mut().is_ended = true;
    hub.turn(SESSION);
    let far = |hub: &Hub| hub.script().far(STREAM).taken_end;
    assert_eq!(far(&hub), Some(End::Fin));
    assert!(hub.has(SESSION) && !client.borrow().is_shut);
    hub.script().far(STREAM).gives.extend(b"answer");
    hub.script().far(STREAM).gives_end = Some(End::Fin);
    ready(&mut hub);
    assert_eq!(client.borrow().sent, b"answer");
    assert_eq!(client.borrow().closed, Some(End::Fin));
    assert!(!hub.has(SESSION));
    assert_eq!(closed(&mut hub), CloseReason::Completed);
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn the_far_end_may_be_the_first_to_finish() {
    let (mut hub, client) = connected();
    hub.script().far(STREAM).gives_end = Some(End::Fin);
    ready(&mut hub);
    assert!(client.borrow().is_shut && hub.has(SESSION));
    client.borrow_mut().receives(b"more");
    hub.turn(SESSION);
    assert_eq!(hub.script().far(STREAM).taken, b"more");
    client.borrow_mut().is_ended = true;
    hub.turn(SESSION);
    assert!(!hub.has(SESSION));
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn resets_go_each_way() {
    let (mut hub, client) = connected();
    client.borrow_mut().is_dead = true;
    hub.turn(SESSION);
    assert_eq!(closed(&mut hub), CloseReason::ClientReset);
    assert_eq!(hub.script().far(STREAM).taken_end, Some(End::Reset));
    assert_eq!(hub.streams_of(CARRIER), 0);

    let (mut hub, client) = connected();
    hub.script().far(STREAM).gives_end = Some(End::Reset);
    ready(&mut hub);
    assert_eq!(client.borrow().closed, Some(End::Reset));
    assert_eq!(closed(&mut hub), CloseReason::UpstreamReset);
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn a_far_end_that_takes_nothing_holds_its_client_back() {
    let (mut hub, client) = connected();
    hub.script().far(STREAM).room = 100_000;
    let bytes = pattern(3_000_000);
    client.borrow_mut().receives(&bytes);
    client.borrow_mut().is_ended = true;
    hub.turn(SESSION);
    let left = client.borrow().incoming.len();
    let held = bytes.len() - left - 100_000;
    assert!(held <= HELD_MAX, "{held} bytes held");
    // Room comes bit by bit; each time both have their turns without being told.
    for _ in 0..3 {
        hub.script().far(STREAM).room = 1_000_000;
        ready(&mut hub);
    }
    let mut script = hub.script();
    let far = script.far(STREAM);
    assert!(far.taken == bytes, "{} bytes", far.taken.len());
    assert_eq!(far.taken_end, Some(End::Fin));
}

#[test]
fn a_client_that_takes_nothing_holds_the_far_end_back() {
    let (mut hub, client) = connected();
    client.borrow_mut().room = 100_000;
    let bytes = pattern(3_000_000);
    hub.script().far(STREAM).gives.extend(&bytes);
    hub.script().far(STREAM).gives_end = Some(End::Fin);
    ready(&mut hub);
    let left = hub.script().far(STREAM).gives.len();
    let held = bytes.len() - left - 100_000;
    assert!(held <= HELD_MAX, "{held} bytes held");
    for _ in 0..3 {
        client.borrow_mut().room = 1_000_000;
        hub.turn(SESSION);
    }
    assert!(
        client.borrow().sent == bytes,
        "{}",
        client.borrow().sent.len()
    );
    assert!(client.borrow().is_shut);
}

#[test]
fn a_carrier_chooses_what_a_stream_holds() {
    let (mut hub, _) = connected();
    for (n, limit) in [(1, 10_000), (2, 500_000)] {
        hub.script().stream_limit = Some(limit);
        let (session, client) = hub.client();
        hub.happens(CARRIER, Event::Connected(Stream(n), LOCAL));
        let bytes = pattern(2_000_000);
        hub.script().far(Stream(n)).gives.extend(&bytes);
        hub.script().far(Stream(n)).room = 0;
        client.borrow_mut().receives(&bytes);
        client.borrow_mut().room = 0;
        hub.turn(session);
        hub.happens(CARRIER, Event::Ready(Stream(n)));
        let left = hub.script().far(Stream(n)).gives.len();
        assert_eq!(bytes.len() - left, limit);
        // The last read may go beyond it.
        let held = bytes.len() - client.borrow().incoming.len();
        assert!((limit..limit + 64 * 1024).contains(&held), "{held} bytes");
    }
}

#[test]
fn a_refusal_ends_the_session() {
    let (mut hub, client) = asking();
    hub.happens(CARRIER, Event::Refused(STREAM, Refusal::HostUnreachable));
    assert!(!hub.has(SESSION) && client.borrow().closed.is_some());
    let why = CloseReason::Refused(Refusal::HostUnreachable);
    assert_eq!(closed(&mut hub), why);
    assert_eq!(hub.streams_of(CARRIER), 0);
}

#[test]
fn a_session_that_goes_before_the_answer_gives_its_stream_up() {
    let (mut hub, client) = asking();
    client.borrow_mut().is_dead = true;
    hub.turn(SESSION);
    assert!(!hub.has(SESSION));
    assert_eq!(hub.script().abandoned, [STREAM]);
    assert_eq!(hub.streams_of(CARRIER), 0);
    // An answer that was on its way hurts nobody.
    hub.happens(CARRIER, Event::Connected(STREAM, LOCAL));
}

#[test]
fn without_a_carrier_streams_are_refused_until_there_is_one() {
    let mut hub = Hub::new(CONFIG);
    hub.is_barren = true;
    for _ in 0..2 {
        let (session, client) = hub.client();
        assert!(!hub.has(session) && client.borrow().closed.is_some());
        let why = CloseReason::Refused(Refusal::General);
        assert_eq!(closed(&mut hub), why);
    }
    hub.is_barren = false;
    let (session, _client) = hub.client();
    assert!(hub.has(session));
    assert_eq!(hub.script().opened.len(), 1);
}

#[test]
fn a_carrier_that_goes_takes_its_streams_along_and_the_next_stream_makes_another() {
    let (mut hub, client) = connected();
    let (waiting, other) = hub.client();
    hub.drop(CARRIER);
    while let Some(woken) = hub.pool.pop_woken() {
        hub.turn(woken);
    }
    assert_eq!(client.borrow().closed, Some(End::Reset));
    assert!(!hub.has(SESSION));
    // It had no answer yet.
    assert!(!hub.has(waiting) && other.borrow().closed.is_some());
    let (session, _client) = hub.client();
    assert!(hub.has(session));
    assert_eq!(hub.scripts.len(), 2);
    assert_eq!(hub.script().opened.len(), 1);
}

#[test]
fn all_sessions_share_a_carrier() {
    let mut hub = Hub::new(CONFIG);
    let clients: Vec<_> = (0..50).map(|_| hub.client()).collect();
    assert_eq!(hub.scripts.len(), 1);
    assert_eq!(hub.script().opened.len(), 50);
    for n in 0..50 {
        hub.script().far(Stream(n)).gives.extend(n.to_be_bytes());
        let event = Event::Connected(Stream(n), LOCAL);
        hub.script().events.push_back(event);
        hub.happens(CARRIER, Event::Ready(Stream(n)));
    }
    for ((_, client), n) in clients.iter().zip(0_u64..) {
        assert_eq!(client.borrow().sent, n.to_be_bytes());
    }
}

#[test]
fn a_carrier_is_told_what_did_not_arrive() {
    let (mut hub, _client) = asking();
    let path = Path(7);
    hub.happens(CARRIER, Event::Bind(path, LOCAL));
    let socket = hub.driver.bound.pop().unwrap();
    assert!(socket.borrow().is_watched);
    let error = Undelivered {
        cause: Cause::PortUnreachable,
        reporter: Some(TARGET.ip()),
    };
    socket.borrow_mut().errors.push_back((TARGET, error));
    hub.turn(CARRIER);
    assert_eq!(hub.script().undelivered, [(path, TARGET, error)]);
}

#[test]
fn sockets_and_deadlines_are_the_carriers() {
    let (mut hub, _client) = asking();
    let path = Path(7);
    hub.happens(CARRIER, Event::Bind(path, LOCAL));
    assert_eq!(hub.script().bound, [(path, Ok(()))]);
    let socket = hub.driver.bound.pop().unwrap();
    let datagram = (TARGET, b"from the server".to_vec());
    socket.borrow_mut().incoming.push_back(datagram);
    let transmit = Transmit {
        path,
        to: TARGET,
        segment: 4,
    };
    let bytes = b"to the server".to_vec();
    hub.script().to_transmit.push_back((transmit, bytes));
    let deadline = hub.now + Duration::from_secs(3);
    hub.script().deadline = Some(deadline);
    hub.turn(CARRIER);
    let received = hub.script().received.pop();
    assert_eq!(received, Some((path, b"from the server".to_vec())));
    assert_eq!(socket.borrow().runs, [(TARGET, 13, 4)]);
    assert_eq!(hub.pool.timers.next(), Some(deadline));
    hub.now = deadline;
    assert_eq!(hub.pool.timers.pop_due(deadline), Some(CARRIER));
    hub.turn(CARRIER);
    assert_eq!(hub.script().deadline, None);
    hub.happens(CARRIER, Event::Unbind(path));
    assert_eq!(Rc::strong_count(&socket), 1, "it is closed");
    // What is for a socket that is closed is lost, and counted.
    let dropped = |hub: &Hub| {
        let mut sum = Counters::default();
        hub.pool.tally.add_to(&mut sum);
        sum.datagrams_dropped
    };
    assert_eq!(dropped(&hub), 0);
    hub.script().to_transmit.push_back((transmit, vec![1]));
    hub.turn(CARRIER);
    assert_eq!(dropped(&hub), 1);
    hub.stop(CARRIER);
    assert!(hub.script().is_closed);
}
