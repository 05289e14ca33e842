//! Relays through stateful packet filters.
use super::{
    lab::*,
    scenarios,
    udp::{ECHO, associate, echo_server, there_and_back, wrapped},
};
use crate::{
    World,
    net::{
        SiteId,
        boxes::firewall::{Calls, Firewall, Refusal, Rules, UdpRule},
        packet::Transport,
    },
    peers::{Script, ScriptHost, Step},
};
use core::time::Duration;
use sansbox_engine::record::CloseReason::{self, ClientReset, Completed, IdleTimeout, Refused};

const CLIENT: &str = "10.0.0.1";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn behind(world: &mut World, rules: Rules) -> SiteId {
    world.site("office", vec![Box::new(Firewall::new(rules))])
}

/// A relay that is idle for longer than the client's firewall remembers it.
fn evicted_relay(world: &mut World, stray: Refusal) {
    let tcp_idle = seconds(60);
    let office = behind(
        world,
        Rules {
            stray,
            tcp_idle,
            ..Rules::default()
        },
    );
    let talk = socks5_connect(ORIGIN).upload("up", 100).sleep(seconds(90));
    let script = talk
        .send("into the void")
        .then(Step::ExpectReset)
        .tolerant();
    client_in(world, office, CLIENT, SOCKS, script);
    let host = ScriptHost::new().serve(addr(ORIGIN), |_| {
        Script::new().download("up", 100).then(Step::ExpectEnd)
    });
    world.host("origin", &ips(&["10.0.0.3"]), host);
}

const fn is_lost(reason: Option<CloseReason>) -> bool {
    matches!(reason, Some(ClientReset | IdleTimeout))
}

scenarios! {
    /// A relay whose packets pass often enough is never forgotten.
    fn firewall_keeps_a_busy_relay(world) {
        proxy(world, &plain())?;
        let tcp_idle = seconds(60);
        let office = behind(world, Rules { tcp_idle, ..Rules::default() });
        let busy = (0..5).fold(socks5_connect(ORIGIN), |script, _| script.upload("up", 100).sleep(seconds(50)));
        client_in(world, office, CLIENT, SOCKS, busy.fin("up").then(Step::ExpectFin(None)));
        let host = ScriptHost::new().serve(addr(ORIGIN), |_| {
            Script::new().download("up", 500).expect_fin("up")
        });
        world.host("origin", &ips(&["10.0.0.3"]), host);
        run(world, &[Completed])
    }

    /// A relay that is idle for too long is half open: nothing passes, and the ends find out by
    /// their own timers.
    fn firewall_evicts_an_idle_relay(world) {
        proxy(world, &plain())?;
        evicted_relay(world, Refusal::Drop);
        run_all(world, 1, |c| is_lost(c.reason))
    }

    /// The same with a firewall that says so.
    fn firewall_resets_an_evicted_relay(world) {
        proxy(world, &plain())?;
        evicted_relay(world, Refusal::Reset);
        run_all(world, 1, |c| is_lost(c.reason))
    }

    /// Behind a firewall without UDP an association is granted and carries nothing; it ends with
    /// its control connection.
    fn firewall_blocks_udp(world) {
        proxy(world, &plain())?;
        let udp = UdpRule::Closed;
        let office = behind(world, Rules { udp, ..Rules::default() });
        let lost = associate().then(Step::ToRelay(wrapped(ECHO, b"lost")));
        client_in(world, office, CLIENT, SOCKS, lost.then(Step::ExpectNoDatagram(seconds(5))));
        echo_server(world);
        run(world, &[Completed])
    }

    /// A firewall that closes one port to the proxy's datagrams leaves the others open.
    fn firewall_blocks_one_udp_port(world) {
        let udp = UdpRule::AllBut([443].into());
        let office = behind(world, Rules { udp, ..Rules::default() });
        proxy_in(world, office, &plain())?;
        let lost = Step::ToRelay(wrapped("10.0.0.3:443", b"lost"));
        let script = associate().then(lost).then(Step::ExpectNoDatagram(seconds(5)));
        client_in(world, office, CLIENT, SOCKS, script.and(there_and_back(ECHO, b"one")));
        let host = ScriptHost::new().echo_datagrams(addr(ECHO)).echo_datagrams(addr("10.0.0.3:443"));
        world.host("echo", &ips(&["10.0.0.3"]), host);
        run(world, &[Completed])
    }

    /// A proxy that may have no more connections tells its client that the next one is refused.
    fn firewall_limits_connections(world) {
        let office = behind(world, Rules { flows_per_host: Some(1), excess: Refusal::Reset, ..Rules::default() });
        proxy_in(world, office, &plain())?;
        let host = ScriptHost::new()
            .dial(addr(SOCKS), socks5_connect(ORIGIN).send("hello").expect("hello").sleep(seconds(2)))
            .dial_at(seconds(1), addr(SOCKS), socks5().send(socks5_request(1, ORIGIN)).expect(socks5_refusal(5)));
        world.host_in(office, "client", &ips(&[CLIENT]), host);
        origin(world, |_| echo().tolerant());
        run(world, &[Refused(sansbox_core::Refusal::ConnectionRefused), Completed])
    }

    /// A proxy behind a firewall without an open port cannot be reached; with one it can.
    fn firewall_opens_a_port(world) {
        let calls = Calls::To([(Transport::Tcp, 1080)].into());
        let office = behind(world, Rules { calls, ..Rules::default() });
        proxy_in(world, office, &plain())?;
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(1_000)));
        origin(world, |_| answer(1_000));
        run(world, &[Completed])
    }
}
