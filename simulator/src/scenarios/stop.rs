//! The daemon stops while things run.
use super::{lab::*, scenarios};
use crate::{
    host::Command,
    peers::{Script, ScriptHost, Step},
    tcp::Reach,
};
use core::time::Duration;
use sansbox_engine::record::CloseReason::Stopped;

scenarios! {
    /// Stop ends a relay, a handshake, a dial, an association and a datagram client at once.
    #[sometimes("closed Stopped")]
    fn stop_ends_everything(world) {
        let inbounds = r#"[
            {"type": "mixed", "listen": "10.0.0.2", "listen_port": 2080},
            {"type": "direct", "listen": "10.0.0.2", "listen_port": 5300,
             "override_address": "10.0.0.3", "override_port": 7, "network": "udp"}
        ]"#;
        let host = proxy(world, &config(inbounds, r#"[{"type": "direct"}]"#, "{}"))?;
        let slow = "10.0.0.3:81";
        world.reach(addr(slow), Reach::BlackHole);
        let end = || Script::new().then(Step::ExpectEnd);
        clients(world, MIXED, [
            socks5_connect(ORIGIN).send("hello").expect("hello").and(end()),
            socks5().and(end()),
            socks5().send(socks5_request(1, slow)).and(end()),
            socks5().send(socks5_request(3, "0.0.0.0:0")).then(Step::LearnRelay).and(end()),
            Script::new().send(get(ORIGIN, "/")).and(end()),
            end(),
        ]);
        let direct = Script::of([
            Step::Bind,
            Step::ToAddr(addr("10.0.0.2:5300"), b"x".to_vec()),
            Step::ExpectDatagram(b"x".to_vec()),
        ]);
        let user = ScriptHost::new().offline(Duration::ZERO, direct);
        world.host("datagrams", &ips(&["10.0.0.6"]), user);
        let servers = ScriptHost::new()
            .serve(addr(ORIGIN), |_| Script::new().then(Step::Echo).tolerant())
            .echo_datagrams(addr("10.0.0.3:7"));
        world.host("origin", &ips(&["10.0.0.3"]), servers);
        world.command(Duration::from_secs(2), host, Command::Stop);
        run(world, &[Stopped; 7])?;
        let late = world.closed().iter().any(|c| c.at.as_nanos() > 2_000_000_000);
        world.expect(!late, "something went on after the stop")
    }
}
