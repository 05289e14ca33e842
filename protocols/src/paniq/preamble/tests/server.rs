//! What a server takes, and what it says nothing to.
use super::*;
use crate::paniq::preamble::RateLimit;
use proptest::prelude::*;

const ZERO: Duration = Duration::ZERO;

fn ets() -> ClientAuth {
    ClientAuth::EncryptedTimestamp(key().public())
}

fn mac() -> ClientAuth {
    ClientAuth::Mac(key().public())
}

#[test]
fn wrong_initiations_get_no_answer() {
    let mut server = Server::new(server_config(&QUIET), Rules::default());
    let good = preamble(&QUIET, ets(), ZERO, 1);
    let (initiation, before) = good.split_last().unwrap();
    hand_all(&mut server, ZERO, source(1), before).unwrap();
    for n in 0..initiation.len() {
        let mut tampered = initiation.clone();
        tampered[n] ^= 1;
        let (taken, _) = hand(&mut server, ZERO, source(1), &tampered);
        assert!(!matches!(taken, Ok(Taken::Answered { .. })), "octet {n}");
    }
    for n in 0..initiation.len() {
        let (taken, _) = hand(&mut server, ZERO, source(1), &initiation[..n]);
        assert!(!matches!(taken, Ok(Taken::Answered { .. })), "{n} octets");
    }
    let other_key = ClientAuth::EncryptedTimestamp(ServerKey::new([8; 32]).public());
    let foreign = preamble(&QUIET, other_key, ZERO, 1);
    let refused = hand_all(&mut server, ZERO, source(2), &foreign);
    assert_eq!(refused, Err(Dropped::Mac));
    let unproven = preamble(&QUIET, mac(), ZERO, 1);
    let refused = hand_all(&mut server, ZERO, source(3), &unproven);
    assert_eq!(refused, Err(Dropped::NoTimestamp));
    let keyless = preamble(&QUIET, ClientAuth::Keyless, ZERO, 1);
    let refused = hand_all(&mut server, ZERO, source(4), &keyless);
    assert_eq!(refused, Err(Dropped::Mac));
    // And nothing of it was in the way.
    assert_eq!(hand(&mut server, ZERO, source(1), initiation).0, NEW);
}

#[test]
fn clocks_may_differ_by_the_window_and_no_more() {
    let rules = Rules::default();
    let window = rules.encrypted_window.unwrap();
    let far = Duration::from_secs(1000);
    let cases = [
        (far, far, true),
        (far, far + window.past, true),
        (far, far + window.past + Duration::from_secs(1), false),
        (far, far - window.future, true),
        (far, far - window.future - Duration::from_secs(1), false),
    ];
    for (made_at, received_at, is_taken) in cases {
        let mut server = Server::new(server_config(&DOCS), rules);
        let datagrams = preamble(&DOCS, ets(), made_at, 1);
        let taken = hand_all(&mut server, received_at, source(1), &datagrams);
        let expected = if is_taken { NEW } else { Err(Dropped::Skew) };
        assert_eq!(taken, expected, "{received_at:?}");
    }
}

#[test]
fn a_preamble_opens_one_tunnel() {
    let mut server = Server::new(server_config(&DOCS), Rules::default());
    let datagrams = preamble(&DOCS, ets(), ZERO, 1);
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), AGAIN);
    let from_elsewhere = hand_all(&mut server, ZERO, source(2), &datagrams);
    assert_eq!(from_elsewhere, Err(Dropped::Replayed));
    server.forget(source(1));
    let after_its_end = hand_all(&mut server, ZERO, source(1), &datagrams);
    assert_eq!(after_its_end, Err(Dropped::Replayed));
}

#[test]
fn the_go_rules_take_a_recorded_preamble_and_never_arm_again() {
    let mut server = Server::new(server_config(&DOCS), Rules::go());
    let datagrams = preamble(&DOCS, ets(), ZERO, 1);
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(hand_all(&mut server, year, source(2), &datagrams), NEW);
    let again = hand_all(&mut server, year, source(2), &datagrams);
    assert!(matches!(again, Err(Dropped::Open(_))), "{again:?}");
}

