//! Two daemons and a tunnel between them: sessions whose outbound is a stream of a carrier, on the
//! engine's own loop.
//!
//! ```text
//!   apps ─┐                    ┌───────── WAN ─────────┐
//!         ├─ client's daemon ──┤ NAT, loss, MTU 1280   ├── server's daemon ── targets
//!         │  socks http mixed  └───────────────────────┘   paniq, direct
//!   (one site: home)                                       (another site)
//! ```
use super::{lab::*, scenarios};
use crate::{
    World,
    check::Violation,
    fault::{Crash, Fault, HostFault},
    host::{Command, HostId},
    net::{
        Answer, SiteId,
        boxes::nat::{Nat, Policy},
        hop::{Hop, HopFault},
        link::Link,
    },
    peers::{Exchange, Script, ScriptHost, Step},
    scenario::Verdict,
    tcp::Reach,
};
use core::{net::IpAddr, time::Duration};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{self, Completed, Refused};

/// What `sansbox paniq create-profile --mtu 1280` drew once, with less `s4` and packets that fit in
/// an MTU of 1280 together with the headers of IPv4 and UDP.
macro_rules! profile {
    ($keys:literal) => {
        concat!(
            r#"{"name": "sim", "proxy_addr": "10.9.0.1:9000",
            "handshake_timeout": "5s", "handshake_attempts": 3,
            "preamble_delay_ms": 5, "preamble_jitter_ms": 5,
            "quic": {"max_packet_size": 1252, "max_payload": 1200, "keepalive": "20s",
                "idle_timeout": "2m0s", "max_streams": 256},
            "obfuscation": {"jc": 4, "jmin": 413, "jmax": 1153,
                "s1": 217, "s2": 622, "s3": 209, "s4": 40,
                "h1": "1364891927-1364892935", "h2": "2250734455-2250735463",
                "h3": "2462298147-2462299155", "h4": "3545773807-3545774815", "i1": "<t>","#,
            $keys,
            r#""signature_validate": true, "require_timestamp": true,
                "encrypted_timestamp": true, "require_encrypted_timestamp": true,
                "skew_soft_seconds": 15, "skew_hard_seconds": 30, "replay_window_seconds": 30,
                "replay_cache_size": 4096, "rate_limit_pps": 50, "rate_limit_burst": 20},
            "transport_padding": {"pad_min": 0, "pad_max": 1, "pad_burst_min": 0,
                "pad_burst_max": 0, "pad_burst_prob": 0.0}}"#
        )
    };
}

pub(super) const SERVER_PROFILE: &str = profile!(
    r#""server_private_key": "fQ6Bfo0+GBxnFf6byAC3it7mQma3DOkFkh9FapymZ1E=",
       "server_public_key": "7vMDYFcucE2021+SsxNYZd/3fLvgX36SYdazu2zrmA4=","#
);
pub(super) const CLIENT_PROFILE: &str =
    profile!(r#""server_public_key": "7vMDYFcucE2021+SsxNYZd/3fLvgX36SYdazu2zrmA4=","#);
/// The private key, as it must never be told.
pub(super) const PRIVATE_KEY: &str = "fQ6Bfo0+GBxnFf6byAC3it7mQma3DOkFkh9FapymZ1E=";

/// Where the server is.
pub(super) const SERVER: &str = "10.9.0.1";
/// When both daemons are told to stop, where nothing else is said: tunnels live for ever.
pub(super) const STOP_AT: Duration = Duration::from_secs(1800);
/// A target that answers nobody.
const BLACK_HOLE: &str = "10.0.0.5:80";
/// A target that refuses.
const CLOSED: &str = "10.0.0.3:81";
/// A target that speaks first.
const SPEAKER: &str = "10.0.0.3:25";
/// What clients say first: a request that is lost with its tunnel is made once more, and the target
/// that hears nothing is not the one that flows begin at.
const GO: &str = "go";
/// Behind what hop of the home the WAN is; the NAT is first.
const NAT: usize = 0;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Both daemons, and where the client's is.
struct Tunnel {
    home: SiteId,
    client: HostId,
    server: HostId,
}

/// A site with a NAT and a WAN in front of it, where the client's daemon is, and a server's daemon
/// elsewhere.
fn tunnel(world: &mut World, wan: &str) -> Result<Tunnel, Violation> {
    let nat: Box<dyn Hop> = Box::new(Nat::new(Policy::port_restricted(IpAddr::from([
        192, 168, 113, 1,
    ]))));
    let link: Link = wan.parse().expect("links of scenarios are constants");
    let home = world.site("home", vec![nat, Box::new(link)]);
    world.secret(PRIVATE_KEY);
    let out = format!(r#"[{{"type": "paniq", "tag": "tunnel", "profile": {CLIENT_PROFILE}}}]"#);
    let at = ["10.0.0.2", "fd00::2"];
    let client = daemon_in(world, home, "proxy", &at, &config(INBOUNDS, &out, "{}"))?;
    let inbound = format!(
        r#"[{{"type": "paniq", "tag": "tunnels", "listen": "{SERVER}", "listen_port": 9000,
            "allow_private": true, "profile": {SERVER_PROFILE}}}]"#
    );
    let json = config(&inbound, r#"[{"type": "direct", "tag": "direct"}]"#, "{}");
    let site = world.site("server", Vec::new());
    let server = daemon_in(world, site, "server", &[SERVER], &json)?;
    Ok(Tunnel {
        home,
        client,
        server,
    })
}

