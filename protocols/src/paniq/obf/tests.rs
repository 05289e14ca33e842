use super::*;

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
