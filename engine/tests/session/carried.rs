//! Sessions of streams that a carrier offers: the carrier is told once what became of the target.
use super::*;
use sansbox_core::{Host, Target};
use sansbox_engine::{
    ids::ActionId,
    machine::{Families, Wanted},
};

/// A plan whose first inbound is a carrier's.
fn plan_of(inbound: &str, rest: &str) -> Arc<Plan> {
    let text = format!(
        r#"{{"inbounds": [{{"type": "paniq", "profile": {{"obfuscation": {{"i1": "<t>"}}}}{inbound}}}]
        {rest}}}"#
    );
    let sources = Sources::single("config.json", text);
    let (config, _) = read(&sources, &ReadOptions::default()).unwrap();
    Arc::new(Plan::build(&config).unwrap())
}

/// Clients may reach everything.
fn open_plan() -> Arc<Plan> {
    plan_of(r#", "allow_private": true"#, "")
}

fn carried(plan: &Arc<Plan>, host: &str, port: u16) -> Session {
    // A public source: who has the keys is no stranger.
    let peer = Peer {
        remote: "203.0.113.9:5000".parse().unwrap(),
        local: "127.0.0.1:9000".parse().unwrap(),
    };
    let target = Target::new(Host::parse(host.as_bytes()).unwrap(), port);
    let plan = Arc::clone(plan);
    let wanted = Wanted::Connection(target);
    let mut s = Session::carried(plan, InboundId(0), peer, wanted, Seed::from_u64(1), T0);
    s.apply(T0, Input::Tick);
    s
}

/// The dial that a session begins.
fn dialled(s: &mut Session) -> (ActionId, Slot, String) {
    match action(s) {
        Some(Action::Dial { id, slot, to, .. }) => (id, slot, to.to_string()),
        other => panic!("{other:?}"),
    }
}

/// A session refuses: the carrier is told so and the stream closed.
#[track_caller]
fn refuses(s: &mut Session, why: Refusal) {
    match action(s) {
        Some(Action::Answer(answer)) => assert_eq!(answer, Err(why)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        action(s),
        Some(Action::Close(Slot::CLIENT, End::Reset))
    ));
    assert!(action(s).is_none() && s.is_finished());
    assert_eq!(s.record().closed, Some(CloseReason::Refused(why)));
}

#[test]
fn the_answer_comes_with_the_connection_and_bytes_behind_it() {
    let plan = open_plan();
    let mut s = carried(&plan, "127.0.0.1", 80);
    send(&mut s, Slot::CLIENT, b"early");
    let (id, slot, to) = dialled(&mut s);
    assert_eq!(to, "127.0.0.1:80");
    assert!(action(&mut s).is_none(), "no answer before the connection");
    let bound = "127.0.0.1:40000".parse().unwrap();
    s.apply(T0, Input::Done(id, Outcome::Connected(bound)));
    assert!(matches!(action(&mut s), Some(Action::Answer(Ok(at))) if at == bound));
    assert_eq!(take(&mut s, slot), b"early");
    assert!(matches!(action(&mut s), Some(Action::Passthrough(Slot::CLIENT, b)) if b == slot));
    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    s.apply(T0, Input::Ended(slot, End::Fin));
    let answers = std::iter::from_fn(|| action(&mut s)).filter(|a| matches!(a, Action::Answer(_)));
    assert_eq!(answers.count(), 0, "one answer is all");
    assert_eq!(s.record().closed, Some(CloseReason::Completed));
}

#[test]
fn a_failed_dial_is_the_answer() {
    let plan = open_plan();
    let mut s = carried(&plan, "127.0.0.1", 80);
    let (id, ..) = dialled(&mut s);
    let failed = Outcome::Failed(Refusal::ConnectionRefused);
    s.apply(T0, Input::Done(id, failed));
    refuses(&mut s, Refusal::ConnectionRefused);
}

#[test]
fn a_client_that_gives_up_cancels_the_dial_without_an_answer() {
    let plan = open_plan();
    let mut s = carried(&plan, "127.0.0.1", 80);
    let (id, ..) = dialled(&mut s);
    s.apply(T0, Input::Ended(Slot::CLIENT, End::Reset));
    assert!(matches!(action(&mut s), Some(Action::Cancel(gone)) if gone == id));
    assert!(matches!(
        action(&mut s),
        Some(Action::Close(Slot::CLIENT, _))
    ));
    assert!(action(&mut s).is_none() && s.is_finished());
    assert_eq!(s.record().closed, Some(CloseReason::ClientReset));
}

#[test]
fn rules_reject_and_drop() {
    for (method, why) in [("default", Refusal::Policy), ("drop", Refusal::Dropped)] {
        let route = format!(
            r#", "route": {{"rules": [
                {{"port": 25, "action": "reject", "method": "{method}"}}]}}"#
        );
        let plan = plan_of(r#", "allow_private": true"#, &route);
        refuses(&mut carried(&plan, "192.0.2.7", 25), why);
        assert_eq!(
            dialled(&mut carried(&plan, "192.0.2.7", 26)).2,
            "192.0.2.7:26"
        );
    }
}