#[test]
fn a_timestamp_in_a_signature_is_enough_where_it_may_be() {
    let mut server = Server::new(lenient_config(&QUIET), Rules::default());
    let datagrams = preamble(&QUIET, mac(), ZERO, 1);
    // The Initiation alone does not prove its time.
    let alone = hand(&mut server, ZERO, source(9), &datagrams[5]).0;
    assert_eq!(alone, Err(Dropped::NoTimestamp));
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
    let replayed = hand_all(&mut server, ZERO, source(2), &datagrams);
    assert_eq!(replayed, Err(Dropped::Replayed));
    let (bound, beyond) = (SKEW, SKEW + Duration::from_secs(1));
    let other = preamble(&QUIET, mac(), ZERO, 2);
    let late = hand_all(&mut server, beyond, source(3), &other);
    assert_eq!(late, Err(Dropped::Skew));
    assert_eq!(hand_all(&mut server, bound, source(4), &other), NEW);
    // An encrypted timestamp does as well.
    let encrypted = preamble(&QUIET, ets(), ZERO, 3);
    assert_eq!(hand_all(&mut server, ZERO, source(5), &encrypted), NEW);
}

/// Anybody can write a `<t>`: it makes nothing new of an Initiation that was taken.
#[test]
fn an_initiation_with_a_mac_alone_is_taken_once_whatever_its_signature_says() {
    let datagrams = preamble(&QUIET, mac(), ZERO, 1);
    let fresh = |at: Duration| {
        let mut datagrams = datagrams.clone();
        let seconds = (STARTED + at).as_secs() as u32;
        datagrams[4] = seconds.to_be_bytes()[..].into();
        datagrams
    };
    let year = Duration::from_secs(365 * 86_400);
    let config = || ServerConfig {
        replays_max: 3,
        ..lenient_config(&QUIET)
    };
    let mut server = Server::new(config(), Rules::default());
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
    for at in [Duration::from_secs(1), Duration::from_secs(100), year] {
        let again = hand_all(&mut server, at, source(2), &fresh(at));
        assert_eq!(again, Err(Dropped::Replayed), "{at:?}");
    }
    // So many are remembered, and no more.
    for n in 2..5 {
        let other = preamble(&QUIET, mac(), year, n);
        let port = source(u16::try_from(n).unwrap() + 10);
        assert_eq!(hand_all(&mut server, year, port, &other), NEW);
    }
    assert_eq!(hand_all(&mut server, year, source(2), &fresh(year)), NEW);
    // Go takes it whenever its time is another one.
    let mut go = Server::new(config(), Rules::go());
    assert_eq!(hand_all(&mut go, ZERO, source(1), &datagrams), NEW);
    assert_eq!(hand_all(&mut go, year, source(2), &fresh(year)), NEW);
}

/// Without a random prefix the Initiations of all clients are one.
#[test]
fn clients_whose_initiations_are_alike_are_let_in() {
    let spec = Spec {
        s: [0, 0, 213, 37],
        h: ["1", "2", "3", "4"],
        ..QUIET
    };
    let config = ServerConfig {
        require_timestamp: false,
        signature_validate: false,
        ..lenient_config(&spec)
    };
    let mut server = Server::new(config, Rules::default());
    let [one, other] = [1, 2].map(|n| preamble(&spec, mac(), ZERO, n));
    assert_eq!(one.last(), other.last());
    assert_eq!(hand_all(&mut server, ZERO, source(1), &one), NEW);
    let later = Duration::from_secs(1);
    assert_eq!(hand_all(&mut server, later, source(2), &other), NEW);
}

#[test]
fn a_server_takes_nothing_that_is_older_than_itself() {
    let later = Duration::from_secs(5);
    let second = Duration::from_secs(1);
    for (spec, auth) in [(&DOCS, ets()), (&QUIET, mac())] {
        let mut server = Server::new(lenient_config(spec), Rules::default());
        server.begin(wall(later));
        let old = preamble(spec, auth.clone(), later - second, 1);
        let refused = hand_all(&mut server, later, source(1), &old);
        assert_eq!(refused, Err(Dropped::Replayed));
        let new = preamble(spec, auth, later, 2);
        assert_eq!(hand_all(&mut server, later, source(1), &new), NEW);
    }
    let mut go = Server::new(lenient_config(&DOCS), Rules::go());
    go.begin(wall(later));
    let old = preamble(&DOCS, ets(), ZERO, 1);
    assert_eq!(hand_all(&mut go, later, source(1), &old), NEW);
}

