//! SOCKS5 UDP associations.
use super::{lab::*, scenarios};
use crate::{
    World,
    check::Closed,
    fault::{Fault, HostFault},
    net::{Answer, UdpPath},
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{ClientReset, Completed, Refused, Stopped};

/// Where datagrams are sent back.
pub(super) const ECHO: &str = "10.0.0.3:7";

/// A datagram for `target` behind a SOCKS5 header.
pub(super) fn wrapped(target: &str, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, 0][..], &socks5_address(target), payload].concat()
}

/// Opens an association and a socket to use it from.
pub(super) fn associate() -> Script {
    let ask = socks5().send(socks5_request(3, "0.0.0.0:0"));
    ask.then(Step::LearnRelay).then(Step::Bind)
}

pub(super) fn there_and_back(target: &str, payload: &[u8]) -> Script {
    let data = wrapped(target, payload);
    Script::of([Step::ToRelay(data.clone()), Step::ExpectDatagram(data)])
}

pub(super) fn echo_server(world: &mut World) {
    let host = ScriptHost::new().echo_datagrams(addr(ECHO));
    world.host("echo", &ips(&["10.0.0.3"]), host);
}

/// Uses an association, ends its control connection by `last`, and checks that it is gone.
fn ends_with_control(world: &mut World, last: Step, holds: fn(&Closed) -> bool) -> Verdict {
    proxy(world, &plain())?;
    client(
        world,
        SOCKS,
        associate().and(there_and_back(ECHO, b"hello")).then(last),
    );
    echo_server(world);
    run_all(world, 1, holds)
}

