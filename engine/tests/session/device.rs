//! What the client of a TUN device is told of datagrams that did not arrive.
use super::{
    T0, action,
    datagrams::{PUBLIC, addr, bound, datagram, drops, peer, plan, record, sent, served},
    send, take,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Refusal, Seed};
use sansbox_engine::{
    Session,
    ids::{InboundId, Slot},
    machine::{Action, Cause, Input, Machine, Outcome, Stage, Undelivered, Wanted},
    record::CloseReason,
};

/// The session of a device's UDP mapping, with its answer given.
fn of_device(outbounds: &str, rules: &str) -> Session {
    let text = format!(
        r#"{{"inbounds": [{{"type": "tun", "tag": "tun", "address": ["10.11.12.1/24", "fd11::1/64"]}}],
            "outbounds": [{outbounds}], "route": {{"rules": [{rules}]}}}}"#
    );
    let (inbound, seed) = (InboundId(0), Seed::from_u64(1));
    let mut s = Session::carried(plan(&text), inbound, peer(), Wanted::Datagrams, seed, T0);
    s.apply(T0, Input::Tick);
    let answer = action(&mut s);
    assert!(matches!(answer, Some(Action::Answer(Ok(_)))), "{answer:?}");
    s
}

const DIRECT: &str = r#"{"type": "direct", "tag": "direct"}"#;

/// To and from 2001:db8::7, port 53, as in a record.
const PUBLIC_V6: &[u8] = &[
    4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 53,
];

/// What the client is told: of which target, and what.
#[track_caller]
fn told(s: &mut Session) -> Option<(SocketAddr, Undelivered)> {
    let action = action(s)?;
    let Action::DatagramError { to, error } = action else {
        panic!("{action:?}");
    };
    Some((to, error))
}

fn undelivered(cause: Cause) -> Undelivered {
    let reporter = None;
    Undelivered { cause, reporter }
}

#[test]
fn what_a_socket_says_of_a_target_is_told_to_the_client_that_wrote_there() {
    let mut s = of_device(DIRECT, "");
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    let slot = bound(&mut s);
    let _ = sent(&mut s);
    let (to, stranger) = (addr("192.0.2.7:53"), addr("192.0.2.8:53"));
    let error = Undelivered {
        cause: Cause::TooBig { mtu: 1400 },
        reporter: Some([203, 0, 113, 1].into()),
    };
    s.apply(T0, Input::DatagramError { slot, to, error });
    assert_eq!(told(&mut s), Some((to, error)));
    // Nobody wrote there, or not from that socket.
    for (slot, to) in [
        (slot, stranger),
        (slot, addr("192.0.2.7:54")),
        (Slot(77), to),
        (Slot::CLIENT, to),
    ] {
        s.apply(T0, Input::DatagramError { slot, to, error });
        assert_eq!(told(&mut s), None, "{slot:?} {to}");
    }
    // The conversation goes on.
    datagram(&mut s, slot, "192.0.2.7:53", b"late");
    assert_eq!(take(&mut s, Slot::CLIENT), record(PUBLIC, b"late"));
    // Each family has a socket of its own.
    send(&mut s, Slot::CLIENT, &record(PUBLIC_V6, b"x"));
    let v6 = bound(&mut s);
    let to = sent(&mut s).1;
    for (from, expected) in [(v6, Some((to, error))), (Slot(99), None)] {
        s.apply(
            T0,
            Input::DatagramError {
                slot: from,
                to,
                error,
            },
        );
        assert_eq!(told(&mut s), expected);
    }
    // An error keeps nothing alive.
    let idle = Duration::from_secs(5 * 60);
    s.apply(
        T0 + idle / 2,
        Input::DatagramError {
            slot: v6,
            to,
            error,
        },
    );
    let _ = told(&mut s);
    s.apply(T0 + idle, Input::Tick);
    assert_eq!(s.record().closed, Some(CloseReason::IdleTimeout));
}

#[test]
fn a_device_is_told_of_targets_that_are_not_carried() {
    let refused = Some(Cause::PortUnreachable);
    let reject = r#"{"port": 53, "action": "reject"}"#;
    let drop = r#"{"port": 53, "action": "reject", "method": "drop"}"#;
    let block = r#"{"type": "block", "tag": "no"}"#;
    let http = r#"{"type": "http", "tag": "up", "server": "192.0.2.1", "server_port": 80}"#;
    for (outbound, rule, cause, why) in [
        (DIRECT, reject, refused, Refusal::Policy),
        (DIRECT, drop, None, Refusal::Dropped),
        (block, "", refused, Refusal::Policy),
        (http, "", refused, Refusal::CommandUnsupported),
    ] {
        let mut s = of_device(outbound, rule);
        for (address, to) in [(PUBLIC, "192.0.2.7:53"), (PUBLIC_V6, "[2001:db8::7]:53")] {
            for n in 0..2 {
                send(&mut s, Slot::CLIENT, &record(address, b"x"));
                let mut all: Vec<_> = std::iter::from_fn(|| s.poll_action()).collect();
                let error = cause.map(|cause| (addr(to), undelivered(cause)));
                let mut got = None;
                if let Some(Action::DatagramError { to, error }) = all.last() {
                    got = Some((*to, *error));
                    all.pop();
                }
                assert_eq!(got, error, "{outbound} {rule}");
                // The log tells of the target once, and so does nothing else.
                let is_logged =
                    |a: &Action| matches!(a, Action::Log(Stage::Refused(of)) if *of == why);
                assert_eq!(
                    all.iter().filter(|a| is_logged(a)).count(),
                    usize::from(n == 0)
                );
                assert!(all.iter().all(|a| matches!(a, Action::Log(_))), "{all:?}");
            }
        }
        assert_eq!(drops(&s).policy, 4);
    }
}

#[test]
fn datagrams_that_waited_in_vain_are_told_of() {
    let mut s = of_device(DIRECT, "");
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    let Some(Action::Bind { id, .. }) = action(&mut s) else {
        panic!("no socket");
    };
    let failed = Outcome::Failed(Refusal::AddressUnsupported);
    s.apply(T0, Input::Done(id, failed));
    let to = addr("192.0.2.7:53");
    assert_eq!(told(&mut s), Some((to, undelivered(Cause::NetUnreachable))));
    // A proxy that is not there.
    let socks = r#"{"type": "socks", "tag": "up", "server": "192.0.2.1", "server_port": 1080}"#;
    let mut s = of_device(socks, "");
    send(
        &mut s,
        Slot::CLIENT,
        &[record(PUBLIC, b"x"), record(PUBLIC, b"y")].concat(),
    );
    let Some(Action::Dial { id, .. }) = action(&mut s) else {
        panic!("no dial");
    };
    let failed = Outcome::Failed(Refusal::NetworkUnreachable);
    s.apply(T0, Input::Done(id, failed));
    for _ in 0..2 {
        assert_eq!(told(&mut s), Some((to, undelivered(Cause::NetUnreachable))));
    }
    assert_eq!(drops(&s).unreachable, 2);
}

#[test]
fn who_has_no_device_is_told_of_nothing() {
    let mut s = served("", r#"{"port": 54, "action": "reject"}"#);
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    let slot = bound(&mut s);
    let _ = sent(&mut s);
    let (to, error) = (addr("192.0.2.7:53"), undelivered(Cause::PortUnreachable));
    s.apply(T0, Input::DatagramError { slot, to, error });
    let rejected = [1, 192, 0, 2, 7, 0, 54];
    send(&mut s, Slot::CLIENT, &record(&rejected, b"x"));
    assert_eq!(told(&mut s), None);
}