#[test]
fn signatures_are_forgotten_after_the_timeout() {
    let datagrams = preamble(&QUIET, mac(), ZERO, 1);
    for (silence, expected) in [
        (TIMEOUT, NEW),
        (
            TIMEOUT + Duration::from_millis(1),
            Err(Dropped::NoTimestamp),
        ),
    ] {
        let mut server = Server::new(lenient_config(&QUIET), Rules::default());
        hand_all(&mut server, ZERO, source(1), &datagrams[..5]).unwrap();
        let taken = hand(&mut server, silence, source(1), &datagrams[5]).0;
        assert_eq!(taken, expected, "{silence:?}");
    }
}

#[test]
fn legacy_mode_takes_preambles_without_time_until_its_end() {
    let spec = Spec {
        i: ["<r 9>", "", "", "", ""],
        ..DOCS
    };
    let until = STARTED.as_secs() + 60;
    let config = ServerConfig {
        legacy_until: Some(until),
        ..lenient_config(&spec)
    };
    for (at, expected) in [(60, NEW), (61, Err(Dropped::NoTimestamp))] {
        let at = Duration::from_secs(at);
        let mut server = Server::new(config.clone(), Rules::default());
        let datagrams = preamble(&spec, mac(), at, 1);
        assert_eq!(hand_all(&mut server, at, source(1), &datagrams), expected);
    }
    let config = ServerConfig {
        require_timestamp: false,
        ..lenient_config(&spec)
    };
    let mut server = Server::new(config, Rules::default());
    let datagrams = preamble(&spec, mac(), ZERO, 1);
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
}

#[test]
fn two_clients_without_keys_may_come_in_one_second() {
    for s1 in [0, 339] {
        let mut s = DOCS.s;
        s[0] = s1;
        let spec = Spec { s, ..DOCS };
        let mut server = Server::new(keyless_config(&spec), Rules::default());
        let [one, other] = [1, 2].map(|n| preamble(&spec, ClientAuth::Keyless, ZERO, n));
        assert_eq!(hand_all(&mut server, ZERO, source(1), &one), NEW);
        assert_eq!(hand_all(&mut server, ZERO, source(2), &other), NEW);
        server.forget(source(1));
        let replayed = hand_all(&mut server, ZERO, source(1), &one);
        assert_eq!(replayed, Err(Dropped::Replayed), "s1 = {s1}");
    }
}

#[test]
fn without_validation_a_signature_is_its_length() {
    let spec = Spec {
        i: ["<b 0x01020304>", "<r 7>", "", "", ""],
        ..DOCS
    };
    let config = ServerConfig {
        signature_validate: false,
        require_timestamp: false,
        ..keyless_config(&spec)
    };
    let mut datagrams = preamble(&spec, ClientAuth::Keyless, ZERO, 1);
    datagrams[4][0] = 9;
    let mut server = Server::new(config.clone(), Rules::default());
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
    let config = ServerConfig {
        signature_validate: true,
        ..config
    };
    let mut server = Server::new(config, Rules::default());
    let refused = hand_all(&mut server, ZERO, source(1), &datagrams);
    assert_eq!(refused, Err(Dropped::NoSignatures));
}

/// A Response of 604 octets, to an Initiation of 115 and a signature of 4.
const LOUD: Spec<'static> = Spec {
    s: [10, 600, 0, 37],
    ..DOCS
};

#[test]
fn a_source_is_sent_no_more_than_came_from_it() {
    let mut server = Server::new(server_config(&LOUD), Rules::default());
    let datagrams = preamble(&LOUD, ets(), ZERO, 1);
    let (initiation, before) = datagrams.split_last().unwrap();
    let alone = hand(&mut server, ZERO, source(1), initiation).0;
    assert_eq!(alone, Err(Dropped::TooShortToAnswer));
    hand_all(&mut server, ZERO, source(1), before).unwrap();
    assert_eq!(hand(&mut server, ZERO, source(1), initiation).0, NEW);
    // Repeated Initiations earn one Response for each 604 octets.
    let mut answered = 0;
    for _ in 0..60 {
        let (_, answer) = hand(&mut server, ZERO, source(1), initiation);
        answered += answer.len();
    }
    assert!(answered <= 60 * initiation.len(), "{answered}");
    assert!(answered > 0);
}

