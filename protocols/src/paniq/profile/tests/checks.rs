//! What is refused, why, and under which name.
use super::*;
use crate::paniq::transport::Counting;
use std::time::Duration;

/// 2027-01-15T08:00:00Z.
const NOW: u64 = 1_800_000_000;

type Change = fn(&mut Profile);

/// What is said of a good profile after `change`, of the server's side or the client's.
fn refusal(is_server: bool, change: Change) -> String {
    let mut profile = good();
    if !is_server {
        profile = profile.for_clients();
    }
    change(&mut profile);
    let error = match is_server {
        true => profile.server(NOW).map(|_| ()),
        false => profile.client().map(|_| ()),
    };
    match error {
        Ok(()) => "good".to_owned(),
        Err(Invalid(problems)) => {
            assert!(!problems.is_empty());
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            lines.join(" | ")
        }
    }
}

const FOR_BOTH: &[(Change, &str)] = &[
    (|_| {}, "good"),
    (
        |p| p.obfuscation.jc = -1,
        "obfuscation.jc: must not be negative",
    ),
    (
        |p| p.obfuscation.s[2] = -1,
        "obfuscation.s3: must not be negative",
    ),
    (
        |p| p.obfuscation.i[1] = "<r -1>".to_owned(),
        "obfuscation.i2: the length is negative (at octet 0)",
    ),
    (
        |p| p.obfuscation.i[4] = "abc".to_owned(),
        "obfuscation.i5: the signature has no octets: the handshake could never finish",
    ),
    (
        |p| p.obfuscation.i[4] = "<rc 0>".to_owned(),
        "obfuscation.i5: the signature has no octets: the handshake could never finish",
    ),
    (
        |p| p.obfuscation.i[0] = "<t><d>".to_owned(),
        "obfuscation.i1: <d> and <ds> have no meaning in a signature, and a Go client dies of \
             them",
    ),
    (
        |p| p.obfuscation.jmin = 0,
        "obfuscation.jmin: must be above 0 when jc is: else no junk is sent and the server \
             waits for it",
    ),
    (
        |p| p.obfuscation.h = ["5", "1-9", "20", "30"].map(str::to_owned),
        "obfuscation.h2: must not overlap h1",
    ),
    (
        |p| p.obfuscation.s[0] = 2840 - 104,
        "obfuscation.s1: a datagram of 2841 bytes: more than twice quic.max_packet_size is \
             cut off",
    ),
    (
        |p| p.obfuscation.i[2] = "<r 2841>".to_owned(),
        "obfuscation.i3: a datagram of 2841 bytes: more than twice quic.max_packet_size is \
             cut off",
    ),
    (|p| p.obfuscation.s[0] = 2840 - 105, "good"),
    (
        |p| {
            p.quic.max_packet_size = 1248;
            p.obfuscation.s[3] = 43;
        },
        "quic.max_packet_size: leaves less than the 1200 bytes that a QUIC packet needs",
    ),
    (
        |p| p.quic.max_packet_size = 65_508,
        "quic.max_packet_size: must be at most 65507",
    ),
    (
        |p| p.quic.max_payload = 1199,
        "quic.max_payload: must be >= 1200",
    ),
    (
        |p| p.quic.max_payload = -1,
        "transport_padding.pad_min: exceeds the headroom of 0 bytes: \
             lower it, s4 or quic.max_payload, or raise quic.max_packet_size",
    ),
    (
        |p| p.quic.max_streams = 1 << 32,
        "quic.max_streams: must be at most 4294967295",
    ),
    (
        |p| p.transport_padding.pad_max = Some(70_000),
        "transport_padding.pad_max: must be at most 65507",
    ),
    (
        |p| p.transport_padding.pad_burst_prob = Some(f64::NAN),
        "transport_padding.pad_burst_prob: must be between 0 and 1",
    ),
    (
        |p| {
            p.transport_padding.pad_burst_prob = Some(-0.1);
            p.obfuscation.jc = -1;
        },
        "obfuscation.jc: must not be negative | transport_padding.pad_burst_prob: must be \
             between 0 and 1",
    ),
];

