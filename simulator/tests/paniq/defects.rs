//! S14 and S24 to S34: what the Go programs do to each other (`spec/paniq.md` section 10).
use super::help::{assert_between, fetch, millis, passes_with_ours, refusal, seconds};
use bytes::{BufMut as _, BytesMut};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    obf::Kind,
    preamble::{Client, Dropped, RateLimit, Rules, Server, SourcePort, Taken},
    profile,
    timestamp::UnixTime,
    transport::{INNER_LEN_MAX, REJECT_AFTER_MESSAGES},
};
use sansbox_simulator::{
    net::hop::Way,
    paniq::{
        Edit, Edits, Ended, Lab, Profile, Step, Talk,
        persona::{GO, OURS},
    },
};

/// A stream that is busy for a minute.
fn bystander() -> Talk {
    let far = [[Step::Send(100), Step::Pause(seconds(1))]; 60].concat();
    let far = far.into_iter().chain([Step::Fin, Step::End]);
    Talk::new("bystander", [Step::Take(6000), Step::End, Step::Fin], far)
}

/// The number of the Initiation among what a client sends with the documented profile: four times
/// junk and a signature come before it.
const INITIATION: u64 = 5;

#[test]
fn s14_a_lost_response() {
    let lost = || Edits::new().edit(Way::In, 0, Edit::Lose).hops();
    let lab = Lab::new(GO, GO).talk(fetch());
    let facts = lab.clone().run(1, lost());
    assert_eq!(refusal(&facts, "fetch"), "handshake timeout");
    assert_between(facts.ended_at("fetch"), seconds(15), millis(15_100));
    assert_eq!(facts.down.datagrams, 1, "one answer to 18 datagrams");
    assert_eq!(facts.dropped("unexpected Initiation"), 2);
    passes_with_ours(&lab, lost);
}

#[test]
fn s24_a_reply_takes_as_long_as_a_dial() {
    let lab = Lab::new(GO, GO).talks([bystander(), Talk::black_hole("hole").at(seconds(2))]);
    let facts = lab.clone().run(1, vec![]);
    let _ = refusal(&facts, "hole");
    assert_between(facts.ended_at("hole"), seconds(12), millis(12_200));
    assert_eq!(facts.requests.len(), 3, "it is dialled twice");
    assert_eq!(facts.ended("bystander"), Ended::Short);
    for server in [GO, OURS] {
        let facts = lab.with(OURS, server).run(1, vec![]);
        let _ = refusal(&facts, "hole");
        assert_between(facts.ended_at("hole"), seconds(7), millis(7_100));
        assert_eq!(facts.ended("bystander"), Ended::Whole);
        assert_eq!(facts.requests.len(), 2);
    }
}

#[test]
fn s25_a_refused_target() {
    let lab = Lab::new(GO, GO).talks([bystander(), Talk::refused("refused").at(seconds(2))]);
    let facts = lab.clone().run(1, vec![]);
    assert_eq!(refusal(&facts, "refused"), "proxy status 1");
    assert_eq!(facts.ended("bystander"), Ended::Short, "it sees a good end");
    assert_eq!((facts.ups.len(), facts.requests.len()), (3 - 1, 3));
    for server in [GO, OURS] {
        let facts = lab.with(OURS, server).run(1, vec![]);
        let _ = refusal(&facts, "refused");
        assert_eq!(facts.ended("bystander"), Ended::Whole);
        assert_eq!((facts.ups.len(), facts.requests.len()), (1, 2));
    }
}

#[test]
fn s25_late_failures_end_the_tunnels_that_replace_theirs() {
    let refused = (0..3).map(|n| Talk::black_hole(format!("hole {n}")).at(seconds(2)));
    let lab = Lab::new(GO, GO).talk(fetch()).talks(refused);
    let facts = lab.clone().run(1, vec![]);
    // The first tunnel, the one that the first failure makes, and one for each late failure; the
    // last one's own failure may add another.
    assert!(facts.ups.len() >= 4, "{facts:#?}");
    let facts = lab.with(OURS, GO).run(1, vec![]);
    assert_eq!(facts.ups.len(), 1);
}

#[test]
fn s26_one_way_streams() {
    let far = [[Step::Send(5_000), Step::Pause(millis(500))]; 6].concat();
    let far = far.into_iter().chain([Step::Fin, Step::End]);
    let near = [Step::Take(30_000), Step::End, Step::Fin];
    let mut lab = Lab::new(GO, GO).talk(Talk::new("download", near, far));
    lab.profile.relay_idle = seconds(1);
    let facts = lab.clone().run(1, vec![]);
    assert_eq!(facts.ended("download"), Ended::Short);
    let accepted = facts.near["download"].accepted.unwrap();
    assert_between(
        facts.ended_at("download"),
        accepted + millis(990),
        accepted + millis(1_100),
    );
    let facts = lab.with(OURS, OURS).run(1, vec![]);
    assert!(facts.is_whole(), "{facts:#?}");
}

