use super::*;
use crate::paniq::{
    Draws,
    obf::{Framer, HEADER_LEN, Kind, Params, Spec},
};
use bytes::BytesMut;
use proptest::prelude::*;
use sansbox_core::{DatagramLayer as _, Instant, Seed};
use serde_json::Value;

fn framer(s4: i64) -> Framer {
    let spec = Spec {
        s: [3, 5, 7, s4],
        h: ["10-19", "20-29", "30-39", "40-49"],
        ..Spec::default()
    };
    Framer::new(Params::parse(&spec).unwrap().into())
}

fn codec(has_counter: bool, padding: &PaddingSpec) -> Codec {
    let padding = Padding::resolve(padding).unwrap();
    let sizes = Sizes {
        max_packet_size: 1350,
        max_payload: 1200,
        prefix: 37,
        has_counter,
    };
    let budget = Budget::new(&sizes, &padding).unwrap();
    Codec::new(framer(37), budget, padding, Counting::default())
}

const UNPADDED: PaddingSpec = PaddingSpec {
    pad_min: Some(0),
    pad_max: None,
    pad_burst_min: None,
    pad_burst_max: None,
    pad_burst_prob: None,
};

fn vectors(key: &str) -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/paniq/envelope.json"
    );
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all[key].as_array().unwrap().clone()
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// `transport_build`: the payload limit of the vectors is far outside of what a profile may say, so
/// the budget is made here. Ours takes inner datagrams of any length only in this test.
#[test]
fn payloads_are_built_as_in_go() {
    for case in vectors("transport_build") {
        let policy = |key: &str| Some(case["policy"][key].as_i64().unwrap());
        let padding = Padding::resolve(&PaddingSpec {
            pad_min: policy("Min"),
            pad_max: policy("Max"),
            pad_burst_min: policy("BurstMin"),
            pad_burst_max: policy("BurstMax"),
            pad_burst_prob: case["policy"]["BurstProb"].as_f64(),
        })
        .unwrap();
        let (max_payload, has_counter) = (size(&case["max_payload"]), case["replay"] == true);
        let head = if has_counter { 10 } else { 2 };
        let budget = Budget {
            packet: max_payload + HEADER_LEN + 37,
            prefix: 37,
            has_counter,
            inner: max_payload.saturating_sub(head),
            headroom: 0,
        };
        let codec = Codec::new(framer(37), budget, padding, Counting::default());
        let inner = vec![7; size(&case["inner_len"])];
        let mut out = BytesMut::new();
        let sealed = codec.seal(&mut draws(1), &mut Sealer::default(), &inner, &mut out);
        if case.get("error").is_some() {
            assert!(sealed.is_err(), "{case}");
            assert!(out.is_empty());
            continue;
        }
        let sealed = sealed.unwrap();
        assert_eq!(sealed.padding, size(&case["pad"]), "{case}");
        assert_eq!(sealed.is_clamped, case["clamped"] == true, "{case}");
        assert_eq!(out.len() - HEADER_LEN - 37, size(&case["total"]), "{case}");
    }
}

fn draws(n: u64) -> Draws {
    Draws::new(Seed::from_u64(n))
}

#[test]
fn an_inner_length_that_kills_a_go_peer_is_neither_sent_nor_taken() {
    let padding = Padding::default();
    let sizes = Sizes {
        max_packet_size: 9000,
        prefix: 37,
        ..Sizes::default()
    };
    let budget = Budget::new(&sizes, &padding).unwrap();
    assert_eq!(budget.inner_len_max(), 1452);
    let codec = Codec::new(framer(37), budget, padding, Counting::default());
    let (mut draws, mut sealer, mut opener) = (draws(1), Sealer::default(), Opener::default());
    let mut out = BytesMut::new();
    let mut seal =
        |n: usize, out: &mut BytesMut| codec.seal(&mut draws, &mut sealer, &vec![1; n], out);
    assert_eq!(seal(1453, &mut out), Err(SealError::TooLong { max: 1452 }));
    assert!(out.is_empty());
    assert!(seal(1452, &mut out).is_ok());
    assert_eq!(codec.open(&mut opener, &out), Ok(43..1495));
    // The same frame with one octet more, and a length that says so.
    out.extend_from_slice(&[1]);
    out[41..43].copy_from_slice(&1453_u16.to_be_bytes());
    let refused = Err(OpenError::TooLong { max: 1452 });
    assert_eq!(codec.open(&mut opener, &out), refused);
}

#[test]
fn a_layer_leaves_quic_what_the_budget_says() {
    for has_counter in [false, true] {
        let codec = codec(has_counter, &UNPADDED);
        let layer = Envelope::new(codec, draws(1));
        let rest = 1350 - layer.overhead().total_max();
        assert_eq!(rest, layer.codec().budget().inner_len_max());
        assert_eq!(rest, 1200);
    }
}

