//! S8 to S13: what streams and tunnels come to between programs that differ.
use super::help::{
    assert_between, fetch, happens, link, millis, passes_with_ours, refusal, seconds,
};
use core::net::IpAddr;
use sansbox_core::Refusal;
use sansbox_simulator::{
    net::{
        boxes::nat::{Nat, Policy},
        hop::{Hop, HopFault},
    },
    paniq::{
        Ended, Lab, Persona, Profile, Reach, Step, Talk,
        dial::{at_once, outcome},
        persona::{Dialling, GO, LEGACY_RUST, OURS, Replies},
    },
};

/// A server or client that knows no replies, and is Go otherwise.
const SILENT: Persona = Persona {
    replies: Replies::None,
    ..GO
};

/// A stream that is busy for a minute.
fn bystander() -> Talk {
    let far = [[Step::Send(100), Step::Pause(seconds(1))]; 60].concat();
    let far = far.into_iter().chain([Step::Fin, Step::End]);
    Talk::new("bystander", [Step::Take(6000), Step::End, Step::Fin], far)
}

#[test]
fn s08_a_server_without_replies() {
    // Who speaks first is taken for a reply.
    let banner = Talk::server_first("banner", 40, 100, 100);
    let facts = Lab::new(GO, SILENT).talk(banner.clone()).run(1, vec![]);
    let why = refusal(&facts, "banner");
    assert!(why.starts_with("unsupported proxy version"), "{why}");
    // Who waits for a request waits twice for 5 s, and takes everybody along.
    let facts = Lab::new(GO, SILENT).talk(fetch()).run(1, vec![]);
    assert_eq!(refusal(&facts, "fetch"), "timeout");
    assert_between(facts.ended_at("fetch"), seconds(10), millis(10_200));
    assert_eq!(facts.requests.len(), 2, "it is dialled twice");
    passes_with_ours(&Lab::ours().talk(fetch()).talk(banner), Vec::new);
}

#[test]
fn s09_a_client_without_replies() {
    let facts = Lab::new(SILENT, GO).talk(fetch()).run(1, vec![]);
    let Ended::Wrong(what) = facts.ended("fetch") else {
        panic!("{facts:#?}");
    };
    assert!(what.contains("octet 0"), "{what}");
    // A refused target is told as an answer of its own.
    let refused = Talk::refused("refused");
    let facts = Lab::new(SILENT, GO).talk(refused.clone()).run(1, vec![]);
    assert!(
        facts.near["refused"].accepted.is_some(),
        "success was told before"
    );
    assert!(matches!(facts.ended("refused"), Ended::Wrong(what) if what.contains("9 octets")));
    for server in [GO, OURS] {
        let facts = Lab::new(OURS, server).talk(refused.clone()).run(1, vec![]);
        let _ = refusal(&facts, "refused");
    }
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}

#[test]
fn s10_all_addresses_at_once() {
    assert_eq!(at_once(LEGACY_RUST.dialling, 8), 8, "a burst of SYNs");
    assert_eq!(at_once(OURS.dialling, 8), 1);
    let budget = Profile::default().dial_timeout;
    let dead = Reach::Name {
        lookup: millis(4_900),
        addresses: 8,
        nth: 8,
    };
    let all = outcome(Dialling::AllAtOnce, &dead, budget);
    assert_eq!(all, (millis(14_900), Err(Refusal::TimedOut)));
    let ours = outcome(OURS.dialling, &dead, budget);
    assert_eq!(ours, (budget, Err(Refusal::TimedOut)));
    // The only living address comes last: Go gives it no time, a race does.
    let last = Reach::Name {
        lookup: millis(10),
        addresses: 8,
        nth: 7,
    };
    assert!(outcome(Dialling::OneByOne, &last, budget).1.is_err());
    let (after, result) = outcome(OURS.dialling, &last, budget);
    assert_eq!(result, Ok(()));
    assert_between(after, millis(2_000), millis(2_500));
    // A client that waits for 5 s has torn its tunnel down before such a server answers.
    let eager = Persona {
        dialling: LEGACY_RUST.dialling,
        ..GO
    };
    let slow = Talk {
        reach: dead,
        ..Talk::refused("slow")
    };
    let lab = Lab::new(GO, eager)
        .talk(bystander())
        .talk(slow.at(seconds(2)));
    let facts = lab.clone().run(1, vec![]);
    assert_eq!(facts.ended("bystander"), Ended::Short, "{facts:#?}");
    assert_between(facts.ended_at("slow"), seconds(12), seconds(13));
    let facts = lab.with(OURS, OURS).run(1, vec![]);
    assert_eq!(facts.ended("bystander"), Ended::Whole);
    assert_between(facts.ended_at("slow"), seconds(7), millis(7_200));
}

#[test]
fn s11_counters_at_one_end() {
    let mut counting = Profile::default();
    counting.sizes.has_counter = true;
    for (client, server) in [(GO, GO), (OURS, OURS)] {
        let mut lab = Lab::new(client, server).talk(fetch());
        lab.server_profile = Some(counting.clone());
        let facts = lab.run(1, vec![]);
        assert!(facts.ups.is_empty());
        let _ = refusal(&facts, "fetch");
        // Right behind the preamble, everything is dropped.
        let lengths = facts.dropped("inner length") + facts.dropped("counter");
        assert!(lengths >= 2 && facts.down.datagrams <= 2, "{facts:#?}");
    }
    let mut lab = Lab::ours().talk(fetch());
    lab.profile = counting;
    passes_with_ours(&lab, Vec::new);
}

#[test]
fn s12_half_close() {
    let lab = Lab::new(GO, GO).talk(Talk::half_closed("half", 300, 5_000));
    for (client, server) in [(GO, GO), (OURS, GO), (GO, OURS)] {
        let facts = lab.with(client, server).run(1, vec![]);
        let seen = &facts.near["half"];
        assert_eq!((&seen.ended, seen.octets), (&Ended::Short, 0), "{facts:#?}");
    }
    let facts = lab.with(OURS, OURS).run(1, vec![]);
    assert!(facts.is_whole());
}

fn nat() -> Vec<Box<dyn Hop>> {
    let outside = IpAddr::from([192, 168, 113, 1]);
    vec![Box::new(Nat::new(Policy::symmetric(outside)))]
}

#[test]
fn s13_a_new_port_on_the_way() {
    let lab = Lab::new(GO, GO)
        .talk(bystander())
        .talk(Talk::fetch("later", 100, 100).at(seconds(20)));
    let run = |client, server| {
        let lab = lab.with(client, server);
        lab.run_with(1, nat(), |world, site| {
            happens(world, site, millis(10_500), HopFault::Rebind);
        })
    };
    let facts = run(GO, GO);
    assert_ne!(facts.ended("bystander"), Ended::Whole);
    assert!(
        facts.dropped("not what was due in the preamble") >= 1,
        "{facts:#?}"
    );
    assert_eq!(facts.ended("later"), Ended::Whole);
    assert_between(facts.ended_at("later"), seconds(25), seconds(31));
    for server in [GO, OURS] {
        let facts = run(OURS, server);
        assert_eq!(facts.ended("later"), Ended::Whole, "{facts:#?}");
        assert_between(facts.ended_at("later"), seconds(20), millis(20_500));
    }
}

#[test]
fn an_outage_of_ten_seconds_costs_no_stream() {
    let lab = Lab::ours().talk(bystander());
    let facts = lab.run_with(1, link(), |world, site| {
        happens(world, site, seconds(5), HopFault::Down);
        happens(world, site, seconds(15), HopFault::Up);
    });
    assert!(facts.is_whole(), "{facts:#?}");
}
