//! Bytes that nobody meant.
use super::*;
use proptest::prelude::*;

/// Text of all kinds, but short.
const TEXT: &str = ".{0,12}";

fn obfuscation() -> impl Strategy<Value = Obfuscation> {
    let numbers = prop::array::uniform4(0..i64::MAX);
    let texts = prop::array::uniform5(TEXT);
    let switches = prop::array::uniform4(any::<Option<bool>>());
    let keys = any::<(Option<[u8; 32]>, Option<[u8; 32]>)>();
    let rest = any::<(u64, bool, u32)>();
    (numbers, texts, switches, keys, rest).prop_map(|(n, texts, switches, keys, rest)| {
        let [i1, i2, i3, i4, i5] = texts;
        let [validate, require, encrypted, legacy] = switches;
        Obfuscation {
            jc: n[0],
            jmax: n[1],
            s: [n[2], 0, n[3], 1],
            h: [i1.clone(), i2.clone(), String::new(), i5.clone()],
            i: [i1, i2, i3, i4, i5],
            server_private_key: keys.0.map(PrivateKey::new),
            server_public_key: keys.1.map(PublicKey::new),
            signature_validate: validate,
            require_timestamp: require,
            encrypted_timestamp: encrypted,
            legacy_mode_enabled: legacy,
            transport_replay_limit: rest.0,
            transport_replay: rest.1,
            rate_limit_pps: rest.2.into(),
            ..Obfuscation::default()
        }
    })
}

fn profile() -> impl Strategy<Value = Profile> {
    let counts = (1..i64::MAX, 0..i64::MAX, 0..i64::MAX / 1_000_000);
    let padding = (any::<Option<u32>>(), 0.0..1.0, any::<bool>());
    (TEXT, ".{1,12}", counts, padding, obfuscation()).prop_map(
        |(name, proxy_addr, (attempts, payload, millis), (min, prob, sansbox_udp), obfuscation)| {
            Profile {
                name,
                proxy_addr,
                handshake_timeout: Nanos(millis * 1_000_000),
                handshake_attempts: attempts,
                quic: Quic {
                    max_payload: payload,
                    ..Quic::default()
                },
                obfuscation,
                sansbox_udp,
                transport_padding: Padding {
                    pad_min: min.map(i64::from),
                    pad_burst_prob: min.map(|_| prob),
                    ..Padding::default()
                },
                ..Profile::default()
            }
        },
    )
}

/// What CBOR leaves out because it is the default anyway.
fn without_defaults(mut profile: Profile) -> Profile {
    if profile.handshake_attempts == 3 {
        profile.handshake_attempts = 0;
    }
    if profile.handshake_timeout == Nanos::from_secs(5) {
        profile.handshake_timeout = Nanos(0);
    }
    profile.transport_padding = profile.transport_padding.completed();
    profile
}

proptest! {
    #[test]
    fn json_keeps_a_profile(profile in profile()) {
        prop_assert_eq!(json(&profile.to_json()), Ok(profile));
    }

    #[test]
    fn cbor_keeps_a_profile(profile in profile()) {
        let cbor = profile.to_cbor().unwrap();
        prop_assert_eq!(Profile::from_cbor(&cbor), Ok(without_defaults(profile)));
    }

    #[test]
    fn cut_off_cbor_is_refused(profile in profile(), cut in any::<prop::sample::Index>()) {
        let cbor = profile.to_cbor().unwrap();
        prop_assert!(Profile::from_cbor(&cbor[..cut.index(cbor.len())]).is_err());
    }

    #[test]
    fn links_keep_a_client_profile(profile in profile()) {
        let link = profile.to_link().unwrap();
        prop_assert_eq!(Profile::from_link(&link), Ok(without_defaults(profile.for_clients())));
    }

    #[test]
    fn a_changed_byte_is_survived(at in any::<prop::sample::Index>(), byte: u8) {
        let mut cbor = good().to_cbor().unwrap().to_vec();
        let at = at.index(cbor.len());
        cbor[at] = byte;
        if let Ok(profile) = Profile::from_cbor(&cbor) {
            let _ = (profile.client(), profile.server(0), profile.to_cbor());
        }
        let mut text = good().to_json().as_bytes().to_vec();
        let at = at * text.len() / cbor.len();
        text[at] = byte;
        if let Ok(profile) = Profile::from_json(&text) {
            let _ = (profile.client(), profile.server(0), profile.to_cbor());
            prop_assert_eq!(json(&profile.to_json()), Ok(profile));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, text: String) {
        let _ = Profile::from_cbor(&bytes);
        let _ = Profile::from_json(&bytes);
        let _ = Profile::from_link(&format!("pnq://{text}"));
    }
}

#[test]
fn no_length_that_is_only_claimed_takes_memory() {
    // Maps, arrays, texts and byte strings of 2^63 items that are not there.
    for start in [
        &b"\xbb"[..],
        b"\xa1\x63\x9b",
        b"\xa1\x63\xbb",
        b"\xa1\x01\x7b",
        b"\xa1\x63\x5b",
    ] {
        let mut bytes = start.to_vec();
        bytes.extend([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(Profile::from_cbor(&bytes).is_err());
    }
}

#[test]
fn deep_nesting_takes_no_stack() {
    let depth = 1_000_000;
    let mut cbor = b"\xa3\x00\x01\x02\x61h\x18\x63".to_vec();
    cbor.extend(std::iter::repeat_n(0x81, depth));
    cbor.push(0);
    assert_eq!(Profile::from_cbor(&cbor).unwrap().proxy_addr, "h");
    let text = format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json(&text), Ok(Profile::default()));
}
