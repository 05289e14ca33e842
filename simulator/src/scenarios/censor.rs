//! Relays past censors: what matches is broken as the rule says, everything else passes.
use super::{lab::*, scenarios};
use crate::{
    World,
    check::{Invariant, Violation},
    net::boxes::censor::{Censor, Exemptions, Names, Rule, Sight, Then, Throttle, When},
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{
    self, ClientReset, Completed, IdleTimeout, Refused, UpstreamReset,
};

const RESET: Then = Then::Reset {
    after: Duration::from_micros(500),
};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn blocked() -> Names {
    Names::new(["blocked.test"])
}

fn vector(len: usize, bytes: &[u8]) -> Vec<u8> {
    let size = (bytes.len() as u64).to_be_bytes();
    [size.get(8 - len..).unwrap_or_default(), bytes].concat()
}

/// A TLS ClientHello in one record, as far as a censor reads it.
fn client_hello(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &vector(2, name.as_bytes())].concat();
    let extension = [&[0, 0][..], &vector(2, &vector(2, &entry))].concat();
    let body = [
        &[3, 3][..],
        &[9; 32],
        &vector(1, &[5; 32]),
        &vector(2, &[0x13, 0x01]),
        &vector(1, &[0]),
        &vector(2, &extension),
    ];
    let message = [&[1][..], &vector(3, &body.concat())].concat();
    [&[22, 3, 1][..], &vector(2, &message)].concat()
}

/// A censor between the proxy and the world.
fn censored(world: &mut World, rule: Rule, sight: Sight) -> Verdict {
    let censor = Censor::new(vec![rule]).map_err(|why| Violation {
        at: world.now(),
        host: "world".into(),
        invariant: Invariant::Expected,
        detail: why.to_string(),
    })?;
    let country = world.site("country", vec![Box::new(censor.with_sight(sight))]);
    proxy_in(world, country, &plain())?;
    Ok(())
}

fn echoing_origin(world: &mut World) {
    let host = ScriptHost::new().serve(addr(ORIGIN), |_| echo().tolerant());
    world.host("origin", &ips(&["10.0.0.3"]), host);
}

/// Says `text` through SOCKS5, hears it again from the origin and ends in order.
fn heard(text: &[u8]) -> Script {
    let script = socks5_connect(ORIGIN).send(text).expect(text);
    script.then(Step::Fin(None)).then(Step::ExpectFin(None))
}

/// Says it, and the connection dies.
fn broken(text: &[u8]) -> Script {
    socks5_connect(ORIGIN)
        .send(text)
        .then(Step::ExpectReset)
        .tolerant()
}

/// Says it, hears nothing, and leaves.
fn frozen(text: &[u8]) -> Script {
    socks5_connect(ORIGIN).send(text).sleep(seconds(30))
}

const fn is_broken(reason: Option<CloseReason>) -> bool {
    matches!(reason, Some(UpstreamReset | ClientReset | IdleTimeout))
}

/// Two clients, one after the other: the first is broken, the second is heard.
fn first_is_broken(world: &mut World, first: Script, second: Script) -> Verdict {
    let host = ScriptHost::new()
        .dial(addr(SOCKS), first)
        .dial_at(seconds(60), addr(SOCKS), second);
    world.host("client", &ips(&["10.0.0.1"]), host);
    echoing_origin(world);
    world.run(LIMIT)?;
    let ends: Vec<Option<CloseReason>> = world.closed().iter().map(|c| c.reason).collect();
    let holds = ends.iter().filter(|end| is_broken(**end)).count() == 1
        && ends.iter().filter(|end| **end == Some(Completed)).count() == 1
        && ends.len() == 2;
    world.expect(holds, format!("sessions ended with {ends:?}"))
}

