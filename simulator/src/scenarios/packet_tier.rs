//! What only real TCP shows: long packets that vanish, forged resets, loss, packets that overtake
//! each other.
use super::{lab::*, scenarios};
use crate::{
    World,
    check::{Invariant, Violation},
    host::HostId,
    net::{
        boxes::censor::{Censor, Rule, Then, When},
        hop::Hop,
        link::{Jitter, Link, Settings},
        loss::Loss,
        mtu::{Mtu, TooLong},
    },
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
    tcp::Tier,
};
use core::time::Duration;
use sansbox_engine::record::CloseReason::{ClientReset, Completed, IdleTimeout, UpstreamReset};

/// Payload of these relays, each way.
const LEN: u64 = 60_000;
/// The client behind the hop.
const CLIENT: &str = "10.0.0.1";

/// A client behind a hop runs a script.
fn behind(world: &mut World, hop: impl Hop + 'static, script: Script) -> HostId {
    let home = world.site("home", vec![Box::new(hop)]);
    let host = ScriptHost::new().dial(addr(SOCKS), script);
    world.host_in(home, "client", &ips(&[CLIENT]), host)
}

/// A relay of [`LEN`] bytes each way completes behind a link.
fn completes(world: &mut World, settings: Settings) -> Verdict {
    world.tier(Tier::Packet);
    proxy(world, &plain())?;
    behind(
        world,
        Link::new(settings),
        socks5_connect(ORIGIN).and(talk(LEN)),
    );
    origin(world, |_| answer(LEN));
    run(world, &[Completed])
}

fn short(too_long: TooLong) -> Settings {
    Settings {
        mtu: Some(Mtu {
            octets: 1300,
            too_long,
        }),
        ..Settings::default()
    }
}

scenarios! {
    /// Segments longer than a tunnel on the way vanish without a word: handshakes pass, bulk does
    /// not, and the relay is given up as an idle one.
    fn packet_mtu_black_hole(world) {
        world.tier(Tier::Packet);
        proxy(world, &plain())?;
        let script = socks5_connect(ORIGIN).download("down", LEN).then(Step::ExpectReset);
        behind(world, Link::new(short(TooLong::Drop)), script.tolerant());
        origin(world, |_| {
            Script::new().upload("down", LEN).fin("down").then(Step::ExpectEnd).tolerant()
        });
        run_all(world, 1, |c| c.reason == Some(IdleTimeout))
    }

    /// Without anybody in between, the kernel of the sender gives up after fifteen
    /// retransmissions, though every short packet is answered; the receiver hears a reset.
    fn packet_sender_gives_up(world) {
        world.tier(Tier::Packet);
        let home = world.site("home", vec![Box::new(Link::new(short(TooLong::Drop)))]);
        let script = Script::new().download("down", LEN).then(Step::ExpectReset);
        client_in(world, home, CLIENT, ORIGIN, script.tolerant());
        origin(world, |_| {
            Script::new().upload("down", LEN).fin("down").then(Step::ExpectEnd).tolerant()
        });
        world.run(LIMIT)?;
        let took = world.now().as_nanos() / 1_000_000_000;
        world.expect((924..1000).contains(&took), format!("given up after {took} seconds"))
    }

    /// A router that says how long packets may be is heard: the relay goes on with shorter ones.
    fn packet_mtu_answered(world) {
        completes(world, short(TooLong::Answer))
    }

    /// Forged resets in mid-flight end the relay at both ends of the attacked connection.
    fn packet_forged_resets(world) {
        world.tier(Tier::Packet);
        proxy(world, &plain())?;
        let then = Then::Reset { after: Duration::from_micros(500) };
        let censor = Censor::new(vec![Rule::new(When::Carried(20_000), then)]);
        let censor = censor.map_err(|why| Violation {
            at: world.now(),
            host: "world".into(),
            invariant: Invariant::Expected,
            detail: why.to_string(),
        })?;
        let script = socks5_connect(ORIGIN).exchange("up", "down", LEN).then(Step::ExpectReset);
        behind(world, censor, script.tolerant());
        origin(world, |_| Script::new().exchange("down", "up", LEN).then(Step::ExpectEnd).tolerant());
        run_all(world, 1, |c| matches!(c.reason, Some(ClientReset | UpstreamReset)))
    }

    /// Every twentieth packet is lost, both ways: all is sent again, and nothing is missing.
    fn packet_loss_both_ways(world) {
        completes(world, Settings {
            latency: Duration::from_millis(10),
            loss: vec![Loss::Random(50_000)],
            ..Settings::default()
        })
    }

    /// Packets overtake each other by up to twenty milliseconds.
    fn packet_reordering(world) {
        completes(world, Settings {
            latency: Duration::from_millis(5),
            jitter: Jitter::Uniform(Duration::from_millis(20)),
            ..Settings::default()
        })
    }

    /// A host on the packet tier and one on the ideal tier understand each other, also where
    /// packets are lost.
    fn packet_tier_meets_the_ideal(world) {
        proxy(world, &plain())?;
        let link = Link::new(Settings { loss: vec![Loss::Random(20_000)], ..Settings::default() });
        let client = behind(world, link, socks5_connect(ORIGIN).and(talk(LEN)));
        world.host_tier(client, Tier::Packet);
        origin(world, |_| answer(LEN));
        run(world, &[Completed])
    }
}
