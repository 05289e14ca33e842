//! Each refusal with its place.
use super::{good, sources, with, with_address};
use sansbox_engine::config::{ConfigError, ReadOptions, read};

/// What follows `"type": "tun", "address": "172.19.0.1/30", `, with a mark where the error is, and
/// the error.
const CASES: &[(&str, &str)] = &[
    (
        "\"mtu\": «1279",
        r#"inbounds[0].mtu: "1279" is not an MTU from 1280 to 65535"#,
    ),
    (
        "\"tag\": \"t\",\n \"mtu\": «65536",
        r#"inbounds[0].mtu: "65536" is not an MTU from 1280 to 65535"#,
    ),
    (
        "\"mtu\": «-1",
        r#"inbounds[0].mtu: "-1" is not an MTU from 1280 to 65535"#,
    ),
    (
        "\"mtu\": «\"1500\"",
        "inbounds[0].mtu: expected a whole number, found a string",
    ),
    (
        "\"interface_name\": «\"a-name-of-16-byt\"",
        "inbounds[0].interface_name: \"a-name-of-16-byt\" is not a name of a network device",
    ),
    (
        "\"interface_name\": «\"tun%d\"",
        "inbounds[0].interface_name: \"tun%d\" is not a name of a network device",
    ),
    (
        "\"interface_name\": «\"..\"",
        "inbounds[0].interface_name: \"..\" is not a name of a network device",
    ),
    (
        "\"include_interface\": [\"lan\",\n «\"a b\"]",
        "inbounds[0].include_interface[1]: \"a b\" is not a name of a network device",
    ),
    (
        "\"exclude_interface\": [«\"\"]",
        "inbounds[0].exclude_interface[0]: \"\" is not a name of a network device",
    ),
    (
        "\"exclude_interface\": «\"a\",\n \"include_interface\": \"b\"",
        r#"inbounds[0].exclude_interface: "exclude_interface" and "include_interface" exclude each other"#,
    ),
    (
        "\"iproute2_table_index\": «254",
        "inbounds[0].iproute2_table_index: \"254\" is not a routing table that is not the system's",
    ),
    (
        "\"iproute2_table_index\": «4294967296",
        "inbounds[0].iproute2_table_index: \"4294967296\" is not a routing table",
    ),
    (
        "\"iproute2_rule_index\": «32766",
        "inbounds[0].iproute2_rule_index: \"32766\" is not a priority from 1 to 32700",
    ),
    (
        "\"route_address\": [\"10.0.0.0/8\", «\"10.0.0.0\"]",
        "inbounds[0].route_address[1]: \"10.0.0.0\" is not a prefix such as `172.19.0.1/30`",
    ),
    (
        "\"route_exclude_address\": «\"\"",
        "inbounds[0].route_exclude_address: \"\" is not a prefix such as `10.0.0.0/8`",
    ),
    (
        "\"route_exclude_address\": «5",
        "inbounds[0].route_exclude_address: expected text or an array of text, found a number",
    ),
    (
        "\"include_uid\": [0, «-1]",
        "inbounds[0].include_uid[1]: \"-1\" is not a number (0 to 4294967295)",
    ),
    (
        "\"include_uid\": [«\"root\"]",
        "inbounds[0].include_uid[0]: expected a number (0 to 4294967295), found a string",
    ),
    (
        "\"exclude_uid\": «\"root\"",
        "inbounds[0].exclude_uid: expected a number or an array of numbers, found a string",
    ),
    (
        "\"exclude_uid\": «4294967295",
        "inbounds[0].exclude_uid: \"4294967295\" is not a user id (0 to 4294967294)",
    ),
    (
        "\"include_uid_range\": «\"1000\"",
        "inbounds[0].include_uid_range: \"1000\" is not a range of user ids such as `1000:99999`",
    ),
    (
        "\"exclude_uid_range\": [«\"2:1\"]",
        "inbounds[0].exclude_uid_range[0]: \"2:1\" is not a range of user ids",
    ),
    (
        "\"udp_timeout\": «\"-5s\"",
        r#"inbounds[0].udp_timeout: "a negative time" is not a duration here"#,
    ),
    (
        "\"stack\": «\"lwip\"",
        r#"inbounds[0].stack: "lwip" is not `system`, `gvisor` or `mixed`"#,
    ),
    (
        "«\"auto_redirect\": true",
        "inbounds[0].auto_redirect: key \"auto_redirect\" is not supported yet: use `auto_route`, \
         which needs no firewall rules",
    ),
    (
        "«\"inet4_address\": \"10.0.0.1/8\"",
        "inbounds[0].inet4_address: key \"inet4_address\" is not supported yet: use `address`, \
         which takes both families",
    ),
    (
        "«\"include_package\": \"org.example\"",
        "inbounds[0].include_package: key \"include_package\" is not supported yet",
    ),
    (
        "«\"listen\": \"::\"",
        "inbounds[0].listen: unknown key \"listen\"",
    ),
    (
        "«\"listen_port\": 1080",
        "inbounds[0].listen_port: unknown key \"listen_port\"",
    ),
    (
        "«\"adress\": \"10.0.0.1/8\"",
        r#"inbounds[0].adress: unknown key "adress"; did you mean "address"?"#,
    ),
    (
        "«\"strict_rout\": true",
        r#"inbounds[0].strict_rout: unknown key "strict_rout"; did you mean "strict_route"?"#,
    ),
    (
        "\"sansbox\": {\n\t«\"egres_mtu\": 1400}",
        r#"inbounds[0].sansbox.egres_mtu: unknown key "egres_mtu"; did you mean "egress_mtu"?"#,
    ),
    (
        "\"sansbox\": {\"egress_mtu\": «575}",
        r#"inbounds[0].sansbox.egress_mtu: "575" is not an MTU from 576 to 65535"#,
    ),
    (
        "\"sansbox\": {\"egress_mtu\": «65536}",
        r#"inbounds[0].sansbox.egress_mtu: "65536" is not an MTU from 576 to 65535"#,
    ),
    (
        "\"sansbox\": {\n \"handshake_mode\": «\"slow\"}",
        r#"inbounds[0].sansbox.handshake_mode: "slow" is not `fast`, `consistent` or `auto`"#,
    ),
    (
        "\"sansbox\": {\"icmp_echo\": «\"on\"}",
        r#"inbounds[0].sansbox.icmp_echo: "on" is not `off`, `reply`, `relay` or `reject`"#,
    ),
    (
        "\"sansbox\": {\"udp_filtering\": «\"none\"}",
        "inbounds[0].sansbox.udp_filtering: \"none\" is not `endpoint_independent` or \
         `address_dependent`",
    ),
    (
        "\"sansbox\": «true",
        "inbounds[0].sansbox: expected an object, found a boolean",
    ),
];

