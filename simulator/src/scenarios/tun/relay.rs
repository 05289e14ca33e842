//! Bytes through a device: both families, every outbound, ends in every order, bad queues.
use super::{
    super::{
        carried::{CLIENT_PROFILE, PRIVATE_KEY, SERVER, SERVER_PROFILE, STOP_AT},
        lab::*,
        scenarios,
    },
    lab::*,
};
use crate::{
    World,
    daemon::TunSettings,
    host::Command,
    peers::{Exchange, Script, ScriptHost, Step},
    scenario::Verdict,
    tcp::{Path, Segments},
};
use core::time::Duration;
use sansbox_engine::record::CloseReason::Completed;

/// One conversation of `len` bytes each way with a target.
fn conversation(world: &mut World, setting: &Setting, to: &str, len: u64) -> Verdict {
    let tun = setting.build(world)?;
    tun.machine(world, programs([(to, talk(len))]));
    origin(world, move |_| answer(len));
    run_to(world, &[Completed])
}

/// The same over a way that is not good.
fn over(world: &mut World, link: &'static str, tun: TunSettings) -> Verdict {
    let setting = Setting {
        link,
        tun,
        ..Setting::default()
    };
    conversation(world, &setting, ORIGIN, 200_000)
}

/// `count` conversations at once, each with a target of its own.
fn conversations(world: &mut World, setting: &Setting, count: u64, len: u64) -> Verdict {
    let tun = setting.build(world)?;
    let dial = |host: ScriptHost, n| host.dial(target(n), talk_of(n, len));
    tun.machine(world, (0..count).fold(ScriptHost::new(), dial));
    let serve = |host: ScriptHost, n| host.serve(target(n), move |_| answer_of(n, len));
    let host = (0..count).fold(ScriptHost::new(), serve);
    world.host("origin", &ips(&["10.0.0.3"]), host);
    run_to(world, &vec![Completed; count as usize])
}

/// Through a SOCKS server, which is a daemon as well.
fn by_socks(world: &mut World, to: &str) -> Verdict {
    let inbounds = r#"[{"type": "socks", "tag": "in", "listen": "10.0.0.4", "listen_port": 1080}]"#;
    let at = ["10.0.0.4", "fd00::4"];
    proxy_at(world, "socks", &at, &config(inbounds, DIRECT, "{}"))?;
    let setting = Setting {
        outbounds: BY_SOCKS.into(),
        ..Setting::default()
    };
    conversation(world, &setting, to, 100_000)
}

/// Through a tunnel to another daemon.
fn by_paniq(world: &mut World, setting: Setting, to: &str, len: u64) -> Verdict {
    world.secret(PRIVATE_KEY);
    let outbounds =
        format!(r#"[{{"type": "paniq", "tag": "tunnel", "profile": {CLIENT_PROFILE}}}]"#);
    let tun = Setting {
        outbounds,
        ..setting
    }
    .build(world)?;
    let inbound = format!(
        r#"[{{"type": "paniq", "tag": "tunnels", "listen": "{SERVER}", "listen_port": 9000,
            "allow_private": true, "profile": {SERVER_PROFILE}}}]"#
    );
    let site = world.site("server", Vec::new());
    let at = [SERVER, "fd09::1"];
    let server = daemon_in(world, site, "server", &at, &config(&inbound, DIRECT, "{}"))?;
    tun.machine(world, programs([(to, talk(len))]));
    origin(world, move |_| answer(len));
    world.command(STOP_AT, tun.daemon, Command::Stop);
    world.command(STOP_AT + seconds(10), server, Command::Stop);
    run_to(world, &[Completed])
}

/// A way on which segments are as long as a kernel makes them: for what is much.
fn whole_segments() -> Path {
    Path {
        segments: Segments::UpTo(1460),
        ..Path::default()
    }
}

/// Bytes at a pace.
fn slowly(flow: &str, len: u64, every: Duration) -> Step {
    Step::Exchange(Exchange {
        down: Some((flow.into(), len)),
        pace: Some((4096, every)),
        ..Exchange::default()
    })
}

