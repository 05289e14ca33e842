//! What configurations become.
use sansbox_engine::config::{
    DEPTH_MAX, ErrorKind, ReadOptions, Sources, Warning, format, merge,
    model::{
        Condition, Config, DomainStrategy, InboundKind, IpVersion, LogLevel, Network, Networks,
        OutboundKind, PortRange, Recorder, RecorderMode, RejectMethod, RuleAction, SocksVersion,
        Span, Spanned,
    },
    read,
};
use std::time::Duration;

fn sources(text: &str) -> Sources {
    Sources::single("c.json", text)
}

#[track_caller]
fn config(text: &str) -> Config {
    let sources = sources(text);
    match read(&sources, &ReadOptions::default()) {
        Ok((config, _)) => config,
        Err(errors) => panic!(
            "{}",
            errors
                .iter()
                .map(|e| e.render(&sources))
                .collect::<String>()
        ),
    }
}

fn lenient(text: &str) -> (Config, Vec<Warning>) {
    read(&sources(text), &ReadOptions { lenient: true }).expect("accepted")
}

#[test]
fn nothing_at_all_is_a_configuration() {
    for text in [
        "{}",
        "null",
        "{\"log\": null, \"inbounds\": []}",
        "{} {\"x\": 1}",
    ] {
        assert_eq!(config(text), Config::default(), "{text}");
    }
}

#[test]
fn listeners_have_every_listen_key() {
    let config = config(
        r#"{"log": {"level": "warning"}, "inbounds": [
        {"type": "mixed", "tag": "m", "listen": "::", "listen_port": 8e1, "bind_interface": "lo",
         "routing_mark": 7, "reuse_addr": true, "tcp_keep_alive": "1d", "udp_fragment": false,
         "tcp_keep_alive_interval": "1.5s", "udp_timeout": 300, "sansbox_allow_public": true,
         "users": [{"username": "u", "PASSWORD": "p"}, null]},
        {"type": "direct", "network": ["udp"], "override_address": "a.test", "override_port": 53}
    ]}"#,
    );
    assert_eq!(config.log.level, Some(LogLevel::Warn));
    let mixed = &config.inbounds[0];
    assert_eq!(mixed.tag, "m");
    assert_eq!(mixed.listen.listen.to_string(), "::");
    assert_eq!(mixed.listen.listen_port, 80);
    assert_eq!(mixed.listen.bind_interface.as_deref(), Some("lo"));
    assert_eq!(mixed.listen.routing_mark, Some(7));
    assert!(mixed.listen.reuse_addr && mixed.listen.allow_public);
    assert_eq!(
        mixed.listen.tcp_keep_alive,
        Some(Duration::from_secs(86_400))
    );
    assert_eq!(
        mixed.listen.tcp_keep_alive_interval,
        Some(Duration::from_millis(1500))
    );
    assert_eq!(mixed.listen.udp_fragment, Some(false));
    assert_eq!(mixed.listen.udp_timeout, Some(Duration::from_secs(300)));
    let InboundKind::Mixed { users } = &mixed.kind else {
        panic!("{:?}", mixed.kind)
    };
    let users: Vec<_> = users.iter().map(|u| (&*u.username, &*u.password)).collect();
    assert_eq!(users, [("u", "p"), ("", "")]);
    let direct = &config.inbounds[1];
    assert_eq!(direct.tag, "1");
    assert_eq!(direct.listen.listen.to_string(), "127.0.0.1");
    let InboundKind::Direct {
        network,
        override_address,
        override_port,
    } = &direct.kind
    else {
        panic!("{:?}", direct.kind)
    };
    let udp = Networks {
        tcp: false,
        udp: true,
    };
    assert_eq!(*network, udp);
    assert_eq!(override_address.as_ref().unwrap().to_string(), "a.test");
    assert_eq!(*override_port, Some(53));
}

