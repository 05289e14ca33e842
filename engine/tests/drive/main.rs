//! Machines driven by an event loop that has no sockets at all.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod crowd;
mod echo;
mod fake;
mod keeping;
mod offered;
mod opened;
mod script;
mod undelivered;

use core::net::SocketAddr;
use fake::{Conduits, Loop, Udp, Wire, association, session};
use sansbox_core::{End, Instant};
use sansbox_engine::{
    drive::{Drive, Pool, Sockets, Turn},
    record::CloseReason,
};
use std::{cell::RefCell, rc::Rc};

const START: Instant = Instant::from_nanos(1);

/// A session in passthrough, its client and its upstream.
fn joined(driver: &mut Loop, pool: &Pool) -> (fake::Session, Rc<RefCell<Wire>>, Rc<RefCell<Wire>>) {
    let (mut drive, client) = session();
    assert_eq!(drive.turn(driver, pool, START), Turn::Waiting);
    let upstream = driver.dialled.pop().expect("dialled");
    (drive, client, upstream)
}

#[test]
fn bytes_and_ends_go_both_ways() {
    let (mut driver, pool) = (Loop::default(), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    client.borrow_mut().receives(b"question");
    client.borrow_mut().is_ended = true;
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(upstream.borrow().sent, b"question");
    assert!(upstream.borrow().is_shut && !client.borrow().is_shut);
    upstream.borrow_mut().receives(b"answer");
    upstream.borrow_mut().is_ended = true;
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Finished);
    assert_eq!(client.borrow().sent, b"answer");
    assert_eq!(client.borrow().closed, Some(End::Fin));
    assert!(!client.borrow().is_shut, "closing says it");
    assert_eq!(upstream.borrow().closed, Some(End::Fin));
    let record = driver.closed.pop().expect("closed");
    assert_eq!(record.closed, Some(CloseReason::Completed));
    assert_eq!((record.bytes_up, record.bytes_down), (8, 6));
}

#[test]
fn what_the_other_side_does_not_take_stays_where_it_is() {
    for conduits in [Conduits::default(), Conduits::of(1)] {
        let (mut driver, pool) = (Loop::with(conduits), Pool::default());
        let (mut drive, client, upstream) = joined(&mut driver, &pool);
        let bytes: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
        client.borrow_mut().receives(&bytes);
        upstream.borrow_mut().room = 1_000_000;
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
        assert_eq!(upstream.borrow().sent.len(), 1_000_000);
        assert_eq!(
            drive.turn(&mut driver, &pool, START),
            Turn::Waiting,
            "no news"
        );
        let held = bytes.len() - 1_000_000 - client.borrow().incoming.len();
        assert!(held <= 256 * 1024, "{held} bytes held");
        upstream.borrow_mut().room = usize::MAX;
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
        assert!(
            upstream.borrow().sent == bytes,
            "bytes were changed on the way"
        );
        drive.release(&mut driver, &pool);
        assert_eq!(driver.conduits.leased, 0);
    }
}

