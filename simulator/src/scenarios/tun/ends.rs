//! Connections that do not come about, or end badly: what the machine sees in each mode.
use super::{
    super::{lab::*, scenarios},
    lab::*,
};
use crate::{
    World,
    fault::{Crash, Fault, HostFault},
    host::Command,
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
    tcp::Reach,
};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{self, Completed, Refused, Stopped};

/// A target that is reached in another way than others.
const ODD: &str = "10.0.0.5:80";
const ODD_V6: &str = "[fd00::5]:80";

fn setting(handshake: &'static str) -> Setting {
    Setting { handshake, ..Setting::default() }
}

/// A dial that fails upstream. Without an early answer the machine is told so in the way of `mark`
/// and sees `seen`; with one it sees a reset afterwards.
fn failing(
    world: &mut World,
    handshake: &'static str,
    (to, reach): (&str, Reach),
    (seen, mark): (Refusal, &str),
    reason: Refusal,
) -> Verdict {
    let tun = setting(handshake).build(world)?;
    world.reach(addr(to), reach);
    let host = match handshake {
        "fast" => programs([(to, Script::new().then(Step::ExpectReset))]),
        _ => ScriptHost::new().dial_fails(seconds(0), addr(to), seen),
    };
    tun.machine(world, host);
    run_to(world, &[Refused(reason)])?;
    if handshake != "fast" && !mark.is_empty() {
        has_mark(world, mark)?;
    }
    Ok(())
}

fn refused(world: &mut World, handshake: &'static str) -> Verdict {
    let why = Refusal::ConnectionRefused;
    failing(world, handshake, (ODD, Reach::Refused), (why, ""), why)
}

fn unreachable(world: &mut World, handshake: &'static str) -> Verdict {
    let why = Refusal::HostUnreachable;
    let reach = Reach::Unreachable(why);
    failing(world, handshake, (ODD, reach), (why, "ICMPv4 3/1"), why)
}

fn unanswered(world: &mut World, handshake: &'static str) -> Verdict {
    let seen = (Refusal::HostUnreachable, "ICMPv4 3/1");
    failing(world, handshake, (ODD, Reach::BlackHole), seen, Refusal::TimedOut)
}

/// A rule that forbids: the machine is refused in every mode, and there is no session.
fn forbidden(world: &mut World, handshake: &'static str) -> Verdict {
    let route = r#"{"rules": [{"port": 80, "action": "reject"}]}"#;
    let setting = Setting { handshake, route, ..Setting::default() };
    let tun = setting.build(world)?;
    let host = ScriptHost::new().dial_fails(seconds(0), addr(ODD), Refusal::ConnectionRefused);
    tun.machine(world, host);
    run_to(world, &[])?;
    let late = world.now().as_nanos() > 2_000_000_000;
    world.expect(!late, "the machine had to wait for it")
}

/// A dial that takes three seconds: the machine asks again, and there is one session.
fn asked_again(world: &mut World, handshake: &'static str) -> Verdict {
    let tun = setting(handshake).build(world)?;
    world.reach(addr(ORIGIN), Reach::Slow(seconds(3)));
    tun.machine(world, programs([(ORIGIN, talk(5_000))]));
    origin(world, |_| answer(5_000));
    run_to(world, &[Completed])
}

/// A machine that gives up while the dial goes on: the dial is dropped.
fn given_up(world: &mut World, handshake: &'static str, reason: CloseReason) -> Verdict {
    let tun = setting(handshake).build(world)?;
    world.reach(addr(ODD), Reach::BlackHole);
    let host = match handshake {
        "fast" => programs([(ODD, Script::new().sleep(seconds(1)).then(Step::Reset))]),
        _ => ScriptHost::new().dial_given_up(seconds(0), addr(ODD), seconds(1)),
    };
    tun.machine(world, host);
    run_to(world, &[reason])?;
    let late = world.closed().iter().any(|c| c.at.as_nanos() > 1_100_000_000);
    world.expect(!late, "the dial went on")
}