#[test]
fn the_shortest_preamble_of_a_profile_is_answered_all_the_same() {
    let spec = Spec {
        jc: 0,
        jmin: 0,
        jmax: 0,
        ..LOUD
    };
    let mut server = Server::new(server_config(&spec), Rules::default());
    let datagrams = preamble(&spec, ets(), ZERO, 1);
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
}

#[test]
fn the_rate_limit_drops_and_resets_nothing() {
    let config = ServerConfig {
        rate_limit: Some(RateLimit {
            per_second: 10,
            burst: 6,
        }),
        ..keyless_config(&QUIET)
    };
    let mut server = Server::new(config, Rules::default());
    let datagrams = preamble(&QUIET, ClientAuth::Keyless, ZERO, 1);
    // Signature, then noise until the limit, then the Initiation of the same preamble.
    let mut hand = |at, datagram: &[u8]| hand(&mut server, at, source(1), datagram).0;
    let taken = hand(ZERO, &datagrams[4]);
    assert_eq!(taken, Ok(Taken::Junk { is_signature: true }));
    for _ in 1..6 {
        let taken = hand(ZERO, b"noise");
        assert_eq!(
            taken,
            Ok(Taken::Junk {
                is_signature: false
            })
        );
    }
    assert_eq!(hand(ZERO, &datagrams[5]), Err(Dropped::RateLimited));
    let later = Duration::from_millis(100);
    assert_eq!(hand(later, &datagrams[5]), NEW);
    let again = hand(later, &datagrams[5]);
    assert_eq!(again, Err(Dropped::RateLimited));
}

/// The Go server forgets a preamble of which it denies a datagram: by its default burst of 5 a
/// preamble of 6 never passes.
#[test]
fn by_the_go_rules_a_limited_datagram_resets_the_preamble() {
    let config = ServerConfig {
        rate_limit: Some(RateLimit {
            per_second: 20,
            burst: 0,
        }),
        ..server_config(&DOCS)
    };
    let mut server = Server::new(config, Rules::go());
    let datagrams = preamble(&DOCS, ets(), ZERO, 1);
    for attempt in 0..3 {
        let at = Duration::from_secs(5 * attempt);
        let taken = hand_all(&mut server, at, source(1), &datagrams);
        assert_eq!(taken, Err(Dropped::RateLimited));
    }
    assert_eq!(server.occupancy()[..2], [0, 0]);
}

/// `spec/paniq.md` 2.4: a burst of N is N - 1 where time stands still, and a second of silence
/// fills the account whatever the rate.
#[test]
fn by_the_go_rules_a_burst_is_one_less_and_a_quiet_second_restores_it() {
    let config = ServerConfig {
        rate_limit: Some(RateLimit {
            per_second: 1,
            burst: 6,
        }),
        ..server_config(&DOCS)
    };
    for (rules, passing) in [(Rules::go(), 5), (Rules::default(), 6)] {
        let mut server = Server::new(config.clone(), rules);
        let mut is_limited = |at| {
            let taken = hand(&mut server, at, source(1), b"noise").0;
            taken == Err(Dropped::RateLimited)
        };
        let at_once = (0..10).take_while(|_| !is_limited(ZERO)).count();
        assert_eq!(at_once, passing);
    }
    for (rules, passing) in [(Rules::go(), 5), (Rules::default(), 1)] {
        let mut server = Server::new(config.clone(), rules);
        let limited = |server: &mut Server, at| {
            let taken = hand(server, at, source(1), b"noise").0;
            taken == Err(Dropped::RateLimited)
        };
        let _ = (0..10).take_while(|_| !limited(&mut server, ZERO)).count();
        let later = Duration::from_millis(1_001);
        server.handle_timeout(instant(later));
        let again = (0..10).take_while(|_| !limited(&mut server, later)).count();
        assert_eq!(again, passing);
    }
}

