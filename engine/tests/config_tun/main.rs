//! Configurations with `tun`: what they become, how they are written back, and what is warned of.
#![expect(clippy::indexing_slicing, reason = "a test")]
mod refusals;

use sansbox_engine::{
    config::{
        ReadOptions, Sources, Warning, format, merge,
        model::{Config, InboundKind, Listen, Tun, TunExtras},
        read,
    },
    plan::Plan,
};
use sansbox_stack::{Handshake, icmp::EchoMode, nat::Filtering};
use serde_json::Value;
use std::time::Duration;

fn sources(text: &str) -> Sources {
    Sources::single("c.json", text)
}

#[track_caller]
fn good(text: &str) -> (Config, Vec<Warning>) {
    let sources = sources(text);
    read(&sources, &ReadOptions::default()).unwrap_or_else(|errors| {
        let shown = errors.iter().map(|e| e.render(&sources));
        panic!("{}", shown.collect::<String>())
    })
}

fn tun(config: &Config) -> &Tun {
    let InboundKind::Tun(tun) = &config.inbounds[0].kind else {
        panic!("a tun inbound");
    };
    tun
}

/// A configuration with one tun inbound.
fn with(rest: &str) -> String {
    format!("{{\"inbounds\": [{{\"type\": \"tun\", {rest}}}]}}")
}

/// The same with an address.
fn with_address(rest: &str) -> String {
    with(&format!("\"address\": \"172.19.0.1/30\", {rest}"))
}

#[test]
fn every_key_becomes_a_field() {
    let (config, warnings) = good(&with(
        r#""tag": "t", "interface_name": "tun7", "mtu": 9000,
        "address": ["172.19.0.1/30", "FD00::1/126"], "auto_route": true,
        "iproute2_table_index": 2023, "iproute2_rule_index": 9100, "strict_route": true,
        "route_address": ["10.1.2.3/8", "::/1"], "route_exclude_address": "192.168.0.0/16",
        "include_interface": ["lan0", "lan1"], "include_uid": [0, 1000],
        "include_uid_range": "2000:0x7ff", "exclude_uid": 1001, "exclude_uid_range": ["5:6", "7:7"],
        "udp_timeout": 30, "stack": "gvisor", "endpoint_independent_nat": false,
        "sansbox": {"egress_mtu": 1420, "handshake_mode": "auto", "icmp_echo": "relay",
                    "udp_filtering": "address_dependent"}"#,
    ));
    assert!(warnings.is_empty(), "{warnings:?}");
    let prefixes = |list: &[&str]| list.iter().map(|p| p.parse().expect("a prefix")).collect();
    let expected = Tun {
        interface_name: Some("tun7".to_owned()),
        mtu: Some(9000),
        auto_route: true,
        table: 2023,
        rule: 9100,
        strict_route: true,
        route_address: prefixes(&["10.0.0.0/8", "::/1"]),
        route_exclude_address: prefixes(&["192.168.0.0/16"]),
        include_interface: vec!["lan0".to_owned(), "lan1".to_owned()],
        exclude_interface: Vec::new(),
        include_uid: vec![0..=0, 1000..=1000, 2000..=2047],
        exclude_uid: vec![1001..=1001, 5..=6, 7..=7],
        udp_timeout: Some(Duration::from_secs(30)),
        sansbox: TunExtras {
            egress_mtu: 1420,
            handshake_mode: Handshake::Auto,
            icmp_echo: EchoMode::Relay,
            udp_filtering: Filtering::AddressDependent,
        },
        ..Tun::new(prefixes(&["172.19.0.1/30", "fd00::1/126"]))
    };
    assert_eq!(tun(&config), &expected);
    assert_eq!(config.inbounds[0].tag, "t");
    assert_eq!(config.inbounds[0].listen, Listen::default());
}