scenarios! {
    /// A machine that resets its connection resets the origin's.
    fn tun_machine_resets(world) {
        let tun = Setting::default().build(world)?;
        let ask = Script::new().send("hello").expect("hello").then(Step::Reset);
        tun.machine(world, programs([(ORIGIN, ask)]));
        origin(world, |_| Script::new().expect("hello").send("hello").then(Step::ExpectReset));
        run_to(world, &[CloseReason::ClientReset])
    }

    /// An origin that resets its connection resets the machine's.
    fn tun_origin_resets(world) {
        let tun = Setting::default().build(world)?;
        let ask = Script::new().send("hello").expect("hello").then(Step::ExpectReset);
        tun.machine(world, programs([(ORIGIN, ask)]));
        origin(world, |_| {
            Script::new().expect("hello").send("hello").sleep(seconds(1)).then(Step::Reset)
        });
        run_to(world, &[CloseReason::UpstreamReset])
    }

    /// A machine that vanishes is noticed by probes, and the origin is told.
    fn tun_machine_vanishes(world) {
        let tun = Setting::default().build(world)?;
        let ask = Script::new().send("hello").expect("hello").then(Step::Vanish);
        tun.machine(world, programs([(ORIGIN, ask)]));
        origin(world, |_| Script::new().expect("hello").send("hello").then(Step::ExpectReset));
        run_to(world, &[CloseReason::ClientReset])
    }

    /// A target that refuses: in the fast mode the machine is connected, and then reset.
    #[sometimes("refused ConnectionRefused")]
    fn tun_refused_fast(world) {
        refused(world, "fast")
    }

    /// The same in the consistent mode: the machine's own dial is refused.
    #[sometimes("refused ConnectionRefused")]
    fn tun_refused_consistent(world) {
        refused(world, "consistent")
    }

    /// The same in the automatic mode: no rule has to see bytes.
    fn tun_refused_auto(world) {
        refused(world, "auto")
    }

    /// A target that is not reached, in the fast mode.
    fn tun_unreachable_fast(world) {
        unreachable(world, "fast")
    }

    /// The same in the consistent mode: ICMP says that the host is unreachable.
    fn tun_unreachable_consistent(world) {
        unreachable(world, "consistent")
    }

    /// The same in the automatic mode.
    fn tun_unreachable_auto(world) {
        unreachable(world, "auto")
    }

    /// The same over IPv6: ICMPv6 says that the address is unreachable.
    fn tun_unreachable_v6(world) {
        let why = Refusal::HostUnreachable;
        let reach = Reach::Unreachable(why);
        failing(world, "consistent", (ODD_V6, reach), (why, "ICMPv6 1/3"), why)
    }

    /// There is no way to the target: ICMP says that the network is unreachable.
    fn tun_no_route(world) {
        let why = Refusal::NetworkUnreachable;
        let (reach, seen) = (Reach::Unreachable(why), Refusal::HostUnreachable);
        failing(world, "consistent", (ODD, reach), (seen, "ICMPv4 3/0"), why)
    }

    /// A target that does not answer, in the fast mode.
    fn tun_unanswered_fast(world) {
        unanswered(world, "fast")
    }

    /// The same in the consistent mode: ICMP says that the host is unreachable.
    fn tun_unanswered_consistent(world) {
        unanswered(world, "consistent")
    }

    /// The same in the automatic mode.
    fn tun_unanswered_auto(world) {
        unanswered(world, "auto")
    }

    /// A reject rule refuses the machine's own dial, in the fast mode as well.
    fn tun_forbidden_fast(world) {
        forbidden(world, "fast")
    }

    /// The same in the consistent mode.
    fn tun_forbidden_consistent(world) {
        forbidden(world, "consistent")
    }

    /// A drop rule says nothing: the machine waits for its own timeout.
    fn tun_dropped(world) {
        let route = r#"{"rules": [{"port": 80, "action": "reject", "method": "drop"}]}"#;
        let tun = Setting { route, ..Setting::default() }.build(world)?;
        let host = ScriptHost::new().dial_fails(seconds(0), addr(ODD), Refusal::TimedOut);
        tun.machine(world, host);
        run_to(world, &[])
    }

    /// A dial that takes longer than the machine waits before it asks again makes one session.
    fn tun_asks_again_consistent(world) {
        asked_again(world, "consistent")
    }

    /// The same where it is answered at once.
    fn tun_asks_again_fast(world) {
        asked_again(world, "fast")
    }

    /// A machine that gives up drops the dial that goes on for it.
    fn tun_gives_up_consistent(world) {
        given_up(world, "consistent", CloseReason::ClientReset)
    }

    /// The same where it was answered already.
    fn tun_gives_up_fast(world) {
        given_up(world, "fast", CloseReason::ClientReset)
    }

    /// A daemon that stops resets what goes through its device.
    fn tun_daemon_stops(world) {
        let tun = Setting::default().build(world)?;
        world.reach(addr(ODD), Reach::BlackHole);
        let talk = Script::new().send("hello").expect("hello").then(Step::ExpectEnd);
        let host = ScriptHost::new()
            .dial(addr(ORIGIN), talk)
            .dial(addr(ODD), Script::new().then(Step::ExpectEnd));
        tun.machine(world, host);
        origin(world, |_| Script::new().then(Step::Echo).tolerant());
        world.command(seconds(2), tun.daemon, Command::Stop);
        run_to(world, &[Stopped; 2])
    }

    /// A daemon that crashes and starts again: connections from before are reset, later ones are
    /// served.
    fn tun_daemon_crashes(world) {
        let tun = Setting::default().build(world)?;
        let talk = Script::new().send("hello").expect("hello").sleep(seconds(10));
        let talk = talk.send("lost").then(Step::ExpectReset);
        let later = Script::new().send("hello").expect("hello");
        let host = ScriptHost::new().dial(addr(ORIGIN), talk).dial_at(seconds(8), addr(ORIGIN), later);
        tun.machine(world, host);
        origin(world, |_| Script::new().then(Step::Echo).tolerant());
        let host = tun.daemon;
        for (at, fault) in [(3, HostFault::Crash(Crash::Process)), (5, HostFault::Restart)] {
            world.at(seconds(at), Fault::Host { host, fault });
        }
        run_to(world, &[Completed])
    }
}
