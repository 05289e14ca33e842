//! Relays with planted bugs: they pass as long as nothing goes wrong. Not among the scenarios of
//! the product, but known by name.
use super::{lab::*, scenarios};
use crate::{
    World,
    drive::{MachineHost, Rules},
    explore::planted::{Bug, Planted},
    net::Answer,
    peers::{Script, ScriptHost},
    scenario::Verdict,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Domain;
use sansbox_engine::record::CloseReason::Completed;

const LEN: u64 = 700;
const CLIENTS: u16 = 8;

/// Clients, one every few seconds, that each talk through the relay to a port of their own.
fn relay(world: &mut World, bug: Bug) -> Verdict {
    world.name("origin.test", Answer::Addresses(ips(&["10.0.0.3"])));
    let at = |addr: SocketAddr, n: u16| SocketAddr::new(addr.ip(), addr.port() + n);
    let mut host = MachineHost::new(Rules::default());
    let (mut clients, mut origins) = (ScriptHost::new(), ScriptHost::new());
    for n in 0..CLIENTS {
        let name = Domain::parse(b"origin.test").expect("a name");
        let target = at(addr(ORIGIN), n);
        let make = move |new| Box::new(Planted::new(bug, name.clone(), target, new)) as _;
        host = host.tcp(at(addr(SOCKS), n), Box::new(make));
        let (up, down) = (format!("up {n}"), format!("down {n}"));
        let ask = Script::new().upload(&up, LEN).fin(&up);
        let ask = ask.download(&down, LEN).expect_fin(&down);
        let begin = Duration::from_secs(12 * u64::from(n));
        clients = clients.dial_at(begin, at(addr(SOCKS), n), ask);
        let answer = Script::new().download(&up, LEN).expect_fin(&up);
        let answer = answer.upload(&down, LEN).fin(&down);
        origins = origins.serve(target, move |_| answer.clone());
    }
    world.host("relay", &ips(&["10.0.0.2"]), host);
    world.host("client", &ips(&["10.0.0.1"]), clients);
    world.host("origin", &ips(&["10.0.0.3"]), origins);
    run(world, &[Completed; CLIENTS as usize])
}

scenarios! {
    /// A relay that sends its first bytes once more when the upstream resets.
    fn planted_replay(world) {
        relay(world, Bug::Replays)
    }

    /// A relay that spins when a lookup and then a dial fail.
    fn planted_spin(world) {
        relay(world, Bug::Spins)
    }

    /// A relay that forgets dials that take too long.
    fn planted_leak(world) {
        relay(world, Bug::Forgets)
    }
}