#[test]
fn both_sides_refuse_what_cannot_work() {
    for (change, expected) in FOR_BOTH {
        for is_server in [false, true] {
            assert_eq!(refusal(is_server, *change), *expected);
        }
    }
}

const FOR_CLIENTS: &[(Change, &str)] = &[
    (
        |p| p.obfuscation.server_private_key = Some(PrivateKey::new([1; 32])),
        "obfuscation.server_private_key: the server's private key has no place in a client's \
             profile",
    ),
    (
        |p| p.obfuscation.server_public_key = Some(PublicKey::new([0; 32])),
        "obfuscation.server_public_key: a point of low order: no handshake succeeds with it",
    ),
    (
        |p| p.obfuscation = Obfuscation::default(),
        "obfuscation: required",
    ),
    (
        |p| {
            let key = p.obfuscation.server_public_key.take();
            p.obfuscation = Obfuscation {
                server_public_key: key,
                ..Obfuscation::default()
            };
        },
        "good",
    ),
    (|p| p.proxy_addr.clear(), "proxy_addr: required"),
    (
        |p| p.proxy_addr = "host".to_owned(),
        "proxy_addr: must be host:port",
    ),
    (
        |p| p.proxy_addr = ":9000".to_owned(),
        "proxy_addr: must be host:port",
    ),
    (
        |p| p.proxy_addr = "h:0".to_owned(),
        "proxy_addr: must be host:port",
    ),
    (
        |p| p.proxy_addr = "h:+1".to_owned(),
        "proxy_addr: must be host:port",
    ),
    (
        |p| p.proxy_addr = "::1:9000".to_owned(),
        "proxy_addr: must be host:port",
    ),
    (|p| p.proxy_addr = "[::1]:9000".to_owned(), "good"),
    (
        |p| p.preamble_delay_ms = 2000,
        "preamble_delay_ms: the pauses of a preamble take 8000 ms, longer than \
             handshake_timeout",
    ),
    (
        |p| p.handshake_attempts = i64::MAX,
        "handshake_attempts: must be at most 4294967295",
    ),
    // What only a server reads.
    (|p| p.obfuscation.rate_limit_pps = 1, "good"),
];

#[test]
fn a_client_refuses_what_is_not_for_it() {
    for (change, expected) in FOR_CLIENTS {
        let set_jc: Change = |p| p.obfuscation.jc = p.obfuscation.jc.min(3);
        let mut profile = good().for_clients();
        set_jc(&mut profile);
        change(&mut profile);
        let said = profile.client().map_or_else(
            |Invalid(problems)| problems[0].to_string(),
            |_| "good".to_owned(),
        );
        assert_eq!(said, *expected);
    }
}