scenarios! {
    /// Datagrams go to the target and come back under its address.
    #[sometimes("closed Completed")]
    fn udp_association_echo(world) {
        proxy(world, &plain())?;
        let first = associate().and(there_and_back(ECHO, b"one"));
        client(world, SOCKS, first.and(there_and_back(ECHO, &[7; 1200])));
        echo_server(world);
        run(world, &[Completed])
    }

    /// A target by name is resolved by the proxy, and answers come from its address.
    fn udp_association_to_a_name(world) {
        proxy(world, &plain())?;
        world.name("echo.test", Answer::Addresses(ips(&["10.0.0.3"])));
        let send = Step::ToRelay(wrapped("echo.test:7", b"hello"));
        let hear = Step::ExpectDatagram(wrapped(ECHO, b"hello"));
        client(world, SOCKS, associate().then(send).then(hear));
        echo_server(world);
        run(world, &[Completed])
    }

    /// With loss, duplication and reordering each datagram that comes back is one that was sent.
    fn udp_association_with_loss(world) {
        let path = UdpPath {
            loss: 200,
            duplication: 100,
            jitter: Duration::from_millis(50),
            ..UdpPath::default()
        };
        world.default_udp_path(path);
        proxy(world, &plain())?;
        let all = (0..100).map(|n| wrapped(ECHO, format!("datagram {n}").as_bytes()));
        let ping = Step::Ping(all.collect(), Duration::from_millis(20), 10);
        client(world, SOCKS, associate().then(ping));
        echo_server(world);
        run(world, &[Completed])
    }

    /// Datagrams beyond the path's limit are lost, and hurt nobody.
    fn udp_association_too_large(world) {
        let path = UdpPath { payload_max: 1000, ..UdpPath::default() };
        world.udp_path(addr(ECHO), path);
        proxy(world, &plain())?;
        let lost = Step::ToRelay(wrapped(ECHO, &[1; 2000]));
        let silence = Step::ExpectNoDatagram(Duration::from_secs(1));
        let all = associate().then(lost).then(silence).and(there_and_back(ECHO, b"small"));
        client(world, SOCKS, all);
        echo_server(world);
        run(world, &[Completed])
    }

    /// An association lives as long as its control connection, even unused for days.
    fn udp_association_outlives_idle_days(world) {
        proxy(world, &plain())?;
        let first = associate().and(there_and_back(ECHO, b"one"));
        let later = first.then(Step::Sleep(Duration::from_secs(50 * 60 * 60)));
        client(world, SOCKS, later.and(there_and_back(ECHO, b"two")));
        echo_server(world);
        run_for(world, Duration::from_secs(60 * 60 * 60), &[Completed])
    }

    /// The association ends when its control connection ends in order.
    fn udp_association_control_fin(world) {
        ends_with_control(world, Step::Close, |c| c.reason == Some(Completed))
    }

    /// The association ends when its control connection is reset.
    fn udp_association_control_reset(world) {
        ends_with_control(world, Step::Reset, |c| c.reason == Some(ClientReset))
    }

    /// The association ends when its control connection dies without a word.
    fn udp_association_control_vanishes(world) {
        ends_with_control(world, Step::Vanish, |c| c.reason == Some(ClientReset))
    }

    /// An association that is silent for hours still works: only its control connection ends it.
    fn udp_association_outlives_silence(world) {
        proxy(world, &plain())?;
        let pause = Script::new().sleep(Duration::from_secs(3 * 3600));
        let all = associate().and(there_and_back(ECHO, b"one")).and(pause);
        client(world, SOCKS, all.and(there_and_back(ECHO, b"two")));
        echo_server(world);
        run(world, &[Completed])
    }

    /// Datagrams from another host than the client's are dropped.
    fn udp_association_stranger(world) {
        proxy(world, &plain())?;
        let quiet = Script::new().sleep(Duration::from_secs(5));
        let all = associate().and(there_and_back(ECHO, b"one")).and(quiet);
        client(world, SOCKS, all.and(there_and_back(ECHO, b"two")));
        let send = |port: u16| {
            let relay = core::net::SocketAddr::new(addr(SOCKS).ip(), port);
            Step::ToAddr(relay, wrapped(ECHO, b"evil"))
        };
        // The relay is on the first port that the system chooses.
        let silent = Script::of([Step::Bind, send(40_000)]).then(Step::ExpectNoDatagram(Duration::from_secs(3)));
        let host = ScriptHost::new().offline(Duration::from_secs(1), silent);
        world.host("stranger", &ips(&["10.0.0.9"]), host);
        echo_server(world);
        run(world, &[Completed])
    }

    /// A third host that has learnt the outer address may answer, under its own address
    /// (endpoint-independent filtering).
    fn udp_association_is_endpoint_independent(world) {
        proxy(world, &plain())?;
        let hear = Step::ExpectDatagram(wrapped("10.0.0.9:40000", b"surprise"));
        client(world, SOCKS, associate().and(there_and_back(ECHO, b"one")).then(hear));
        // Behind the relay's own, the outer socket has the next port.
        let outer = core::net::SocketAddr::new(addr(SOCKS).ip(), 40_001);
        let send = Script::of([Step::Bind, Step::ToAddr(outer, b"surprise".to_vec())]);
        let host = ScriptHost::new().offline(Duration::from_secs(1), send);
        world.host("third", &ips(&["10.0.0.9"]), host);
        echo_server(world);
        run(world, &[Completed])
    }

    /// Fragments and datagrams without a valid header are dropped.
    fn udp_association_fragments(world) {
        proxy(world, &plain())?;
        let mut fragment = wrapped(ECHO, b"part");
        if let Some(frag) = fragment.get_mut(2) {
            *frag = 1;
        }
        let bad = [fragment, vec![], vec![0, 0], vec![0, 0, 0, 9, 1, 2, 3, 4, 5, 6]];
        let send = Script::of(bad.map(Step::ToRelay));
        let silence = Step::ExpectNoDatagram(Duration::from_secs(1));
        client(world, SOCKS, associate().and(send).then(silence).and(there_and_back(ECHO, b"ok")));
        echo_server(world);
        run(world, &[Completed])
    }

    /// Through a SOCKS5 upstream: the upstream's association carries the datagrams.
    fn udp_association_through_upstream(world) {
        let out = r#"[{"type": "socks", "tag": "up", "server": "10.0.0.4", "server_port": 1080}]"#;
        proxy(world, &config(INBOUNDS, out, "{}"))?;
        let inbound = r#"[{"type": "socks", "listen": "10.0.0.4", "listen_port": 1080}]"#;
        let direct = r#"[{"type": "direct"}]"#;
        proxy_at(world, "upstream", &["10.0.0.4"], &config(inbound, direct, "{}"))?;
        let first = associate().and(there_and_back(ECHO, b"one"));
        client(world, SOCKS, first.and(there_and_back(ECHO, b"two")));
        echo_server(world);
        run_all(world, 2, |c| matches!(c.reason, Some(Completed | ClientReset)))
    }

    /// A client whose association is refused by the configuration hears nothing of its datagrams.
    fn udp_association_rejected_target(world) {
        let route = r#"{"rules": [{"port": 7, "network": "udp", "action": "reject"}]}"#;
        proxy(world, &config(INBOUNDS, r#"[{"type": "direct"}]"#, route))?;
        let send = Step::ToRelay(wrapped(ECHO, b"no"));
        let silence = Step::ExpectNoDatagram(Duration::from_secs(1));
        client(world, SOCKS, associate().then(send).then(silence));
        echo_server(world);
        run(world, &[Completed])
    }

    /// An association for which the host has no socket left is refused, and leaves nothing.
    fn udp_association_without_files(world) {
        let host = proxy(world, &plain())?;
        let fault = HostFault::FileLimit(Some(1));
        world.at(Duration::ZERO, Fault::Host { host, fault });
        let ask = socks5().send(socks5_request(3, "0.0.0.0:0")).expect(socks5_refusal(1));
        client(world, SOCKS, ask.then(Step::ExpectFin(None)));
        run(world, &[Refused(Refusal::Exhausted)])
    }

    /// An upstream whose association dies is asked for a new one by the next datagram.
    fn udp_association_upstream_dies(world) {
        let out = r#"[{"type": "socks", "tag": "up", "server": "10.0.0.4", "server_port": 1080}]"#;
        proxy(world, &config(INBOUNDS, out, "{}"))?;
        let inbound = r#"[{"type": "socks", "listen": "10.0.0.4", "listen_port": 1080}]"#;
        let direct = config(inbound, r#"[{"type": "direct"}]"#, "{}");
        let upstream = proxy_at(world, "upstream", &["10.0.0.4"], &direct)?;
        let pause = Script::new().sleep(Duration::from_secs(10));
        let first = associate().and(there_and_back(ECHO, b"one")).and(pause);
        client(world, SOCKS, first.and(there_and_back(ECHO, b"two")));
        echo_server(world);
        world.command(Duration::from_secs(5), upstream, crate::host::Command::Stop);
        run_all(world, 3, |c| matches!(c.reason, Some(Completed | ClientReset | Stopped)))
    }

    /// An upstream that vanishes: the association itself lives on until its client ends it.
    fn udp_association_upstream_vanishes(world) {
        let out = r#"[{"type": "socks", "tag": "up", "server": "10.0.0.4", "server_port": 1080}]"#;
        proxy(world, &config(INBOUNDS, out, "{}"))?;
        let host = ScriptHost::new().serve(addr("10.0.0.4:1080"), |_| {
            Script::new().expect([5, 1, 0]).send([5, 0]).then(Step::Vanish)
        });
        world.host("upstream", &ips(&["10.0.0.4"]), host);
        let send = || Step::ToRelay(wrapped(ECHO, b"lost"));
        let silence = || Step::ExpectNoDatagram(Duration::from_secs(40));
        let all = associate().then(send()).then(silence()).then(send()).then(silence());
        client(world, SOCKS, all);
        run(world, &[Completed])
    }
}
