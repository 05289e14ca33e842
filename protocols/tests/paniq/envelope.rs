//! `envelope.json`: keys, timestamps, Initiations, payloads, the replay window, padding; and
//! `quic_sizing` of `proxy.json`.
use super::{Differences, list, number, octets, text, vectors};
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    mac::MacKey,
    obf::{Framer, Kind, Params, Spec},
    preamble::legacy_key,
    timestamp::{self, BadTimestamp, ServerKey, Tai64N, UnixTime},
    transport::{Budget, Codec, Counting, OpenError, Opener, Padding, PaddingSpec, Sizes, Window},
};
use serde_json::Value;

fn key(octets: Vec<u8>) -> [u8; 32] {
    octets.try_into().unwrap()
}

fn server_key(all: &Value) -> ServerKey {
    ServerKey::new(key(octets(&all["keys"], "server_private")))
}

/// The key of MAC1 itself is never shown; `initiations_are_made_as_in_go` shows what it leads to.
#[test]
fn the_public_key_is_as_in_go() {
    let all = vectors("envelope.json");
    let public = octets(&all["keys"], "server_public");
    assert_eq!(server_key(&all).public().to_vec(), public);
}

#[test]
fn times_are_written_as_in_go() {
    for case in list(&vectors("envelope.json"), "tai64n") {
        let secs = number(case, "unix");
        let nanos = u32::try_from(number(case, "nanos")).unwrap();
        let time = Tai64N::new(UnixTime { secs, nanos });
        assert_eq!(time.octets().to_vec(), octets(case, "tai64n"), "{case}");
        assert_eq!(time.unix_seconds(), Some(secs));
    }
}

#[test]
fn initiations_are_made_as_in_go() {
    let all = vectors("envelope.json");
    let server = server_key(&all);
    for case in list(&all, "encrypted_timestamp_and_mac1") {
        let private = key(octets(case, "client_private")).into();
        let nonce = octets(case, "nonce").try_into().unwrap();
        let time = Tai64N::from_octets(octets(case, "tai64n").try_into().unwrap());
        let sealed = timestamp::seal(&server.public(), &private, nonce, time).unwrap();
        assert_eq!(sealed.to_vec(), octets(case, "payload85"));

        let frame = octets(case, "initiation_frame_with_mac1");
        assert!(server.mac().verifies(&frame));
        let (without_mac, mac) = frame.split_at(frame.len() - 16);
        assert_eq!(server.mac().tag(without_mac).to_vec(), mac);
        assert_eq!(mac, octets(case, "mac1"));
        let (h, s) = (number(case, "h1").to_string(), number(case, "s1"));
        let spec = Spec {
            s: [i64::try_from(s).unwrap(), 0, 0, 0],
            h: [&h, "", "", ""],
            ..Spec::default()
        };
        let framer = Framer::new(Params::parse(&spec).unwrap().into());
        let (kind, at) = framer.decode(&frame).unwrap();
        assert_eq!(kind, Kind::Initiation);
        let opened = timestamp::open(&server, &without_mac[at..])
            .unwrap()
            .unwrap();
        assert_eq!(opened.time, time);
        assert_eq!(sealed[1..33], octets(case, "client_public"));
        for n in 0..frame.len() {
            let mut tampered = frame.clone();
            tampered[n] ^= 1;
            assert!(!server.mac().verifies(&tampered), "octet {n}");
        }
        assert!(!MacKey::new(&[7; 32]).verifies(&frame));
    }
}

#[test]
fn encrypted_timestamps_are_refused_as_in_go() {
    let all = vectors("envelope.json");
    let server = server_key(&all);
    for case in list(&all, "encrypted_timestamp_parse") {
        let ours = timestamp::open(&server, &octets(case, "payload"));
        let error = case.get("error").map(|error| error.as_str().unwrap());
        match error {
            None => {
                let present = ours.unwrap().is_some();
                assert_eq!(Value::from(present), case["present"], "{case}");
            }
            Some(error) if error.ends_with("low order point") => {
                assert!(matches!(ours, Err(BadTimestamp::LowOrder(_))), "{case}");
            }
            Some(_) => assert_eq!(ours, Err(BadTimestamp::NotAuthentic), "{case}"),
        }
    }
}

#[test]
fn payloads_are_read_as_in_go() {
    let framer = Framer::new(Params::default().into());
    let padding = Padding::default();
    for case in list(&vectors("envelope.json"), "transport_decode") {
        let sizes = Sizes {
            has_counter: case["replay"].as_bool().unwrap(),
            ..Sizes::default()
        };
        let budget = Budget::new(&sizes, &padding).unwrap();
        let codec = Codec::new(framer.clone(), budget, padding, Counting::default());
        let payload = octets(case, "payload");
        let mut opener = Opener::default();
        let ours = codec.open_payload(&mut opener, &payload, 0);
        if case.get("error").is_some() {
            let refused = matches!(
                ours,
                Err(OpenError::TooShort | OpenError::Empty | OpenError::Truncated)
            );
            assert!(refused, "{case}: {ours:?}");
        } else {
            let place = ours.unwrap();
            let padding = payload.len() - place.end;
            assert_eq!(payload[place], octets(case, "inner"), "{case}");
            assert_eq!(Value::from(padding), case["pad"], "{case}");
        }
        // Again: a counter that was noted is a replay now.
        let again = codec.open_payload(&mut opener, &payload, 0);
        let noted = matches!(again, Err(OpenError::Counter(_)));
        assert_eq!(Value::from(noted), case["counter_validated"], "{case}");
    }
}

