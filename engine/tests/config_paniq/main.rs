//! Configurations with `paniq`: where profiles come from, and how each refusal is told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod refusals;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core::time::Duration;
use sansbox_core::Seed;
use sansbox_engine::{
    Plan,
    carrier::CarrierPlan,
    config::{
        ConfigError, Files, Outside, ReadOptions, Sources, Warning, format, inline,
        model::{Config, InboundKind, OutboundKind, PaniqInbound, PaniqOutbound},
        read, read_with,
    },
};
use sansbox_protocols::paniq::profile::{NewProfile, Profile};
use std::collections::BTreeMap;

/// 2026-01-01.
const NOW: Duration = Duration::from_secs(1_767_225_600);

/// Files by their paths.
#[derive(Default)]
struct Folder(BTreeMap<&'static str, Vec<u8>>);

impl Folder {
    fn with(mut self, path: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path, bytes.into());
        self
    }
}

impl Files for Folder {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, String> {
        let bytes = self.0.get(path).ok_or("no such file or directory")?;
        Ok(bytes.iter().take(limit + 1).copied().collect())
    }
}

type Read = Result<(Config, Vec<Warning>), Vec<ConfigError>>;

fn read_in(folder: &Folder, text: &str) -> (Sources, Read) {
    let sources = Sources::single("c.json", text);
    let outside = Outside {
        files: Some(folder),
        since_1970: NOW,
    };
    let read = read_with(&sources, &ReadOptions::default(), &outside);
    (sources, read)
}

#[track_caller]
fn good(folder: &Folder, text: &str) -> (Config, Vec<String>) {
    let (sources, read) = read_in(folder, text);
    let shown = |errors: Vec<ConfigError>| -> String {
        errors.iter().map(|error| error.render(&sources)).collect()
    };
    let (config, warnings) = read.map_err(shown).expect(text);
    let warnings = warnings.iter().map(|w| format!("{}: {}", w.path, w.kind));
    (config, warnings.collect())
}

/// All errors, each with its place.
#[track_caller]
fn refused(folder: &Folder, text: &str) -> Vec<String> {
    let (sources, read) = read_in(folder, text);
    let errors = read.expect_err(text);
    let told = errors.iter().map(|error| {
        let shown = error.render(&sources);
        let (_, place) = shown.split_once("--> c.json:").expect("a place");
        let place = place.split([',', '\n']).next().unwrap_or_default();
        format!("{place} {error}")
    });
    told.collect()
}

fn profile() -> Profile {
    let new = NewProfile {
        name: "home",
        proxy_addr: "192.0.2.1:9000",
        mtu: 1420,
    };
    new.draw(Seed::from_u64(1)).expect("a good MTU")
}

#[track_caller]
fn outbound(config: &Config) -> &PaniqOutbound {
    let OutboundKind::Paniq(paniq) = &config.outbounds[0].kind else {
        panic!("{:?}", config.outbounds);
    };
    paniq
}

#[track_caller]
fn inbound(config: &Config) -> &PaniqInbound {
    let InboundKind::Paniq(paniq) = &config.inbounds[0].kind else {
        panic!("{:?}", config.inbounds);
    };
    paniq
}

/// A configuration with one paniq outbound.
fn with_outbound(rest: &str) -> String {
    format!(
        "{{\"outbounds\": [{{\"type\": \"paniq\", {rest}}}, {{\"tag\": \"d\", \"type\": \"direct\"}}]}}"
    )
}

fn with_inbound(rest: &str) -> String {
    format!("{{\"inbounds\": [{{\"type\": \"paniq\", {rest}}}]}}")
}

/// A profile without keys that works on both sides.
const KEYLESS: &str = r#"{"proxy_addr": "192.0.2.1:9000", "obfuscation": {"i1": "<t>"},
    "quic": {"max_payload": 1200}, "transport_padding": {"pad_max": 16}}"#;