#[test]
fn bulk_goes_through_a_conduit_and_gives_it_back() {
    let (mut driver, pool) = (Loop::with(Conduits::of(1)), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    client.borrow_mut().receives(&[1; 1000]);
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(driver.conduits.moved, 0, "little is copied");
    client.borrow_mut().receives(&[1; 1_000_000]);
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(upstream.borrow().sent.len(), 1_001_000);
    assert!(driver.conduits.moved > 800_000, "{}", driver.conduits.moved);
    assert_eq!(driver.conduits.leased, 0, "an idle relay holds nothing");
}

#[test]
fn turns_of_the_other_direction_do_not_end_a_burst() {
    let (mut driver, pool) = (Loop::with(Conduits::of(1)), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    for _ in 0..5 {
        upstream.borrow_mut().receives(&[1; 60_000]);
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
        client.borrow_mut().receives(&[1; 100]);
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    }
    assert_eq!(client.borrow().sent.len(), 5 * 60_000);
    assert_eq!(driver.conduits.moved, 60_000, "what is behind 128 KiB");
}

/// A segment carries at most 65,483 bytes on loopback, so writes of 128 KiB come like this.
#[test]
fn the_cut_off_end_of_each_write_does_not_end_a_burst() {
    let (mut driver, pool) = (Loop::with(Conduits::of(1)), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    for segment in [65_483, 65_483, 106].repeat(100) {
        upstream.borrow_mut().receives(&vec![1; segment]);
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    }
    assert_eq!(client.borrow().sent.len(), 100 * 131_072);
    let copied = client.borrow().sent.len() - driver.conduits.moved;
    assert!(copied <= 2 * 131_072, "{copied} bytes copied");
}

#[test]
fn small_exchanges_behind_a_burst_are_copied_again() {
    let (mut driver, pool) = (Loop::with(Conduits::of(1)), Pool::default());
    let (mut drive, _client, upstream) = joined(&mut driver, &pool);
    upstream.borrow_mut().receives(&[1; 10_000_000]);
    while drive.turn(&mut driver, &pool, START) == Turn::Again {}
    let bulk = driver.conduits.moved;
    assert!(bulk > 9_000_000, "{bulk}");
    for _ in 0..1000 {
        upstream.borrow_mut().receives(&[1; 100]);
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    }
    let little = driver.conduits.moved - bulk;
    assert!(little <= 1000, "{little} bytes spliced one by one");
}

#[test]
fn a_direction_without_news_takes_no_conduit_from_the_other() {
    let (mut driver, pool) = (Loop::with(Conduits::of(2)), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    upstream.borrow_mut().receives(&[1; 1_000_000]);
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    upstream.borrow_mut().room = 200_000;
    client.borrow_mut().receives(&[1; 1_000_000]);
    for _ in 0..10 {
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    }
    let conduits = &driver.conduits;
    assert_eq!((conduits.leased, conduits.most), (1, 1));
    upstream.borrow_mut().receives(&[1; 100]);
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(driver.conduits.most, 2, "the burst goes on");
}

#[test]
fn an_endless_source_lets_others_have_their_turn() {
    let (mut driver, pool) = (Loop::default(), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    client.borrow_mut().receives(&vec![1; 5 << 20]);
    let mut turns = 1;
    while drive.turn(&mut driver, &pool, START) == Turn::Again {
        turns += 1;
    }
    assert_eq!((turns, upstream.borrow().sent.len()), (3, 5 << 20));
}

#[test]
fn a_dead_connection_ends_the_other_with_a_reset() {
    let (mut driver, pool) = (Loop::with(Conduits::of(2)), Pool::default());
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    upstream.borrow_mut().room = 200_000;
    client.borrow_mut().receives(&[1; 500_000]);
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(driver.conduits.leased, 1);
    upstream.borrow_mut().is_dead = true;
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Finished);
    assert_eq!(client.borrow().closed, Some(End::Reset));
    assert_eq!(driver.conduits.leased, 0);
    let record = driver.closed.pop().expect("closed");
    assert_eq!(record.closed, Some(CloseReason::UpstreamReset));
    assert_eq!(record.bytes_up, 200_000);
}

#[test]
fn a_dial_that_takes_its_time_is_polled_until_it_is_decided() {
    let (mut driver, pool) = (Loop::default(), Pool::default());
    driver.dials_are_slow = true;
    let (mut drive, client, upstream) = joined(&mut driver, &pool);
    client.borrow_mut().receives(b"early");
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(upstream.borrow().sent, b"");
    upstream.borrow_mut().is_connected = true;
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(upstream.borrow().sent, b"early");
}

#[test]
fn deadlines_name_the_machine_and_a_stop_reaches_it() {
    let (mut driver, pool) = (Loop::default(), Pool::default());
    driver.dials_are_slow = true;
    let (mut drive, client, _upstream) = joined(&mut driver, &pool);
    let at = pool.timers.next().expect("a dial has a deadline");
    assert_eq!(pool.timers.pop_due(START), None);
    assert_eq!(pool.timers.pop_due(at), Some(fake::NUMBER));
    pool.stop();
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Finished);
    drive.release(&mut driver, &pool);
    assert!(client.borrow().closed.is_some());
    assert_eq!(pool.timers.next(), None);
    let record = driver.closed.pop().expect("closed");
    assert_eq!(record.closed, Some(CloseReason::Stopped));
}

#[test]
fn equal_datagrams_are_sent_together() {
    let (mut driver, pool) = (Loop::default(), Pool::default());
    let client = Rc::new(RefCell::new(Udp::default()));
    let mut drive = association(&client);
    for size in [100, 100, 100, 40, 100] {
        client
            .borrow_mut()
            .incoming
            .push_back((fake::CLIENT, vec![7; size]));
    }
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    let upstream = driver.bound.pop().expect("bound");
    let runs: Vec<_> = upstream
        .borrow()
        .runs
        .iter()
        .map(|(_, n, segment)| (*n, *segment))
        .collect();
    assert_eq!(runs, [(340, 100), (100, 100)]);
    let answer: (SocketAddr, Vec<u8>) = (fake::TARGET, vec![8; 9]);
    upstream.borrow_mut().incoming.push_back(answer);
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    assert_eq!(client.borrow().runs, [(fake::CLIENT, 9, 9)]);
}

/// The sizes of a runtime's sockets.
struct Usual;

impl Sockets for Usual {
    type Stream = [usize; 4];
    type Datagrams = Box<()>;
    type Lookup = [usize; 2];
    type Conduit = Box<fake::FakePipe>;
    type Device = core::convert::Infallible;
    type Echo = core::convert::Infallible;
}

#[test]
fn an_idle_connection_is_small() {
    // Its machine is boxed: engine/src/session says how small that is.
    let size = size_of::<Drive<sansbox_engine::Session, Usual>>();
    assert!(size <= 272, "{size} bytes");
}
