//! Names: happy eyeballs, and everything a resolver can say or not say.
use super::{lab::*, scenarios};
use crate::{
    World,
    net::Answer,
    peers::{Script, Step},
    scenario::Verdict,
    tcp::Reach,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{self, Completed};

const NAME: &str = "origin.test:80";

fn refused(world: &mut World, answer: Option<Answer>, why: Refusal, code: u8) -> Verdict {
    proxy(world, &plain())?;
    if let Some(answer) = answer {
        world.name("origin.test", answer);
    }
    let script = socks5()
        .send(socks5_request(1, NAME))
        .expect(socks5_refusal(code));
    client(world, SOCKS, script.then(Step::ExpectFin(None)));
    run(world, &[CloseReason::Refused(why)])
}

fn connected_within(world: &mut World, limit: Duration) -> Verdict {
    client(
        world,
        SOCKS,
        socks5_connect(NAME).send("hello").expect("hello"),
    );
    origin(world, |_| echo());
    run(world, &[Completed])?;
    let took = world
        .closed()
        .first()
        .map(|c| Duration::from_nanos(c.at.as_nanos()));
    world.expect(
        took.is_some_and(|t| t < limit),
        format!("over after {took:?}"),
    )
}

scenarios! {
    /// A dead first address costs one stagger, not a dial timeout.
    #[sometimes("connected", "closed Completed")]
    fn happy_eyeballs_dead_first_address(world) {
        proxy(world, &plain())?;
        world.name("origin.test", Answer::Addresses(ips(&["fd00::3", "10.0.0.3"])));
        world.reach(addr(ORIGIN_V6), Reach::BlackHole);
        connected_within(world, Duration::from_millis(2_600))
    }

    /// A refused first address costs one round trip, not a stagger.
    fn happy_eyeballs_refused_first_address(world) {
        proxy(world, &plain())?;
        world.name("origin.test", Answer::Addresses(ips(&["fd00::3", "10.0.0.3"])));
        world.reach(addr(ORIGIN_V6), Reach::Refused);
        connected_within(world, Duration::from_millis(2_200))
    }

    /// Only dead addresses: given up after the whole race's budget.
    fn happy_eyeballs_all_dead(world) {
        world.reach(addr(ORIGIN), Reach::BlackHole);
        world.reach(addr(ORIGIN_V6), Reach::BlackHole);
        let answer = Answer::Addresses(ips(&["fd00::3", "10.0.0.3"]));
        refused(world, Some(answer), Refusal::TimedOut, 4)
    }

    /// Two addresses connect at almost the same time: one wins, the other is dropped.
    fn happy_eyeballs_close_race(world) {
        proxy(world, &plain())?;
        world.name("origin.test", Answer::Addresses(ips(&["fd00::3", "10.0.0.3"])));
        world.reach(addr(ORIGIN_V6), Reach::Slow(Duration::from_millis(300)));
        let v4_or_v6 = Step::ExpectHead(b"\n".to_vec(), b"hello\n".to_vec());
        client(world, HTTP, http_connect(NAME).send("hello\n").then(v4_or_v6));
        origin(world, |_| echo().tolerant());
        run(world, &[Completed])
    }

    /// A name that does not exist is reply 4.
    fn name_not_found(world) {
        refused(world, None, Refusal::NameNotFound, 4)
    }

    /// A resolver that fails is a general failure of the host.
    fn resolver_fails(world) {
        refused(world, Some(Answer::Failed), Refusal::ResolverFailed, 4)
    }

    /// A resolver that never answers is given up, and its answer never comes.
    fn resolver_never_answers(world) {
        refused(world, Some(Answer::Never), Refusal::TimedOut, 4)
    }

    /// An answer that comes after the lookup was given up changes nothing.
    fn resolver_answers_too_late(world) {
        let late = Answer::Slow(Duration::from_secs(60), ips(&["10.0.0.3"]));
        refused(world, Some(late), Refusal::TimedOut, 4)
    }

    /// A slow answer still leads to a connection.
    #[sometimes("connected", "closed Completed")]
    fn resolver_slow(world) {
        proxy(world, &plain())?;
        world.name("origin.test", Answer::Slow(Duration::from_secs(3), ips(&["10.0.0.3"])));
        connected_within(world, Duration::from_secs(6))
    }

    /// A client that leaves during the lookup takes the lookup with it.
    fn client_leaves_during_lookup(world) {
        proxy(world, &plain())?;
        world.name("origin.test", Answer::Slow(Duration::from_secs(3), ips(&["10.0.0.3"])));
        let ask = socks5().send(socks5_request(1, NAME)).sleep(Duration::from_secs(1));
        client(world, SOCKS, ask.then(Step::Reset));
        origin(world, |_| Script::new().then(Step::ExpectEnd));
        run(world, &[CloseReason::ClientReset])
    }
}