/// The same for what follows `"type": "tun", `.
const ADDRESSES: &[(&str, &str)] = &[
    (
        "\"address\": [\"172.19.0.1/30\",\n «\"fd00::1/129\"]",
        "inbounds[0].address[1]: \"fd00::1/129\" is not a prefix such as `172.19.0.1/30`",
    ),
    (
        "\"address\": «\"172.19.0.1\"",
        "inbounds[0].address: \"172.19.0.1\" is not a prefix such as `172.19.0.1/30`",
    ),
    (
        "\"address\": «\"fe80::1%lo/64\"",
        "inbounds[0].address: \"fe80::1%lo/64\" is not a prefix such as `172.19.0.1/30`",
    ),
    (
        "\"address\": «\"\"",
        "inbounds[0].address: \"\" is not an address of a host with its network",
    ),
    (
        "\"address\": «\"0.0.0.0/8\"",
        "inbounds[0].address: \"0.0.0.0/8\" is not an address of a host with its network",
    ),
    (
        "\"address\": «\"10.0.0.1/0\"",
        "inbounds[0].address: \"10.0.0.1/0\" is not an address of a host with its network",
    ),
    (
        "\"address\": «\"ff02::1/64\"",
        "inbounds[0].address: \"ff02::1/64\" is not an address of a host with its network",
    ),
    (
        "\"address\": [\"10.0.0.1/8\", «\"10.0.0.1/24\"]",
        "inbounds[0].address[1]: \"10.0.0.1/24\" is not another address than those before",
    ),
];

fn errors(text: &str) -> Vec<ConfigError> {
    read(&sources(text), &ReadOptions::default()).expect_err("refused")
}

/// One error, of this text, at the mark `«`, which is taken out.
#[track_caller]
fn refused_at_mark(marked: &str, want: &str) {
    let at = marked.find('«').expect("a mark");
    let text = marked.replace('«', "");
    let errors = errors(&text);
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 1, "{text}\n{shown:#?}");
    assert!(shown[0].starts_with(want), "{}\nis not\n{want}", shown[0]);
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let place = format!("--> c.json:{line}:{column}, at ");
    let rendered = errors[0].render(&sources(&text));
    assert!(rendered.contains(&place), "{rendered}\nis not {place}");
}

#[test]
fn each_refusal_shows_its_place() {
    for (rest, want) in CASES {
        refused_at_mark(&with_address(rest), want);
    }
    for (rest, want) in ADDRESSES {
        refused_at_mark(&with(rest), want);
    }
}

#[test]
fn a_device_needs_an_address() {
    for rest in [r#""tag": "t""#, r#""address": []"#, r#""address": null"#] {
        let errors = errors(&with(rest));
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "inbounds[0]: missing \"address\"");
    }
}

#[test]
fn two_devices_take_nothing_from_each_other() {
    let two = |first: &str, second: &str| {
        let tun =
            |n: u8, rest: &str| format!(r#"{{"type": "tun", "address": "10.0.{n}.1/24"{rest}}}"#);
        format!("{{\"inbounds\": [{}, {}]}}", tun(0, first), tun(1, second))
    };
    let same = "a tun inbound before this one has the same";
    let auto = r#", "auto_route": true"#;
    let other_rule = r#", "auto_route": true, "iproute2_rule_index": 9100"#;
    let other_table = r#", "auto_route": true, "iproute2_table_index": 7"#;
    let name = r#", "interface_name": "tun0""#;
    for (first, second, keys) in [
        (name, name, &["interface_name"][..]),
        (auto, auto, &["iproute2_rule_index", "iproute2_table_index"]),
        (auto, other_rule, &["iproute2_table_index"]),
        (other_table, auto, &["iproute2_rule_index"]),
    ] {
        let mut shown: Vec<String> = errors(&two(first, second))
            .iter()
            .map(ToString::to_string)
            .collect();
        shown.sort();
        let want = keys
            .iter()
            .map(|key| format!("inbounds[1]: key \"{key}\" cannot be used here: {same}"));
        assert_eq!(shown, want.collect::<Vec<_>>());
    }
    good(&two(other_table, other_rule));
    good(&two(auto, name));
    good(&two("", ""));
}
