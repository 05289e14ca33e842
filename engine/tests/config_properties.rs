//! What holds for every input.
use proptest::prelude::*;
use sansbox_engine::config::{ERRORS_MAX, ReadOptions, Sources, format, merge, read};

/// Pieces that configurations are made of, so that random text gets somewhere.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e3",
    "80.0",
    "\"a\"",
    "\"\"",
    "\"5s\"",
    "\"tcp\"",
    "\"::1\"",
    "\"0x7\"",
    "// c\n",
    "/* c */",
    "# c\n",
    " ",
    "\n",
    "\"log\":",
    "\"level\":",
    "\"inbounds\":",
    "\"outbounds\":",
    "\"type\":",
    "\"socks\"",
    "\"direct\"",
    "\"selector\"",
    "\"tag\":",
    "\"users\":",
    "\"route\":",
    "\"rules\":",
    "\"port\":",
    "\"domain\":",
    "\"action\":",
    "\"reject\"",
    "\"logical\"",
    "\"mode\":",
    "\"and\"",
    "\"outbound\":",
    "\"detour\":",
    "\"headers\":",
    "\"listen\":",
    "\"dns\":",
    "\"\\ud83d\"",
    "\"udp_timeout\":",
    "\"network\":",
    "\"paniq\"",
    "\"profile\":",
    "\"profile_path\":",
    "\"link\":",
    "\"pnq://ogABCKEMYzx0Pg\"",
    "\"obfuscation\":",
    "\"i1\":",
    "\"<t>\"",
    "\"quic\":",
    "\"tun\"",
    "\"address\":",
    "\"10.0.0.1/8\"",
    "\"fd00::1/64\"",
    "\"include_uid\":",
    "\"include_uid_range\":",
    "\"1:2\"",
    "\"sansbox\":",
    "\"egress_mtu\":",
    "\"auto_redirect\":",
    "\u{fffd}",
    "\u{1}",
    "'",
];

/// JSON-like values with keys and words that mean something.
fn json() -> impl Strategy<Value = String> {
    let words = PIECES
        .iter()
        .filter(|p| p.ends_with('"') || p.parse::<f64>().is_ok() || **p == "null" || **p == "true");
    let leaf = prop::sample::select(words.copied().collect::<Vec<_>>()).prop_map(str::to_owned);
    let keys: Vec<&str> = PIECES
        .iter()
        .copied()
        .filter(|p| p.ends_with(':'))
        .collect();
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let member = (prop::sample::select(keys.clone()), inner.clone())
            .prop_map(|(key, value)| format!("{key} {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(member, 0..6)
                .prop_map(|members| format!("{{{}}}", members.join(", "))),
        ]
    })
}

/// An object that begins with one of `types` and has some of `keys`, whatever their values.
fn object(
    types: &'static [&'static str],
    keys: &'static [&'static str],
) -> impl Strategy<Value = String> {
    (
        prop::sample::select(types),
        prop::collection::vec((prop::sample::select(keys), json()), 0..3),
    )
        .prop_map(|(head, members)| {
            let members = members
                .into_iter()
                .map(|(key, value)| format!(", {key:?}: {value}"));
            format!("{{{head}{}}}", members.collect::<String>())
        })
}

/// Inbounds of types that have more than listen keys.
fn paniq_or_tun() -> impl Strategy<Value = String> {
    let paniq = object(
        &[
            r#""type": "paniq", "profile": {"obfuscation": {"i1": "<t>"}}"#,
            r#""type": "paniq", "profile": {"obfuscation": {"i1": "<t>"}, "quic": {"max_payload": 1200}}"#,
        ],
        &[
            "profile",
            "Profile",
            "listen_port",
            "allow_private",
            "profile_path",
        ],
    );
    let tun = object(
        &[
            r#""type": "tun", "address": "10.0.0.1/8""#,
            r#""type": "tun", "address": ["fd00::1/64", "10.0.0.1/8"], "auto_route": true"#,
        ],
        &[
            "address",
            "Route_Address",
            "include_uid",
            "exclude_uid_range",
            "mtu",
            "udp_timeout",
            "stack",
            "sansbox",
            "gso",
            "strict_route",
        ],
    );
    prop_oneof![paniq, tun]
}

