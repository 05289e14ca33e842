//! Clients and proxies behind address translators.
use super::{
    lab::*,
    scenarios,
    udp::{ECHO, associate, echo_server, there_and_back, wrapped},
};
use crate::{
    World,
    fault::Fault,
    host::HostId,
    net::{
        SiteId,
        boxes::nat::{Nat, Policy, PortChoice, Stray, UDP_EXPIRY_RECOMMENDED},
        hop::{Hop, HopFault},
    },
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
};
use core::{net::IpAddr, time::Duration};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{ClientReset, Completed, IdleTimeout, Refused};

/// The client behind a NAT.
const CLIENT: &str = "10.0.0.1";

fn outside(n: u8) -> IpAddr {
    IpAddr::from([192, 168, 113, n])
}

fn behind(world: &mut World, policy: Policy) -> SiteId {
    let nat: Box<dyn Hop> = Box::new(Nat::new(policy));
    world.site("home", vec![nat])
}

/// What happens to the only hop of a site.
fn to_nat(world: &mut World, after: Duration, site: SiteId, fault: HopFault) {
    let index = 0;
    world.at(after, Fault::Hop { site, index, fault });
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A client behind a NAT uses an association, pauses, and goes on.
fn association_over(world: &mut World, policy: Policy, pause: Duration, then: Script) -> Verdict {
    proxy(world, &plain())?;
    let home = behind(world, policy);
    let first = associate().and(there_and_back(ECHO, b"one")).sleep(pause);
    client_in(world, home, CLIENT, SOCKS, first.and(then));
    echo_server(world);
    run(world, &[Completed])
}

/// The proxy and its client share a NAT; a third host writes to the association's outer socket.
fn third_host_writes(world: &mut World, policy: Policy, last: Step) -> Verdict {
    let ports = PortChoice::Preserve;
    let home = behind(world, Policy { ports, ..policy });
    proxy_in(world, home, &plain())?;
    let all = associate().and(there_and_back(ECHO, b"one")).then(last);
    client_in(world, home, CLIENT, SOCKS, all);
    echo_server(world);
    // Behind the relay's own, the outer socket has the next port, and the NAT keeps it.
    let outer = Step::ToAddr(addr("192.168.113.1:40001"), b"surprise".to_vec());
    let host = ScriptHost::new().offline(seconds(1), Script::of([Step::Bind, outer]));
    world.host("third", &ips(&["10.0.0.9"]), host);
    run(world, &[Completed])
}

/// A relay through a NAT that forgets it while it is idle.
fn forgotten_relay(world: &mut World, stray: Stray, last: Step) -> HostId {
    let policy = Policy {
        stray,
        ..Policy::new(outside(1))
    };
    let home = behind(world, policy);
    let talk = socks5_connect(ORIGIN).upload("up", 100).sleep(seconds(20));
    let script = talk.send("into the void").then(last).tolerant();
    client_in(world, home, CLIENT, SOCKS, script);
    to_nat(world, seconds(10), home, HopFault::Forget);
    let host = ScriptHost::new().serve(addr(ORIGIN), |_| {
        Script::new().download("up", 100).then(Step::ExpectEnd)
    });
    world.host("origin", &ips(&["10.0.0.3"]), host)
}

scenarios! {
    /// A UDP association works through a NAT of every mapping and every filtering.
    fn nat_udp_association_through_every_kind(world) {
        proxy(world, &plain())?;
        for (n, policy) in (1..).zip(Policy::all(outside(1))) {
            let external = vec![outside(n)];
            let home = behind(world, Policy { external, ..policy });
            let script = associate().and(there_and_back(ECHO, b"one")).and(there_and_back(ECHO, b"two"));
            client_in(world, home, &format!("10.1.0.{n}"), SOCKS, script);
        }
        echo_server(world);
        run(world, &[Completed; 9])
    }

    /// A client whose mapping expires is heard again when the NAT gives it its port again.
    fn nat_udp_association_outlives_its_mapping(world) {
        let policy = Policy { ports: PortChoice::Preserve, ..Policy::symmetric(outside(1)) };
        let again = there_and_back(ECHO, b"two");
        association_over(world, policy, 2 * UDP_EXPIRY_RECOMMENDED, again)
    }

    /// With another port it is a stranger: a client must ask for a new association.
    fn nat_udp_association_loses_its_port(world) {
        let policy = Policy::symmetric(outside(1));
        let lost = Script::of([Step::ToRelay(wrapped(ECHO, b"two"))]);
        let lost = lost.then(Step::ExpectNoDatagram(seconds(5)));
        association_over(world, policy, 2 * UDP_EXPIRY_RECOMMENDED, lost)
    }

    /// A NAT that gives its flows new ports in the middle of an association loses nothing that
    /// the client sends afterwards; its control connection is given a new port as well, and dies.
    fn nat_rebinds_an_association(world) {
        proxy(world, &plain())?;
        let home = behind(world, Policy::port_restricted(outside(1)));
        let first = associate().and(there_and_back(ECHO, b"one")).sleep(seconds(10));
        let last = first.then(Step::ToRelay(wrapped(ECHO, b"two"))).then(Step::ExpectReset);
        client_in(world, home, CLIENT, SOCKS, last.tolerant());
        echo_server(world);
        to_nat(world, seconds(5), home, HopFault::Rebind);
        run(world, &[ClientReset])
    }

    /// With endpoint-independent filtering a third host may write to an association's outer
    /// socket through the NAT of the proxy.
    fn nat_full_cone_lets_a_third_host_in(world) {
        let hear = Step::ExpectDatagram(wrapped("10.0.0.9:40000", b"surprise"));
        third_host_writes(world, Policy::full_cone(outside(1)), hear)
    }

    /// With any other it may not.
    fn nat_port_restricted_keeps_a_third_host_out(world) {
        let silence = Step::ExpectNoDatagram(seconds(5));
        third_host_writes(world, Policy::port_restricted(outside(1)), silence)
    }

    /// A relay through a home router and a carrier's NAT behind it.
    fn nat_tcp_relay_through_two(world) {
        proxy(world, &plain())?;
        let router: Box<dyn Hop> = Box::new(Nat::new(Policy::port_restricted(IpAddr::from([100, 64, 0, 7]))));
        let carrier = Policy::carrier(vec![outside(1), outside(2)], 64);
        let home = world.site("home", vec![router, Box::new(Nat::new(carrier))]);
        client_in(world, home, CLIENT, SOCKS, socks5_connect(ORIGIN).and(talk(20_000)));
        origin(world, |_| answer(20_000));
        run(world, &[Completed])
    }

    /// Two subscribers of a carrier with the same inside port are kept apart.
    fn nat_tcp_relays_of_two_hosts(world) {
        proxy(world, &plain())?;
        let ports = PortChoice::Preserve;
        let home = behind(world, Policy { ports, ..Policy::new(outside(1)) });
        for ip in [CLIENT, "10.0.0.11"] {
            let flow = |way: &str| format!("{way} {ip}");
            let talk = Script::new().exchange(&flow("up"), &flow("up"), 5_000).then(Step::Fin(None));
            client_in(world, home, ip, SOCKS, socks5_connect(ORIGIN).and(talk.then(Step::ExpectFin(None))));
        }
        let host = ScriptHost::new().serve(addr(ORIGIN), |_| echo());
        world.host("origin", &ips(&["10.0.0.3"]), host);
        run(world, &[Completed; 2])
    }

    /// A NAT that forgets a relay and answers the client's next segment with a reset.
    fn nat_forgets_a_relay_and_resets(world) {
        proxy(world, &plain())?;
        forgotten_relay(world, Stray::Reset, Step::ExpectReset);
        run_all(world, 1, |c| matches!(c.reason, Some(ClientReset | IdleTimeout)))
    }

    /// A NAT that forgets a relay without a word: both ends find out by their own timers.
    fn nat_forgets_a_relay_silently(world) {
        proxy(world, &plain())?;
        forgotten_relay(world, Stray::Drop, Step::ExpectReset);
        run_all(world, 1, |c| matches!(c.reason, Some(ClientReset | IdleTimeout)))
    }

    /// A NAT that takes up the forgotten connection under a new port: the proxy answers what it
    /// does not know with a reset.
    fn nat_takes_a_forgotten_relay_up(world) {
        proxy(world, &plain())?;
        forgotten_relay(world, Stray::Adopt, Step::ExpectReset);
        run_all(world, 1, |c| matches!(c.reason, Some(ClientReset | IdleTimeout)))
    }

    /// A proxy whose carrier gives it no more ports tells its client that the host cannot be
    /// reached.
    fn nat_ports_are_exhausted(world) {
        let home = behind(world, Policy::carrier(vec![outside(1)], 1));
        proxy_in(world, home, &plain())?;
        let host = ScriptHost::new()
            .dial(addr(SOCKS), socks5_connect(ORIGIN).send("hello").expect("hello").sleep(seconds(2)))
            .dial_at(seconds(1), addr(SOCKS), socks5().send(socks5_request(1, ORIGIN)).expect(socks5_refusal(4)));
        world.host_in(home, "client", &ips(&[CLIENT]), host);
        origin(world, |_| echo().tolerant());
        run(world, &[Refused(Refusal::HostUnreachable), Completed])
    }

    /// A carrier that changes the outside address under an association: what the client sends
    /// afterwards comes from a stranger to the proxy, and is dropped.
    fn nat_renumbers_under_an_association(world) {
        proxy(world, &plain())?;
        let home = behind(world, Policy::full_cone(outside(1)));
        let first = associate().and(there_and_back(ECHO, b"one")).sleep(seconds(10));
        let last = first.then(Step::ToRelay(wrapped(ECHO, b"two"))).then(Step::ExpectNoDatagram(seconds(5)));
        client_in(world, home, CLIENT, SOCKS, last.tolerant());
        echo_server(world);
        to_nat(world, seconds(5), home, HopFault::Renumber(outside(2)));
        run_all(world, 1, |c| matches!(c.reason, Some(ClientReset | IdleTimeout | Completed)))
    }
}