/// Steps of the window that go differently under our bound of forward jumps (10.6), and why.
const DIFFERENT_STEPS: [(&str, &str); 4] = [
    ("18: 100000", "a jump by more than 65536 is made up"),
    ("19: 91872", "far ahead of 8145, as nothing moved"),
    ("22: 18446744073709543422", "a jump to the end"),
    ("24: 18446744073709535294", "the same"),
];

#[test]
fn the_window_moves_as_in_go() {
    let all = vectors("envelope.json");
    let filter = &all["replay_filter"];
    let limit = number(filter, "reject_after");
    let ours = Counting::default();
    assert_eq!(ours.limit, limit);
    let go = Counting {
        forward_jump_max: u64::MAX,
        ..ours
    };
    let mut differences = Differences::new(&DIFFERENT_STEPS);
    let (mut window, mut bounded) = (Window::default(), Window::default());
    for (n, step) in list(filter, "steps").iter().enumerate() {
        let (counter, accept) = (number(step, "counter"), step["accept"] == true);
        let accepted = window.accept(counter, &go).is_ok();
        assert_eq!(accepted, accept, "step {n}: {counter}");
        let accepted = bounded.accept(counter, &ours).is_ok();
        differences.check(&format!("{n}: {counter}"), &accepted, &accept);
    }
    differences.finish();
}

#[test]
fn padding_is_resolved_as_in_go() {
    for case in list(&vectors("envelope.json"), "padding_resolve") {
        let json: Value = serde_json::from_str(text(case, "json")).unwrap();
        let length = |key: &str| json.get(key).map(|value| value.as_i64().unwrap());
        let padding = Padding::resolve(&PaddingSpec {
            pad_min: length("pad_min"),
            pad_max: length("pad_max"),
            pad_burst_min: length("pad_burst_min"),
            pad_burst_max: length("pad_burst_max"),
            pad_burst_prob: json.get("pad_burst_prob").map(|v| v.as_f64().unwrap()),
        });
        if let Some(error) = case.get("error") {
            assert_eq!(padding.unwrap_err().to_string(), *error, "{case}");
            continue;
        }
        let padding = padding.unwrap();
        assert_eq!(Value::from(padding.is_enabled()), case["enabled"], "{case}");
        let policy = &case["policy"];
        let (burst_min, burst_max) = padding.burst();
        let lengths = [padding.min(), padding.max(), burst_min, burst_max];
        let theirs = ["Min", "Max", "BurstMin", "BurstMax"].map(|key| policy[key].clone());
        assert_eq!(lengths.map(Value::from), theirs, "{case}");
        assert_eq!(Some(padding.burst_prob()), policy["BurstProb"].as_f64());
        assert!(padding.draw(&mut Draws::new(Seed::from_u64(1))) <= burst_max.max(padding.max()));
    }
}

/// `pad_max` is not in the vectors: it is as much as `pad_min` here.
#[test]
fn quic_gets_the_size_it_has_in_go() {
    for case in list(&vectors("proxy.json"), "quic_sizing") {
        let pad_min = case["pad_min"].as_i64();
        let padding = Padding::resolve(&PaddingSpec {
            pad_min,
            pad_max: pad_min,
            ..PaddingSpec::default()
        });
        let sizes = Sizes {
            max_packet_size: case["max_packet_size"].as_i64().unwrap(),
            max_payload: case["max_payload"].as_i64().unwrap(),
            prefix: super::size(case, "s4"),
            has_counter: case["transport_replay"].as_bool().unwrap(),
        };
        match Budget::new(&sizes, &padding.unwrap()) {
            Ok(budget) => {
                assert_eq!(
                    Value::from(budget.inner_len_max()),
                    case["initial_packet_size"]
                );
                assert!(budget.head_len() + budget.inner_len_max() <= budget.packet_len_max());
            }
            Err(error) => {
                assert_eq!(
                    format!("invalid config: {error}"),
                    text(case, "error"),
                    "{case}"
                );
            }
        }
    }
}

/// `legacy_replay_key`: what a server remembers of a preamble without an encrypted timestamp.
#[test]
fn preambles_are_remembered_by_the_key_that_go_has() {
    for case in list(&vectors("envelope.json"), "legacy_replay_key") {
        let seconds = u32::try_from(number(case, "timestamp")).unwrap();
        let key = legacy_key(seconds, &octets(case, "payload"), &octets(case, "mac1"));
        assert_eq!(key.to_vec(), octets(case, "key"), "{case}");
    }
}
