//! paniq tunnels with somebody who browses behind them: weather, NATs that give new ports, servers
//! that restart, paths that end for a while.
use super::scenarios;
use crate::{
    World,
    fault::Fault,
    net::{
        SiteId, UdpPath,
        boxes::nat::{Nat, Policy},
        hop::{Hop, HopFault},
        link::{Jitter, Link, Settings},
        loss::Loss,
        mtu::{Mtu, TooLong},
    },
    paniq::{
        Lab, Profile, Talk,
        lab::LIMIT,
        load::browsing,
        persona::{GO, OURS},
    },
    scenario::Verdict,
};
use core::{net::IpAddr, time::Duration};
use sansbox_core::Seed;
use sansbox_protocols::paniq::{Draws, transport::PaddingSpec};

/// All requests are made within it.
const TIME: Duration = Duration::from_secs(90);
const PAGES: u64 = 7;

fn draws(world: &World, purpose: &str) -> Draws {
    Draws::new(Seed::from_u64(world.seed()).derive(purpose))
}

fn millis(draws: &mut Draws, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + draws.below(to - from))
}

/// A path as a day gives it: near or far, quiet or not.
fn weather(draws: &mut Draws) -> UdpPath {
    let is_rough = draws.below(2) == 0;
    UdpPath {
        latency: millis(draws, 2, 90),
        jitter: millis(draws, 0, 12),
        loss: if is_rough { draws.below(50) } else { 0 },
        duplication: if is_rough { draws.below(20) } else { 0 },
        ..UdpPath::default()
    }
}

/// A link and a NAT of any kind before the client.
fn home(draws: &mut Draws) -> Vec<Box<dyn Hop>> {
    let outside = IpAddr::from([192, 168, 113, 1]);
    let policies: Vec<Policy> = Policy::all(outside).collect();
    let nth = draws.below(policies.len() as u64) as usize;
    let link: Box<dyn Hop> = Box::new(Link::new(Settings::default()));
    let nat = policies.into_iter().nth(nth);
    let nat = nat.map(|policy| Box::new(Nat::new(policy)) as Box<dyn Hop>);
    core::iter::once(link).chain(nat).collect()
}

fn hop(world: &mut World, site: SiteId, index: usize, at: Duration, fault: HopFault) {
    world.at(at, Fault::Hop { site, index, fault });
}

/// The NAT gives new ports, forgets, and the link goes down for a while, a few times.
fn trouble(world: &mut World, site: SiteId, draws: &mut Draws) {
    for _ in 0..draws.below(4) {
        let at = millis(draws, 500, 100_000);
        match draws.below(4) {
            0 => hop(world, site, 1, at, HopFault::Forget),
            1 => {
                hop(world, site, 0, at, HopFault::Down);
                let back = at + millis(draws, 100, 40_000);
                hop(world, site, 0, back, HopFault::Up);
            }
            _ => hop(world, site, 1, at, HopFault::Rebind),
        }
    }
}

/// Somebody browses through trouble.
fn through_trouble(world: &mut World, lab: Lab) -> Verdict {
    let mut draws = draws(world, "trouble");
    let mut lab = lab.talks(browsing(&mut draws, TIME, PAGES));
    lab.path = weather(&mut draws);
    for _ in 0..draws.below(3) {
        lab.server_restarts.push(millis(&mut draws, 1_000, 100_000));
    }
    let (installed, site) = lab.install(world, home(&mut draws));
    trouble(world, site, &mut draws);
    world.run(LIMIT)?;
    let facts = installed.facts();
    let ended = facts.near.len();
    let wanted = installed.talks();
    world.expect(
        ended == wanted,
        format!("{ended} of {wanted} streams ended"),
    )
}

/// A path of so many octets that loses, doubles and reorders.
fn narrow(octets: usize, loss: u32) -> Vec<Box<dyn Hop>> {
    let settings = Settings {
        latency: Duration::from_millis(15),
        jitter: Jitter::Uniform(Duration::from_millis(10)),
        loss: vec![Loss::Random(loss)],
        duplication: 10_000,
        mtu: Some(Mtu {
            octets,
            too_long: TooLong::Drop,
        }),
        ..Settings::default()
    };
    vec![Box::new(Link::new(settings))]
}

scenarios! {
    /// Somebody browses over a tunnel while ports change, the server restarts and the path ends
    /// for a while: every stream ends, and what came is what was sent.
    #[sometimes("a stream is whole", "a stream breaks", "a stream is refused", "a tunnel is replaced")]
    fn paniq_browsing_through_trouble(world) {
        let mut draws = draws(world, "profile");
        let mut lab = Lab::ours();
        lab.profile = Profile::drawn(&mut draws);
        through_trouble(world, lab)
    }

    /// The same where one end is as the Go programs are.
    #[sometimes("a stream is whole", "a stream breaks", "a stream is refused", "a tunnel is replaced")]
    fn paniq_browsing_with_go(world) {
        let (client, server) = if world.seed().is_multiple_of(2) { (OURS, GO) } else { (GO, OURS) };
        through_trouble(world, Lab::new(client, server))
    }

    /// 5 % loss, reordering, duplicates and a path of 1280 octets lose nothing.
    fn paniq_narrow_and_lossy(world) {
        let mut draws = draws(world, "load");
        let mut lab = Lab::ours();
        // 1280 octets less the headers of IPv4 and UDP; the first kinds of message fit as well.
        let spec = crate::paniq::profile::documented();
        let spec = sansbox_protocols::paniq::obf::Spec { jmax: 1200, ..spec };
        lab.profile = Profile::new(&spec, 1252, PaddingSpec::default());
        let talks = browsing(&mut draws, Duration::from_secs(20), 4);
        let ends = talks.into_iter().filter(|talk| talk.ends_well());
        let lab = lab.talks(ends).talk(Talk::fetch("upload", 400_000, 10));
        let (installed, _) = lab.install(world, narrow(1280, 50_000));
        world.run(LIMIT)?;
        installed.expect_whole(world)
    }
}
