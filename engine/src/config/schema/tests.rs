//! The tables against reading and writing: no row may be forgotten on the way.
use super::*;
use crate::config::{ReadOptions, Sources, format, read};
use std::collections::BTreeSet;

/// A value that fits a row, as JSON.
fn sample(row: &Row, object: &Object) -> String {
    let text = match row.key {
        "type" => {
            let name = object.title.split('`').nth(1).unwrap_or_default();
            return format!("{:?}", if name == "type" { "" } else { name });
        }
        "version" => "4a",
        "mode" => "and",
        "level" => "warn",
        "method" => "drop",
        "action" => "reject",
        "detour" | "outbound" | "final" => "there",
        "outbounds" => return r#"["there", "x"]"#.to_owned(),
        "default" => "x",
        "network" => "tcp",
        "port_range" | "source_port_range" => "1:2",
        "ip_cidr" | "source_ip_cidr" => "10.0.0.0/8",
        "rules" => return r#"[{"port": 1}]"#.to_owned(),
        "ip_version" => return "6".to_owned(),
        "inet6_bind_address" => "::2",
        "include_uid_range" | "exclude_uid_range" => "1:2",
        "mtu" | "egress_mtu" | "iproute2_table_index" | "iproute2_rule_index" => {
            return "1400".to_owned();
        }
        "stack" => "gvisor",
        "handshake_mode" => "auto",
        "icmp_echo" => "reject",
        "udp_filtering" => "address_dependent",
        _ => "a",
    };
    match row.kind {
        Kind::Bool | Kind::Tristate => "true".to_owned(),
        Kind::Port | Kind::PortList | Kind::IdList => "7".to_owned(),
        Kind::PrefixList => "\"10.0.0.1/8\"".to_owned(),
        Kind::Object(nested) => full(nested, &[]).0,
        Kind::Address if text == "a" => "\"127.0.0.2\"".to_owned(),
        Kind::Mark => "\"0x7\"".to_owned(),
        Kind::Duration | Kind::Timeout => "\"7s\"".to_owned(),
        Kind::Strategy => "\"ipv6_only\"".to_owned(),
        Kind::Headers => r#"{"A": "b"}"#.to_owned(),
        Kind::Profile => r#"{"proxy_addr": "a:1", "obfuscation": {"i1": "<t>"}}"#.to_owned(),
        Kind::Objects(_) => r#"[{"Username": "u", "Password": "p"}]"#.to_owned(),
        Kind::Text
        | Kind::TextList
        | Kind::TextArray
        | Kind::Integer
        | Kind::Address
        | Kind::Networks
        | Kind::Rules
        | Kind::Variants(_)
        | Kind::Other(_) => format!("{text:?}"),
    }
}

/// Keys that work, but not beside others of the object, or not for its type.
fn refused(object: &Object) -> &'static [&'static str] {
    match object.title {
        "Outbound `paniq`" => &["detour", "fallback_delay", "profile_path", "link"],
        "Inbound `paniq`" => &[
            "tcp_keep_alive",
            "tcp_keep_alive_interval",
            "udp_timeout",
            "sansbox_allow_public",
            "profile_path",
        ],
        "Inbound `tun`" => &["exclude_interface"],
        _ => &[],
    }
}

/// An object with every key that works.
fn full(object: &'static Object, skip: &[&str]) -> (String, usize) {
    let rows = object
        .rows()
        .filter(|row| row.support == Support::Yes && !skip.contains(&row.key));
    let members: Vec<String> = rows
        .map(|row| format!("{:?}: {}", row.key, sample(row, object)))
        .collect();
    (format!("{{{}}}", members.join(", ")), members.len())
}