const FOR_SERVERS: &[(Change, &str)] = &[
    (
        |p| p.obfuscation.rate_limit_burst = 4,
        "obfuscation.rate_limit_burst: 4 is less than the 5 datagrams of one preamble",
    ),
    (|p| p.obfuscation.rate_limit_burst = 5, "good"),
    // Five, when nothing is said.
    (
        |p| {
            p.obfuscation.rate_limit_burst = 0;
            p.obfuscation.jc = 4;
        },
        "obfuscation.rate_limit_burst: 5 is less than the 6 datagrams of one preamble",
    ),
    (
        |p| {
            p.obfuscation.rate_limit_burst = 0;
            p.obfuscation.rate_limit_pps = 0;
            p.obfuscation.jc = 4;
        },
        "good",
    ),
    (
        |p| p.obfuscation.rate_limit_pps = 1_000_000_001,
        "obfuscation.rate_limit_pps: must be at most 1000000000",
    ),
    (
        |p| p.obfuscation.signature_validate = Some(false),
        "obfuscation.require_timestamp: needs signature_validate: else no time is looked at",
    ),
    (
        |p| {
            p.obfuscation.signature_validate = Some(false);
            p.obfuscation.require_timestamp = Some(false);
        },
        "good",
    ),
    (
        |p| p.obfuscation.server_private_key = None,
        "obfuscation.require_encrypted_timestamp: needs server_private_key",
    ),
    (
        |p| {
            p.obfuscation.require_encrypted_timestamp = None;
            p.obfuscation.i[0] = "<r 5>".to_owned();
        },
        "obfuscation.require_timestamp: needs <t> in a signature chain, or \
             require_encrypted_timestamp",
    ),
    (|p| p.obfuscation.i[0] = "<r 5>".to_owned(), "good"),
    (
        |p| {
            let private = p.obfuscation.server_private_key.take();
            p.obfuscation = Obfuscation {
                server_private_key: private,
                require_timestamp: Some(false),
                ..Obfuscation::default()
            };
        },
        "obfuscation: required: give at least one of jc, s1-s4, h1-h4, i1-i5",
    ),
    (
        |p| p.obfuscation.legacy_mode_enabled = Some(true),
        "obfuscation.legacy_mode_enabled: needs legacy_mode_sunset or legacy_mode_max_days",
    ),
    (
        |p| {
            p.obfuscation.legacy_mode_enabled = Some(true);
            p.obfuscation.legacy_mode_sunset = "2027-01-15".to_owned();
        },
        "obfuscation.legacy_mode_sunset: is over: turn legacy_mode_enabled off",
    ),
    (
        |p| {
            p.obfuscation.legacy_mode_enabled = Some(true);
            p.obfuscation.legacy_mode_sunset = "2027-01-15T10:00:00+02:00".to_owned();
        },
        "good",
    ),
    (
        |p| p.obfuscation.legacy_mode_sunset = "tomorrow".to_owned(),
        "obfuscation.legacy_mode_sunset: must be YYYY-MM-DD, or a time of RFC 3339",
    ),
    (
        |p| p.obfuscation.legacy_mode_sunset = "2027-02-30".to_owned(),
        "obfuscation.legacy_mode_sunset: must be YYYY-MM-DD, or a time of RFC 3339",
    ),
    // What only a client reads.
    (
        |p| {
            p.proxy_addr.clear();
            p.preamble_delay_ms = 100_000;
            p.handshake_attempts = i64::MAX;
        },
        "good",
    ),
];

#[test]
fn a_server_refuses_what_lets_nobody_in() {
    for (change, expected) in FOR_SERVERS {
        let mut profile = good();
        profile.obfuscation.jc = 3;
        change(&mut profile);
        let said = profile.server(NOW).map_or_else(
            |Invalid(problems)| problems[0].to_string(),
            |_| "good".to_owned(),
        );
        assert_eq!(said, *expected);
    }
}

#[test]
fn what_is_missing_has_its_default() {
    let text = r#"{"proxy_addr":"h:1","obfuscation":{"i1":"<t>"}}"#;
    let profile = json(text).unwrap();
    let client = profile.client().unwrap();
    let settings = &client.settings;
    assert_eq!((settings.attempts, settings.delay), (3, Duration::ZERO));
    assert!(settings.server_key.is_none() && !settings.encrypted_timestamp);
    let shared = &settings.shared;
    let seconds = Duration::from_secs;
    assert_eq!(shared.handshake_timeout, seconds(5));
    assert_eq!(
        (shared.keepalive, shared.idle_timeout),
        (seconds(20), seconds(120))
    );
    assert_eq!(
        (shared.max_streams, shared.counting),
        (256, Counting::default())
    );
    let padding = &shared.padding;
    assert_eq!(
        (padding.min(), padding.max(), padding.burst()),
        (0, 64, (128, 256))
    );
    assert_eq!(padding.burst_prob(), 0.02);
    let budget = &shared.budget;
    assert_eq!(
        (budget.packet_len_max(), budget.inner_len_max()),
        (1350, 1344)
    );
    assert_eq!((budget.head_len(), budget.headroom()), (6, 0));
    let clamped = |field: &str| Warning {
        field: format!("transport_padding.{field}"),
        kind: WarningKind::ClampedTo { headroom: 0 },
    };
    assert_eq!(
        client.warnings,
        [clamped("pad_max"), clamped("pad_burst_max")]
    );
    let server = profile.server(NOW).unwrap().settings;
    assert_eq!(server.shared, *shared);
    assert!(server.private_key.is_none() && !server.encrypted_timestamp);
    assert!(server.signature_validate && server.require_timestamp);
    assert!(!server.require_encrypted_timestamp);
    assert_eq!(
        (server.skew_soft, server.skew_hard),
        (seconds(15), seconds(30))
    );
    assert_eq!(
        (server.replay_window, server.replays_max),
        (seconds(30), 4096)
    );
    assert_eq!((server.rate_limit, server.legacy_until), (None, None));
}