/// Adds programs on the client's site.
fn apps(world: &mut World, tunnel: &Tunnel, host: ScriptHost) {
    world.host_in(tunnel.home, "client", &ips(&["10.0.0.1"]), host);
}

/// Programs that dial the client's daemon at once, by SOCKS.
fn socks_apps(world: &mut World, tunnel: &Tunnel, scripts: impl IntoIterator<Item = Script>) {
    let dial = |host: ScriptHost, script| host.dial(addr(SOCKS), script);
    apps(
        world,
        tunnel,
        scripts.into_iter().fold(ScriptHost::new(), dial),
    );
}

/// Runs until both daemons have stopped; at the end each of both told these reasons, in any order.
fn stop_and_run(
    world: &mut World,
    tunnel: &Tunnel,
    near: &[CloseReason],
    far: &[CloseReason],
) -> Verdict {
    world.command(STOP_AT, tunnel.client, Command::Stop);
    world.command(STOP_AT + seconds(10), tunnel.server, Command::Stop);
    world.run(LIMIT)?;
    ended(world, "proxy", near)?;
    ended(world, "server", far)
}

fn ended(world: &World, host: &str, expected: &[CloseReason]) -> Verdict {
    let closed = world.closed().iter().filter(|c| c.host == host);
    let mut got: Vec<CloseReason> = closed.filter_map(|c| c.reason).collect();
    let mut expected = expected.to_vec();
    got.sort();
    expected.sort();
    let what = format!("sessions of {host} ended with {got:?}, not {expected:?}");
    world.expect(got == expected, what)
}

/// The n-th conversation, with flows of its own: `len` bytes each way, then FIN first.
fn talk_of(n: u64, len: u64) -> Script {
    let (up, down) = (format!("up {n}"), format!("down {n}"));
    let talk = Script::new().send(GO).exchange(&up, &down, len);
    talk.fin(&up).expect_fin(&down)
}

/// The target's part of a conversation.
fn answer_of(n: u64, len: u64) -> Script {
    let (up, down) = (format!("up {n}"), format!("down {n}"));
    let talk = Script::new().expect(GO).exchange(&down, &up, len);
    talk.expect_fin(&up).fin(&down)
}

/// A target of its own for each conversation: who comes first over a tunnel is nobody's promise.
fn target(n: u64) -> String {
    format!("10.0.0.3:{}", 8000 + n)
}

/// Targets of `count` conversations of `len` bytes.
fn targets(count: u64, len: u64) -> ScriptHost {
    (0..count).fold(ScriptHost::new(), |host, n| {
        host.serve(addr(&target(n)), move |_| answer_of(n, len))
    })
}

