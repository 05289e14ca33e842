//! What a tunnel of ours must live through.
use super::help::{happens, millis, seconds};
use core::{net::IpAddr, time::Duration};
use sansbox_core::Seed;
use sansbox_protocols::paniq::{Draws, obf::Spec, transport::PaddingSpec};
use sansbox_simulator::{
    explore::Swarm,
    explore::sweep::{Progress, Shard, Sweep},
    net::{
        boxes::nat::{Nat, Policy},
        hop::HopFault,
        link::{Jitter, Link, Settings},
        loss::Loss,
        mtu::{Mtu, TooLong},
    },
    paniq::{
        Ended, Facts, Lab, Profile, Step, Talk, lab::LATENCY, load::browsing, profile::documented,
    },
    scenario,
};

/// Some streams at once, short enough to be cut at each datagram.
fn short() -> Lab {
    let upload = Talk::fetch("upload", 6_000, 50);
    let half = Talk::half_closed("half", 700, 3_000);
    let banner = Talk::server_first("banner", 30, 40, 50).at(millis(150));
    let mut lab = Lab::ours().talks([upload, half, banner, Talk::refused("refused")]);
    lab.may_hang = true;
    lab
}

/// Runs until one side has sent and received so many datagrams, and vanishes; the other side
/// comes to an end, with nothing left: what is left breaks an invariant.
fn vanishes(n: u64, is_client: bool) -> Facts {
    let mut lab = short();
    match is_client {
        true => lab.client_vanishes_after = Some(n),
        false => lab.server_vanishes_after = Some(n),
    }
    lab.run(7, vec![])
}

#[test]
fn the_client_vanishes_at_any_datagram() {
    let all = short().run(7, vec![]);
    let most = all.up.datagrams + all.down.datagrams;
    for n in 1..=most {
        let facts = vanishes(n, true);
        let far = facts.far.values().flatten();
        assert!(
            far.clone().all(|far| far.ended != Ended::Pending),
            "{n}: {facts:#?}"
        );
        assert!(
            far.clone().all(|far| far.at < seconds(300)),
            "{n}: {facts:#?}"
        );
    }
}

#[test]
fn the_server_vanishes_at_any_datagram() {
    let all = short().run(7, vec![]);
    let most = all.up.datagrams + all.down.datagrams;
    for n in 1..=most {
        let facts = vanishes(n, false);
        assert_eq!(facts.near.len(), 4, "{n}: {facts:#?}");
        let near = facts.near.values();
        assert!(
            near.clone().all(|near| near.ended != Ended::Pending),
            "{n}: {facts:#?}"
        );
        assert!(
            near.clone().all(|near| near.at < seconds(300)),
            "{n}: {facts:#?}"
        );
    }
}

/// Round trip, its variation at first (half a round trip, four times), and the delay of
/// acknowledgements: RFC 9002 section 6.2.1.
const PROBE_TIMEOUT: Duration = Duration::from_millis(2 * 10 * 3 + 26);

/// Preamble with its pauses (five of 10 ms at most), one round trip for the Response, two for QUIC,
/// and the timer's grain.
const HANDSHAKE: Duration = Duration::from_millis(5 * 10 + 3 * 2 * 10 + 10);

#[test]
fn a_new_port_in_the_middle_of_an_upload_costs_three_probes_and_a_handshake() {
    assert_eq!(LATENCY, millis(10));
    // A megabyte each second.
    let near = [[Step::Send(20_000), Step::Pause(millis(20))]; 250].concat();
    let near = near
        .into_iter()
        .chain([Step::Take(10), Step::End, Step::Fin]);
    let far = [Step::Take(5_000_000), Step::Send(10), Step::Fin, Step::End];
    let lab = Lab::ours().talk(Talk::new("upload", near, far));
    for seed in 0..6 {
        for at in [400, 777, 1500, 4000] {
            let nat = Nat::new(Policy::symmetric(IpAddr::from([192, 168, 113, 1])));
            let facts = lab
                .clone()
                .run_with(seed, vec![Box::new(nat)], |world, site| {
                    happens(world, site, millis(at), HopFault::Rebind);
                });
            assert_eq!(facts.ended("upload"), Ended::Broken, "{facts:#?}");
            let needed = facts.ups[1] - millis(at);
            let bound = 3 * PROBE_TIMEOUT + HANDSHAKE;
            assert!(
                needed <= bound,
                "{needed:?} above {bound:?} at {at}, seed {seed}"
            );
        }
    }
}

#[test]
fn losses_reordering_and_a_narrow_path_lose_nothing() {
    let mut draws = Draws::new(Seed::from_u64(1));
    for seed in 0..6 {
        let spec = Spec {
            jmax: 1200,
            ..documented()
        };
        let mut lab = Lab::ours();
        lab.profile = Profile::new(&spec, 1252, PaddingSpec::default());
        let talks = browsing(&mut draws, seconds(10), 4);
        let talks = talks.into_iter().filter(Talk::ends_well);
        let lab = lab.talks(talks).talk(Talk::fetch("upload", 500_000, 10));
        let settings = Settings {
            latency: millis(10),
            jitter: Jitter::Uniform(millis(15)),
            loss: vec![Loss::Random(50_000)],
            mtu: Some(Mtu {
                octets: 1280,
                too_long: TooLong::Drop,
            }),
            ..Settings::default()
        };
        let facts = lab.run(seed, vec![Box::new(Link::new(settings))]);
        assert!(facts.is_whole(), "{facts:#?}");
        let longest = facts.up.longest.max(facts.down.longest);
        assert!(longest + 28 <= 1280, "{longest}");
    }
}

/// 20,000 seeds are swept by
/// `sansbox-sim sweep paniq_browsing_through_trouble --seeds 0..20000 --swarm full`.
#[test]
fn a_sweep_breaks_no_invariant() {
    for swarm in [None, Some(Swarm::default())] {
        let names = ["paniq_browsing_through_trouble", "paniq_browsing_with_go"];
        let sweep = Sweep {
            scenarios: names.map(|name| scenario::find(name).unwrap()).into(),
            seeds: 0..12,
            shard: Shard::WHOLE,
            swarm,
        };
        let outcome = sweep.run(2, &Progress::default(), || false);
        assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    }
}
