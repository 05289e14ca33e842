//! Dials that fail or take their time: the client is told in its own protocol's words.
use super::{lab::*, scenarios};
use crate::{
    World,
    peers::{Script, Step},
    scenario::Verdict,
    tcp::Reach,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{self, Completed};

/// All three protocols ask for a target that cannot be reached.
fn all_are_told(world: &mut World, reach: Reach, why: Refusal, code: u8, status: &str) -> Verdict {
    proxy(world, &plain())?;
    world.reach(addr(ORIGIN), reach);
    let end = Step::ExpectFin(None);
    let socks5 = socks5()
        .send(socks5_request(1, ORIGIN))
        .expect(socks5_refusal(code));
    let socks4 = Script::new().send(socks4_request(ORIGIN)).expect([0, 91]);
    let http = Script::new().send(connect_request(ORIGIN));
    clients(
        world,
        MIXED,
        [
            socks5.then(end.clone()),
            socks4.then(Step::Skip(6)).then(end),
            http.expect_head(format!("HTTP/1.1 {status} ")),
        ],
    );
    origin(world, |_| Script::new());
    run(world, &[CloseReason::Refused(why); 3])
}

scenarios! {
    /// A refused dial is reply 5, SOCKS4 91, HTTP 502.
    fn dial_refused(world) {
        all_are_told(world, Reach::Refused, Refusal::ConnectionRefused, 5, "502")
    }

    /// An unreachable network is reply 3.
    fn dial_network_unreachable(world) {
        let why = Refusal::NetworkUnreachable;
        all_are_told(world, Reach::Unreachable(why), why, 3, "502")
    }

    /// An unreachable host is reply 4.
    fn dial_host_unreachable(world) {
        let why = Refusal::HostUnreachable;
        all_are_told(world, Reach::Unreachable(why), why, 4, "502")
    }

    /// An expired TTL is reply 6.
    fn dial_ttl_expired(world) {
        let why = Refusal::TtlExpired;
        all_are_told(world, Reach::Unreachable(why), why, 6, "504")
    }

    /// A black hole is given up after the dial budget, and the client is told.
    fn dial_black_hole(world) {
        all_are_told(world, Reach::BlackHole, Refusal::TimedOut, 4, "504")?;
        let told = world.closed().first().map(|c| c.at.as_nanos() / 1_000_000_000);
        world.expect(told.is_some_and(|s| s < 10), format!("told after {told:?} seconds"))
    }

    /// A dial that takes three seconds still connects.
    fn dial_slow(world) {
        proxy(world, &plain())?;
        world.reach(addr(ORIGIN), Reach::Slow(Duration::from_secs(3)));
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(1000)));
        origin(world, |_| answer(1000));
        run(world, &[Completed])
    }

    /// A client that leaves while the dial runs takes the dial with it.
    fn client_leaves_during_dial(world) {
        proxy(world, &plain())?;
        world.reach(addr(ORIGIN), Reach::Slow(Duration::from_secs(3)));
        let ask = || socks5().send(socks5_request(1, ORIGIN));
        let wait = Duration::from_secs(1);
        clients(world, SOCKS, [
            ask().sleep(wait).then(Step::Reset),
            ask().sleep(wait).then(Step::Close),
        ]);
        origin(world, |_| Script::new().then(Step::ExpectEnd));
        world.run(LIMIT)?;
        world.expect(world.closed().len() == 2, "two sessions")
    }

    /// A dial that would have connected after its budget is given up all the same.
    fn dial_too_slow(world) {
        let why = Refusal::TimedOut;
        all_are_told(world, Reach::Slow(Duration::from_secs(30)), why, 4, "504")
    }
}