#[test]
fn a_client_takes_its_profile_from_a_file_of_any_form_from_the_object_or_from_a_link() {
    let client = profile().for_clients();
    let (cbor, link) = (client.to_cbor().unwrap(), client.to_link().unwrap());
    let json = client.to_json();
    let folder = Folder::default()
        .with("p/client.json", json.as_bytes())
        .with("client.cbor", &cbor[..])
        .with("client.link", format!("{}\n", *link));
    let expected = client.client().unwrap().settings;
    for rest in [
        r#""profile_path": "p/client.json""#.to_owned(),
        r#""profile_path": "client.cbor""#.to_owned(),
        r#""profile_path": "client.link""#.to_owned(),
        format!(r#""profile": {}"#, *json),
        format!(r#""link": "{}""#, *link),
        // Empty texts and objects are the same as none, here as everywhere.
        format!(
            r#""profile": {{}}, "profile_path": "", "link": "{}""#,
            *link
        ),
    ] {
        let (config, warnings) = good(&folder, &with_outbound(&rest));
        let paniq = outbound(&config);
        assert_eq!(*paniq.profile, expected, "{rest}");
        assert_eq!(paniq.server, expected.server);
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn a_server_takes_its_profile_from_a_file_or_from_the_object() {
    let server = profile();
    let json = server.to_json();
    let folder = Folder::default().with("server.json", json.as_bytes());
    let expected = server.server(NOW.as_secs()).unwrap().settings;
    for (rest, allow_private) in [
        (r#""profile_path": "server.json""#.to_owned(), false),
        (
            format!(r#""profile": {}, "allow_private": true"#, *json),
            true,
        ),
    ] {
        let text = with_inbound(&format!(r#"{rest}, "listen": "::", "listen_port": 9000"#));
        let (config, warnings) = good(&folder, &text);
        let paniq = inbound(&config);
        assert_eq!(*paniq.profile, expected);
        assert_eq!(paniq.allow_private, allow_private);
        assert_eq!(config.inbounds[0].listen.listen_port, 9000);
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn an_object_may_have_comments_any_case_and_repeated_keys_as_files_of_go_have_them() {
    let text = with_outbound(
        r#""profile": { // mine
            "Proxy_Addr": "192.0.2.1:9000", "obfuscation": {"jc": 7, "jmin": 1},
            "obfuscation": {"JMAX": 9, "jc": 2}, "quic": {}, "name": null,
        }"#,
    );
    let (config, _) = good(&Folder::default(), &text);
    assert_eq!(outbound(&config).profile.shared.params.preamble_len(), 3);
}

#[test]
fn the_address_in_the_profile_gives_way_to_what_the_outbound_says() {
    let without = r#"{"obfuscation": {"i1": "<t>"}}"#;
    for (profile, rest, server) in [
        (KEYLESS, "", "192.0.2.1:9000"),
        (KEYLESS, r#", "server": "example.org""#, "example.org:9000"),
        (KEYLESS, r#", "server_port": 7"#, "192.0.2.1:7"),
        (
            KEYLESS,
            r#", "server": "2001:db8::1", "server_port": 7"#,
            "[2001:db8::1]:7",
        ),
        (
            without,
            r#", "server": "2001:db8::1", "server_port": 7"#,
            "[2001:db8::1]:7",
        ),
        (
            without,
            r#", "server": "example.org", "server_port": 7"#,
            "example.org:7",
        ),
    ] {
        let text = with_outbound(&format!("\"profile\": {profile}{rest}"));
        let (config, _) = good(&Folder::default(), &text);
        let paniq = outbound(&config);
        assert_eq!(paniq.server.to_string(), server, "{text}");
        assert_eq!(paniq.profile.server, paniq.server);
    }
    for rest in [r#", "server": "example.org""#, r#", "server_port": 7"#, ""] {
        let text = with_outbound(&format!("\n\"profile\": {without}{rest}"));
        let want = "2:12 outbounds[0].profile: profile: proxy_addr: required";
        assert_eq!(refused(&Folder::default(), &text), [want], "{text}");
    }
}

#[test]
fn all_that_is_wrong_with_a_profile_is_told_at_once() {
    let text = with_outbound(
        "\"profile\": {\"proxy_addr\": \"x\",\n\"obfuscation\": {\"jc\": -1},\n\
         \"transport_padding\": {\"pad_min\": 9}}",
    );
    let told = refused(&Folder::default(), &text);
    let starts = [
        "1:60 outbounds[0].profile.proxy_addr: profile: proxy_addr: ",
        "2:23 outbounds[0].profile.obfuscation.jc: profile: obfuscation.jc: ",
        "3:22 outbounds[0].profile.transport_padding: profile: transport_padding.pad_max: ",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}\n{start}");
    }
}

#[test]
fn keys_and_links_are_not_shown_with_the_line() {
    let private = STANDARD.encode([0x5a; 32]);
    let rest = format!(
        "\"link\": \"vless://canary\", \"profile\": {{\"obfuscation\": \
         {{\"server_private_key\": {private:?}}}}}"
    );
    let sources = Sources::single("c.json", with_outbound(&rest));
    let errors = read(&sources, &ReadOptions::default()).expect_err("two profiles");
    let shown = errors[0].render(&sources);
    assert!(shown.contains("\"***"), "{shown}");
    assert!(
        !shown.contains("canary") && !shown.contains(&private[..8]),
        "{shown}"
    );
    let rest = format!("\"profile\": {{\"obfuscation\": {{\"server_private_key\": {private:?}}}}}");
    let sources = Sources::single("c.json", with_outbound(&rest));
    let errors = read(&sources, &ReadOptions::default()).expect_err("a private key");
    let shown: String = errors.iter().map(|error| error.render(&sources)).collect();
    assert!(!shown.contains(&private[..8]), "{shown}");
    assert!(!format!("{errors:?}").contains(&private[..8]));
}

#[test]
fn without_files_around_none_can_be_named() {
    let sources = Sources::single("c.json", with_outbound("\"profile_path\": \"a\""));
    let errors = read(&sources, &ReadOptions::default()).expect_err("no files");
    let want = "outbounds[0].profile_path: cannot read \"a\": \
                files cannot be named here: the profile itself can be";
    assert_eq!(errors[0].to_string(), want);
}

#[test]
fn what_is_odd_about_a_profile_is_told_with_its_place() {
    let server = profile();
    let client = server.for_clients();
    let mut odd = client.clone();
    odd.transport_padding.pad_max = Some(5000);
    let text = odd.to_json();
    let text = text.replacen("{\n", "{\n \"nam\": 1,\n \"Zz\": {},\n", 1);
    let folder = Folder::default()
        .with("odd.json", text.as_bytes())
        .with("client.link", client.to_link().unwrap().as_bytes());

    let (_, warnings) = good(&folder, &with_outbound("\"profile_path\": \"odd.json\""));
    let line = text
        .lines()
        .position(|line| line.contains("pad_max"))
        .unwrap()
        + 1;
    let starts = [
        "profile odd.json:2:2: unknown key \"nam\"; did you mean \"name\"? (ignored)".to_owned(),
        "profile odd.json:3:2: unknown key \"Zz\" (ignored)".to_owned(),
        format!("profile odd.json:{line}:16: transport_padding.pad_max: full packets have room"),
    ];
    assert_eq!(warnings.len(), starts.len(), "{warnings:#?}");
    for (told, start) in warnings.iter().zip(starts) {
        let start = format!("outbounds[0].profile_path: {start}");
        assert!(told.starts_with(&start), "{told}\n{start}");
    }

    // A link has no private key: a server that takes it lets in whoever knows the rest.
    let (config, warnings) = good(&folder, &with_inbound("\"profile_path\": \"client.link\""));
    assert_eq!(inbound(&config).profile.private_key, None);
    let start = "inbounds[0].profile_path: profile client.link: \
                 obfuscation.server_private_key: not given";
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(start),
        "{warnings:#?}"
    );
    let (_, warnings) = good(&folder, &with_inbound(&format!("\"profile\": {KEYLESS}")));
    let start = "inbounds[0].profile.obfuscation: profile: \
                 obfuscation.server_private_key: not given";
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(start),
        "{warnings:#?}"
    );
}

#[test]
fn dial_keys_of_sockets_are_taken() {
    let text = with_outbound(&format!(
        "\"profile\": {KEYLESS}, \"bind_interface\": \"eth0\", \"routing_mark\": 7, \
         \"inet4_bind_address\": \"192.0.2.7\", \"inet6_bind_address\": \"2001:db8::7\", \
         \"reuse_addr\": true, \"connect_timeout\": \"3s\", \"udp_fragment\": true, \
         \"domain_strategy\": \"ipv4_only\", \"tcp_fast_open\": false"
    ));
    let (config, warnings) = good(&Folder::default(), &text);
    let dial = &config.outbounds[0].dial;
    assert_eq!(dial.bind_interface.as_deref(), Some("eth0"));
    assert_eq!((dial.routing_mark, dial.reuse_addr), (Some(7), true));
    assert!(dial.inet4_bind_address.is_some() && dial.inet6_bind_address.is_some());
    assert_eq!(dial.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn a_connection_waits_for_a_tunnel_as_long_as_connect_timeout() {
    for (rest, seconds) in [("", 3 * 5 + 10), (", \"connect_timeout\": \"3s\"", 3)] {
        let text = with_outbound(&format!("\"profile\": {KEYLESS}{rest}"));
        let plan = Plan::build(&good(&Folder::default(), &text).0).expect("a plan");
        let Some(CarrierPlan::PaniqClient(carrier)) = &plan.outbounds()[0].carrier else {
            panic!("{:?}", plan.outbounds());
        };
        assert_eq!(carrier.config.open_timeout, Duration::from_secs(seconds));
        assert_eq!(carrier.server.to_string(), "192.0.2.1:9000");
    }
}

#[test]
fn a_legacy_mode_of_days_counts_from_the_time_of_reading() {
    let text = with_inbound(
        r#""profile": {"obfuscation": {"i1": "<t>", "legacy_mode_enabled": true,
            "legacy_mode_max_days": 3}}"#,
    );
    let (config, _) = good(&Folder::default(), &text);
    let until = inbound(&config).profile.legacy_until;
    assert_eq!(until, Some(NOW.as_secs() + 3 * 86_400));
}

#[test]
fn a_profile_is_formatted_as_it_is_written() {
    let text = with_outbound(
        r#""LINK": "", "profile": {"Proxy_Addr": "a:1", "obfuscation": {"jc": 1, "jmin": 1e0,
            "i1": "<t>", "x": [1, {}]}, "quic": {}, "obfuscation": {"jc": 2}}, "tag": "p""#,
    );
    let formatted = format(&Sources::single("c.json", text).files()[0]).unwrap();
    let want = "{\n  \"outbounds\": [\n    {\n      \"type\": \"paniq\",\n      \"tag\": \"p\",\n      \
                \"profile\": {\n        \"Proxy_Addr\": \"a:1\",\n        \"obfuscation\": {\n          \
                \"jc\": 1,\n          \"jmin\": 1e0,\n          \"i1\": \"\\u003ct\\u003e\",\n          \
                \"x\": [\n            1,\n            {}\n          ]\n        },\n        \
                \"obfuscation\": {\n          \"jc\": 2\n        }\n      }\n    },\n    {\n      \"type\": \"direct\",\n      \
                \"tag\": \"d\"\n    }\n  ]\n}\n";
    assert_eq!(formatted, want);
    let again = format(&Sources::single("c.json", formatted.clone()).files()[0]).unwrap();
    assert_eq!(again, formatted);
}

#[test]
fn profiles_of_files_can_stand_in_the_configuration() {
    let (server, client) = (profile(), profile().for_clients());
    let folder = Folder::default()
        .with("server.json", server.to_json().as_bytes())
        .with("client.cbor", &client.to_cbor().unwrap()[..]);
    let text = r#"{"inbounds": [{"type": "paniq", "tag": "in", "listen_port": 1,
                                 "profile_path": "server.json"}],
                   "outbounds": [{"type": "paniq", "tag": "out", "server": "h.test",
                                  "server_port": 7, "profile_path": "client.cbor"}]}"#;
    let (before, _) = good(&folder, text);
    let sources = Sources::single("c.json", text);
    let inlined = inline(&sources, &folder).expect("files are named");
    assert!(!inlined.contains("profile_path"), "{}", *inlined);
    let (after, warnings) = good(&Folder::default(), &inlined);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(inbound(&after).profile, inbound(&before).profile);
    assert_eq!(outbound(&after).profile, outbound(&before).profile);
    // Nothing is named any more; what cannot be read stays named.
    let again = Sources::single("c.json", &**inlined);
    assert_eq!(inline(&again, &folder), None);
    assert_eq!(inline(&sources, &Folder::default()), None);
}
