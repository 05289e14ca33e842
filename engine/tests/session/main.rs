//! Sessions driven by hand, one input at a time.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
use bytes::BytesMut;
use sansbox_core::{End, Instant, Refusal, Seed};
use sansbox_engine::{
    Peer, Plan, Session,
    config::{
        ReadOptions, Sources,
        model::{Config, Inbound, InboundKind, Listen, User},
        read,
    },
    ids::{InboundId, Slot},
    machine::{Action, Input, Machine, Outcome, Stage},
    plan::{CHAIN_MAX, PlanError},
    record::CloseReason,
};
use std::{sync::Arc, time::Duration};

mod carried;
mod datagrams;
mod device;
mod http;
mod reach;
mod udp;

const T0: Instant = Instant::ZERO;

fn plan(users: &[(&str, &str)]) -> Arc<Plan> {
    let user = |(name, password): &(&str, &str)| User {
        username: (*name).into(),
        password: (*password).into(),
    };
    let inbound = Inbound {
        tag: "in".into(),
        span: Default::default(),
        listen: Listen::default(),
        kind: InboundKind::Mixed {
            users: users.iter().map(user).collect(),
        },
    };
    Arc::new(
        Plan::build(&Config {
            inbounds: vec![inbound],
            ..Config::default()
        })
        .unwrap(),
    )
}

fn session_from(plan: &Arc<Plan>, client: &str) -> Session {
    let peer = Peer {
        remote: client.parse().unwrap(),
        local: "127.0.0.1:2080".parse().unwrap(),
    };
    Session::new(Arc::clone(plan), InboundId(0), peer, Seed::from_u64(1), T0)
}

fn session(plan: &Arc<Plan>) -> Session {
    session_from(plan, "127.0.0.1:50000")
}

fn send(s: &mut Session, slot: Slot, bytes: &[u8]) {
    s.apply(T0, Input::Received(slot, BytesMut::from(bytes)));
}

/// What the session wants written to a slot; takes it as a kernel would.
fn take(s: &mut Session, slot: Slot) -> Vec<u8> {
    let bytes: Vec<u8> = s
        .pipes(slot)
        .map_or(vec![], |p| p.tx.segments().flatten().copied().collect());
    s.apply(T0, Input::Drained(slot, bytes.len()));
    bytes
}

/// The next action that is no log line.
fn action(s: &mut Session) -> Option<Action> {
    std::iter::from_fn(|| s.poll_action()).find(|a| !matches!(a, Action::Log(_)))
}

const GREETING: &[u8] = &[5, 1, 0];
const REQUEST: &[u8] = &[5, 1, 0, 1, 192, 0, 2, 7, 0, 80];

/// A SOCKS5 client up to the dial.
fn dialled(s: &mut Session) -> (sansbox_engine::ids::ActionId, Slot) {
    send(s, Slot::CLIENT, GREETING);
    assert_eq!(take(s, Slot::CLIENT), [5, 0]);
    send(s, Slot::CLIENT, REQUEST);
    match action(s) {
        Some(Action::Dial { id, slot, to, .. }) => {
            assert_eq!(to.to_string(), "192.0.2.7:80");
            (id, slot)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socks5_connection_goes_to_passthrough_and_ends_in_order() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    s.apply(T0, Input::Tick);
    let (id, slot) = dialled(&mut s);
    s.apply(
        T0,
        Input::Done(id, Outcome::Connected("127.0.0.1:40000".parse().unwrap())),
    );
    assert_eq!(
        take(&mut s, Slot::CLIENT),
        [5, 0, 0, 1, 127, 0, 0, 1, 0x9c, 0x40]
    );
    assert!(matches!(action(&mut s), Some(Action::Passthrough(Slot::CLIENT, b)) if b == slot));
    s.apply(T0, Input::Relayed(Slot::CLIENT, 10));
    s.apply(T0, Input::Relayed(slot, 20));
    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    assert!(action(&mut s).is_none());
    s.apply(T0, Input::Ended(slot, End::Fin));
    assert!(matches!(
        action(&mut s),
        Some(Action::Close(Slot::CLIENT, End::Fin))
    ));
    assert!(matches!(action(&mut s), Some(Action::Close(b, End::Fin)) if b == slot));
    assert!(action(&mut s).is_none());
    assert!(s.is_finished());
    let record = s.record();
    assert_eq!(record.closed, Some(CloseReason::Completed));
    assert_eq!((record.bytes_up, record.bytes_down), (10, 20));
}

#[test]
fn a_refused_dial_is_told_and_lingers_until_the_client_closes() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    let (id, _) = dialled(&mut s);
    s.apply(
        T0,
        Input::Done(id, Outcome::Failed(Refusal::ConnectionRefused)),
    );
    let reply = take(&mut s, Slot::CLIENT);
    assert_eq!(reply.get(..2), Some(&[5, 5][..]));
    assert!(action(&mut s).is_none());
    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    assert!(matches!(
        action(&mut s),
        Some(Action::Close(Slot::CLIENT, End::Fin))
    ));
    assert!(action(&mut s).is_none());
    assert!(s.is_finished());
    let why = CloseReason::Refused(Refusal::ConnectionRefused);
    assert_eq!(s.record().closed, Some(why));
}

#[test]
fn a_client_that_never_closes_is_cut_after_the_linger_time() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    let (id, _) = dialled(&mut s);
    s.apply(
        T0,
        Input::Done(id, Outcome::Failed(Refusal::ConnectionRefused)),
    );
    take(&mut s, Slot::CLIENT);
    let at = s.poll_timeout().expect("a linger timer runs");
    assert!(at <= T0 + Duration::from_secs(5));
    s.apply(at, Input::Tick);
    assert!(action(&mut s).is_some());
    assert!(action(&mut s).is_none());
    assert!(s.is_finished());
}