/// `count` conversations of `len` bytes, over a WAN.
fn conversations(world: &mut World, wan: &str, count: u64, len: u64) -> Verdict {
    let tunnel = tunnel(world, wan)?;
    socks_apps(
        world,
        &tunnel,
        (0..count).map(|n| socks5_connect(&target(n)).and(talk_of(n, len))),
    );
    world.host("origin", &ips(&["10.0.0.3"]), targets(count, len));
    let all = vec![Completed; count as usize];
    stop_and_run(world, &tunnel, &all, &all)
}

/// Adds an origin whose only service this is.
fn target_at(world: &mut World, at: &str, serve: impl Fn(u64) -> Script + 'static) {
    let host = ScriptHost::new().serve(addr(at), serve);
    world.host("origin", &ips(&["10.0.0.3"]), host);
}

/// A SOCKS request that is refused by this code.
fn refused_socks(to: &str, code: u8) -> Script {
    let ask = socks5().send(socks5_request(1, to));
    ask.expect(socks5_refusal(code)).then(Step::ExpectFin(None))
}

/// Crashes a daemon, and starts it again.
fn crash(world: &mut World, host: HostId, how: Crash, at: Duration, again: Duration) {
    let fault = HostFault::Crash(how);
    world.at(at, Fault::Host { host, fault });
    let fault = HostFault::Restart;
    world.at(again, Fault::Host { host, fault });
}

/// A conversation that a crash ends, and one that begins long after it.
fn over_a_crash(world: &mut World, near: bool, how: Crash) -> Verdict {
    let tunnel = tunnel(world, "20ms")?;
    let long = talk_slowly(0, 60);
    let later = socks5_connect(&target(1)).and(talk_of(1, 5_000));
    let host = ScriptHost::new()
        .dial(addr(SOCKS), socks5_connect(&target(0)).and(long).tolerant())
        .dial_at(seconds(400), addr(SOCKS), later);
    apps(world, &tunnel, host);
    let slow = |_| Script::new().then(Step::Echo).tolerant();
    let host = ScriptHost::new().serve(addr(&target(0)), slow);
    let host = host.serve(addr(&target(1)), |_| answer_of(1, 5_000));
    world.host("origin", &ips(&["10.0.0.3"]), host);
    let crashed = if near { tunnel.client } else { tunnel.server };
    crash(world, crashed, how, seconds(10), seconds(13));
    world.command(STOP_AT, tunnel.client, Command::Stop);
    world.command(STOP_AT + seconds(10), tunnel.server, Command::Stop);
    world.run(LIMIT)?;
    let completed = world
        .closed()
        .iter()
        .filter(|c| c.reason == Some(Completed));
    let completed = completed.count();
    let what = format!("{completed} sessions completed after the crash, not both ends of one");
    world.expect(completed >= 2, what)
}

/// Who asks for a connection while the server is away has it soon after the server is back.
fn back_soon(world: &mut World, how: Crash, soon: Duration) -> Verdict {
    let tunnel = tunnel(world, "20ms")?;
    let talk = |n| socks5_connect(&target(n)).and(talk_of(n, 5_000));
    let host =
        ScriptHost::new()
            .dial(addr(SOCKS), talk(0))
            .dial_at(seconds(11), addr(SOCKS), talk(1));
    apps(world, &tunnel, host);
    world.host("origin", &ips(&["10.0.0.3"]), targets(2, 5_000));
    let back = seconds(13);
    crash(world, tunnel.server, how, seconds(10), back);
    stop_and_run(world, &tunnel, &[Completed; 2], &[Completed; 2])?;
    let ended = world.closed().iter().filter(|c| c.host == "proxy");
    let last = ended.map(|c| Duration::from_nanos(c.at.as_nanos())).max();
    let what = format!("it took until {last:?}");
    world.expect(last.is_some_and(|last| last <= back + soon), what)
}

