//! `cbor.json`, and what of the other files is about profiles.
use super::{list, octets, size, text, vectors};
use sansbox_protocols::paniq::{
    obf::{Field, ParamsProblem},
    profile::{
        BadKey, CborReason, EncodeError, Obfuscation, Padding, Profile, PublicKey, Quic, Reason,
        Warning, WarningKind,
    },
};
use serde_json::Value;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn error<'a>(case: &'a Value, key: &str) -> Option<&'a str> {
    case.get(key).map(|error| error.as_str().unwrap())
}

/// What Go encodes otherwise: number of the case, why, and how what we write ends. The beginning
/// is the same, but for the number of fields.
const ENCODED_OTHERWISE: [(usize, &str, &str); 4] = [
    (
        0,
        "Go leaves out pad_burst_prob 0.02, the default, and reads it back as 0",
        "09a501100218600318600418 6805fb3f947ae147ae147b",
    ),
    (
        3,
        "Go leaves out all of the padding, and reads back the default with its bursts",
        "09a501000218400300040005fb3f947ae147ae147b",
    ),
    (
        4,
        "Go leaves out pad_min 0, no padding at all, and reads back the default",
        "09a501000200030004000 5f90000",
    ),
    (
        5,
        "all five fields are written here when one is given",
        "09a501000200030004080 5f93800",
    ),
];

#[test]
fn profiles_are_encoded_as_in_go() {
    let file = vectors("cbor.json");
    let mut differed = Vec::new();
    for (n, case) in list(&file, "encode").iter().enumerate() {
        let profile = Profile::from_json(text(case, "json").as_bytes()).unwrap();
        let ours = profile.to_cbor();
        if error(case, "error").is_some() {
            assert_eq!(ours, Err(EncodeError::ProxyAddrMissing), "{n}");
            continue;
        }
        if error(case, "decode_error").is_some() {
            // Go writes a number of which it then says that it overflows.
            let negative = EncodeError::Negative("obfuscation.jc".to_owned());
            assert_eq!(ours, Err(negative), "{n}");
            continue;
        }
        let ours = ours.unwrap();
        let again = Profile::from_cbor(&ours).unwrap();
        assert_eq!(
            again.transport_padding,
            profile.transport_padding.completed()
        );
        assert_eq!(*again.to_cbor().unwrap(), *ours, "{n}: canonical");
        let (ours, theirs) = (hex(&ours), text(case, "cbor"));
        match ENCODED_OTHERWISE.iter().find(|(case, ..)| *case == n) {
            None => assert_eq!(ours, theirs, "{n}"),
            Some((_, why, ours_end)) => {
                let ours_end = ours_end.replace(' ', "");
                assert_ne!(ours, theirs, "{n}: {why}");
                assert!(ours.ends_with(&ours_end), "{n}: {ours}");
                let start = ours.strip_suffix(&ours_end).unwrap();
                assert!(
                    theirs.get(2..).unwrap().starts_with(&start[2..]),
                    "{n}: {ours}"
                );
                differed.push(n);
            }
        }
    }
    assert_eq!(differed, ENCODED_OTHERWISE.map(|(n, ..)| n));
}

#[test]
fn json_is_written_as_in_go() {
    for case in list(&vectors("cbor.json"), "encode") {
        let Some(decoded) = error(case, "decoded") else {
            continue;
        };
        let profile = Profile::from_cbor(&octets(case, "cbor")).unwrap();
        // Go escapes what HTML would take for a tag; any reader reads both.
        let ours = profile
            .to_json()
            .replace('<', "\\u003c")
            .replace('>', "\\u003e");
        assert_eq!(ours, decoded);
    }
}

#[test]
fn cbor_is_decoded_as_in_go() {
    for case in list(&vectors("cbor.json"), "decode") {
        let hex = text(case, "cbor");
        let ours = Profile::from_cbor(&octets(case, "cbor"));
        let Some(error) = error(case, "error") else {
            let ours: Value = serde_json::from_str(&ours.unwrap().to_json()).unwrap();
            let theirs: Value = serde_json::from_str(text(case, "json")).unwrap();
            assert_eq!(ours, theirs, "{hex}");
            continue;
        };
        let ours = ours.unwrap_err();
        let theirs = match error {
            "cbor profile missing version" => CborReason::VersionMissing,
            "unsupported cbor profile version 2" => CborReason::Version(2),
            "unexpected EOF" => CborReason::Truncated,
            "obfuscation: server_private_key: expected bytes" => {
                assert_eq!(ours.path, "obfuscation.server_private_key");
                CborReason::Type("a byte string")
            }
            _ if error.starts_with("cbor: 1 bytes of extraneous data") => CborReason::Trailing(1),
            _ if error.starts_with("cbor: cannot unmarshal array") => CborReason::Type("a map"),
            _ => panic!("an error nobody knows: {error}"),
        };
        assert_eq!(ours.reason, theirs, "{hex}");
    }
}

