//! Error texts, word for word.
use sansbox_engine::{
    config::{ConfigError, ReadOptions, Sources, merge, read},
    plan::Plan,
};

/// All errors of one file, rendered.
fn errors(text: &str) -> String {
    let sources = Sources::single("c.json", text);
    let errors = read(&sources, &ReadOptions::default()).expect_err("refused");
    errors.iter().map(|error| error.render(&sources)).collect()
}

/// All warnings of one file that is read leniently, rendered.
fn warnings(text: &str) -> String {
    let sources = Sources::single("c.json", text);
    let options = ReadOptions { lenient: true };
    let (_, warnings) = read(&sources, &options).expect("accepted");
    warnings.iter().map(|w| w.render(&sources)).collect()
}

#[track_caller]
fn expect(shown: &str, want: &str) {
    assert!(shown == want, "got:\n{shown}\nwant:\n{want}");
}

#[test]
fn a_misspelt_key_is_told_with_the_right_one() {
    let text = r#"{
  "inbounds": [
    {"type": "socks", "lisen_port": 1080}
  ]
}"#;
    expect(
        &errors(text),
        r#"error: unknown key "lisen_port"; did you mean "listen_port"?
 --> c.json:3:23, at inbounds[0].lisen_port
  |
3 |     {"type": "socks", "lisen_port": 1080}
  |                       ^^^^^^^^^^^^
"#,
    );
}

const MANY: &str = r#"{
  "log": {"level": "loud"},
  "dns": {"final": "x"},
  "inbounds": [
    {"type": "naive"},
    {"type": "sock"},
    {"type": "mixed", "listen": "localhost", "listen_port": "1080"},
    {"type": "direct", "udp_timeout": "-5s"}
  ],
  "outbounds": [
    {"type": "direct", "tag": "out"},
    {"type": "socks", "tag": "out", "server": "a", "server_port": 1, "detour": "ou"},
    {"type": "selector", "outbounds": []}
  ],
  "route": {
    "rules": [
      {"port": 1},
      {"inbound": "0", "outbound": "oot"},
      {"action": "sniff"},
      {"ip_cidr": ["10.0.0.0/33"], "outbound": "out"}
    ],
    "final": "x"
  }
}"#;

const MANY_SHOWN: &str = r#"error: "loud" is not a log level (`trace`, `debug`, `info`, `warn`, `error`, `fatal`, `panic`)
 --> c.json:2:20, at log.level
  |
2 |   "log": {"level": "loud"},
  |                    ^^^^^^
error: key "dns" is not supported yet
 --> c.json:3:3, at dns
  |
3 |   "dns": {"final": "x"},
  |   ^^^^^
error: inbound type "naive" is not supported yet
 --> c.json:5:14, at inbounds[0].type
  |
5 |     {"type": "naive"},
  |              ^^^^^^^
error: unknown inbound type "sock"; did you mean "socks"?
 --> c.json:6:14, at inbounds[1].type
  |
6 |     {"type": "sock"},
  |              ^^^^^^
error: "localhost" is not an IP address
 --> c.json:7:33, at inbounds[2].listen
  |
7 |     {"type": "mixed", "listen": "localhost", "listen_port": "1080"},
  |                                 ^^^^^^^^^^^
error: expected a port (0 to 65535), found a string
 --> c.json:7:61, at inbounds[2].listen_port
  |
7 |     {"type": "mixed", "listen": "localhost", "listen_port": "1080"},
  |                                                             ^^^^^^
error: "a negative time" is not a duration here
 --> c.json:8:39, at inbounds[3].udp_timeout
  |
8 |     {"type": "direct", "udp_timeout": "-5s"}
  |                                       ^^^^^
error: duplicate outbound tag "out"
  --> c.json:12:30, at outbounds[1].tag
   |
12 |     {"type": "socks", "tag": "out", "server": "a", "server_port": 1, "detour": "ou"},
   |                              ^^^^^
error: there is no outbound "ou"; did you mean "out"?
  --> c.json:12:80, at outbounds[1].detour
   |
12 |     {"type": "socks", "tag": "out", "server": "a", "server_port": 1, "detour": "ou"},
   |                                                                                ^^^^
error: missing "outbounds"
  --> c.json:13:5, at outbounds[2]
   |
13 |     {"type": "selector", "outbounds": []}
   |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
error: missing "outbound"
  --> c.json:17:7, at route.rules[0]
   |