#[test]
fn wrong_passwords_are_refused_and_recorded() {
    let plan = plan(&[("u", "p")]);
    let mut s = session(&plan);
    send(&mut s, Slot::CLIENT, &[5, 1, 2]);
    assert_eq!(take(&mut s, Slot::CLIENT), [5, 2]);
    send(&mut s, Slot::CLIENT, &[1, 1, b'u', 1, b'x']);
    assert_eq!(take(&mut s, Slot::CLIENT).first(), Some(&1));
    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    while action(&mut s).is_some() {}
    assert_eq!(s.record().closed, Some(CloseReason::AuthFailed));
}

#[test]
fn a_public_source_without_users_is_reset() {
    let plan = plan(&[]);
    let mut s = session_from(&plan, "203.0.113.9:1");
    assert!(matches!(
        s.poll_action(),
        Some(Action::Close(Slot::CLIENT, End::Reset))
    ));
    assert!(matches!(s.poll_action(), Some(Action::Log(Stage::Closed))));
    assert!(s.is_finished());
    assert_eq!(s.record().closed, Some(CloseReason::PublicSource));
    for private in [
        "10.1.2.3:1",
        "192.168.0.9:1",
        "169.254.1.1:1",
        "[fe80::1]:1",
        "[fd00::2]:1",
    ] {
        assert!(!session_from(&plan, private).is_finished(), "{private}");
    }
}

#[test]
fn a_silent_client_runs_into_the_handshake_timeout() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    s.apply(T0, Input::Tick);
    let at = s.poll_timeout().expect("a handshake timer runs");
    s.apply(at, Input::Tick);
    let linger = s.poll_timeout().expect("a linger timer runs");
    s.apply(linger, Input::Tick);
    while action(&mut s).is_some() {}
    assert!(s.is_finished());
    assert_eq!(s.record().closed, Some(CloseReason::HandshakeTimeout));
}

#[test]
fn chains_of_detours_are_bounded() {
    let chain = |len: usize| {
        let one = |n: usize| format!(r#"{{"type":"direct","tag":"{n}","detour":"{}"}},"#, n + 1);
        let all: String = (1..len).map(one).collect();
        let text = format!(r#"{{"outbounds":[{all}{{"type":"direct","tag":"{len}"}}]}}"#);
        let sources = Sources::single("config.json", text);
        let (config, _) = read(&sources, &ReadOptions::default()).unwrap();
        Plan::build(&config)
    };
    assert!(chain(CHAIN_MAX).is_ok());
    let errors = chain(CHAIN_MAX + 1).unwrap_err();
    assert!(
        matches!(errors[..], [PlanError::ChainTooLong { .. }]),
        "{errors:?}"
    );
}