/// A Transport frame with so many octets of nothing in it.
pub(crate) fn frame(profile: &Profile, inner: usize) -> Vec<u8> {
    let codec = profile.codec();
    let mut draws = Draws::new(Seed::from_u64(1));
    let mut out = BytesMut::new();
    codec
        .framer()
        .encode_with(&mut draws, Kind::Transport, &mut out, |_, out, _| {
            out.put_u16(u16::try_from(inner).unwrap());
            out.put_bytes(0x40, inner);
        });
    out.to_vec()
}

#[test]
fn s27_one_octet_too_many() {
    let lab = Lab::new(GO, GO).talk(Talk::fetch("fetch", 500, 200_000));
    let forged = |way, inner| {
        let edit = Edit::Forge(frame(&lab.profile, inner));
        Edits::new().edit(way, 12, edit).hops()
    };
    let facts = lab.clone().run(1, forged(Way::Out, INNER_LEN_MAX));
    assert!(facts.is_whole(), "1452 are taken");
    let facts = lab.clone().run(1, forged(Way::Out, INNER_LEN_MAX + 1));
    let (_, why) = facts.exit.clone().expect("the server is no more");
    assert_eq!(why, "payload too large");
    assert_ne!(facts.ended("fetch"), Ended::Whole);
    let facts = lab.clone().run(1, forged(Way::In, INNER_LEN_MAX + 1));
    assert_eq!(
        facts.downs[0].1, "payload too large",
        "nor is the client's tunnel"
    );
    for way in [Way::Out, Way::In] {
        let facts = lab.with(OURS, OURS).run(1, forged(way, INNER_LEN_MAX + 1));
        assert!(facts.is_whole(), "{facts:#?}");
        let dropped = facts.dropped("above 1452") + facts.client_dropped("above 1452");
        assert_eq!(dropped, 1);
    }
}

#[test]
fn s28_a_counter_from_nowhere() {
    let mut lab = Lab::new(GO, GO).talk(Talk::fetch("fetch", 500, 200_000));
    lab.profile.sizes.has_counter = true;
    let mut forged = BytesMut::new();
    let codec = lab.profile.codec();
    let mut draws = Draws::new(Seed::from_u64(1));
    codec
        .framer()
        .encode_with(&mut draws, Kind::Transport, &mut forged, |_, out, _| {
            out.put_u64(REJECT_AFTER_MESSAGES - 1);
            out.put_u16(30);
            out.put_bytes(0x40, 30);
        });
    let poisoned = || {
        let edit = Edit::Forge(forged.to_vec());
        Edits::new().edit(Way::Out, 12, edit).hops()
    };
    let facts = lab.clone().run(1, poisoned());
    assert_ne!(facts.ended("fetch"), Ended::Whole);
    assert!(facts.dropped("counter too old") >= 5, "{facts:#?}");
    for client in [GO, OURS] {
        let facts = lab.with(client, OURS).run(1, poisoned());
        assert!(facts.is_whole(), "{facts:#?}");
        assert_eq!(facts.dropped("counter too old"), 0);
    }
}

/// The datagrams of a preamble, all at once.
fn preamble(profile: &Profile, wall: UnixTime, seed: u64) -> Vec<BytesMut> {
    let mut config = profile.client_preamble(SourcePort::Kept);
    (config.delay, config.jitter) = (Duration::ZERO, Duration::ZERO);
    let mut client = Client::new(Instant::ZERO, config, Seed::from_u64(seed)).unwrap();
    let next = || {
        let mut out = BytesMut::new();
        client.poll_transmit(Instant::ZERO, wall, &mut out)?;
        Some(out)
    };
    std::iter::from_fn(next).collect()
}

const START: Duration = Duration::from_secs(1_750_000_000);

/// What a server says to the last of these datagrams, so much later.
fn shown(
    server: &mut Server,
    after: Duration,
    port: u16,
    datagrams: &[BytesMut],
) -> Result<Taken, Dropped> {
    let source = SocketAddr::from(([192, 0, 2, 1], port));
    let each = |datagram: &BytesMut| {
        let (now, wall) = (Instant::ZERO + after, UnixTime::from(START + after));
        server.handle_datagram(now, wall, source, datagram, &mut BytesMut::new())
    };
    datagrams.iter().map(each).last().unwrap()
}

const NEW: Result<Taken, Dropped> = Ok(Taken::Answered { is_new: true });

fn judges(profile: &Profile) -> [Server; 2] {
    let seed = Seed::from_u64(1);
    let ours = profile.server(seed).rules;
    [Rules::go(), ours].map(|rules| Server::new(profile.server_preamble(seed), rules))
}

