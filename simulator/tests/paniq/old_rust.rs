//! S1 to S7, S16, S18, S19, S33: the first Rust programs, and those with KCP. Each scenario has the
//! barriers before it taken away: what is not named there is as in Go.
use super::help::{
    assert_between, fetch, happens, link, meet, millis, passes_with_ours, refusal, seconds,
};
use core::net::IpAddr;
use sansbox_simulator::{
    net::{
        Answer,
        boxes::nat::{Nat, Policy},
        hop::HopFault,
        link::{Link, Settings},
        mtu::{Mtu, TooLong},
    },
    paniq::{
        Ended, Lab, Persona, Step, Talk,
        lab::SERVER,
        persona::{
            Envelope, GO, Keepalive, LEGACY_RUST, LEGACY_RUST_23AEEA4, LEGACY_RUST_144E8AD, OURS,
            PANIQ_RS_KCP, Preamble,
        },
    },
};

/// With a preamble, and behind no loopback address.
const S1_FIXED: Persona = Persona {
    preamble: Preamble::Go,
    ..LEGACY_RUST.unbound()
};
/// And with lengths.
const S2_FIXED: Persona = Persona {
    envelope: Envelope::Whole,
    ..S1_FIXED
};
/// And with the application protocol.
const S3_FIXED: Persona = Persona {
    alpn: OURS.alpn,
    ..S2_FIXED
};

#[test]
fn s01_no_preamble() {
    let facts = meet(LEGACY_RUST.unbound(), GO);
    assert_eq!(refusal(&facts, "fetch"), "timed out");
    assert_between(facts.ended_at("fetch"), seconds(30), seconds(31));
    // Four frames are junk; the fifth has not the four octets of the signature.
    assert!(facts.dropped("not what was due in the preamble") >= 1);
    assert_eq!(facts.down.datagrams, 0, "nothing is ever answered");
    // The other way round the preamble is noise.
    let facts = meet(GO, LEGACY_RUST);
    assert_eq!(
        refusal(&facts, "fetch"),
        "preamble: handshake timeout".replace("preamble: ", "")
    );
    assert_between(facts.ended_at("fetch"), seconds(15), seconds(16));
    assert_eq!(facts.dropped("unexpected Initiation"), 3);
    assert_eq!(facts.down.datagrams, 0);
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}

#[test]
fn s02_no_inner_len() {
    let facts = meet(S1_FIXED, GO);
    assert_eq!(refusal(&facts, "fetch"), "timed out");
    // The first octets of QUIC are taken for a length.
    assert!(facts.dropped("the inner length is beyond the end") >= 5);
    assert_eq!(facts.down.datagrams, 1, "the Response alone");
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}

#[test]
fn s03_no_application_protocol() {
    for (client, server) in [(S2_FIXED, GO), (GO, S2_FIXED)] {
        let facts = meet(client, server);
        let why = refusal(&facts, "fetch");
        // TLS alert 120, as QUIC error 0x178 (RFC 9001 section 8.1).
        assert!(why.contains("120"), "{why}");
        // Preamble with its pauses, three round trips.
        assert!(
            facts.downs[0].0 < millis(5 * 10 + 3 * 20 + 10),
            "{facts:#?}"
        );
    }
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}

#[test]
fn s04_a_certificate_that_nobody_knows() {
    let facts = meet(S3_FIXED, GO);
    let why = refusal(&facts, "fetch");
    assert!(
        why.contains("UnknownIssuer") || why.contains("certificate"),
        "{why}"
    );
    assert!(facts.downs[0].0 < seconds(1));
    assert!(
        facts.server_downs.is_empty(),
        "the server never had a tunnel"
    );
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}

/// Speaks, is silent for so long, and speaks again.
fn pausing(name: &str, pause: u64) -> Talk {
    let pause = Step::Pause(seconds(pause));
    let near = [
        Step::Send(10),
        Step::Take(10),
        pause,
        Step::Send(10),
        Step::Take(10),
        Step::End,
    ];
    let far = [
        Step::Take(10),
        Step::Send(10),
        Step::Take(10),
        Step::Send(10),
        Step::Fin,
    ];
    Talk::new(
        name,
        near.into_iter().chain([Step::Fin]),
        far.into_iter().chain([Step::End]),
    )
}