17 |       {"port": 1},
   |       ^^^^^^^^^^^
error: there is no outbound "oot"; did you mean "out"?
  --> c.json:18:36, at route.rules[1].outbound
   |
18 |       {"inbound": "0", "outbound": "oot"},
   |                                    ^^^^^
error: rule action "sniff" is not supported yet
  --> c.json:19:18, at route.rules[2].action
   |
19 |       {"action": "sniff"},
   |                  ^^^^^^^
error: "10.0.0.0/33" is not an IP prefix
  --> c.json:20:20, at route.rules[3].ip_cidr[0]
   |
20 |       {"ip_cidr": ["10.0.0.0/33"], "outbound": "out"}
   |                    ^^^^^^^^^^^^^
error: there is no outbound "x"
  --> c.json:22:14, at route.final
   |
22 |     "final": "x"
   |              ^^^
"#;

#[test]
fn all_errors_are_told_in_the_order_of_the_text() {
    expect(&errors(MANY), MANY_SHOWN);
}

#[test]
fn syntax_errors_say_what_was_expected() {
    for (text, want) in [
        (
            "{\n  \"log\": {\n    \"level\": \"info\"\n    \"output\": 1\n",
            "error: unexpected '\"', expected `,` or `}` after the value\n --> c.json:4:5\n  |\n\
             4 |     \"output\": 1\n  |     ^\n",
        ),
        (
            "{\"log\": // x\n",
            "error: unexpected end of file, expected a value\n --> c.json:2:1\n  |\n2 | \n  | ^\n",
        ),
        (
            "\u{feff}{}",
            "error: unexpected byte order mark, expected a value\n --> c.json:1:1\n  |\n\
             1 | \u{feff}{}\n  | ^\n",
        ),
        (
            "# nothing",
            "error: the file holds no value\n --> c.json:1:1\n  |\n1 | # nothing\n  | ^\n",
        ),
        (
            "{'a': 1}",
            "error: unexpected '\\'', expected a key in double quotes or `}`\n --> c.json:1:2\n  |\n\
             1 | {'a': 1}\n  |  ^\n",
        ),
    ] {
        expect(&errors(text), want);
    }
}

#[test]
fn circles_are_told_once_with_every_step() {
    let text = r#"{"outbounds": [
{"type": "selector", "tag": "a", "outbounds": ["b", "c"]},
{"type": "socks", "tag": "b", "server": "x", "server_port": 1, "detour": "c"},
{"type": "selector", "tag": "c", "outbounds": ["a"]}
]}"#;
    let shown = errors(text);
    let circles: Vec<_> = shown.lines().filter(|l| l.starts_with("error")).collect();
    assert_eq!(
        circles,
        ["error: circular outbound dependency: a -> c -> a"]
    );
}

#[test]
fn what_the_plan_finds_is_shown_in_its_place() {
    let text = r#"{"route": {"rules": [{"domain_regex": ["a", "b{2,1}"], "action": "reject"}]}}"#;
    let sources = Sources::single("c.json", text);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("accepted");
    let errors = Plan::build(&config).expect_err("refused");
    let error = ConfigError::at(&sources, errors[0].span(), &"the message");
    expect(
        &error.render(&sources),
        r#"error: the message
 --> c.json:1:45, at route.rules[0].domain_regex[1]
  |
1 | {"route": {"rules": [{"domain_regex": ["a", "b{2,1}"], "action": "reject"}]}}
  |                                             ^^^^^^^^
"#,
    );
}