#[test]
fn absent_keys_mean_what_they_mean_in_sing_box() {
    let (config, warnings) = good(&with(r#""address": "172.19.0.1/30""#));
    assert!(warnings.is_empty(), "{warnings:?}");
    let tun = tun(&config);
    assert_eq!(tun, &Tun::new(vec!["172.19.0.1/30".parse().unwrap()]));
    assert_eq!((tun.table, tun.rule), (2022, 9000));
    let extras = TunExtras {
        egress_mtu: 1500,
        handshake_mode: Handshake::Fast,
        icmp_echo: EchoMode::Reply,
        udp_filtering: Filtering::EndpointIndependent,
    };
    assert_eq!(tun.sansbox, extras);
    for nothing in [
        r#""mtu": 0, "iproute2_table_index": 0, "iproute2_rule_index": 0, "stack": """#,
        r#""udp_timeout": 0, "auto_redirect": false, "gso": false, "sansbox": {}"#,
        r#""platform": null, "include_uid": [], "interface_name": "", "inet4_address": []"#,
        r#""endpoint_independent_nat": true, "sansbox": {"egress_mtu": 0, "icmp_echo": ""}"#,
    ] {
        let (config, warnings) = good(&with_address(nothing));
        assert!(warnings.is_empty(), "{nothing}: {warnings:?}");
        assert_eq!(self::tun(&config), tun, "{nothing}");
    }
}

#[test]
fn all_names_of_stacks_and_every_word_are_taken() {
    for stack in ["system", "gvisor", "mixed"] {
        good(&with_address(&format!(r#""stack": "{stack}""#)));
    }
    let extras = |text: &str| {
        let text = with_address(&format!(r#""sansbox": {{{text}}}"#));
        tun(&good(&text).0).sansbox
    };
    for (word, want) in [
        ("fast", Handshake::Fast),
        ("consistent", Handshake::Consistent),
        ("auto", Handshake::Auto),
    ] {
        let got = extras(&format!(r#""handshake_mode": "{word}""#));
        assert_eq!(got.handshake_mode, want, "{word}");
    }
    for (word, want) in [
        ("off", EchoMode::Off),
        ("reply", EchoMode::Reply),
        ("reject", EchoMode::Reject),
    ] {
        let got = extras(&format!(r#""icmp_echo": "{word}""#));
        assert_eq!(got.icmp_echo, want, "{word}");
    }
    for (word, want) in [
        ("endpoint_independent", Filtering::EndpointIndependent),
        ("address_dependent", Filtering::AddressDependent),
    ] {
        let got = extras(&format!(r#""udp_filtering": "{word}""#));
        assert_eq!(got.udp_filtering, want, "{word}");
    }
    for mtu in [576, 1280, 65_535] {
        let got = extras(&format!(r#""egress_mtu": {mtu}"#));
        assert_eq!(got.egress_mtu, mtu);
    }
}

/// Its tun case has a `platform`, which is refused here; all else is compared.
#[test]
fn the_tun_of_the_vectors_is_written_as_sing_box_writes_it() {
    let file = include_str!("../vectors/singbox/config.json");
    let file: Value = serde_json::from_str(file).expect("valid JSON");
    let mut cases = file["cases"].as_array().expect("cases").iter();
    let case = cases.find(|case| case["name"] == "snippet-inbound-tun");
    let case = case.expect("the case");
    let without = |text: &Value| {
        let mut config: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        let inbound = config["inbounds"][0].as_object_mut().expect("an object");
        assert!(inbound.remove("platform").is_some());
        config
    };
    let input = without(&case["text"]).to_string();
    let (config, _) = good(&input);
    let read = tun(&config);
    assert_eq!((read.address.len(), read.mtu), (2, Some(9000)));
    assert_eq!(read.include_uid, [0..=0, 1000..=2000]);
    let written = format(&sources(&input).files()[0]).expect("it reads");
    let ours: Value = serde_json::from_str(&written).expect("valid JSON");
    assert_eq!(ours, without(&case["format"]["stdout"]));
    let theirs = case["format"]["stdout"].as_str().expect("text");
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once("\": "));
        let keys = lines.map(|(key, _)| key.trim().to_owned());
        keys.take_while(|key| key != "\"platform").collect()
    };
    assert_eq!(keys(&written), keys(theirs), "the order of the keys");
}

#[test]
fn what_is_written_reads_the_same() {
    let text = with(
        r#""tag": "t", "sansbox": {"udp_filtering": "address_dependent", "egress_mtu": 1.4e3},
        "address": ["fd00::0001/126", "172.19.0.1/30"], "auto_route": true,
        "Route_Address": ["10.1.2.3/8"], "exclude_uid": [7.0, 8], "udp_timeout": "90s",
        "endpoint_independent_nat": true, "gso": true"#,
    );
    let want = "{\n  \"inbounds\": [\n    {\n      \"type\": \"tun\",\n      \"tag\": \"t\",\n      \
                \"address\": [\n        \"fd00::1/126\",\n        \"172.19.0.1/30\"\n      ],\n      \
                \"auto_route\": true,\n      \"route_address\": \"10.1.2.3/8\",\n      \
                \"exclude_uid\": [\n        7,\n        8\n      ],\n      \
                \"udp_timeout\": \"1m30s\",\n      \"gso\": true,\n      \
                \"endpoint_independent_nat\": true,\n      \"sansbox\": {\n        \
                \"egress_mtu\": 1400,\n        \"udp_filtering\": \"address_dependent\"\n      }\n    \
                }\n  ]\n}\n";
    let first = sources(&text);
    assert_eq!(format(&first.files()[0]).as_deref(), Ok(want));
    assert_eq!(merge(&first).as_deref(), Ok(want));
    assert_eq!(
        good(&text).0.inbounds[0].kind,
        good(want).0.inbounds[0].kind
    );
}

/// What is said of a text that is accepted, as `PATH: WHAT`.
fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = good(text);
    warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.path, warning.kind))
        .collect()
}

#[test]
fn what_has_no_effect_is_told() {
    assert_eq!(
        warnings(&with_address(r#""gso": true"#)),
        [
            "inbounds[0].gso: key \"gso\" is deprecated in sing-box: leave it out, offloads are used \
          where the device has them"
        ]
    );
    let off = "has no effect: it is for `auto_route`, which is off";
    let keys = [
        ("iproute2_table_index", "1"),
        ("iproute2_rule_index", "1"),
        ("strict_route", "true"),
        ("route_address", "\"10.0.0.0/8\""),
        ("route_exclude_address", "\"10.0.0.0/8\""),
        ("include_interface", "\"a\""),
        ("exclude_interface", "\"a\""),
        ("include_uid", "0"),
        ("include_uid_range", "\"0:1\""),
        ("exclude_uid", "0"),
        ("exclude_uid_range", "\"0:1\""),
    ];
    for (key, value) in keys {
        let rest = format!("\"{key}\": {value}");
        let want = format!("inbounds[0].{key}: key \"{key}\" {off}");
        assert_eq!(warnings(&with_address(&rest)), [want]);
        let on = with_address(&format!("{rest}, \"auto_route\": true"));
        assert_eq!(warnings(&on), [""; 0], "{key}");
    }
    let v6 = r#""auto_route": true, "route_address": ["10.0.0.0/8", "2000::/3"]"#;
    assert_eq!(
        warnings(&with_address(v6)),
        [
            "inbounds[0].route_address[1]: key \"2000::/3\" has no effect: the device has no address \
          of this family"
        ]
    );
    assert_eq!(
        warnings(r#"{"route": {"auto_detect_interface": true, "default_interface": "lo"}}"#),
        [
            "route.auto_detect_interface: key \"auto_detect_interface\" has no effect: \
          `default_interface` counts before it"
        ]
    );
}

#[test]
fn the_keys_of_the_route_are_read_and_written_back() {
    let text = r#"{"route": {"default_mark": "0x10", "auto_detect_interface": true}}"#;
    let (config, _) = good(text);
    assert!(config.route.auto_detect_interface);
    assert_eq!(config.route.default_mark, Some(16));
    assert_eq!(config.route.default_interface, None);
    let want = "{\n  \"route\": {\n    \"auto_detect_interface\": true,\n    \"default_mark\": \
                \"0x10\"\n  }\n}\n";
    assert_eq!(format(&sources(text).files()[0]).as_deref(), Ok(want));
    let (config, _) = good(r#"{"route": {"default_interface": "eth0", "default_mark": 7}}"#);
    assert_eq!(config.route.default_interface.as_deref(), Some("eth0"));
    assert_eq!(config.route.default_mark, Some(7));
    Plan::build(&config).expect("both work as options of the outbounds");
}
