use super::*;
use crate::paniq::Draws;
use bytes::BytesMut;
use proptest::prelude::*;
use sansbox_core::Seed;

fn spec() -> Spec<'static> {
    Spec {
        jc: 4,
        jmin: 500,
        jmax: 1202,
        s: [339, 432, 213, 37],
        h: ["100-199", "200", "", "7000-8000"],
        i: ["<t>", "", "<b 0x01><r 3>", "", ""],
    }
}

#[test]
fn parameters_are_read() {
    let params = Params::parse(&spec()).unwrap();
    assert_eq!((params.jc(), params.jmin(), params.jmax()), (4, 500, 1202));
    assert_eq!(
        Kind::ALL.map(|kind| params.prefix_len(kind)),
        [339, 432, 213, 37]
    );
    assert_eq!(
        Kind::ALL.map(|kind| params.header(kind).to_string()),
        ["100-199", "200", "3", "7000-8000"]
    );
    let lengths: Vec<_> = params.signatures().map(Chain::len).collect();
    assert_eq!(lengths, [4, 4]);
    assert_eq!(params.preamble_len(), 7);
    assert_eq!(Params::parse(&Spec::default()), Ok(Params::default()));
}

#[test]
fn what_could_never_work_is_refused_by_name() {
    type Change = fn(&mut Spec<'static>);
    let cases: [(Change, &str); 18] = [
        (|s| s.jc = -1, "jc: must not be negative"),
        (|s| s.jc = 2000, "jc: must be at most 1024"),
        (|s| s.jmin = -1, "jmin: must not be negative"),
        (|s| s.jmax = 65_508, "jmax: must be at most 65507"),
        (|s| s.jmin = 1203, "jmin: must be <= jmax"),
        (
            |s| s.jmin = 0,
            "jmin: must be above 0 when jc is: else no junk is sent and the server waits for it",
        ),
        (
            |s| s.jmax = 0,
            "jmax: must be above 0 when jc is: else no junk is sent and the server waits for it",
        ),
        (|s| s.s[3] = -5, "s4: must not be negative"),
        (|s| s.s[1] = 65_403, "s2: must be at most 65402"),
        (|s| s.h[0] = "1-2-3", "h1: bad format: want N or A-B"),
        (|s| s.h[1] = "+1", "h2: not a decimal number"),
        (
            |s| s.h[2] = "9-8",
            "h3: wrong range: the end is below the start",
        ),
        (|s| s.h[3] = "4294967296", "h4: number above 4294967295"),
        (|s| s.h[3] = "150", "h4: must not overlap h1"),
        (|s| s.h[1] = "3", "h3: must not overlap h2"),
        (
            |s| s.i[1] = "<r 1><r -1>",
            "i2: the length is negative (at octet 5)",
        ),
        (
            |s| s.i[4] = "abc",
            "i5: the signature has no octets: the handshake could never finish",
        ),
        (
            |s| s.i[0] = "<t><d>",
            "i1: <d> and <ds> have no meaning in a signature, and a Go client dies of them",
        ),
    ];
    for (change, text) in cases {
        let mut spec = spec();
        change(&mut spec);
        let error = Params::parse(&spec).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn without_junk_its_lengths_may_be_anything_that_go_takes() {
    for (jmin, jmax) in [(0, 0), (0, 9), (5, 0), (9, 9)] {
        let spec = Spec {
            jmin,
            jmax,
            ..Spec::default()
        };
        assert!(Params::parse(&spec).is_ok(), "{jmin} {jmax}");
    }
}

#[test]
fn a_chain_is_as_long_as_a_datagram_at_most() {
    let at_most = format!("<r {}><t>", UDP_PAYLOAD_LEN_MAX - 4);
    assert_eq!(Chain::parse(&at_most).map(|chain| chain.len()), Ok(65_507));
    for long in [
        format!("<r {}><t>", UDP_PAYLOAD_LEN_MAX - 3),
        "<r 65508>".into(),
        "<r 99999999999999999999999999>".into(),
        "<r 65507>".repeat(3),
    ] {
        let error = Chain::parse(&long).unwrap_err();
        assert_eq!(error.problem, ChainProblem::TooLong, "{long}");
    }
}

fn draws(n: u64) -> Draws {
    Draws::new(Seed::from_u64(n))
}

#[test]
fn what_is_encoded_is_decoded() {
    let framer = Framer::new(Params::parse(&spec()).unwrap().into());
    let mut draws = draws(1);
    for kind in Kind::ALL {
        let mut out = BytesMut::from(&b"before"[..]);
        framer.encode(&mut draws, kind, b"payload", &mut out);
        let frame = out.split_off(6);
        let at = framer.head_len(kind);
        assert_eq!(framer.decode(&frame), Ok((kind, at)));
        assert_eq!((&out[..], &frame[at..]), (&b"before"[..], &b"payload"[..]));
    }
}

/// Half of all values are headers of each of two kinds, so that most first draws are ambiguous.
fn crowded(s: [i64; 4]) -> Framer {
    let spec = Spec {
        s,
        h: [
            "0-2147483647",
            "2147483648-4294967293",
            "4294967294",
            "4294967295",
        ],
        ..Spec::default()
    };
    Framer::new(Params::parse(&spec).unwrap().into())
}

#[test]
fn ambiguous_frames_are_drawn_again() {
    let framer = crowded([0, 8, 16, 16]);
    let mut draws = draws(2);
    let mut first_draws_that_clash = 0;
    for _ in 0..100 {
        let mut once = BytesMut::new();
        framer.begin(&mut draws, Kind::Response, &mut once);
        first_draws_that_clash += usize::from(framer.decode(&once).is_err());
        let mut out = BytesMut::new();
        framer.encode(&mut draws, Kind::Response, b"", &mut out);
        assert_eq!(framer.decode(&out), Ok((Kind::Response, 12)));
    }
    assert!(first_draws_that_clash > 20, "{first_draws_that_clash}");
}

#[test]
fn a_clash_in_the_payload_is_sent_all_the_same() {
    let framer = crowded([0, 4, 16, 16]);
    let mut out = BytesMut::new();
    // The payload of the Initiation has a header of a Response where that has its own.
    framer.encode(
        &mut draws(3),
        Kind::Initiation,
        &[0xff, 0, 0, 0x80],
        &mut out,
    );
    assert_eq!(out.len(), 8);
    assert_eq!(framer.decode(&out), Err(FrameError::Ambiguous));
}

#[test]
fn junk_has_every_length_of_its_range() {
    let spec = Spec {
        jc: 1,
        jmin: 7,
        jmax: 9,
        ..Spec::default()
    };
    let framer = Framer::new(Params::parse(&spec).unwrap().into());
    let mut draws = draws(4);
    let lengths: std::collections::BTreeSet<_> = (0..100)
        .map(|_| {
            let mut out = BytesMut::new();
            framer.junk(&mut draws, &mut out);
            out.len()
        })
        .collect();
    assert_eq!(lengths, [7, 8, 9].into());
}

proptest! {
    #[test]
    fn chains_read_what_they_wrote(
        tags in proptest::collection::vec(
            prop_oneof![
                Just("<t>".to_owned()),
                proptest::collection::vec(any::<u8>(), 1..20).prop_map(|octets| {
                    let hex: String = octets.iter().map(|o| format!("{o:02x}")).collect();
                    format!("<b 0x{hex}>")
                }),
                (prop_oneof![Just("r"), Just("rc"), Just("rd"), Just("dz")], 0..50_usize)
                    .prop_map(|(key, n)| format!("<{key} {n}>")),
            ],
            0..6,
        ),
        seconds in any::<u32>(),
        seed in any::<u64>(),
    ) {
        let text = tags.concat();
        let chain = Chain::parse(&text).unwrap();
        let mut out = BytesMut::new();
        chain.emit(&mut draws(seed), seconds, &mut out);
        prop_assert_eq!(out.len(), chain.len());
        let timestamp = chain.has_timestamp().then_some(seconds);
        prop_assert_eq!(chain.read(&out), Some(Signature { timestamp }));
        for n in 0..out.len() {
            prop_assert_eq!(chain.read(&out[..n]), None, "a prefix of {} octets", n);
        }
        out.extend_from_slice(&[0]);
        prop_assert_eq!(chain.read(&out), None);
    }

    #[test]
    fn any_text_is_a_chain_or_an_error(text in "[<>btrcdsz 0-9x\u{a0}-]{0,40}") {
        match Chain::parse(&text) {
            Ok(chain) => prop_assert!(chain.len() <= UDP_PAYLOAD_LEN_MAX),
            Err(error) => prop_assert!(text[error.at..].starts_with('<')),
        }
        let _ = HeaderRange::parse(&text);
    }
}
