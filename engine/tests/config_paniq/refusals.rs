//! Each refusal with its place.
use super::{Folder, profile, refused, with_inbound, with_outbound};
use sansbox_engine::config::NAMED_FILE_BYTES_MAX;

/// What follows `"type": "paniq", ` in an outbound, with a mark where the error is, and the error.
const OUTBOUNDS: &[(&str, &str)] = &[
    (
        r#""tag": "p""#,
        "outbounds[0]: missing one of profile_path, profile, link",
    ),
    (
        "\"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\",\n \"profile_path\": «\"x\"",
        r#"outbounds[0].profile_path: "profile_path" and "link" exclude each other"#,
    ),
    (
        "\"link\": «\"vless://x\"",
        "outbounds[0].link: profile: a link begins with pnq://",
    ),
    (
        "\"link\": «\"pnq://?\"",
        "outbounds[0].link: profile: behind pnq:// stands no base64",
    ),
    (
        "\"link\": «\"pnq://owAB\"",
        "outbounds[0].link: profile: the CBOR is cut off",
    ),
    (
        "\"link\": «\"pnq://ogABCKEMYzx0Pg\"",
        "outbounds[0].link: profile: proxy_addr: required",
    ),
    (
        "\"link\": «5",
        "outbounds[0].link: expected text, found a number",
    ),
    (
        "\"profile\": «\"x\"",
        "outbounds[0].profile: expected an object, found a string",
    ),
    (
        "\"profile\": {\n \"quic\": {«\"max_paket_size\": 1}}",
        r#"outbounds[0].profile.quic.max_paket_size: unknown key "max_paket_size"; did you mean "max_packet_size"?"#,
    ),
    (
        "\"profile\": {\"quic\": {\n\t\"keepalive\": «\"5 s\"}}",
        "outbounds[0].profile.quic.keepalive: profile: quic.keepalive: ",
    ),
    (
        "\"profile\": {\"proxy_addr\": \"a:1\", \"obfuscation\": {\n\"jc\": «1.0}}",
        "outbounds[0].profile.obfuscation.jc: profile: obfuscation.jc: must be an integer",
    ),
    (
        "\"profile\": {\"proxy_addr\": \"a:1\", \"obfuscation\": {\n\"i2\": «\"<r -1>\"}}",
        "outbounds[0].profile.obfuscation.i2: profile: obfuscation.i2: ",
    ),
    (
        "\"profile\": {\"proxy_addr\": \"a:1\", \"obfuscation\": {\n\"i1\": «\"<rc 0>\"}}",
        "outbounds[0].profile.obfuscation.i1: profile: obfuscation.i1: ",
    ),
    (
        "\"profile\": {\"proxy_addr\": \"a:1\", \"obfuscation\": {\n\"h2\": «\"1-9\"}}",
        "outbounds[0].profile.obfuscation.h2: profile: obfuscation.h2: ",
    ),
    (
        "\"profile\": {\"proxy_addr\": «\"a:http\", \"obfuscation\": {\"jc\": 1, \"jmin\": 1, \"jmax\": 1}}",
        "outbounds[0].profile.proxy_addr: profile: proxy_addr: must be host:port",
    ),
    (
        "\"profile\": {\"proxy_addr\": \"a:1\", \"obfuscation\": {\n \"server_private_key\": «\"HeiWa3ophccyGIw+3HIPJbPxSDP9kS+OY2L+ZdQdWcU=\"}}",
        "outbounds[0].profile.obfuscation.server_private_key: profile: obfuscation.server_private_key: the server's private key has no place in a client's profile",
    ),
    (
        "\"profile_path\": «\"gone.json\"",
        r#"outbounds[0].profile_path: cannot read "gone.json": no such file or directory"#,
    ),
    (
        "\"profile_path\": «\"long\"",
        r#"outbounds[0].profile_path: cannot read "long": the file is longer than 1048576 bytes"#,
    ),
    (
        "\"profile_path\": «\"empty\"",
        "outbounds[0].profile_path: profile empty: no JSON at line 1 column 0: ",
    ),
    (
        "\"profile_path\": «\"broken.json\"",
        "outbounds[0].profile_path: profile broken.json: no JSON at line 2 column 6: ",
    ),
    (
        "\"profile_path\": «\"typed.json\"",
        "outbounds[0].profile_path: profile typed.json:2:23: quic.max_packet_size: must be an integer",
    ),
    (
        "\"profile_path\": «\"server.json\"",
        "outbounds[0].profile_path: profile server.json:",
    ),
    (
        "\"profile_path\": «\"broken.cbor\"",
        "outbounds[0].profile_path: profile broken.cbor: proxy_addr: the CBOR is cut off",
    ),
    (
        "\"server\": «\"a b\", \"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\"",
        r#"outbounds[0].server: "a b" is not an IP address or a domain name"#,
    ),
    (
        "\"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\",\n\"detour\": «\"d\"",
        r#"outbounds[0].detour: key "detour" cannot be used here: tunnels through another outbound are not supported yet"#,
    ),
    (
        "\"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\",\n\"fallback_delay\": «\"1s\"",
        r#"outbounds[0].fallback_delay: key "fallback_delay" cannot be used here: a tunnel is dialled to one address at a time"#,
    ),
    (
        "\"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\",\n«\"tcp_fast_open\": true",
        r#"outbounds[0].tcp_fast_open: key "tcp_fast_open" is not supported yet"#,
    ),
    (
        "\"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\",\n«\"tcp_multi_path\": true",
        r#"outbounds[0].tcp_multi_path: key "tcp_multi_path" is not supported yet"#,
    ),
    (
        "«\"profile_pat\": \"x\", \"link\": \"pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4\"",
        r#"outbounds[0].profile_pat: unknown key "profile_pat"; did you mean "profile_path"?"#,
    ),
];