#[test]
fn padding_resolves_as_in_go() {
    for case in list(&vectors("envelope.json"), "padding_resolve") {
        let json = format!("{{\"transport_padding\":{}}}", text(case, "json"));
        let profile = Profile::from_json(json.as_bytes()).unwrap();
        let ours = profile.transport_padding.resolve();
        let Some(error) = error(case, "error") else {
            let (ours, policy) = (ours.unwrap(), &case["policy"]);
            let (burst_min, burst_max) = ours.burst();
            for (ours, key) in [
                (ours.min(), "Min"),
                (ours.max(), "Max"),
                (burst_min, "BurstMin"),
                (burst_max, "BurstMax"),
            ] {
                assert_eq!(ours, size(policy, key), "{json}");
            }
            assert_eq!(
                Some(ours.burst_prob()),
                policy["BurstProb"].as_f64(),
                "{json}"
            );
            assert_eq!(Some(ours.is_enabled()), case["enabled"].as_bool(), "{json}");
            continue;
        };
        let problems = ours.unwrap_err();
        let (field, reason) = match error {
            "pad_max must be >= pad_min" => ("pad_max", Reason::Below("pad_min")),
            "pad_burst_max must be >= pad_burst_min" => {
                ("pad_burst_max", Reason::Below("pad_burst_min"))
            }
            "pad_burst_max must be > 0 when pad_burst_prob > 0" => {
                ("pad_burst_max", Reason::BurstWithoutLength)
            }
            "pad_burst_prob must be between 0 and 1" => ("pad_burst_prob", Reason::NoProbability),
            "padding values must be >= 0" => ("pad_min", Reason::Negative),
            _ => panic!("an error nobody knows: {error}"),
        };
        let [ours] = problems.as_slice() else {
            panic!("{json}: {problems:?}");
        };
        assert_eq!(ours.field, format!("transport_padding.{field}"));
        assert_eq!(ours.reason, reason, "{json}");
    }
}

/// A profile that a client can use.
fn usable() -> Profile {
    Profile {
        proxy_addr: "192.0.2.1:9000".to_owned(),
        obfuscation: Obfuscation {
            server_public_key: Some(PublicKey::new([9; 32])),
            ..Obfuscation::default()
        },
        transport_padding: Padding {
            pad_min: Some(0),
            ..Padding::default()
        },
        ..Profile::default()
    }
}

/// The only thing that is wrong with `profile`, in a client's eyes.
fn only_problem(profile: &Profile) -> (String, Reason) {
    let problems = profile.client().unwrap_err().0;
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    (problem.field.clone(), problem.reason)
}

/// Cases that Go accepts: it sends no junk then, and its server waits for it forever.
const REFUSED_HERE: [(usize, Field); 2] = [(5, Field::Jmin), (6, Field::Jmax)];

#[test]
fn parameters_are_checked_as_in_go() {
    let mut refused = Vec::new();
    for (n, case) in list(&vectors("obf.json"), "config_validate")
        .iter()
        .enumerate()
    {
        let config = &case["config"];
        let number = |key: &str| config[key].as_i64().unwrap();
        let mut profile = usable();
        let obfuscation = &mut profile.obfuscation;
        (obfuscation.jc, obfuscation.jmin) = (number("Jc"), number("Jmin"));
        obfuscation.jmax = number("Jmax");
        obfuscation.s = ["S1", "S2", "S3", "S4"].map(number);
        let field = |field: Field| format!("obfuscation.{field}");
        let (jc, negative) = (number("Jc"), Reason::Params(ParamsProblem::Negative));
        if let Some((_, wrong)) = REFUSED_HERE.iter().find(|(case, _)| *case == n) {
            assert!(jc > 0 && error(case, "error").is_none());
            let reason = Reason::Params(ParamsProblem::NoJunkLength);
            assert_eq!(only_problem(&profile), (field(*wrong), reason), "{n}");
            refused.push(n);
            continue;
        }
        let theirs = match error(case, "error") {
            None => {
                let client = profile.client().unwrap().settings;
                assert_eq!(client.shared.params.jc(), size(case, "junk_sent"), "{n}");
                continue;
            }
            Some("jc must be non-negative") => (field(Field::Jc), negative),
            Some("jmin/jmax must be non-negative") => (field(Field::Jmin), negative),
            Some("jmin must be <= jmax") => {
                (field(Field::Jmin), Reason::Params(ParamsProblem::AboveJmax))
            }
            Some("s1-s4 must be non-negative") => {
                let at = (1..).zip(obfuscation.s).find(|(_, s)| *s < 0).unwrap().0;
                (field(Field::S(at)), negative)
            }
            Some(error) => panic!("an error nobody knows: {error}"),
        };
        assert_eq!(only_problem(&profile), theirs, "{n}");
    }
    assert_eq!(refused, REFUSED_HERE.map(|(n, _)| n));
}

