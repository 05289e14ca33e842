//! Streams of a paniq inbound: clients reach public addresses alone.
use super::*;
use sansbox_core::{Host, Target};
use sansbox_engine::{config::model::LogLevel, machine::Wanted};
use std::net::IpAddr;

fn paniq(allow_private: bool) -> Arc<Plan> {
    let text = format!(
        r#"{{"inbounds": [{{"type": "paniq", "tag": "in", "listen_port": 1,
             "profile": {{"obfuscation": {{"i1": "<t>"}}}}, "allow_private": {allow_private}}}]}}"#
    );
    let sources = Sources::single("c.json", text);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("it reads");
    Arc::new(Plan::build(&config).unwrap())
}

/// A stream to this host.
fn stream(plan: &Arc<Plan>, host: &str) -> Session {
    let peer = Peer {
        remote: "203.0.113.9:4000".parse().unwrap(),
        local: "203.0.113.1:1".parse().unwrap(),
    };
    let target = Target::new(Host::parse(host.as_bytes()).unwrap(), 80);
    let plan = Arc::clone(plan);
    let wanted = Wanted::Connection(target);
    let mut s = Session::carried(plan, InboundId(0), peer, wanted, Seed::from_u64(1), T0);
    s.apply(T0, Input::Tick);
    s
}

/// Why a stream is refused, if it is; and how severe that is.
fn refusal(s: &mut Session) -> Option<(Refusal, LogLevel)> {
    let actions: Vec<_> = std::iter::from_fn(|| s.poll_action()).collect();
    actions.into_iter().find_map(|action| {
        let Action::Log(stage @ Stage::Refused(why)) = action else {
            return None;
        };
        Some((why, s.record().severity(stage)))
    })
}

/// What becomes of a stream to a name with these addresses.
fn resolved(plan: &Arc<Plan>, addresses: &[&str]) -> Option<Refusal> {
    let mut s = stream(plan, "a.test");
    let Some(Action::Resolve { id, .. }) = action(&mut s) else {
        panic!("a lookup");
    };
    let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    s.apply(T0, Input::Done(id, Outcome::Resolved(&addresses)));
    refusal(&mut s).map(|(why, _)| why)
}

#[test]
fn private_addresses_are_refused_with_a_reason_of_their_own() {
    let (public_only, all) = (paniq(false), paniq(true));
    for host in [
        "127.0.0.1",
        "10.1.2.3",
        "::1",
        "0.0.0.0",
        "fe80::1",
        "::ffff:10.0.0.1",
    ] {
        let told = refusal(&mut stream(&public_only, host));
        let expected = (Refusal::PrivateAddress, LogLevel::Info);
        assert_eq!(told, Some(expected), "{host}");
        let dialled = action(&mut stream(&all, host));
        assert!(
            matches!(dialled, Some(Action::Dial { .. })),
            "{host}: {dialled:?}"
        );
    }
    let dialled = action(&mut stream(&public_only, "192.0.2.7"));
    assert!(matches!(dialled, Some(Action::Dial { .. })), "{dialled:?}");
}

#[test]
fn names_are_refused_when_all_their_addresses_are_private() {
    let plan = paniq(false);
    let private = Some(Refusal::PrivateAddress);
    assert_eq!(resolved(&plan, &["10.0.0.1", "::1"]), private);
    assert_eq!(resolved(&plan, &["10.0.0.1", "192.0.2.7"]), None);
    // A name without any address is not private.
    assert_eq!(resolved(&plan, &[]), Some(Refusal::NameNotFound));
}