/// `spec/paniq.md` 10.12: what is remembered of a preamble without a key is its second alone.
#[test]
fn by_the_go_rules_two_clients_without_keys_are_one_in_the_same_second() {
    let spec = Spec {
        s: [339, 432, 213, 37],
        ..DOCS
    };
    let mut server = Server::new(keyless_config(&spec), Rules::go());
    let [one, other] = [1, 2].map(|n| preamble(&spec, ClientAuth::Keyless, ZERO, n));
    assert_eq!(hand_all(&mut server, ZERO, source(1), &one), NEW);
    let taken = hand_all(&mut server, ZERO, source(2), &other);
    assert_eq!(taken, Err(Dropped::Replayed));
    let later = Duration::from_secs(1);
    let other = preamble(&spec, ClientAuth::Keyless, later, 2);
    assert_eq!(hand_all(&mut server, later, source(2), &other), NEW);
}

#[test]
fn by_the_go_rules_all_preambles_are_forgotten_after_a_quiet_minute() {
    let mut server = Server::new(lenient_config(&DOCS), Rules::go());
    let datagrams = preamble(&DOCS, mac(), ZERO, 1);
    let mut hand_at = |now: u64, port| {
        let each = |datagram: &BytesMut| {
            let mut out = BytesMut::new();
            let now = instant(Duration::from_secs(now));
            // The wall clock was set back.
            server.handle_datagram(now, wall(ZERO), source(port), datagram, &mut out)
        };
        datagrams.iter().map(each).last().unwrap()
    };
    assert_eq!(hand_at(0, 1), NEW);
    assert_eq!(hand_at(60, 2), Err(Dropped::Replayed));
    assert_eq!(hand_at(121, 3), NEW, "more than a minute after the last");
}

#[test]
fn by_the_go_rules_only_the_last_preambles_are_remembered() {
    let config = ServerConfig {
        replays_max: 2,
        ..lenient_config(&DOCS)
    };
    let mut server = Server::new(config, Rules::go());
    let all = [1, 2, 3].map(|n| preamble(&DOCS, mac(), ZERO, n));
    let mut hand = |n: usize, port| hand_all(&mut server, ZERO, source(port), &all[n]);
    assert_eq!((hand(0, 1), hand(1, 2)), (NEW, NEW));
    assert_eq!(hand(0, 3), Err(Dropped::Replayed), "and is the newest now");
    assert_eq!(hand(2, 4), NEW, "pushes out the second");
    assert_eq!(hand(0, 5), Err(Dropped::Replayed));
    assert_eq!(hand(1, 6), NEW);
    assert_eq!(server.occupancy()[3], 2);
}

#[test]
fn transport_frames_are_not_limited() {
    let config = ServerConfig {
        rate_limit: Some(RateLimit {
            per_second: 1,
            burst: 6,
        }),
        ..server_config(&DOCS)
    };
    let codec = config.codec.clone();
    let mut server = Server::new(config, Rules::default());
    let datagrams = preamble(&DOCS, ets(), ZERO, 1);
    assert_eq!(hand_all(&mut server, ZERO, source(1), &datagrams), NEW);
    let mut up = BytesMut::new();
    let mut draws = Draws::new(Seed::from_u64(9));
    codec
        .seal(&mut draws, &mut Default::default(), b"quic", &mut up)
        .unwrap();
    for _ in 0..100 {
        let (taken, _) = hand(&mut server, ZERO, source(1), &up);
        assert!(matches!(taken, Ok(Taken::Inner(_))));
    }
}

proptest! {
    #[test]
    fn what_is_no_preamble_is_never_answered(
        datagrams in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..60), 1..20,
        ),
        is_keyless in any::<bool>(),
        has_header in any::<bool>(),
    ) {
        let spec = Spec { s: [3, 3, 3, 3], ..DOCS };
        let config = if is_keyless { keyless_config(&spec) } else { server_config(&spec) };
        let mut server = Server::new(config, Rules::default());
        for (n, mut datagram) in datagrams.into_iter().enumerate() {
            if has_header && datagram.len() >= 7 {
                let header = 2_367_138_250_u32 + u32::from(datagram[0]);
                datagram[3..7].copy_from_slice(&header.to_le_bytes());
            }
            let at = Duration::from_millis(n as u64);
            let (taken, _) = hand(&mut server, at, source(1), &datagram);
            // Four octets are a `<t>`, and nothing says that they are not ours.
            let is_lucky = is_keyless && has_header;
            let is_answered = matches!(taken, Ok(Taken::Answered { .. }));
            prop_assert!(is_lucky || !is_answered);
        }
    }
}