#[test]
fn packets_have_the_sizes_of_go() {
    for case in list(&vectors("proxy.json"), "quic_sizing") {
        let number = |key: &str| case[key].as_i64().unwrap();
        let mut profile = usable();
        profile.quic = Quic {
            max_packet_size: number("max_packet_size"),
            max_payload: number("max_payload"),
            ..Quic::default()
        };
        profile.obfuscation.s[3] = number("s4");
        profile.obfuscation.transport_replay = case["transport_replay"].as_bool().unwrap();
        profile.transport_padding = Padding {
            pad_min: Some(number("pad_min")),
            pad_max: Some(number("pad_min")),
            ..Padding::default()
        };
        let Some(error) = error(case, "error") else {
            let budget = profile.client().unwrap().settings.shared.budget;
            assert_eq!(budget.inner_len_max(), size(case, "initial_packet_size"));
            assert_eq!(case["disable_pmtud"].as_bool(), Some(true));
            continue;
        };
        let (field, reason) = only_problem(&profile);
        let error = error.strip_prefix("invalid config: ").unwrap();
        let is_same = match (field.as_str(), reason) {
            ("quic.max_packet_size", Reason::BudgetTooSmall) => {
                error == "max_packet_size too small for QUIC payload budget"
            }
            ("quic.max_payload", Reason::PayloadTooSmall) => {
                error == "quic max_payload must be >= 1200"
            }
            ("quic.max_payload", Reason::PayloadAboveBudget) => {
                error == "quic max_payload exceeds transport payload budget"
            }
            ("quic.max_payload", Reason::AtMost(1452)) => {
                error == "quic max_payload must be <= 1452"
            }
            ("transport_padding.pad_min", Reason::AboveHeadroom(0)) => {
                error.starts_with("transport padding pad_min exceeds headroom (1 > 0)")
            }
            _ => false,
        };
        assert!(is_same, "{error}: {field}: {reason}");
    }
}

#[test]
fn profiles_that_go_worked_with_are_taken_by_both_sides() {
    let file = vectors("transcripts_random_profiles.json");
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 16);
    for case in cases {
        let json = case["profile"].to_string();
        let profile = Profile::from_json(json.as_bytes()).unwrap();
        let now = case["wall_unix_start"].as_f64().unwrap() as u64;
        let server = profile.server(now).unwrap();
        // The counter that was switched on afterwards took some of the room for padding.
        let is_clamped = |w: &Warning| matches!(w.kind, WarningKind::ClampedTo { .. });
        assert!(server.warnings.iter().all(is_clamped), "{json}");
        assert!(profile.obfuscation.transport_replay || server.warnings.is_empty());
        let link = profile.to_link().unwrap();
        let linked = Profile::from_link(&link).unwrap();
        assert_eq!(linked.obfuscation.server_private_key, None);
        let client = linked.client().unwrap();
        assert_eq!(client.settings.shared, server.settings.shared, "{json}");
        let private = server.settings.private_key.unwrap();
        assert_eq!(client.settings.server_key, Some(private.public()));
        assert_eq!(
            Profile::from_json(profile.to_json().as_bytes()),
            Ok(profile)
        );
    }
}

#[test]
fn keys_of_another_length_are_refused_by_name() {
    // Version, address, and a private key of two bytes.
    let error = Profile::from_cbor(b"\xa3\x00\x01\x02\x61h\x08\xa1\x11\x42\x01\x02").unwrap_err();
    assert_eq!(error.path, "obfuscation.server_private_key");
    assert_eq!(error.reason, CborReason::Key(BadKey::Length(2)));
}