#[test]
fn a_layer_opens_what_its_twin_sealed_and_no_replay() {
    let padding = PaddingSpec::default();
    let mut alice = Envelope::new(codec(true, &padding), draws(1));
    let mut bob = Envelope::new(codec(true, &padding), draws(2));
    let mut seen = Vec::new();
    for n in 1..=50 {
        let inner = vec![n; usize::from(n) * 24];
        let mut out = BytesMut::new();
        alice.seal(Instant::ZERO, &inner, &mut out).unwrap();
        assert!(out.len() <= 1350);
        seen.push(out.clone());
        assert_eq!(bob.open(Instant::ZERO, &mut out), Ok(true));
        assert_eq!(out, inner);
    }
    for mut frame in seen {
        let opened = bob.open(Instant::ZERO, &mut frame);
        assert_eq!(
            opened,
            Err(OpenError::Counter(WindowError::Replayed).into())
        );
    }
}

#[test]
fn a_spoofed_counter_does_not_poison_the_window() {
    let codec = codec(true, &UNPADDED);
    let (mut draws, mut opener) = (draws(1), Opener::default());
    let mut seal = |counter| {
        let mut out = BytesMut::new();
        let mut sealer = Sealer { counter };
        codec
            .seal(&mut draws, &mut sealer, b"quic", &mut out)
            .unwrap();
        out
    };
    let spoofed = [REJECT_AFTER_MESSAGES - 1, FORWARD_JUMP_MAX + 1];
    for counter in spoofed {
        let refused = codec.open(&mut opener, &seal(counter));
        assert_eq!(refused, Err(WindowError::TooFarAhead.into()));
    }
    for counter in [0, 1, FORWARD_JUMP_MAX + 1, FORWARD_JUMP_MAX] {
        assert!(codec.open(&mut opener, &seal(counter)).is_ok(), "{counter}");
    }
}

#[test]
fn a_buffer_that_is_used_again_is_never_replaced() {
    let codec = codec(true, &PaddingSpec::default());
    let (mut draws, mut sealer, mut opener) = (draws(1), Sealer::default(), Opener::default());
    let mut out = BytesMut::with_capacity(1350);
    let place = out.as_ptr();
    for n in 0..10_000 {
        out.clear();
        codec
            .seal(&mut draws, &mut sealer, &[7; 1200][n % 1200..], &mut out)
            .unwrap();
        assert_eq!(
            (out.as_ptr(), out.capacity()),
            (place, 1350),
            "datagram {n}"
        );
        codec.open(&mut opener, &out).unwrap();
    }
}

#[test]
fn an_exhausted_counter_sends_nothing() {
    let mut codec = codec(true, &UNPADDED);
    codec.counting.limit = 2;
    let (mut draws, mut sealer, mut out) = (draws(1), Sealer::default(), BytesMut::new());
    let mut seal = || codec.seal(&mut draws, &mut sealer, b"quic", &mut out);
    assert!(seal().is_ok());
    assert!(seal().is_ok());
    assert_eq!(seal(), Err(SealError::Exhausted));
}

/// A tunnel's first frame, with this counter.
fn counted(codec: &Codec, counter: u64) -> BytesMut {
    let (mut draws, mut out) = (draws(counter), BytesMut::new());
    let mut sealer = Sealer { counter };
    codec
        .seal(&mut draws, &mut sealer, b"quic", &mut out)
        .unwrap();
    out
}

#[test]
fn a_counter_without_proof_counts_for_nothing() {
    let codec = codec(true, &UNPADDED).needing_proof();
    assert!(codec.needs_proof());
    let mut opener = Opener::default();
    let mut opens = |counter, is_authentic| {
        let opened = codec.open(&mut opener, &counted(&codec, counter));
        if is_authentic {
            codec.prove(&mut opener);
        }
        opened.map(drop)
    };
    let replayed = Err(WindowError::Replayed.into());
    for forged in [3, FORWARD_JUMP_MAX, REJECT_AFTER_MESSAGES - 1] {
        assert_eq!(opens(forged, false), Ok(()));
        assert_eq!(opens(forged, false), Ok(()));
    }
    assert_eq!(opens(3, true), Ok(()));
    assert_eq!(opens(3, true), replayed);
    // What is refused speaks for nothing that came before it.
    assert_eq!(opens(4, false), Ok(()));
    assert_eq!(opens(3, true), replayed);
    assert_eq!(opens(4, true), Ok(()));
    // Neither does one too far ahead, whoever sent it; and what is old is left to QUIC.
    assert_eq!(opens(5 + FORWARD_JUMP_MAX, true), Ok(()));
    assert_eq!(opens(4, true), replayed);
    assert_eq!(opens(20_000, true), Ok(()));
    assert_eq!(opens(4, true), Ok(()));
}