#[test]
fn s29_a_recorded_preamble() {
    let profile = Profile::default();
    let recorded = preamble(&profile, START.into(), 1);
    let [mut go, mut ours] = judges(&profile);
    for server in [&mut go, &mut ours] {
        assert_eq!(shown(server, Duration::ZERO, 1, &recorded), NEW);
    }
    for (hours, port) in [(0, 2), (1, 3), (8760, 4)] {
        let after = seconds(3600 * hours);
        assert_eq!(
            shown(&mut go, after, port, &recorded),
            NEW,
            "whenever it comes"
        );
        let refused = shown(&mut ours, after, port, &recorded);
        let wanted = if hours == 0 {
            Dropped::Replayed
        } else {
            Dropped::Skew
        };
        assert_eq!(refused, Err(wanted));
    }
}

/// Why our server refuses the documented profile with 20 datagrams a second and such a burst.
fn refused_by_our_server(burst: i64) -> String {
    let new = profile::NewProfile {
        name: "",
        proxy_addr: "192.0.2.1:9000",
        mtu: 1420,
    };
    let mut profile = new.draw(Seed::from_u64(1)).unwrap();
    let obfuscation = &mut profile.obfuscation;
    (obfuscation.jc, obfuscation.rate_limit_pps) = (4, 20);
    obfuscation.rate_limit_burst = burst;
    match profile.server(0) {
        Ok(_) => String::new(),
        Err(invalid) => invalid.to_string(),
    }
}

#[test]
fn s30_a_rate_below_one_preamble() {
    let mut lab = Lab::new(GO, GO).talk(fetch());
    lab.profile.rate_limit = Some(RateLimit {
        per_second: 20,
        burst: 0,
    });
    let facts = lab.clone().run(1, vec![]);
    assert_eq!(refusal(&facts, "fetch"), "handshake timeout");
    assert!(facts.dropped("rate limit") >= 3);
    assert_eq!(facts.down.datagrams, 0);
    // Our server does not begin with such a profile, and with the least that it takes, works.
    let why = refused_by_our_server(0);
    assert!(why.contains("rate_limit_burst"), "{why}");
    assert_eq!(refused_by_our_server(6), "");
    lab.profile.rate_limit = Some(RateLimit {
        per_second: 20,
        burst: 6,
    });
    passes_with_ours(&lab, Vec::new);
}

#[test]
fn s31_two_clients_in_one_second() {
    let profile = Profile::keyless();
    let [mut go, mut ours] = judges(&profile);
    let [one, other] = [1, 2].map(|seed| preamble(&profile, START.into(), seed));
    for server in [&mut go, &mut ours] {
        assert_eq!(shown(server, Duration::ZERO, 1, &one), NEW);
    }
    assert_eq!(
        shown(&mut go, Duration::ZERO, 2, &other),
        Err(Dropped::Replayed)
    );
    assert_eq!(shown(&mut ours, Duration::ZERO, 2, &other), NEW);
}

#[test]
fn s32_a_hello_in_two_datagrams() {
    let lost = |nth| move || Edits::new().edit(Way::Out, nth, Edit::Lose).hops();
    let lab = Lab::new(GO, GO).talk(fetch());
    let facts = lab.clone().run(1, vec![]);
    let lengths: Vec<usize> = facts.up.lengths.iter().map(|(_, len)| *len).collect();
    assert!(lengths[6..8].iter().all(|len| *len > 1200), "{lengths:?}");
    // There is no faulty side: whichever of them is lost, the rest is kept.
    for nth in [INITIATION + 1, INITIATION + 2] {
        assert!(lab.clone().run(1, lost(nth)()).is_whole());
        passes_with_ours(&lab, lost(nth));
    }
}

#[test]
fn s34_a_preamble_out_of_order() {
    let late = || Edits::new().edit(Way::Out, 4, Edit::Delay(millis(15)));
    let double = |nth| Edits::new().edit(Way::Out, nth, Edit::Double);
    let stray = || Edits::new().edit(Way::Out, 1, Edit::Forge(vec![7; 99]));
    let disturbed: [&dyn Fn() -> Edits; 4] = [&|| double(1), &|| double(4), &late, &stray];
    let lab = Lab::new(GO, GO).talk(fetch());
    for edits in disturbed {
        let facts = lab.clone().run(1, edits().hops());
        assert_eq!(
            refusal(&facts, "fetch"),
            "handshake timeout",
            "{:?}",
            edits()
        );
        assert_between(facts.ended_at("fetch"), seconds(15), millis(15_100));
        assert_eq!(facts.down.datagrams, 0, "{:?}", edits());
        passes_with_ours(&lab, || edits().hops());
        let facts = lab.with(OURS, GO).run(1, edits().hops());
        assert!(
            facts.ended_at("fetch") < millis(5_300),
            "one attempt is lost"
        );
        let facts = lab.with(OURS, OURS).run(1, edits().hops());
        assert!(facts.ended_at("fetch") < millis(300), "nothing is lost");
    }
}