#[test]
fn a_blocked_way_out_is_refused() {
    let outbounds = r#", "outbounds": [{"type": "block"}]"#;
    let plan = plan_of(r#", "allow_private": true"#, outbounds);
    refuses(&mut carried(&plan, "192.0.2.7", 80), Refusal::Policy);
}

#[test]
fn private_addresses_are_refused_unless_they_are_allowed() {
    let (guarded, open) = (plan_of("", ""), open_plan());
    for address in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "fd00::1",
    ] {
        refuses(&mut carried(&guarded, address, 80), Refusal::PrivateAddress);
        dialled(&mut carried(&open, address, 80));
    }
    dialled(&mut carried(&guarded, "1.1.1.1", 80));
    dialled(&mut carried(&guarded, "2606:4700::1111", 80));
}

#[test]
fn names_are_judged_by_what_they_resolve_to() {
    let resolve = |plan: &Arc<Plan>, addresses: &[&str]| {
        let mut s = carried(plan, "rebound.test", 80);
        let Some(Action::Resolve { id, name, families }) = action(&mut s) else {
            panic!("no lookup");
        };
        assert_eq!((name.as_str(), families), ("rebound.test", Families::Any));
        let addresses: Vec<_> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        s.apply(T0, Input::Done(id, Outcome::Resolved(&addresses)));
        s
    };
    let (guarded, open) = (plan_of("", ""), open_plan());
    let private = ["127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1"];
    refuses(&mut resolve(&guarded, &private), Refusal::PrivateAddress);
    dialled(&mut resolve(&open, &private));
    // Of mixed answers only the public ones are dialled, also when they fail.
    let mut s = resolve(&guarded, &["10.0.0.1", "1.1.1.1", "127.0.0.1"]);
    let (id, _, to) = dialled(&mut s);
    assert_eq!(to, "1.1.1.1:80");
    let failed = Outcome::Failed(Refusal::ConnectionRefused);
    s.apply(T0, Input::Done(id, failed));
    refuses(&mut s, Refusal::ConnectionRefused);
}

#[test]
fn where_a_proxy_is_the_configuration_says() {
    let outbounds = r#", "outbounds":
        [{"type": "socks", "server": "127.0.0.1", "server_port": 1080}]"#;
    let plan = plan_of("", outbounds);
    assert_eq!(
        dialled(&mut carried(&plan, "1.1.1.1", 80)).2,
        "127.0.0.1:1080"
    );
    refuses(&mut carried(&plan, "10.0.0.1", 80), Refusal::PrivateAddress);
}

#[test]
fn a_stop_before_the_connection_ends_it() {
    let plan = open_plan();
    let mut s = carried(&plan, "127.0.0.1", 80);
    dialled(&mut s);
    s.apply(T0, Input::Stop);
    while action(&mut s).is_some() {}
    assert!(s.is_finished());
    assert_eq!(s.record().closed, Some(CloseReason::Stopped));
}