#[test]
fn s05_timers_of_their_own() {
    let legacy = Persona {
        keepalive: LEGACY_RUST.keepalive,
        idle_timeout: LEGACY_RUST.idle_timeout,
        ..GO
    };
    // The path is down for a minute.
    let run = |client, server| {
        let lab = Lab::new(client, server).talk(pausing("pausing", 100));
        lab.run_with(1, link(), |world, site| {
            happens(world, site, seconds(10), HopFault::Down);
            happens(world, site, seconds(70), HopFault::Up);
        })
    };
    for (client, server) in [(legacy, GO), (GO, legacy)] {
        let facts = run(client, server);
        assert_eq!(facts.ended("pausing"), Ended::Short, "{facts:#?}");
        assert_eq!(facts.downs[0].1, "timed out");
        // Idle time counts from the first PING without an answer, which Go sends later.
        assert_between(facts.downs[0].0, seconds(35), seconds(60));
    }
    for (client, server) in [(OURS, GO), (GO, OURS), (OURS, OURS), (GO, GO)] {
        let facts = run(client, server);
        assert_eq!(facts.ended("pausing"), Ended::Whole, "{facts:#?}");
    }
    // A PING each second, where three a minute do.
    let idle = |client| {
        let facts = Lab::new(client, GO)
            .talk(pausing("idle", 100))
            .run(1, vec![]);
        assert!(facts.is_whole());
        facts.up.datagrams
    };
    assert!(idle(legacy) > 100, "{}", idle(legacy));
    assert!(idle(OURS) < 60, "{}", idle(OURS));
}

#[test]
fn s05_no_keepalive_behind_a_nat() {
    let forgetful = Persona {
        keepalive: LEGACY_RUST_144E8AD.keepalive,
        idle_timeout: LEGACY_RUST_144E8AD.idle_timeout,
        ..GO
    };
    assert_eq!(forgetful.keepalive, Keepalive::Never);
    let nat = || -> Vec<Box<dyn sansbox_simulator::net::hop::Hop>> {
        let policy = Policy {
            udp_expiry: seconds(45),
            ..Policy::symmetric(IpAddr::from([192, 168, 113, 1]))
        };
        vec![Box::new(Nat::new(policy))]
    };
    let lab = Lab::new(forgetful, forgetful).talk(pausing("pausing", 60));
    let facts = lab.clone().run(1, nat());
    assert_ne!(facts.ended("pausing"), Ended::Whole, "the mapping is gone");
    // Its source is a stranger to the server now, who counts junk.
    assert!(
        facts.dropped("not what was due in the preamble") >= 1,
        "{facts:#?}"
    );
    passes_with_ours(&lab, nat);
}

#[test]
fn s06_datagrams_longer_than_the_profile() {
    let prober = Persona {
        mtu_discovery: LEGACY_RUST.mtu_discovery,
        ..GO
    };
    let narrow = || -> Vec<Box<dyn sansbox_simulator::net::hop::Hop>> {
        let mtu = Some(Mtu {
            octets: 1400,
            too_long: TooLong::Drop,
        });
        let settings = Settings {
            mtu,
            ..Settings::default()
        };
        vec![Box::new(Link::new(settings))]
    };
    let lab = Lab::new(prober, GO).talk(Talk::fetch("upload", 200_000, 100));
    let facts = lab.clone().run(1, narrow());
    let limit = usize::try_from(lab.profile.sizes.max_packet_size).unwrap();
    assert!(
        facts.up.longest > 1372,
        "a probe that does not fit: {}",
        facts.up.longest
    );
    // On a wide path the probes pass, and then everything is longer than the profile says.
    let facts = lab.clone().run(1, vec![]);
    let long = facts
        .up
        .lengths
        .iter()
        .filter(|(_, len)| *len > limit)
        .count();
    assert!(long > 50, "{long} datagrams");
    for (client, server) in super::help::OURS_WITH_GO {
        let facts = lab.with(client, server).run(1, narrow());
        assert!(facts.is_whole(), "{facts:#?}");
        assert!(
            facts.up.longest <= limit && facts.down.longest <= limit,
            "{facts:#?}"
        );
    }
}

