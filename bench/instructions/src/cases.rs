//! What is counted: steps of a session, without any driver.
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer, Plan, Session,
    config::{ReadOptions, Sources, read},
    ids::{ActionId, InboundId, Slot},
    machine::{Action, Input, Machine as _, Outcome},
};
use std::{hint::black_box, sync::Arc};

const NOW: Instant = Instant::ZERO;
/// Bytes of one read in a relay.
const CHUNK: usize = 4096;

/// One thing that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    run: fn(usize),
}

/// All of them.
pub(crate) const CASES: [Case; 3] = [
    Case {
        name: "socks5_handshake",
        run: handshakes,
    },
    Case {
        name: "relay_step",
        run: relay_steps,
    },
    Case {
        name: "passthrough_report",
        run: passthrough_reports,
    },
];

impl Case {
    pub(crate) fn find(name: &str) -> Option<Self> {
        CASES.into_iter().find(|case| case.name == name)
    }

    /// Does it `count` times.
    pub(crate) fn run(self, count: usize) {
        (self.run)(count);
    }
}

/// From an accepted connection to passthrough, with all inputs and actions of it.
fn handshakes(count: usize) {
    let plan = plan("socks");
    for _ in 0..count {
        let (session, upstream) = connected(&plan);
        black_box((session, upstream));
    }
}

/// A chunk of an HTTP upload: received, framed for the upstream, and taken by its socket.
fn relay_steps(count: usize) {
    let plan = plan("http");
    let mut session = session(&plan);
    let length = u64::MAX / 2;
    let head =
        format!("POST http://192.0.2.7/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    receive(&mut session, head.as_bytes());
    let upstream = dialled(&mut session);
    drain(&mut session, upstream);
    let chunk = [7; CHUNK];
    for _ in 0..count {
        receive(&mut session, black_box(&chunk));
        let moved = drain(&mut session, upstream);
        assert_eq!(moved, CHUNK, "the relay holds bytes back");
        assert!(session.poll_action().is_none());
    }
}

/// What a relay costs the machine once bytes go past it.
fn passthrough_reports(count: usize) {
    let (mut session, upstream) = connected(&plan("socks"));
    for _ in 0..count {
        session.apply(NOW, Input::Relayed(Slot::CLIENT, black_box(10)));
        session.apply(NOW, Input::Relayed(upstream, black_box(1000)));
        assert!(session.poll_action().is_none());
    }
}

fn plan(inbound: &str) -> Arc<Plan> {
    let json = format!(r#"{{"inbounds": [{{"type": "{inbound}"}}]}}"#);
    let sources = Sources::single("config", json);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("a good configuration");
    Arc::new(Plan::build(&config).expect("a good configuration"))
}

fn session(plan: &Arc<Plan>) -> Session {
    let peer = Peer {
        remote: ([127, 0, 0, 1], 40_000).into(),
        local: ([127, 0, 0, 1], 1080).into(),
    };
    let seed = Seed::new([7; 32]);
    let mut session = Session::new(Arc::clone(plan), InboundId(0), peer, seed, NOW);
    session.apply(NOW, Input::Tick);
    session
}

fn receive(session: &mut Session, bytes: &[u8]) {
    session.apply(NOW, Input::Received(Slot::CLIENT, BytesMut::from(bytes)));
}

/// Takes all that a slot has to send.
fn drain(session: &mut Session, slot: Slot) -> usize {
    let waiting = session.pipes(slot).map_or(0, |pipes| pipes.tx.len());
    session.apply(NOW, Input::Drained(slot, waiting));
    waiting
}

/// Answers the dial that the session asks for; its slot.
fn dialled(session: &mut Session) -> Slot {
    let dial = |action| match action {
        Action::Dial { id, slot, .. } => Some((id, slot)),
        Action::Resolve { .. }
        | Action::Bind { .. }
        | Action::OpenStream { .. }
        | Action::Answer(_)
        | Action::DatagramError { .. }
        | Action::Cancel(_)
        | Action::Send { .. }
        | Action::Close(..)
        | Action::Passthrough(..)
        | Action::Log(_) => None,
    };
    let mut dials = std::iter::from_fn(|| session.poll_action()).filter_map(dial);
    let (id, slot): (ActionId, Slot) = dials.next().expect("a dial");
    let local = ([127, 0, 0, 1], 50_000).into();
    session.apply(NOW, Input::Done(id, Outcome::Connected(local)));
    while session.poll_action().is_some() {}
    slot
}

/// A SOCKS5 session in passthrough, and its upstream.
fn connected(plan: &Arc<Plan>) -> (Session, Slot) {
    let mut session = session(plan);
    receive(&mut session, &[5, 1, 0]);
    assert_eq!(drain(&mut session, Slot::CLIENT), 2);
    receive(&mut session, &[5, 1, 0, 1, 192, 0, 2, 7, 0, 80]);
    let upstream = dialled(&mut session);
    assert_eq!(drain(&mut session, Slot::CLIENT), 10);
    let last = std::iter::from_fn(|| session.poll_action()).last();
    assert!(matches!(last, Some(Action::Passthrough(..))), "{last:?}");
    (session, upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs() {
        for case in CASES {
            case.run(3);
            assert!(Case::find(case.name).is_some());
        }
        assert!(Case::find("another").is_none());
    }
}