#[test]
fn passwords_are_never_shown() {
    let text = r#"{"inbounds": [{"type": "socks", "users": [{"username": "u", "password": "hunter2", "x": 1}]}]}"#;
    let shown = errors(text);
    assert!(shown.contains("users[0].x"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_is_let_pass_is_warned_of() {
    let text = r#"{
  "inbounds": [{"type": "socks", "servers": []}],
  "outbounds": [{"type": "block", "tag": "b"}],
  "route": {"rules": [
    {"network": "icmp", "outbound": "nowhere"},
    {"action": "reject", "outbound": "b"}
  ]}
}"#;
    expect(
        &warnings(text),
        r#"warning: key "servers" has no effect: its value holds nothing
 --> c.json:2:34, at inbounds[0].servers
  |
2 |   "inbounds": [{"type": "socks", "servers": []}],
  |                                  ^^^^^^^^^
warning: outbound type "block" is deprecated in sing-box: use a rule with "action": "reject"
 --> c.json:3:26, at outbounds[0].type
  |
3 |   "outbounds": [{"type": "block", "tag": "b"}],
  |                          ^^^^^^^
warning: "icmp" is not `tcp` or `udp`
 --> c.json:5:17, at route.rules[0].network
  |
5 |     {"network": "icmp", "outbound": "nowhere"},
  |                 ^^^^^^
warning: there is no outbound "nowhere"
 --> c.json:5:37, at route.rules[0].outbound
  |
5 |     {"network": "icmp", "outbound": "nowhere"},
  |                                     ^^^^^^^^^
warning: key "outbound" has no effect: the rule's action has no such option
 --> c.json:6:26, at route.rules[1].outbound
  |
6 |     {"action": "reject", "outbound": "b"}
  |                          ^^^^^^^^^^
"#,
    );
}

#[test]
fn what_does_nothing_is_warned_of() {
    let text = r#"{
  "inbounds": [{"type": "http", "Listen": "::1", "listen": "::", "listen": "0.0.0.0"}],
  "dns": {}, "endpoints": [],
  "outbounds": [
    {"type": "direct", "tag": "d"},
    {"type": "direct", "tag": "e", "detour": "d", "routing_mark": 1}
  ],
  "route": {"rules": [
    {"type": "logical", "mode": "or", "rules": [{"port": 1, "outbound": "d"}], "outbound": "e"}
  ]}
}"#;
    expect(
        &warnings(text),
        r#"warning: key "listen" has no effect: the same key follows, and the last one counts
 --> c.json:2:43, at inbounds[0].Listen
  |
2 |   "inbounds": [{"type": "http", "Listen": "::1", "listen": "::", "listen": "0.0.0.0"}],
  |                                           ^^^^^
warning: key "listen" has no effect: the same key follows, and the last one counts
 --> c.json:2:50, at inbounds[0].listen
  |
2 |   "inbounds": [{"type": "http", "Listen": "::1", "listen": "::", "listen": "0.0.0.0"}],
  |                                                  ^^^^^^^^
warning: key "routing_mark" has no effect: `detour` opens the connections
 --> c.json:6:67, at outbounds[1].routing_mark
  |
6 |     {"type": "direct", "tag": "e", "detour": "d", "routing_mark": 1}
  |                                                                   ^
warning: key "outbound" has no effect: only the outermost rule acts
 --> c.json:9:73, at route.rules[0].rules[0].outbound
  |
9 |     {"type": "logical", "mode": "or", "rules": [{"port": 1, "outbound": "d"}], "outbound": "e"}
  |                                                                         ^^^
"#,
    );
}

#[test]
fn errors_after_a_merge_name_the_file_and_the_merged_path() {
    let sources = Sources::new(vec![
        (
            "b.json".into(),
            br#"{"outbounds": [{"type": "direct", "detour": "yard"}]}"#.to_vec(),
        ),
        (
            "a.json".into(),
            br#"{"outbounds": [{"type": "direct", "tag": "yards"}]}"#.to_vec(),
        ),
    ]);
    let errors = read(&sources, &ReadOptions::default()).expect_err("refused");
    let shown: String = errors.iter().map(|e| e.render(&sources)).collect();
    expect(
        &shown,
        r#"error: there is no outbound "yard"; did you mean "yards"?
 --> b.json:1:45, at outbounds[1].detour
  |
1 | {"outbounds": [{"type": "direct", "detour": "yard"}]}
  |                                             ^^^^^^
"#,
    );
    let both_broken = Sources::new(vec![
        ("a".into(), b"{".to_vec()),
        ("b".into(), br#"{"x": 1}"#.to_vec()),
    ]);
    let errors = merge(&both_broken).expect_err("refused");
    let files: Vec<_> = errors.iter().map(|e| e.span.file).collect();
    assert_eq!(files, [0, 1]);
    let object_and_text = Sources::new(vec![
        ("a".into(), br#"{"log": {"level": "info"}}"#.to_vec()),
        ("b".into(), br#"{"log": null}"#.to_vec()),
    ]);
    let errors = merge(&object_and_text).expect_err("refused");
    assert_eq!(
        errors[0].to_string(),
        "cannot merge null into the object of an earlier file"
    );
    let none = merge(&Sources::default()).expect_err("refused");
    assert_eq!(none[0].to_string(), "no configuration file was given");
}