scenarios! {
    /// A name in a ClientHello brings resets to both ends; another name passes.
    fn censor_resets_a_tls_name(world) {
        censored(world, Rule::new(When::TlsName(blocked()), RESET), Sight::Stream)?;
        let broken = broken(&client_hello("www.blocked.test"));
        first_is_broken(world, broken, heard(&client_hello("allowed.test")))
    }

    /// A censor in the path drops the flow with that name: nobody is told, and the client's
    /// patience decides.
    fn censor_drops_a_tls_name(world) {
        censored(world, Rule::new(When::TlsName(blocked()), Then::Drop), Sight::Stream)?;
        let host = ScriptHost::new()
            .dial(addr(SOCKS), frozen(&client_hello("blocked.test")))
            .dial(addr(SOCKS), heard(&client_hello("allowed.test")));
        world.host("client", &ips(&["10.0.0.1"]), host);
        echoing_origin(world);
        run_all(world, 2, |c| is_broken(c.reason) || c.reason == Some(Completed))
    }

    /// The host of a plain HTTP request that goes through the proxy is matched as well.
    fn censor_resets_an_http_host(world) {
        censored(world, Rule::new(When::HttpHost(blocked()), RESET), Sight::Stream)?;
        let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        first_is_broken(world, broken(request("blocked.test").as_bytes()), heard(request("allowed.test").as_bytes()))
    }

    /// A client that sends its hello in two packets, some time apart, escapes a censor that
    /// does not put streams together.
    fn censor_of_packets_is_escaped_by_splitting(world) {
        censored(world, Rule::new(When::TlsName(blocked()), Then::Drop), Sight::FirstPacket)?;
        let hello = client_hello("blocked.test");
        let (a, b) = hello.split_at(20);
        let split = socks5_connect(ORIGIN).send(a).sleep(seconds(1)).send(b);
        let all = split.expect(&hello).then(Step::Fin(None)).then(Step::ExpectFin(None));
        client(world, SOCKS, all);
        echoing_origin(world);
        run(world, &[Completed])
    }

    /// It does not help against one that does.
    fn censor_of_streams_is_not(world) {
        censored(world, Rule::new(When::TlsName(blocked()), RESET), Sight::Stream)?;
        let hello = client_hello("blocked.test");
        let (a, b) = hello.split_at(20);
        let split = socks5_connect(ORIGIN).send(a).sleep(seconds(1)).send(b);
        client(world, SOCKS, split.then(Step::ExpectReset).tolerant());
        echoing_origin(world);
        run_all(world, 1, |c| is_broken(c.reason))
    }

    /// A flow freezes after so many bytes: what came before is a prefix, and nothing hangs for
    /// ever.
    fn censor_freezes_a_relay(world) {
        censored(world, Rule::new(When::Carried(20_000), Then::Drop), Sight::Stream)?;
        let download = socks5_connect(ORIGIN).download("down", 100_000).tolerant();
        client(world, SOCKS, download);
        let host = ScriptHost::new().serve(addr(ORIGIN), |_| {
            Script::new().upload("down", 100_000).fin("down").then(Step::ExpectEnd).tolerant()
        });
        world.host("origin", &ips(&["10.0.0.3"]), host);
        run_all(world, 1, |c| is_broken(c.reason) && c.bytes_down < 20_001)
    }

    /// A small relay past the same censor.
    fn censor_that_freezes_lets_small_relays_through(world) {
        censored(world, Rule::new(When::Carried(20_000), Then::Drop), Sight::Stream)?;
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(4_000)));
        origin(world, |_| answer(4_000));
        run(world, &[Completed])
    }

    /// For a while after a match nothing reaches that server any more: the proxy's dial is not
    /// answered, and its client is told. Then it is reached again.
    fn censor_blocks_the_server_for_a_while(world) {
        let rule = Rule::new(When::TlsName(blocked()), Then::Drop).with_residual(seconds(90));
        censored(world, rule, Sight::Stream)?;
        let unanswered = socks5().send(socks5_request(1, ORIGIN)).then(Step::Skip(1));
        let host = ScriptHost::new()
            .dial(addr(SOCKS), frozen(&client_hello("blocked.test")))
            .dial_at(seconds(10), addr(SOCKS), unanswered.expect([4, 0, 1]).then(Step::Skip(6)).then(Step::ExpectEnd))
            .dial_at(seconds(200), addr(SOCKS), heard(b"anything"));
        world.host("client", &ips(&["10.0.0.1"]), host);
        echoing_origin(world);
        run_all(world, 3, |c| {
            is_broken(c.reason) || matches!(c.reason, Some(Completed | Refused(Refusal::TimedOut)))
        })
    }

    /// A first payload that looks like random bytes is broken, one that begins as TLS is not.
    fn censor_suspects_random_bytes(world) {
        let when = When::LooksEncrypted(Exemptions::default());
        censored(world, Rule::new(when, RESET), Sight::Stream)?;
        let random = [0x96; 200];
        let disguised = [&[0x17, 3, 3, 0, 200][..], &random].concat();
        first_is_broken(world, broken(&random), heard(&disguised))
    }

    /// A throttled relay is slow and whole.
    fn censor_throttles_a_relay(world) {
        let throttle = Throttle { rate: 4_000, burst: 4_000, queue: 64_000 };
        censored(world, Rule::new(When::Always, Then::Throttle(throttle)), Sight::Stream)?;
        let begins = socks5_connect(ORIGIN).download("down", 40_000).expect_fin("down");
        client(world, SOCKS, begins);
        let host = ScriptHost::new().serve(addr(ORIGIN), |_| {
            Script::new().upload("down", 40_000).fin("down").then(Step::ExpectEnd)
        });
        world.host("origin", &ips(&["10.0.0.3"]), host);
        run(world, &[Completed])?;
        let took = world.now().saturating_duration_since(sansbox_core::Instant::ZERO);
        world.expect(took > seconds(8), format!("it took {took:?}"))
    }
}