/// A conversation that ends by what happens to a NAT, and one that begins later.
fn over_a_new_port(world: &mut World, first: Script, at: Duration, fault: HopFault) -> Verdict {
    let tunnel = tunnel(world, "20ms")?;
    let first = socks5_connect(&target(0))
        .and(first)
        .then(Step::ExpectReset);
    let later = socks5_connect(&target(1)).and(talk_of(1, 5_000));
    let host =
        ScriptHost::new()
            .dial(addr(SOCKS), first)
            .dial_at(at + seconds(60), addr(SOCKS), later);
    apps(world, &tunnel, host);
    let slow = |_| Script::new().then(Step::Echo).tolerant();
    let host = ScriptHost::new().serve(addr(&target(0)), slow);
    let host = host.serve(addr(&target(1)), |_| answer_of(1, 5_000));
    world.host("origin", &ips(&["10.0.0.3"]), host);
    let (site, index) = (tunnel.home, NAT);
    world.at(at, Fault::Hop { site, index, fault });
    let near = [CloseReason::UpstreamReset, Completed];
    let far = [CloseReason::ClientReset, Completed];
    stop_and_run(world, &tunnel, &near, &far)
}

/// A little every second, echoed.
fn talk_slowly(n: u64, seconds: u64) -> Script {
    let word = format!("word {n}");
    let once = |script: Script, _| {
        script
            .send(&word)
            .expect(&word)
            .sleep(Duration::from_secs(1))
    };
    (0..seconds).fold(Script::new(), once)
}

