//! `direct` inbounds: one fixed target for streams and datagrams.
use super::{lab::*, scenarios};
use crate::{
    peers::{Script, ScriptHost, Step},
    tcp::Reach,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{Completed, IdleTimeout, Refused};

/// Where the proxy listens for it.
const LISTEN: &str = "10.0.0.2:5300";

fn fixed() -> String {
    let inbound = r#"[{"type": "direct", "listen": "10.0.0.2", "listen_port": 5300,
        "override_address": "10.0.0.3", "override_port": 80, "udp_timeout": "30s"}]"#;
    config(inbound, r#"[{"type": "direct"}]"#, "{}")
}

scenarios! {
    /// A stream is relayed to the fixed target.
    fn direct_stream(world) {
        proxy(world, &fixed())?;
        client(world, LISTEN, talk(10_000));
        origin(world, |_| answer(10_000));
        run(world, &[Completed])
    }

    /// The target speaks first.
    fn direct_stream_server_first(world) {
        proxy(world, &fixed())?;
        client(world, LISTEN, Script::new().expect("220 ready\r\n").send("QUIT").expect("bye"));
        origin(world, |_| Script::new().send("220 ready\r\n").expect("QUIT").send("bye"));
        run(world, &[Completed])
    }

    /// A refused target resets the client: there is no other way to say it.
    fn direct_stream_refused(world) {
        proxy(world, &fixed())?;
        world.reach(addr(ORIGIN), Reach::Refused);
        client(world, LISTEN, Script::new().send("hello").then(Step::ExpectReset).tolerant());
        run(world, &[Refused(Refusal::ConnectionRefused)])
    }

    /// A listener without a fixed target would connect to itself for ever: it is refused.
    fn direct_loop_refused(world) {
        let inbound = r#"[{"type": "direct", "listen": "10.0.0.2", "listen_port": 5300}]"#;
        proxy(world, &config(inbound, r#"[{"type": "direct"}]"#, "{}"))?;
        client(world, LISTEN, Script::new().send("hello").then(Step::ExpectReset).tolerant());
        let data = b"hello".to_vec();
        let datagram = Script::of([Step::Bind, Step::ToAddr(addr(LISTEN), data)]);
        let silence = Step::ExpectNoDatagram(Duration::from_secs(1));
        let host = ScriptHost::new().offline(Duration::ZERO, datagram.then(silence));
        world.host("stranger", &ips(&["10.0.0.6"]), host);
        run(world, &[Refused(Refusal::Loop); 2])
    }

    /// Datagrams of two clients are kept apart, and each association ends by its idle time.
    fn direct_datagrams(world) {
        proxy(world, &fixed())?;
        for (name, ip) in [("one", "10.0.0.6"), ("two", "10.0.0.7")] {
            let data = name.as_bytes().to_vec();
            let to = addr(LISTEN);
            let script = Script::of([
                Step::Bind,
                Step::ToAddr(to, data.clone()),
                Step::ExpectDatagram(data.clone()),
                Step::Sleep(Duration::from_secs(20)),
                Step::ToAddr(to, data.clone()),
                Step::ExpectDatagram(data),
            ]);
            let host = ScriptHost::new().offline(Duration::ZERO, script);
            world.host(name, &ips(&[ip]), host);
        }
        let host = ScriptHost::new().echo_datagrams(addr(ORIGIN));
        world.host("echo", &ips(&["10.0.0.3"]), host);
        run(world, &[IdleTimeout; 2])?;
        let last = world.closed().last().map(|c| c.at.as_nanos() / 1_000_000_000);
        let in_time = last.is_some_and(|s| (50..=81).contains(&s));
        world.expect(in_time, format!("the last ended after {last:?} seconds"))
    }

    /// A client that comes back after its association ended gets a new one.
    fn direct_datagrams_after_idle(world) {
        proxy(world, &fixed())?;
        let to = addr(LISTEN);
        let there_and_back = |data: &[u8]| {
            Script::of([Step::ToAddr(to, data.to_vec()), Step::ExpectDatagram(data.to_vec())])
        };
        let pause = Script::new().sleep(Duration::from_secs(120));
        let script = Script::of([Step::Bind]).and(there_and_back(b"a")).and(pause);
        let script = script.and(there_and_back(b"b"));
        let host = ScriptHost::new().offline(Duration::ZERO, script);
        world.host("client", &ips(&["10.0.0.6"]), host);
        let host = ScriptHost::new().echo_datagrams(addr(ORIGIN));
        world.host("echo", &ips(&["10.0.0.3"]), host);
        run(world, &[IdleTimeout; 2])
    }
}
