//! JSON, CBOR and links, where they are read as Go does and where they are not.
use super::*;

#[test]
fn json_is_read_with_all_of_its_oddities() {
    let jc = |jc| Profile {
        obfuscation: Obfuscation {
            jc,
            ..Obfuscation::default()
        },
        ..Profile::default()
    };
    let named = |name: &str| Profile {
        name: name.to_owned(),
        ..Profile::default()
    };
    for (text, expected) in [
        // Nothing, and nothing that is known.
        ("{}", Profile::default()),
        (" null ", Profile::default()),
        (
            r#"{"x":{"jc":1},"Y":[1,{}],"obfuscation":null}"#,
            Profile::default(),
        ),
        // Case, also of letters that only fold to ASCII.
        (r#"{"NAME":"a"}"#, named("a")),
        (r#"{"Obfu\u017fcation":{"Jc":7}}"#, jc(7)),
        // The last one counts; objects merge; null changes nothing.
        (r#"{"name":"a","Name":"b"}"#, named("b")),
        (r#"{"name":"a","name":null}"#, named("a")),
        (r#"{"obfuscation":{"jc":3},"obfuscation":{"s1":0}}"#, jc(3)),
        (r#"{"obfuscation":{"jc":3,"jc":null}}"#, jc(3)),
        (r#"{"obfuscation":{"jc":-0}}"#, jc(0)),
        (
            r#"{"obfuscation":{"jc":-9223372036854775808}}"#,
            jc(i64::MIN),
        ),
        // Text.
        (
            r#"{"name":"\u003ct\u003e\ud83d\ude00"}"#,
            named("<t>\u{1f600}"),
        ),
    ] {
        assert_eq!(json(text), Ok(expected), "{text}");
    }
    let bad_utf8 = Profile::from_json(b"{\"name\":\"a\xff\"}").unwrap();
    assert_eq!(bad_utf8.name, "a\u{fffd}");
}

#[test]
fn a_null_forgets_what_may_be_absent() {
    let text = r#"{"transport_padding":{"pad_min":3,"pad_min":null,"pad_burst_prob":null},
        "obfuscation":{"signature_validate":true,"signature_validate":null}}"#;
    assert_eq!(json(text), Ok(Profile::default()));
}

#[test]
fn keys_and_durations_may_be_empty_texts() {
    let text = r#"{"handshake_timeout":"","quic":{"keepalive":null},
        "obfuscation":{"server_private_key":"","server_public_key":""}}"#;
    assert_eq!(json(text), Ok(Profile::default()));
}

const WRONG_JSON: &[(&str, &str)] = &[
    ("[]", "must be an object"),
    ("1", "must be an object"),
    (r#"{"name":1}"#, "name: must be text"),
    (r#"{"name":"\ud800"}"#, "name: must be text"),
    (r#"{"quic":[]}"#, "quic: must be an object"),
    (r#"{"quic":"x"}"#, "quic: must be an object"),
    (
        r#"{"obfuscation":{"jc":1.0}}"#,
        "obfuscation.jc: must be an integer",
    ),
    (
        r#"{"obfuscation":{"jc":1e2}}"#,
        "obfuscation.jc: must be an integer",
    ),
    (
        r#"{"obfuscation":{"jc":"1"}}"#,
        "obfuscation.jc: must be an integer",
    ),
    (
        r#"{"obfuscation":{"jc":true}}"#,
        "obfuscation.jc: must be an integer",
    ),
    (
        r#"{"obfuscation":{"jc":9223372036854775808}}"#,
        "obfuscation.jc: number out of range",
    ),
    (
        r#"{"obfuscation":{"transport_replay_limit":-1}}"#,
        "obfuscation.transport_replay_limit: number out of range",
    ),
    (
        r#"{"obfuscation":{"transport_replay":1}}"#,
        "obfuscation.transport_replay: must be true or false",
    ),
    (
        r#"{"transport_padding":{"pad_burst_prob":"0"}}"#,
        "transport_padding.pad_burst_prob: must be a number",
    ),
    (
        r#"{"transport_padding":{"pad_burst_prob":1e999}}"#,
        "transport_padding.pad_burst_prob: number out of range",
    ),
    (
        r#"{"handshake_timeout":5}"#,
        "handshake_timeout: must be a duration as text",
    ),
    (
        r#"{"QUIC":{"KeepAlive":"5"}}"#,
        r#"quic.keepalive: no duration such as "500ms" or "1h30m""#,
    ),
    (
        r#"{"obfuscation":{"server_public_key":"AAAA"}}"#,
        "obfuscation.server_public_key: 3 bytes, where there must be 32",
    ),
    (
        r#"{"obfuscation":{"server_private_key":"AAA"}}"#,
        "obfuscation.server_private_key: not standard base64 with padding",
    ),
];

#[test]
fn what_is_wrong_with_json_is_said_with_its_path() {
    for (text, expected) in WRONG_JSON {
        assert_eq!(json(text).unwrap_err().to_string(), *expected, "{text}");
    }
    for (text, place) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("{}x", "line 1 column 3"),
        ("{\"name\":\n 01}", "line 2 column 3"),
        ("{\"quic\":{\"x\":}}", "line 1 column 14"),
    ] {
        let error = json(text).unwrap_err();
        assert!(matches!(error.reason, JsonReason::Syntax { .. }), "{text}");
        assert!(error.to_string().contains(place), "{text}: {error}");
    }
}

#[test]
fn keys_are_read_as_go_reads_base64() {
    let text = good().obfuscation.server_public_key.unwrap().to_base64();
    let (head, tail) = text.split_at(20);
    let broken = format!("{{\"obfuscation\":{{\"server_public_key\":\"{head}\\r\\n{tail}\"}}}}");
    let key = json(&broken).unwrap().obfuscation.server_public_key;
    assert_eq!(key, good().obfuscation.server_public_key);
    // The last letter of 32 bytes holds two bits that mean nothing.
    let zeros = "A".repeat(42);
    let odd = PublicKey::from_base64(&format!("{zeros}B="));
    assert_eq!(odd, Ok(PublicKey::new([0; 32])));
    assert_eq!(PublicKey::from_base64(&zeros), Err(BadKey::Base64));
}

#[test]
fn what_is_written_reads_as_the_same() {
    let profile = good();
    assert_eq!(json(&profile.to_json()), Ok(profile.clone()));
    let mut odd = profile.clone();
    odd.handshake_timeout = Nanos(-1_500_000_000);
    odd.handshake_attempts = -4;
    odd.obfuscation.jc = i64::MIN;
    odd.obfuscation.signature_validate = Some(false);
    odd.obfuscation.transport_replay_limit = u64::MAX;
    odd.transport_padding.pad_min = None;
    odd.transport_padding.pad_burst_prob = Some(1e-310);
    odd.name = "\"<\u{0}&\u{2028}".to_owned();
    assert_eq!(json(&odd.to_json()), Ok(odd));
    // What is a default in CBOR is left out, and is the same when it is checked.
    let again = Profile::from_cbor(&profile.to_cbor().unwrap()).unwrap();
    assert_eq!(again.server(0), profile.server(0));
    assert_eq!(*Profile::default().to_json(), "{}");
}

#[test]
fn durations_become_milliseconds_but_never_none() {
    for (nanos, read) in [
        (1, 1),
        (999_999, 1),
        (1_999_999, 1),
        (2_000_000, 2),
        (-5, 0),
    ] {
        let profile = Profile {
            proxy_addr: "h".to_owned(),
            handshake_timeout: Nanos(nanos),
            ..Profile::default()
        };
        let again = Profile::from_cbor(&profile.to_cbor().unwrap()).unwrap();
        assert_eq!(
            Some(again.handshake_timeout),
            Nanos::from_millis(read),
            "{nanos}"
        );
    }
}

#[test]
fn floats_are_as_short_as_they_can_be() {
    for (value, hex) in [
        (0.0, "f90000"),
        (-0.0, "f98000"),
        (0.5, "f93800"),
        (1.0, "f93c00"),
        (65504.0, "f97bff"),
        (65505.0, "fa477fe100"),
        (5.960_464_477_539_063e-8, "f90001"),
        (0.1, "fb3fb999999999999a"),
        (0.100_000_001_490_116_12, "fa3dcccccd"),
        (1e300, "fb7e37e43c8800759c"),
    ] {
        let profile = Profile {
            proxy_addr: "h".to_owned(),
            transport_padding: Padding {
                pad_burst_prob: Some(value),
                ..Padding::default()
            },
            ..Profile::default()
        };
        let cbor = profile.to_cbor().unwrap();
        let ours: String = cbor.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(ours.ends_with(&format!("05{hex}")), "{value}: {ours}");
        let read = Profile::from_cbor(&cbor).unwrap().transport_padding;
        assert_eq!(read.pad_burst_prob.map(f64::to_bits), Some(value.to_bits()));
    }
}

#[test]
fn cbor_may_be_written_in_other_ways() {
    let expected = Profile {
        name: "ab".to_owned(),
        proxy_addr: "h".to_owned(),
        quic: Quic {
            max_streams: 7,
            ..Quic::default()
        },
        ..Profile::default()
    };
    for bytes in [
        // Indefinite lengths; a text in two parts.
        &b"\xbf\x00\x01\x01\x7f\x61a\x61b\xff\x02\x61h\x07\xbf\x05\x07\xff\xff"[..],
        // Long numbers, another order, unknown keys with nested values.
        b"\xa5\x07\xa1\x05\x19\x00\x07\x02\x61h\x01\x62ab\x18\x63\x9f\xbf\x01\x80\xff\xff\x00\x1b\
          \x00\x00\x00\x00\x00\x00\x00\x01",
        // The last of equal keys, objects as a whole; an undefined text is empty.
        b"\xa6\x00\x01\x02\x61h\x01\xf7\x01\x62ab\x07\xa1\x01\x01\x07\xa1\x05\x07",
    ] {
        assert_eq!(
            Profile::from_cbor(bytes),
            Ok(expected.clone()),
            "{bytes:x?}"
        );
    }
}

#[test]
fn what_is_wrong_with_cbor_is_said_with_its_path() {
    for (bytes, expected) in [
        (&b""[..], "the CBOR is cut off"),
        (b"\xa1\x61a\x01", "must be a map whose keys are numbers"),
        (b"\xa1\x20\x01", "must be a map whose keys are numbers"),
        (b"\xa1\x00\x20", "version: must be a number"),
        (b"\xa1\x00", "version: the CBOR is cut off"),
        (b"\xbf\x00\x01", "the CBOR is cut off"),
        (
            b"\xa2\x00\x01\x03\x20",
            "handshake_timeout: must be a number, not negative",
        ),
        (
            b"\xa2\x00\x01\x03\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            "handshake_timeout: number out of range",
        ),
        (
            b"\xa2\x00\x01\x04\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            "handshake_attempts: number out of range",
        ),
        (b"\xa2\x00\x01\x07\x01", "quic: must be a map"),
        (b"\xa2\x00\x01\x07\xf6", "quic: must be a map"),
        (b"\xa2\x00\x01\x01\x41a", "name: must be text"),
        (b"\xa2\x00\x01\x01\x61\xff", "name: must be text"),
        (
            b"\xa2\x00\x01\x08\xa1\x13\xf6",
            "obfuscation.signature_validate: must be true or false",
        ),
        (
            b"\xa2\x00\x01\x08\xa1\x12\xf6",
            "obfuscation.server_public_key: must be a byte string",
        ),
        (
            b"\xa2\x00\x01\x09\xa1\x05\x01",
            "transport_padding.pad_burst_prob: must be a floating-point number",
        ),
        (b"\xa2\x00\x01\x18\x63\x1c", "malformed CBOR at byte 5"),
        // A break without a beginning, and one between a key and its value.
        (
            b"\xa2\x00\x01\x18\x63\x82\x01\xff",
            "malformed CBOR at byte 7",
        ),
        (
            b"\xa2\x00\x01\x18\x63\xbf\x01\xff",
            "malformed CBOR at byte 7",
        ),
        (b"\xa2\x00\x01\x18\x63\xc1\xff", "malformed CBOR at byte 6"),
        (b"\xa2\x00\x01\x18\x63\x82\x01", "the CBOR is cut off"),
        (
            b"\xa2\x00\x01\x01\x7a\xff\xff\xff\xff",
            "name: the CBOR is cut off",
        ),
    ] {
        let error = Profile::from_cbor(bytes).unwrap_err();
        assert_eq!(error.to_string(), expected, "{bytes:x?}");
    }
}

#[test]
fn links_are_for_clients() {
    let profile = good();
    let link = profile.to_link().unwrap();
    let code = link.strip_prefix("pnq://").unwrap();
    assert!(
        code.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    );
    let read = Profile::from_link(&link).unwrap();
    assert_eq!(read.obfuscation.server_private_key, None);
    assert_eq!(read.obfuscation.rate_limit_pps, 0);
    assert!(read.client().is_ok());
    // A server's file without the public key gives the same link.
    let mut private = profile.clone();
    private.obfuscation.server_public_key = None;
    assert_eq!(private.to_link(), Ok(link.clone()));
    let mut nowhere = profile;
    nowhere.proxy_addr.clear();
    assert_eq!(nowhere.to_link(), Err(EncodeError::ProxyAddrMissing));
}

#[test]
fn links_are_read_in_any_base64() {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
    };
    // Enough bits that both alphabets differ.
    let mut profile = good().for_clients();
    profile.name = "\u{3fff}\u{fbff}~~~???>>>".to_owned();
    let cbor = profile.to_cbor().unwrap();
    for code in [
        STANDARD.encode(&*cbor),
        STANDARD_NO_PAD.encode(&*cbor),
        URL_SAFE.encode(&*cbor),
    ] {
        let read = Profile::from_link(&format!(" PNQ://{code}\n")).unwrap();
        assert_eq!(read.name, profile.name);
    }
    assert!(STANDARD.encode(&*cbor).contains(['+', '/']));
    for (link, expected) in [
        ("", LinkError::Scheme),
        ("pnq:/", LinkError::Scheme),
        ("http://oQAB", LinkError::Scheme),
        ("pnq://oQ*B", LinkError::Base64),
        ("pnq://o", LinkError::Base64),
        ("pnq://-+", LinkError::Base64),
    ] {
        assert_eq!(Profile::from_link(link), Err(expected), "{link}");
    }
    let error = Profile::from_link("pnq://").unwrap_err();
    assert_eq!(error.to_string(), "the CBOR is cut off");
}

#[test]
fn a_file_may_hold_any_of_the_forms() {
    let json = br#" {"proxy_addr":"127.0.0.1:9000","obfuscation":{"i1":"<t>"}}"#;
    let profile = Profile::from_json(json).unwrap();
    let cbor = profile.to_cbor().unwrap();
    let link = profile.to_link().unwrap();
    let printed = [&**cbor, b"\n"].concat();
    let pasted = format!("\n {}\r\n", link.replace("pnq", "PNQ"));
    for bytes in [
        &json[..],
        &cbor,
        &printed,
        link.as_bytes(),
        pasted.as_bytes(),
    ] {
        assert_eq!(
            Profile::from_file(bytes).unwrap(),
            (profile.clone(), Vec::new())
        );
    }
    for (bytes, is_as) in [
        (&b""[..], "Json"),
        (b"\n", "Json"),
        (b"owABAm4", "Json"),
        (b"\xa3\x00", "Cbor"),
        (b"\xa1\x00\x01\n\n", "Cbor"),
        (b"pnq://!", "Link"),
        (b"pnq://\xff", "Link"),
        (b"PNQ://", "Link"),
    ] {
        let error = Profile::from_file(bytes).unwrap_err();
        assert!(
            format!("{error:?}").starts_with(is_as),
            "{bytes:?}: {error:?}"
        );
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn keys_that_are_ignored_are_told() {
    let text = r#"{"nam":"x","quic":{"max_paket_size":1,"Keepalive":"5s"},"y":{"jc":1},
        "obfuscation":{"I6":"<t>"}}"#;
    let (profile, unknown) = Profile::from_json_with_unknown(text.as_bytes()).unwrap();
    assert_eq!(profile.quic.keepalive, Nanos::from_secs(5));
    let told = unknown.iter().map(|key| (key.within, key.key.as_str()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("", "nam"),
            ("quic", "max_paket_size"),
            ("", "y"),
            ("obfuscation", "I6")
        ]
    );
    assert!(unknown[0].known.contains(&"name") && unknown[1].known.contains(&"max_packet_size"));
    let many: Vec<String> = (0..1000).map(|n| format!("\"k{n}\":0")).collect();
    let many = format!("{{{}}}", many.join(","));
    let (_, unknown) = Profile::from_json_with_unknown(many.as_bytes()).unwrap();
    assert_eq!(unknown.len(), UNKNOWN_KEYS_MAX);
}

#[test]
fn streams_of_datagrams_are_announced_in_every_format() {
    let text = r#"{"proxy_addr":"h:1","obfuscation":{"i1":"<t>"},"sansbox_udp":true}"#;
    let (profile, unknown) = Profile::from_json_with_unknown(text.as_bytes()).unwrap();
    assert!(profile.sansbox_udp && unknown.is_empty());
    assert!(profile.client().unwrap().settings.shared.has_datagrams);
    assert_eq!(
        Profile::from_link(&profile.to_link().unwrap()),
        Ok(profile.clone())
    );
    assert!(profile.for_clients().sansbox_udp);
    let cbor = profile.to_cbor().unwrap();
    assert!(cbor.ends_with(b"\x19\x03\xe9\xf5"), "{cbor:x?}");
    assert_eq!(Profile::from_cbor(&cbor), Ok(profile.clone()));
    let without = Profile {
        sansbox_udp: false,
        ..profile
    };
    assert!(!without.client().unwrap().settings.shared.has_datagrams);
    assert!(
        !without.to_cbor().unwrap().contains(&0xe9),
        "what a Go peer has is as it was"
    );
}