#[test]
fn zero_and_less_stand_for_the_default() {
    let zero = json(r#"{"proxy_addr":"h:1","obfuscation":{"i1":"<t>"}}"#).unwrap();
    let less = json(
        r#"{"proxy_addr":"h:1","handshake_timeout":"-1s","handshake_attempts":-1,
        "preamble_delay_ms":-1,"preamble_jitter_ms":-1,"quic":{"max_packet_size":-1,
        "max_payload":-1,"keepalive":"-1s","idle_timeout":"-1s","max_streams":-1},
        "obfuscation":{"i1":"<t>","skew_soft_seconds":-1,"skew_hard_seconds":-1,
        "replay_window_seconds":-1,"replay_cache_size":-1,"rate_limit_pps":-1,
        "rate_limit_burst":-1,"legacy_mode_max_days":-1}}"#,
    )
    .unwrap();
    assert_eq!(less.client(), zero.client());
    assert_eq!(less.server(NOW), zero.server(NOW));
}

#[test]
fn the_legacy_mode_ends_at_its_sunset_or_after_its_days() {
    let mut profile = good();
    let until = |profile: &Profile| profile.server(NOW).unwrap().settings.legacy_until;
    profile.obfuscation.legacy_mode_max_days = 2;
    assert_eq!(until(&profile), None, "it is not on");
    profile.obfuscation.legacy_mode_enabled = Some(true);
    assert_eq!(until(&profile), Some(NOW + 2 * 86_400));
    for (text, expected) in [
        ("2027-01-16", 1_800_057_600),
        ("2027-01-15T08:00:01Z", NOW + 1),
        ("2027-01-15T08:00:01.5Z", NOW + 1),
    ] {
        profile.obfuscation.legacy_mode_sunset = text.to_owned();
        assert_eq!(until(&profile), Some(expected), "{text}");
    }
}

#[test]
fn keys_that_do_not_belong_together_are_only_odd() {
    let mut profile = good();
    profile.obfuscation.server_public_key = Some(PublicKey::new([9; 32]));
    let warnings = profile.server(NOW).unwrap().warnings;
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert_eq!(warning.kind, WarningKind::OtherKey);
    assert!(
        warning
            .to_string()
            .starts_with("obfuscation.server_public_key: not the public key")
    );
}

#[test]
fn a_server_without_a_key_is_only_odd() {
    let mut profile = good();
    profile.obfuscation.server_private_key = None;
    profile.obfuscation.require_encrypted_timestamp = None;
    let warnings = profile.server(NOW).unwrap().warnings;
    let kinds: Vec<_> = warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, [WarningKind::NoKey]);
    assert_eq!(warnings[0].field, "obfuscation.server_private_key");
}

#[test]
fn points_of_low_order_are_known() {
    // RFC 7748 section 6.1 and https://cr.yp.to/ecdh.html: zero, one, and the points of order 8.
    let mut one = [0; 32];
    one[0] = 1;
    let order_8 = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ];
    for point in [[0; 32], one, order_8] {
        assert!(PublicKey::new(point).is_low_order());
    }
    assert!(!PublicKey::new([9; 32]).is_low_order());
}