scenarios! {
    /// A conversation over IPv4 through a device with offload.
    #[sometimes("super-packet written", "closed Completed")]
    fn tun_echo(world) {
        conversation(world, &Setting::default(), ORIGIN, 100_000)
    }

    /// The same conversation over IPv6.
    #[sometimes("super-packet written", "closed Completed")]
    fn tun_echo_v6(world) {
        conversation(world, &Setting::default(), ORIGIN_V6, 100_000)
    }

    /// A device without offload: plain packets with whole checksums.
    fn tun_plain(world) {
        let setting = Setting { tun: plain_device(), ..Setting::default() };
        conversation(world, &setting, ORIGIN, 100_000)
    }

    /// The same over IPv6, with the smallest MTU there is, answered when the upstream is there.
    fn tun_plain_v6_small(world) {
        let tun = TunSettings { mtu: 1280, ..plain_device() };
        let setting = Setting { tun, handshake: "consistent", ..Setting::default() };
        conversation(world, &setting, ORIGIN_V6, 50_000)
    }

    /// Through a SOCKS server.
    fn tun_by_socks(world) {
        by_socks(world, ORIGIN)
    }

    /// The same to an IPv6 target.
    fn tun_by_socks_v6(world) {
        by_socks(world, ORIGIN_V6)
    }

    /// Through a tunnel of paniq.
    #[sometimes("tunnel up")]
    fn tun_by_paniq(world) {
        by_paniq(world, Setting::default(), ORIGIN, 60_000)
    }

    /// Through a tunnel to an IPv6 target, answered when the far end is connected, over a device
    /// whose queue loses packets.
    #[sometimes("tunnel up")]
    fn tun_by_paniq_consistent(world) {
        let setting = Setting {
            handshake: "consistent",
            link: "1ms ±1ms, loss 2%",
            ..Setting::default()
        };
        by_paniq(world, setting, ORIGIN_V6, 60_000)
    }

    /// The machine ends first, and still hears the rest.
    fn tun_half_close_by_machine(world) {
        let tun = Setting::default().build(world)?;
        let ask = Script::new().send("question").fin("up").download("down", 80_000).expect_fin("down");
        tun.machine(world, programs([(ORIGIN, ask)]));
        origin(world, |_| {
            Script::new().expect("question").expect_fin("up").sleep(seconds(2))
                .upload("down", 80_000).fin("down")
        });
        run_to(world, &[Completed])
    }

    /// The origin ends first, and still hears the rest.
    fn tun_half_close_by_origin(world) {
        let tun = Setting::default().build(world)?;
        let ask = Script::new().expect("hello").expect_fin("down").sleep(seconds(2))
            .upload("up", 80_000).fin("up");
        tun.machine(world, programs([(ORIGIN, ask)]));
        origin(world, |_| {
            Script::new().send("hello").fin("down").download("up", 80_000).expect_fin("up")
        });
        run_to(world, &[Completed])
    }

    /// The origin speaks first, and the machine says nothing before.
    fn tun_server_first(world) {
        let tun = Setting::default().build(world)?;
        let hear = Script::new().expect("220 ready\r\n").send("QUIT\r\n").then(Step::ExpectFin(None));
        tun.machine(world, programs([(ORIGIN, hear)]));
        origin(world, |_| Script::new().send("220 ready\r\n").expect("QUIT\r\n"));
        run_to(world, &[Completed])
    }

    /// Two hundred conversations at once.
    fn tun_many_flows(world) {
        conversations(world, &Setting::default(), 200, 1_200)
    }

    /// A slow origin holds a fast machine back: no byte is lost, and nothing grows.
    fn tun_slow_origin(world) {
        world.default_path(whole_segments());
        let tun = Setting::default().build(world)?;
        let send = Script::new().upload("up", 1_600_000).fin("up").then(Step::ExpectFin(None));
        tun.machine(world, programs([(ORIGIN, send)]));
        origin(world, |_| {
            let wait = Script::new().sleep(seconds(20));
            wait.then(slowly("up", 1_600_000, Duration::from_millis(5))).expect_fin("up")
        });
        run_to(world, &[Completed])
    }

    /// A slow machine holds a fast origin back.
    fn tun_slow_machine(world) {
        world.default_path(whole_segments());
        let tun = Setting::default().build(world)?;
        let read = Script::new().send("go").sleep(seconds(20));
        let read = read.then(slowly("down", 1_600_000, Duration::from_millis(5))).expect_fin("down");
        tun.machine(world, programs([(ORIGIN, read)]));
        origin(world, |_| {
            Script::new().expect("go").upload("down", 1_600_000).fin("down").then(Step::ExpectFin(None))
        });
        run_to(world, &[Completed])
    }

    /// A machine with next to no window.
    fn tun_tiny_window(world) {
        world.default_path(Path { window: 300, ..Path::default() });
        conversation(world, &Setting::default(), ORIGIN, 20_000)
    }

    /// Packets are lost between the machine and its device, both ways.
    fn tun_loss(world) {
        over(world, "2ms, loss 3%", TunSettings::new())
    }

    /// The same without offload.
    fn tun_loss_plain(world) {
        over(world, "2ms, loss 3%", plain_device())
    }

    /// Packets overtake each other.
    fn tun_reordered(world) {
        over(world, "5ms ±5ms", TunSettings::new())
    }

    /// Packets come twice, and late.
    fn tun_doubled(world) {
        over(world, "3ms ±2ms, dup 10%", plain_device())
    }

    /// Everything that can be set, at once.
    fn tun_bad_queue(world) {
        over(world, "4ms ±4ms, loss burst 1%/30%, dup 2%", TunSettings::new())
    }

    /// The queue of the device is short, and what does not fit is lost: it is sent again.
    #[sometimes("the queue of the device is full")]
    fn tun_short_queue(world) {
        let tun = TunSettings { queue_len: 6, lag: Duration::from_micros(200), ..plain_device() };
        let setting = Setting { tun, ..Setting::default() };
        conversations(world, &setting, 6, 30_000)
    }

    /// Machines behind a router that carries no more than 1280 octets and says so: what goes to
    /// them is cut shorter.
    fn tun_small_way(world) {
        over(world, "1ms, mtu 1280 fragment", plain_device())
    }
}