scenarios! {
    /// A relay through a tunnel keeps bytes and half-closed ends.
    #[sometimes("tunnel up", "closed Completed")]
    fn carried_relay(world) {
        conversations(world, "20ms", 1, 50_000)
    }

    /// The same through loss, reordering, copies and a small MTU.
    #[sometimes("tunnel up", "closed Completed")]
    fn carried_relay_through_loss(world) {
        conversations(world, "40ms ±20ms, loss 2%, dup 1%, mtu 1280 drop", 2, 60_000)
    }

    /// Many conversations share a tunnel.
    fn carried_conversations(world) {
        conversations(world, "30ms ±5ms, loss 1%", 20, 4_000)
    }

    /// A browser's mix: SOCKS by name and address, CONNECT, plain HTTP, one after another.
    fn carried_browser(world) {
        let tunnel = tunnel(world, "30ms ±10ms, loss 1%, mtu 1280 drop")?;
        world.name("origin.test", Answer::Addresses(ips(&["10.0.0.3"])));
        let hello = |script: Script| script.send("hello").expect("hello").then(Step::Fin(None));
        let page = "x".repeat(3_000);
        let fetch = || Script::new().send(get(ORIGIN, "/")).expect_head("200 OK").expect("x".repeat(3_000));
        let host = (0..4).fold(ScriptHost::new(), |host, n| {
            let at = |k: u64| Duration::from_millis(n * 700 + k * 50);
            host.dial_at(at(0), addr(MIXED), hello(socks5_connect(&target(0))))
                .dial_at(at(1), addr(MIXED), hello(socks5_connect("origin.test:8000")))
                .dial_at(at(2), addr(MIXED), hello(http_connect("origin.test:8000")))
                .dial_at(at(3), addr(HTTP), fetch())
        });
        apps(world, &tunnel, host);
        let host = ScriptHost::new().serve(addr(&target(0)), |_| echo()).serve(addr(ORIGIN), move |_| {
            Script::new().expect_head("GET / ").send(ok(&page))
        });
        world.host("origin", &ips(&["10.0.0.3"]), host);
        stop_and_run(world, &tunnel, &[Completed; 16], &[Completed; 16])
    }

    /// The target speaks first, and ends first.
    fn carried_server_first(world) {
        let tunnel = tunnel(world, "20ms")?;
        let hear = Script::new().expect("220 ready\r\n").send("QUIT\r\n").then(Step::ExpectFin(None));
        socks_apps(world, &tunnel, [socks5_connect(SPEAKER).and(hear)]);
        target_at(world, SPEAKER, |_| Script::new().send("220 ready\r\n").expect("QUIT\r\n"));
        stop_and_run(world, &tunnel, &[Completed], &[Completed])
    }

    /// A target that refuses hurts its own stream alone. All refusals look alike over a tunnel.
    #[sometimes("refused ConnectionRefused")]
    fn carried_target_refuses(world) {
        let tunnel = tunnel(world, "20ms")?;
        socks_apps(world, &tunnel, [
            refused_socks(CLOSED, 1),
            socks5_connect(&target(0)).and(talk_of(0, 5_000)),
            refused_socks(CLOSED, 1),
        ]);
        world.host("origin", &ips(&["10.0.0.3"]), targets(1, 5_000));
        let near = Refused(Refusal::General);
        let far = Refused(Refusal::ConnectionRefused);
        stop_and_run(world, &tunnel, &[Completed, near, near], &[Completed, far, far])
    }

    /// So does one that answers nobody.
    fn carried_target_is_silent(world) {
        let tunnel = tunnel(world, "20ms")?;
        world.reach(addr(BLACK_HOLE), Reach::BlackHole);
        let refused = socks5().send(socks5_request(1, BLACK_HOLE)).expect([5]).then(Step::Skip(9));
        socks_apps(world, &tunnel, [
            refused.then(Step::ExpectFin(None)),
            socks5_connect(&target(0)).and(talk_of(0, 5_000)),
        ]);
        world.host("origin", &ips(&["10.0.0.3"]), targets(1, 5_000));
        let (near, far) = (Refused(Refusal::General), Refused(Refusal::TimedOut));
        stop_and_run(world, &tunnel, &[Completed, near], &[Completed, far])
    }

    /// A name that nobody knows is looked up at the far end, and the client hears of it.
    #[sometimes("refused NameNotFound")]
    fn carried_name_unknown(world) {
        let tunnel = tunnel(world, "20ms")?;
        socks_apps(world, &tunnel, [refused_socks("nowhere.test:80", 1)]);
        world.name("nowhere.test", Answer::NotFound);
        let refused = Refused(Refusal::NameNotFound);
        stop_and_run(world, &tunnel, &[Refused(Refusal::General)], &[refused])
    }

    /// Nobody is at the server: clients are told in time.
    #[sometimes("refused TimedOut")]
    fn carried_server_is_gone(world) {
        let tunnel = tunnel(world, "20ms")?;
        let fault = HostFault::Crash(Crash::Power);
        world.at(Duration::ZERO, Fault::Host { host: tunnel.server, fault });
        let ask = socks5().send(socks5_request(1, ORIGIN)).expect([5]).then(Step::Skip(9));
        socks_apps(world, &tunnel, [ask.then(Step::ExpectFin(None))]);
        stop_and_run(world, &tunnel, &[Refused(Refusal::TimedOut)], &[])
    }

    /// A client that resets its connection resets the target's.
    fn carried_client_resets(world) {
        let tunnel = tunnel(world, "20ms")?;
        let ask = socks5_connect(ORIGIN).send("hello").expect("hello").then(Step::Reset);
        socks_apps(world, &tunnel, [ask]);
        target_at(world, ORIGIN, |_| Script::new().expect("hello").send("hello").then(Step::ExpectReset));
        stop_and_run(world, &tunnel, &[CloseReason::ClientReset], &[CloseReason::ClientReset])
    }

    /// A target that resets its connection resets the client's.
    fn carried_target_resets(world) {
        let tunnel = tunnel(world, "20ms")?;
        let ask = socks5_connect(ORIGIN).send("hello").expect("hello").then(Step::ExpectReset);
        socks_apps(world, &tunnel, [ask]);
        target_at(world, ORIGIN, |_| Script::new().expect("hello").send("hello").sleep(seconds(1)).then(Step::Reset));
        stop_and_run(world, &tunnel, &[CloseReason::UpstreamReset], &[CloseReason::UpstreamReset])
    }

    /// A client that vanishes is noticed by its kernel's keep-alive, and the far end is cleaned up.
    fn carried_client_vanishes(world) {
        let tunnel = tunnel(world, "20ms")?;
        let ask = socks5_connect(ORIGIN).send("hello").expect("hello").then(Step::Vanish);
        socks_apps(world, &tunnel, [ask]);
        target_at(world, ORIGIN, |_| Script::new().expect("hello").send("hello").then(Step::ExpectReset));
        stop_and_run(world, &tunnel, &[CloseReason::ClientReset], &[CloseReason::ClientReset])
    }

    /// A client's daemon that loses power is given up by the server, and its targets are told.
    fn carried_daemon_vanishes(world) {
        let tunnel = tunnel(world, "20ms")?;
        let ask = socks5_connect(ORIGIN).send("hello").expect("hello").then(Step::ExpectEnd);
        socks_apps(world, &tunnel, [ask.tolerant()]);
        target_at(world, ORIGIN, |_| {
            Script::new().expect("hello").send("hello").then(Step::ExpectReset)
        });
        let fault = HostFault::Crash(Crash::Power);
        world.at(seconds(10), Fault::Host { host: tunnel.client, fault });
        stop_and_run(world, &tunnel, &[], &[CloseReason::ClientReset])
    }

    /// A NAT that gives the tunnel a new port: the protocol cannot move, so what it carries is
    /// reset, and a new tunnel serves what comes next.
    #[sometimes("tunnel down")]
    fn carried_nat_rebinds(world) {
        let more = Script::new().sleep(Duration::from_millis(1500)).send("lost");
        over_a_new_port(world, talk_slowly(0, 9).and(more), seconds(10), HopFault::Rebind)
    }

    /// The same while nothing moves: the tunnel's own signs of life find out.
    #[sometimes("tunnel down")]
    fn carried_nat_forgets(world) {
        over_a_new_port(world, talk_slowly(0, 5), seconds(30), HopFault::Forget)
    }

    /// A server that crashes and starts again serves new streams of the same client.
    #[sometimes("tunnel down")]
    fn carried_server_crashes(world) {
        over_a_crash(world, false, Crash::Process)
    }

    /// So does one whose machine lost its power.
    fn carried_server_reboots(world) {
        over_a_crash(world, false, Crash::Power)
    }

    /// While its port is closed the client is told so, and asks every second.
    #[sometimes("tunnel up")]
    fn carried_server_is_back_soon(world) {
        back_soon(world, Crash::Process, Duration::from_millis(1_600))
    }

    /// While its machine is off nobody answers: the second attempt begins after a second, the third
    /// two seconds later.
    #[sometimes("tunnel up")]
    fn carried_server_boots_and_is_back_soon(world) {
        back_soon(world, Crash::Power, seconds(3))
    }

    /// A client's daemon that crashes and starts again makes a new tunnel.
    fn carried_client_crashes(world) {
        over_a_crash(world, true, Crash::Process)
    }

    /// A slow reader holds back a fast source through the tunnel, and nothing grows.
    fn carried_slow_reader(world) {
        let tunnel = tunnel(world, "20ms")?;
        let read = Step::Exchange(Exchange {
            down: Some(("down".into(), 400_000)),
            pace: Some((4096, Duration::from_millis(50))),
            ..Exchange::default()
        });
        let ask = socks5_connect(ORIGIN).send(GO).then(read).expect_fin("down");
        socks_apps(world, &tunnel, [ask]);
        target_at(world, ORIGIN, |_| Script::new().expect(GO).upload("down", 400_000).fin("down").then(Step::ExpectFin(None)));
        stop_and_run(world, &tunnel, &[Completed], &[Completed])
    }

    /// Both daemons stop while streams are open and being opened: everybody is told at once.
    fn carried_stop(world) {
        let tunnel = tunnel(world, "20ms")?;
        world.reach(addr(BLACK_HOLE), Reach::BlackHole);
        let end = || Script::new().then(Step::ExpectEnd);
        socks_apps(world, &tunnel, [
            socks5_connect(ORIGIN).send("hello").expect("hello").and(end()),
            socks5().send(socks5_request(1, BLACK_HOLE)).and(end()),
            socks5().and(end()),
        ]);
        target_at(world, ORIGIN, |_| Script::new().then(Step::Echo).tolerant());
        world.command(seconds(2), tunnel.client, Command::Stop);
        world.command(seconds(3), tunnel.server, Command::Stop);
        world.run(LIMIT)?;
        ended(world, "proxy", &[CloseReason::Stopped; 3])?;
        let late = world.closed().iter().any(|c| c.at.as_nanos() > 3_500_000_000);
        world.expect(!late, "something went on after the stop")
    }
}