/// A whole file around an object of `key`.
fn file(key: &str, object: &str) -> String {
    let there = r#"{"type": "direct", "tag": "there"}, {"type": "direct", "tag": "x"}"#;
    let inbound = r#"{"type": "socks", "tag": "a"}"#;
    match key {
        "inbounds" => format!(r#"{{"inbounds": [{object}]}}"#),
        "outbounds" => format!(r#"{{"outbounds": [{object}, {there}]}}"#),
        _ => format!(
            r#"{{"inbounds": [{inbound}], "outbounds": [{there}], "route": {{"rules": [{object}]}}}}"#
        ),
    }
}

/// Reads the file, and checks that `format` writes every key back and that reading what it wrote
/// gives the same model.
fn round(text: &str, keys: usize, what: &str) {
    let sources = Sources::single("a", text);
    let errors = |errors: Vec<crate::config::ConfigError>| -> String {
        errors.iter().map(|e| e.render(&sources)).collect()
    };
    let options = ReadOptions::default();
    let (config, _) = read(&sources, &options).map_err(errors).expect(what);
    let written = format(&sources.files()[0]).map_err(errors).expect(what);
    let again = Sources::single("a", written.clone());
    assert_eq!(format(&again.files()[0]).expect(what), written, "{what}");
    let (config_again, _) = read(&again, &options).expect(what);
    let strip = |config: &crate::config::model::Config| {
        let text = format!("{config:?}");
        text.split("span: ")
            .map(|part| part.split_once('}').map_or(part, |p| p.1))
            .collect()
    };
    let (before, after): (String, String) = (strip(&config), strip(&config_again));
    assert_eq!(before, after, "{what}");
    let count = |text: &str| text.matches("\":").count();
    assert!(count(&written) >= keys, "{what}: {written}");
}

#[test]
fn every_key_of_every_type_is_read_used_and_written_back() {
    for (key, family) in [
        ("inbounds", &tables::INBOUNDS),
        ("outbounds", &tables::OUTBOUNDS),
    ] {
        for object in family.variants.iter().filter_map(|v| v.object) {
            let (text, keys) = full(object, refused(object));
            round(&file(key, &text), keys, object.title);
        }
    }
    for (object, skip) in [
        (&tables::RULE_ROUTE, &["type", "action"][..]),
        (&tables::RULE_REJECT, &["type", "no_drop"]),
        (&tables::LOGICAL_ROUTE, &["type", "action"]),
        (&tables::LOGICAL_REJECT, &["type", "method"]),
    ] {
        let (mut text, keys) = full(object, skip);
        if object.title.starts_with("Logical") {
            text = text.replacen('{', r#"{"type": "logical", "#, 1);
        }
        round(&file("rules", &text), keys, object.title);
    }
    let log = r#"{"$schema": "s", "log": {"disabled": true, "level": "warn", "output": "o",
        "timestamp": true}, "outbounds": [{"type": "direct"}], "route": {"final": "0"}}"#;
    round(log, 9, "log");
}

#[test]
fn what_is_not_supported_yet_is_refused_for_every_row() {
    for object in tables::INBOUNDS.variants.iter().filter_map(|v| v.object) {
        for row in object.rows() {
            let Support::NotYet(instead) = row.support else {
                continue;
            };
            let name = object.title.split('`').nth(1).unwrap_or_default();
            let rest = match name {
                "paniq" => r#", "profile": {"obfuscation": {"i1": "<t>"}}"#,
                "tun" => r#", "address": "172.19.0.1/30""#,
                _ => "",
            };
            let inbound =
                |value: &str| format!(r#"{{"type": {name:?}, {:?}: {value}{rest}}}"#, row.key);
            let read = |value: &str| {
                let text = file("inbounds", &inbound(value));
                read(&Sources::single("a", text), &ReadOptions::default())
            };
            let errors = read("\"x\"").unwrap_err();
            let mut want = format!(
                "inbounds[0].{}: key {:?} is not supported yet",
                row.key, row.key
            );
            if let Some(instead) = instead {
                want = format!("{want}: {instead}");
            }
            assert_eq!(errors[0].to_string(), want);
            assert_eq!(errors.len(), 1);
            for off in ["null", "false", "{}", "[]"] {
                assert!(
                    read(off).is_ok(),
                    "{off} is the same as absent: {}",
                    row.key
                );
            }
        }
    }
    for (family, key) in [
        (&tables::INBOUNDS, "inbounds"),
        (&tables::OUTBOUNDS, "outbounds"),
    ] {
        for variant in family.variants.iter().filter(|v| v.object.is_none()) {
            let text = file(key, &format!(r#"{{"type": {:?}, "x": 1}}"#, variant.name));
            let sources = Sources::single("a", text);
            let errors = read(&sources, &ReadOptions::default()).unwrap_err();
            let want = format!(
                "{key}[0].type: {} {:?} is not supported yet",
                family.type_noun, variant.name
            );
            assert_eq!(errors[0].to_string(), want);
        }
    }
}

#[test]
fn the_tables_hold_no_key_and_no_type_twice() {
    let families = [&tables::INBOUNDS, &tables::OUTBOUNDS];
    for family in families {
        let names: BTreeSet<_> = family.variants.iter().map(|v| v.name).collect();
        assert_eq!(names.len(), family.variants.len(), "{}", family.noun);
    }
    let variants = families.into_iter().flat_map(|f| f.variants);
    let rules = [
        &tables::RULE_ROUTE,
        &tables::RULE_REJECT,
        &tables::LOGICAL_ROUTE,
        &tables::LOGICAL_REJECT,
    ];
    let objects = variants
        .filter_map(|v| v.object)
        .chain(rules)
        .chain([&tables::TOP]);
    for object in objects {
        let mut keys = BTreeSet::new();
        for row in object.rows() {
            assert!(
                keys.insert(row.key),
                "{} twice in {}",
                row.key,
                object.title
            );
            let told = row.support != Support::Yes || !row.doc.is_empty();
            assert!(told, "{} of {} has no description", row.key, object.title);
            assert!(object.row(row.key).is_some());
        }
    }
}

#[test]
fn letter_case_folds_as_in_go() {
    assert!(same_folded("rules", "RULES"));
    assert!(same_folded("rules", "rule\u{17f}"));
    assert!(same_folded("network", "networ\u{212a}"));
    assert!(!same_folded("rules", "rulés"));
    assert!(tables::TOP.row("LOG").is_some());
    let exact = tables::INBOUNDS.variants[0].object.unwrap();
    assert!(exact.row("TYPE").is_none());
    assert!(exact.row("LISTEN").is_some());
}