const INBOUNDS: &[(&str, &str)] = &[
    (
        r#""listen_port": 1"#,
        "inbounds[0]: missing one of profile_path, profile",
    ),
    (
        "«\"link\": \"pnq://x\", \"profile\": {\"obfuscation\": {\"i1\": \"<t>\"}}",
        r#"inbounds[0].link: unknown key "link""#,
    ),
    (
        "\"profile\": {\"obfuscation\": {\"jc\": 4, \"jmin\": 5, \"jmax\": 5, \"i1\": \"<t>\",\n\"rate_limit_pps\": 9, \"rate_limit_burst\": «5}}",
        "inbounds[0].profile.obfuscation.rate_limit_burst: profile: obfuscation.rate_limit_burst: 5 is less than the 6 datagrams of one preamble",
    ),
    (
        "\"profile\": {\"name\": \"x\",\n\"obfuscation\": «{\"server_public_key\": \"N2q78AwSzvTwmB9IAEdPTrHIzlyPBvwUQvWQu7eARzk=\", \"require_timestamp\": false}}",
        "inbounds[0].profile.obfuscation: profile: obfuscation: required: give at least one of jc, s1-s4, h1-h4, i1-i5",
    ),
    (
        "\"profile\": {\"obfuscation\": {\"i1\": \"<t>\", \"server_private_key\": «\"AAAA\"}}",
        "inbounds[0].profile.obfuscation.server_private_key: profile: obfuscation.server_private_key: 3 bytes, where there must be 32",
    ),
    (
        "\"profile\": {\"obfuscation\": {\"i1\": \"<t>\", \"legacy_mode_enabled\": true,\n \"legacy_mode_sunset\": «\"2025-12-31\"}}",
        "inbounds[0].profile.obfuscation.legacy_mode_sunset: profile: obfuscation.legacy_mode_sunset: is over: turn legacy_mode_enabled off",
    ),
    (
        "\"udp_timeout\": «\"1m\", \"profile\": {\"obfuscation\": {\"i1\": \"<t>\"}}",
        r#"inbounds[0].udp_timeout: key "udp_timeout" cannot be used here: the profile's quic.idle_timeout says it"#,
    ),
    (
        "\"tcp_keep_alive\": «\"1m\", \"profile\": {\"obfuscation\": {\"i1\": \"<t>\"}}",
        r#"inbounds[0].tcp_keep_alive: key "tcp_keep_alive" cannot be used here: a paniq inbound listens on UDP"#,
    ),
    (
        "\"sansbox_allow_public\": «true, \"profile\": {\"obfuscation\": {\"i1\": \"<t>\"}}",
        r#"inbounds[0].sansbox_allow_public: key "sansbox_allow_public" cannot be used here: whoever has the profile is served"#,
    ),
    (
        "\"profile_path\": «\"client.json\", \"users\": []",
        "inbounds[0].profile_path: profile client.json:3:24: obfuscation.require_timestamp: needs signature_validate",
    ),
];

/// Line and column of the mark, and the text without it. Without a mark: where the object begins.
fn marked(text: &str) -> (String, String) {
    let at = text.find('«').or_else(|| text.find("{\"type\""));
    let before = &text[..at.expect("a place")];
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    let place = format!("{line}:{}", last.chars().count() + 1);
    (place, text.replace('«', ""))
}

fn folder() -> Folder {
    let server = profile();
    Folder::default()
        .with("long", vec![b' '; NAMED_FILE_BYTES_MAX + 1])
        .with("empty", "")
        .with("broken.json", "{\n \"a\":}")
        .with(
            "typed.json",
            "{\"quic\": {\n   \"max_packet_size\": \"1350\"}}",
        )
        .with("broken.cbor", &server.to_cbor().unwrap()[..20])
        .with("server.json", server.to_json().as_bytes())
        .with(
            "client.json",
            "{\"obfuscation\": {\"i1\": \"<t>\",\n \"signature_validate\": false,\n  \
             \"require_timestamp\": true}}",
        )
}

#[test]
fn each_refusal_names_its_place_the_field_and_the_reason() {
    let folder = folder();
    let outbounds = OUTBOUNDS
        .iter()
        .map(|(rest, want)| (with_outbound(rest), want));
    let inbounds = INBOUNDS
        .iter()
        .map(|(rest, want)| (with_inbound(rest), want));
    let mut wrong = Vec::new();
    for (text, want) in outbounds.chain(inbounds) {
        let (place, text) = marked(&text);
        let told = refused(&folder, &text);
        if !matches!(&told[..], [only] if only.starts_with(&format!("{place} {want}"))) {
            wrong.push(format!("{text}\n  want {place} {want}\n  got {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