#[test]
fn dialers_have_every_dial_key() {
    let config = config(
        r#"{"outbounds": [
        {"type": "socks", "tag": "s", "server": "a.test", "server_port": 1080, "version": "4a",
         "username": "u", "network": "tcp", "detour": "h", "udp_over_tcp": false},
        {"type": "http", "tag": "h", "server": "::1", "server_port": 8080, "path": "/x",
         "headers": {"X-B": ["1", "2"], "X-A": "3"}, "inet4_bind_address": "127.0.0.2",
         "inet6_bind_address": "::2", "connect_timeout": "2s", "fallback_delay": "10ms",
         "domain_strategy": "prefer_ipv6", "routing_mark": "0x10"},
        {"type": "selector", "outbounds": ["s", "h", "d"], "default": "h"},
        {"type": "direct", "tag": "d"}
    ]}"#,
    );
    let OutboundKind::Socks {
        server,
        version,
        user,
        network,
    } = &config.outbounds[0].kind
    else {
        panic!("{:?}", config.outbounds[0])
    };
    assert_eq!(server.to_string(), "a.test:1080");
    assert_eq!(*version, SocksVersion::V4a);
    let user = user.as_ref().unwrap();
    assert_eq!((&*user.username, &*user.password), ("u", ""));
    assert!(network.tcp && !network.udp);
    let detour = config.outbounds[0].dial.detour.as_ref().unwrap();
    assert_eq!(detour.value, "h");
    let OutboundKind::Http {
        server,
        user,
        path,
        headers,
    } = &config.outbounds[1].kind
    else {
        panic!("{:?}", config.outbounds[1])
    };
    assert_eq!(server.to_string(), "[::1]:8080");
    assert_eq!((user, &**path), (&None, "/x"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let want = [header("X-B", "1"), header("X-B", "2"), header("X-A", "3")];
    assert_eq!(headers[..], want);
    let dial = &config.outbounds[1].dial;
    assert_eq!(dial.inet4_bind_address.unwrap().to_string(), "127.0.0.2");
    assert_eq!(dial.inet6_bind_address.unwrap().to_string(), "::2");
    assert_eq!(dial.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(dial.fallback_delay, Some(Duration::from_millis(10)));
    assert_eq!(dial.domain_strategy, DomainStrategy::PreferIpv6);
    assert_eq!(dial.routing_mark, Some(16));
    let OutboundKind::Selector {
        outbounds, default, ..
    } = &config.outbounds[2].kind
    else {
        panic!("{:?}", config.outbounds[2])
    };
    assert_eq!(outbounds.len(), 3);
    assert_eq!(default.as_ref().unwrap().value, "h");
    assert_eq!(config.outbounds[2].tag, "2");
}

#[test]
fn rules_keep_conditions_actions_and_places() {
    let text = r#"{"inbounds": [{"type": "socks"}], "outbounds": [{"type": "direct"}],
    "route": {"final": "0", "rules": [
        {"inbound": "0", "ip_version": 6, "network": ["udp", "tcp"], "auth_user": "u",
         "domain": ["a", "b"], "domain_regex": "^x", "ip_cidr": ["10.1.2.3/8", "::1"],
         "source_ip_is_private": true, "port": [1, 2], "port_range": [":3", "4:"],
         "source_port": [], "invert": true, "outbound": "0"},
        {"type": "logical", "mode": "or", "rules": [
            {"type": "logical", "mode": "and", "invert": true,
             "rules": [{"port": 1, "action": "reject", "method": "drop"}, {}]}],
         "action": "reject", "no_drop": true}
    ]}}"#;
    let config = config(text);
    let rule = &config.route.rules[0];
    let Condition::Default(fields) = &rule.condition else {
        panic!("{rule:?}")
    };
    let at = |span: Span| &text[span.start as usize..span.end as usize];
    let inbound = &fields.inbound.as_ref().unwrap()[0];
    assert_eq!((&*inbound.value, at(inbound.span)), ("0", "\"0\""));
    assert_eq!(fields.ip_version, Some(IpVersion::V6));
    assert_eq!(fields.network, Some(vec![Network::Udp, Network::Tcp]));
    assert_eq!(fields.domain, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(at(fields.domain_regex.as_ref().unwrap()[0].span), "\"^x\"");
    let nets = fields.ip_cidr.as_ref().unwrap().iter();
    let nets: Vec<_> = nets.map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "::1/128"]);
    assert!(fields.source_ip_is_private && fields.invert && !fields.ip_is_private);
    assert_eq!(fields.port, Some(vec![1, 2]));
    let range = |start, end| PortRange { start, end };
    assert_eq!(fields.port_range, Some(vec![range(0, 3), range(4, 65_535)]));
    assert_eq!(fields.source_port, None, "an empty list is dropped");
    assert!(matches!(&rule.action, RuleAction::Route { outbound } if outbound.value == "0"));
    assert!(at(rule.span).starts_with("{\"inbound\""));
    let rule = &config.route.rules[1];
    assert_eq!(
        rule.action,
        RuleAction::Reject {
            method: RejectMethod::Default,
            no_drop: true
        }
    );
    let Condition::Logical { all, rules, invert } = &rule.condition else {
        panic!("{rule:?}")
    };
    assert!(!all && !invert);
    let Condition::Logical { all, rules, invert } = &rules[0] else {
        panic!("{rules:?}")
    };
    assert!(*all && *invert);
    assert_eq!(rules.len(), 2);
}