/// A configuration that mostly reads.
fn likely() -> impl Strategy<Value = String> {
    let value = json();
    let inbound = object(
        &[r#""type": "socks""#, r#""type": "direct""#],
        &[
            "listen",
            "listen_port",
            "users",
            "udp_timeout",
            "routing_mark",
            "network",
        ],
    );
    let rule = object(
        &[r#""action": "reject""#, r#""outbound": "0""#],
        &[
            "port",
            "domain",
            "network",
            "invert",
            "inbound",
            "ip_is_private",
            "type",
            "rules",
        ],
    );
    (
        prop::collection::vec(prop_oneof![inbound, paniq_or_tun()], 0..3),
        prop::collection::vec(rule, 0..3),
        prop::option::of(value),
    )
        .prop_map(|(inbounds, rules, log)| {
            let log = log.map_or(String::new(), |log| format!("\"log\": {log}, "));
            format!(
                r#"{{{log}"inbounds": [{}], "outbounds": [{{"type": "direct"}}],
                   "route": {{"rules": [{}]}}}}"#,
                inbounds.join(", "),
                rules.join(", ")
            )
        })
}

/// Reads in every way; whatever comes out must be in bounds and can be shown.
fn read_all(text: &[u8]) {
    let sources = Sources::single("a", text);
    let two = Sources::new(vec![
        ("a".into(), text.to_vec()),
        (
            "b".into(),
            br#"{"log": {}, "outbounds": [{"type": "direct"}]}"#.to_vec(),
        ),
    ]);
    for sources in [&sources, &two] {
        for lenient in [false, true] {
            match read(sources, &ReadOptions { lenient }) {
                Ok((_, warnings)) => {
                    assert!(warnings.len() <= ERRORS_MAX);
                    for warning in warnings {
                        assert!(!warning.path.is_empty());
                        assert!(warning.render(sources).contains('^'));
                    }
                }
                Err(errors) => {
                    assert!((1..=ERRORS_MAX).contains(&errors.len()));
                    for error in errors {
                        let shown = error.render(sources);
                        assert!(shown.contains('^'), "{shown}");
                        let length = sources.file(error.span).expect("a file").bytes().len();
                        assert!(error.span.start <= error.span.end);
                        assert!(error.span.end as usize <= length);
                    }
                }
            }
        }
        let _ = merge(sources);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&text);
    }

    #[test]
    fn no_pieces_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        read_all(pieces.concat().as_bytes());
    }

    #[test]
    fn no_json_panics(text in json()) {
        read_all(text.as_bytes());
    }

    #[test]
    fn what_format_writes_it_writes_again_and_means_the_same(text in likely()) {
        let sources = Sources::single("a", text.clone());
        if let Ok(written) = format(&sources.files()[0]) {
            let again = Sources::single("a", written.clone());
            let rewritten = format(&again.files()[0]);
            prop_assert_eq!(rewritten.as_deref(), Ok(&*written));
            let options = ReadOptions { lenient: true };
            let (before, after) = (read(&sources, &options), read(&again, &options));
            prop_assert_eq!(before.is_ok(), after.is_ok());
            if let (Ok((before, _)), Ok((after, _))) = (before, after) {
                prop_assert_eq!(before.inbounds.len(), after.inbounds.len());
                for (before, after) in before.inbounds.iter().zip(&after.inbounds) {
                    prop_assert_eq!(&before.listen, &after.listen);
                    prop_assert_eq!(&before.kind, &after.kind);
                }
            }
        }
        read_all(text.as_bytes());
    }

    #[test]
    fn a_prefix_of_an_object_is_never_a_configuration(text in likely(), cut in 0.0..1.0) {
        let length = text.trim_end().len();
        let mut at = (length as f64 * cut) as usize;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let sources = Sources::single("a", &text.as_bytes()[..at]);
        prop_assert!(format(&sources.files()[0]).is_err());
    }
}