#[test]
fn s07_no_second_dial() {
    let once = Persona {
        redials: LEGACY_RUST_23AEEA4.redials,
        ..GO
    };
    let lab = |client, server| {
        let mut lab = Lab::new(client, server).talk(fetch());
        lab.server_restarts = vec![seconds(10)];
        lab.talks([20, 40, 300].map(|at| Talk::fetch(format!("at {at}"), 100, 100).at(seconds(at))))
    };
    let facts = lab(once, GO).run(1, vec![]);
    assert_eq!(facts.ended("fetch"), Ended::Whole);
    for name in ["at 20", "at 40", "at 300"] {
        let _ = refusal(&facts, name);
    }
    assert_eq!(facts.ups.len(), 1, "there is never another tunnel");
    // Go waits for its reply, and dials again.
    let facts = lab(GO, GO).run(1, vec![]);
    assert!(facts.is_whole(), "{facts:#?}");
    assert_between(facts.ended_at("at 20"), seconds(25), seconds(26));
    for (client, server, patience) in [
        (OURS, GO, millis(500)),
        (OURS, OURS, millis(500)),
        (GO, OURS, millis(5500)),
    ] {
        let facts = lab(client, server).run(1, vec![]);
        assert!(facts.is_whole(), "{facts:#?}");
        assert_between(facts.ended_at("at 20"), seconds(20), seconds(20) + patience);
    }
}

#[test]
fn s16_cookies() {
    let cookie = Persona {
        wants_cookie: true,
        ..GO
    };
    for (client, attempts) in [(GO, 3), (OURS, 5)] {
        let facts = meet(client, cookie);
        let why = refusal(&facts, "fetch");
        assert!(
            why.contains("timeout") || why.contains("timed out") || why.contains("time"),
            "{why}"
        );
        assert_between(facts.ended_at("fetch"), seconds(15), seconds(16));
        assert_eq!(
            facts.down.datagrams, attempts,
            "a cookie for each Initiation"
        );
    }
    // No server of ours sends one, whatever comes.
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}

#[test]
fn s18_a_first_guess_of_ten_milliseconds() {
    let hasty = Persona {
        initial_rtt: LEGACY_RUST.initial_rtt,
        has_long_hello: false,
        ..GO
    };
    // Datagrams of QUIC before anything can have come back, on a path of 200 ms.
    let initials = |client: Persona| {
        let mut lab = Lab::new(client, GO).talk(fetch());
        lab.path.latency = millis(100);
        let facts = lab.run(1, vec![]);
        assert!(facts.is_whole(), "{facts:#?}");
        let (began, _) = facts.up.lengths[6];
        let early = facts.up.lengths.iter().skip(6);
        early
            .take_while(|(at, _)| *at < began + millis(200))
            .count()
    };
    assert!(initials(hasty) >= 4, "{} first datagrams", initials(hasty));
    assert_eq!(initials(OURS), 1);
}

#[test]
fn s19_bound_to_the_loopback_address() {
    let facts = meet(LEGACY_RUST, GO);
    assert_eq!(refusal(&facts, "fetch"), "no socket");
    assert_eq!(facts.up.datagrams, 0);
    let named = |client| {
        let mut lab = Lab::new(client, GO).talk(fetch());
        lab.proxy_addr = "tunnel.example:9000".to_owned();
        lab.run_with(1, vec![], |world, _| {
            world.name("tunnel.example", Answer::Addresses(vec![SERVER.ip()]));
        })
    };
    let facts = named(LEGACY_RUST.unbound());
    assert_eq!(refusal(&facts, "fetch"), "invalid socket address syntax");
    for client in [OURS, GO] {
        assert!(named(client).is_whole());
    }
}

#[test]
fn s33_kcp_in_the_place_of_quic() {
    // The Go client takes the Response, whatever is in it, and speaks QUIC.
    for client in [GO, OURS] {
        let facts = meet(client, PANIQ_RS_KCP);
        assert!(facts.dropped("unknown session") >= 2, "{facts:#?}");
        assert!(facts.ups.is_empty());
        let _ = refusal(&facts, "fetch");
        assert_between(facts.ended_at("fetch"), seconds(5), seconds(31));
    }
    // The other way round the Initiation proves nothing.
    for server in [GO, OURS] {
        let facts = meet(PANIQ_RS_KCP, server);
        assert_eq!(facts.dropped("MAC1 invalid"), 3, "{facts:#?}");
        assert_eq!(refusal(&facts, "fetch"), "handshake timeout");
        assert_eq!(facts.down.datagrams, 0);
    }
    passes_with_ours(&Lab::ours().talk(fetch()), Vec::new);
}