#[test]
fn lenient_reading_leaves_rules_that_lead_nowhere() {
    let text = r#"{"route": {"rules": [{"port": 1}, {"network": "icmp", "outbound": "direct"}]}}"#;
    let (config, warnings) = lenient(text);
    assert_eq!(warnings.len(), 2);
    let RuleAction::Route { outbound } = &config.route.rules[0].action else {
        panic!()
    };
    assert_eq!(outbound.value, "");
    let Condition::Default(fields) = &config.route.rules[1].condition else {
        panic!()
    };
    assert_eq!(fields.network, Some(Vec::new()), "matches nothing");
    assert!(read(&sources(text), &ReadOptions::default()).is_err());
}

#[test]
fn the_outbound_that_is_made_is_called_direct() {
    let rule = r#""rules": [{"port": 1, "outbound": "direct"}]"#;
    config(&format!(r#"{{"route": {{{rule}}}}}"#));
    for text in [
        format!(r#"{{"route": {{{rule}, "final": "direct"}}}}"#),
        format!(r#"{{"outbounds": [{{"type": "direct"}}], "route": {{{rule}}}}}"#),
    ] {
        assert!(
            read(&sources(&text), &ReadOptions::default()).is_err(),
            "{text}"
        );
    }
}

/// A text and the path of its only error.
const BAD_VALUES: &[(&str, &str)] = &[
    (
        r#"{"outbounds": [{"type": "direct", "inet4_bind_address": "::1"}]}"#,
        "outbounds[0].inet4_bind_address",
    ),
    (
        r#"{"outbounds": [{"type": "http", "server": "a b", "server_port": 1}]}"#,
        "outbounds[0].server",
    ),
    (
        r#"{"outbounds": [{"type": "http", "server": "a"}]}"#,
        "outbounds[0]",
    ),
    (
        r#"{"outbounds": [{"type": "http", "server": "a", "server_port": 1, "path": "/ x"}]}"#,
        "outbounds[0].path",
    ),
    (
        r#"{"outbounds": [{"type": "http", "server": "a", "server_port": 1, "headers": {"A b": "x"}}]}"#,
        "outbounds[0].headers",
    ),
    (
        r#"{"outbounds": [{"type": "http", "server": "a", "server_port": 1, "headers": {"A": "x\ny"}}]}"#,
        "outbounds[0].headers",
    ),
    (
        r#"{"outbounds": [{"type": "socks", "server": "a", "server_port": 1, "version": "6"}]}"#,
        "outbounds[0].version",
    ),
    (
        r#"{"inbounds": [{"type": "direct", "override_address": "a..b"}]}"#,
        "inbounds[0].override_address",
    ),
    (
        r#"{"route": {"rules": [{"ip_version": 5, "action": "reject"}]}}"#,
        "route.rules[0].ip_version",
    ),
    (
        r#"{"route": {"rules": [{"port_range": ["1:2", "x"], "action": "reject"}]}}"#,
        "route.rules[0].port_range[1]",
    ),
    (
        r#"{"route": {"rules": [{"domain": "", "action": "reject"}]}}"#,
        "route.rules[0].domain",
    ),
    (
        r#"{"route": {"rules": [{"method": "drop", "no_drop": true, "action": "reject"}]}}"#,
        "route.rules[0].no_drop",
    ),
    (
        r#"{"route": {"rules": [{"type": "logical", "rules": [{"port": 1}], "action": "reject"}]}}"#,
        "route.rules[0]",
    ),
    (
        r#"{"route": {"rules": [{"type": "logical", "mode": "xor", "rules": [{"port": 1}], "action": "reject"}]}}"#,
        "route.rules[0].mode",
    ),
    (
        r#"{"route": {"rules": [{"inbound": "in", "action": "reject"}]}}"#,
        "route.rules[0].inbound",
    ),
    (
        r#"{"outbounds": [{"type": "selector", "outbounds": ["0"]}]}"#,
        "outbounds[0].outbounds[0]",
    ),
    (r#"{"inbounds": [{"TYPE": "socks"}]}"#, "inbounds[0].TYPE"),
    (
        r#"{"inbounds": [{"type": "socks", "users": [{},]}]}"#,
        "inbounds[0].users",
    ),
];

#[test]
fn bad_values_are_refused_where_they_stand() {
    for (text, path) in BAD_VALUES {
        let errors = read(&sources(text), &ReadOptions::default()).expect_err(text);
        let paths: Vec<_> = errors.iter().map(|e| &*e.path).collect();
        assert_eq!(paths, [*path], "{text}: {errors:?}");
    }
}

#[test]
fn spans_of_merged_files_point_into_their_own_file() {
    let sources = Sources::new(vec![
        (
            "2.json".into(),
            br#"{"outbounds": [{"type": "direct", "tag": "b"}], "route": {"final": "a"}}"#.to_vec(),
        ),
        (
            "1.json".into(),
            br#"{"outbounds": [{"type": "direct", "tag": "a", "detour": "b"}]} // 1"#.to_vec(),
        ),
    ]);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("accepted");
    let shown = |tag: &Spanned<String>| {
        let file = sources.file(tag.span).expect("a file");
        let bytes = &file.bytes()[tag.span.start as usize..tag.span.end as usize];
        format!("{} {}", file.path(), String::from_utf8_lossy(bytes))
    };
    let detour = config.outbounds[0].dial.detour.as_ref().unwrap();
    assert_eq!(shown(detour), "1.json \"b\"");
    assert_eq!(
        shown(config.route.final_outbound.as_ref().unwrap()),
        "2.json \"a\""
    );
    assert_eq!(config.outbounds[1].span.file, 1);
}

/// `levels` logical rules in each other around an empty one.
fn nested_rules(levels: usize) -> String {
    let open = r#"{"type": "logical", "mode": "and", "rules": ["#.repeat(levels);
    let close = "], \"action\": \"reject\"}".repeat(levels);
    format!(r#"{{"route": {{"rules": [{open}{{"port": 1}}{close}]}}}}"#)
}

#[test]
fn nesting_up_to_the_limit_is_read_and_more_is_refused() {
    let deepest = (DEPTH_MAX - 4) / 2;
    let text = nested_rules(deepest);
    config(&text);
    let two = Sources::new(vec![
        ("a".into(), text.clone().into_bytes()),
        ("b".into(), text.into_bytes()),
    ]);
    merge(&two).expect("merged");
    format(&two.files()[0]).expect("formatted");
    let deeper = sources(&nested_rules(deepest + 1));
    let errors = read(&deeper, &ReadOptions::default()).expect_err("too deep");
    assert!(matches!(errors[0].kind, ErrorKind::TooDeep { .. }));
    for text in ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 20)] {
        assert!(format(&sources(&text).files()[0]).is_err());
    }
}

#[test]
fn the_sansbox_object_is_read_and_its_values_are_checked() {
    let config = config(
        r#"{"sansbox": {"workers": 2, "max_connections": 9, "loopback_congestion": "system"}}"#,
    );
    assert_eq!(config.sansbox.workers, Some(2));
    assert_eq!(config.sansbox.max_connections, Some(9));
    assert!(config.sansbox.system_congestion);
    for bad in [
        r#"{"sansbox": {"workers": 0}}"#,
        r#"{"sansbox": {"max_connections": -1}}"#,
        r#"{"sansbox": {"loopback_congestion": "fast"}}"#,
        r#"{"sansbox": {"worker": 1}}"#,
    ] {
        assert!(
            read(&sources(bad), &ReadOptions::default()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn the_recorder_is_read_and_never_keeps_secrets_without_a_key() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let of = |recorder: &str| {
        let text = format!(r#"{{"sansbox": {{"recorder": {recorder}}}}}"#);
        read(&sources(&text), &ReadOptions::default())
    };
    let recorder = |text: &str| of(text).expect(text).0.sansbox.recorder;
    assert_eq!(recorder("{}"), Recorder::default());
    assert_eq!(Recorder::default().mode, RecorderMode::Shape);
    let full = recorder(&format!(
        r#"{{"mode": "full", "size": 262144, "keep": "2m", "directory": "d",
            "public_key": "{key}", "flush_on_stop": true}}"#
    ));
    let expected = Recorder {
        mode: RecorderMode::Full,
        size: Some(262_144),
        keep: Some(Duration::from_secs(120)),
        directory: Some("d".to_owned()),
        public_key: Some(core::array::from_fn(|n| n as u8)),
        flush_on_stop: true,
    };
    assert_eq!(full, expected);
    let (_, warnings) = of(&format!(r#"{{"public_key": "{key}"}}"#)).expect("it reads");
    assert!(
        warnings[0].path.ends_with("recorder.public_key"),
        "{warnings:?}"
    );
    for (bad, path) in [
        (r#"{"mode": "head"}"#, "mode"),
        (r#"{"mode": "full", "public_key": ""}"#, "mode"),
        (r#"{"mode": "full", "public_key": "AAAA"}"#, "public_key"),
        (r#"{"mode": "all"}"#, "mode"),
        (r#"{"size": 1}"#, "size"),
        (r#"{"size": 536870913}"#, "size"),
        (r#"{"keep": "-1s"}"#, "keep"),
        (r#"{"modes": "off"}"#, "modes"),
    ] {
        let errors = of(bad).expect_err(bad);
        let text = errors[0].to_string();
        assert!(
            text.starts_with(&format!("sansbox.recorder.{path}")),
            "{bad}: {text}"
        );
    }
}