#[test]
fn nothing_is_to_be_proven_without_counters_or_by_the_rules_of_go() {
    assert!(!codec(false, &UNPADDED).needing_proof().needs_proof());
    let mut go = codec(true, &UNPADDED);
    go.counting.forward_jump_max = u64::MAX;
    let go = go.needing_proof();
    assert!(!go.needs_proof());
    let mut opener = Opener::default();
    for (counter, is_taken) in [(REJECT_AFTER_MESSAGES - 1, true), (0, false)] {
        let opened = go.open(&mut opener, &counted_by_any(counter));
        assert_eq!(opened.is_ok(), is_taken, "{counter}");
    }
}

fn counted_by_any(counter: u64) -> BytesMut {
    counted(&codec(true, &UNPADDED), counter)
}

#[test]
fn bursts_come_as_often_as_said() {
    let padding = Padding::resolve(&PaddingSpec {
        pad_min: Some(1),
        pad_max: Some(10),
        pad_burst_min: Some(100),
        pad_burst_max: Some(101),
        pad_burst_prob: Some(0.25),
    })
    .unwrap();
    let mut draws = draws(9);
    let drawn: Vec<_> = (0..10_000).map(|_| padding.draw(&mut draws)).collect();
    let bursts = drawn.iter().filter(|n| (100..=101).contains(*n)).count();
    let usual = drawn.iter().filter(|n| (1..=10).contains(*n)).count();
    assert_eq!(bursts + usual, 10_000);
    assert!((2300..2700).contains(&bursts), "{bursts}");
}

/// What the window should say, by remembering everything.
#[derive(Default)]
struct Remembering {
    seen: std::collections::BTreeSet<u64>,
}

impl Remembering {
    fn accept(&mut self, counter: u64, counting: &Counting) -> Result<(), WindowError> {
        let greatest = self.seen.last().copied().unwrap_or(0);
        if counter >= counting.limit {
            return Err(WindowError::Limit);
        }
        if counter.saturating_sub(greatest) > counting.forward_jump_max {
            return Err(WindowError::TooFarAhead);
        }
        if greatest.saturating_sub(counter) > WINDOW_LEN {
            return Err(WindowError::TooOld);
        }
        match self.seen.insert(counter) {
            true => Ok(()),
            false => Err(WindowError::Replayed),
        }
    }
}

proptest! {
    #[test]
    fn the_window_forgets_nothing_it_should_know(
        steps in proptest::collection::vec(
            prop_oneof![0..200_u64, 8000..8300_u64, 60_000..140_000_u64, any::<u64>()], 1..300,
        ),
        limit in prop_oneof![Just(REJECT_AFTER_MESSAGES), 0..10_000_u64],
        forward_jump_max in prop_oneof![Just(FORWARD_JUMP_MAX), Just(u64::MAX), 0..300_u64],
    ) {
        let counting = Counting { limit, forward_jump_max };
        let (mut window, mut model) = (Window::default(), Remembering::default());
        for counter in steps {
            let expected = model.accept(counter, &counting);
            prop_assert_eq!(window.accept(counter, &counting), expected, "{}", counter);
        }
    }

    #[test]
    fn what_is_sealed_is_opened(
        inner in proptest::collection::vec(any::<u8>(), 1..=1200),
        has_counter in any::<bool>(),
        is_padded in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let padding = if is_padded { PaddingSpec::default() } else { UNPADDED };
        let codec = codec(has_counter, &padding);
        let mut out = BytesMut::from(&b"earlier"[..]);
        let sealed = codec
            .seal(&mut draws(seed), &mut Sealer::default(), &inner, &mut out)
            .unwrap();
        let frame = out.split_off(7);
        prop_assert_eq!(&out[..], b"earlier");
        prop_assert!(frame.len() <= 1350);
        let mut opener = Opener::default();
        let place = codec.open(&mut opener, &frame).unwrap();
        prop_assert_eq!(frame.len(), place.end + sealed.padding);
        prop_assert_eq!(&frame[place.clone()], &inner[..]);
        // Cut anywhere but in the padding, it is nothing.
        for n in 0..place.end {
            prop_assert!(codec.open(&mut Opener::default(), &frame[..n]).is_err());
        }
    }

    #[test]
    fn any_octets_open_or_not(
        datagram in proptest::collection::vec(any::<u8>(), 0..80), has_counter in any::<bool>(),
    ) {
        let codec = codec(has_counter, &UNPADDED);
        let mut payload = BytesMut::new();
        codec.framer().begin(&mut draws(1), Kind::Transport, &mut payload);
        payload.extend_from_slice(&datagram);
        if let Ok(place) = codec.open(&mut Opener::default(), &payload) {
            prop_assert!(!payload[place].is_empty());
        }
        let _ = codec.open(&mut Opener::default(), &datagram);
    }
}
