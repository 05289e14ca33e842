//! How a wrong configuration is shown: where it is, what it is, and what may have been meant.
use sansbox_tests::{process::without_colours, proxy::command, temp::TempDir};

/// Checks `text` as `a.json`; returns the exit code and what was said on stderr.
fn check(text: &str) -> (Option<i32>, String) {
    let dir = TempDir::new();
    dir.write("a.json", text);
    let output = command()
        .args(["check", "-c", "a.json", "--disable-color"])
        .current_dir(dir.path())
        .output()
        .expect("run");
    assert!(output.stdout.is_empty(), "stdout is for data");
    let said = without_colours(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

/// What is said of `text`, which must be refused.
fn refuse(text: &str) -> String {
    let (code, said) = check(text);
    assert_eq!(code, Some(1), "{text}\n{said}");
    assert!(said.contains("FATAL["), "{said}");
    said
}

/// A configuration with `«` before the wrong part, and what must be said besides its place.
struct Case {
    text: &'static str,
    path: &'static str,
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        text: "{\n  \"inbounds\": [\n    {\n      \"type\": \"mixed\",\n      «\"lisen_port\": 2080\n    }\n  ]\n}",
        path: "inbounds[0].lisen_port",
        says: &["listen_port", "\"lisen_port\": 2080"],
    },
    Case {
        text: "{\n  «\"outbound\": []\n}",
        path: "outbound",
        says: &["outbounds"],
    },
    Case {
        text: "{\"log\": {\n\t\"level\": «\"loud\"}}",
        path: "log.level",
        says: &["loud", "info"],
    },
    Case {
        text: "{\"inbounds\": [{\"type\": \"mixed\",\n\"listen_port\": «\"many\"}]}",
        path: "inbounds[0].listen_port",
        says: &[],
    },
    Case {
        text: "{\"inbounds\": [{\"type\": \"mixed\",\n\"listen_port\": «70000}]}",
        path: "inbounds[0].listen_port",
        says: &["70000"],
    },
    Case {
        text: "{\"inbounds\": [{\"type\": \"mixed\",\n \"listen\": «\"nowhere\"}]}",
        path: "inbounds[0].listen",
        says: &["nowhere"],
    },
    Case {
        text: "{\"inbounds\": [\n  {\"type\": «\"sock\", \"listen_port\": 1}]}",
        path: "inbounds[0].type",
        says: &["sock", "socks"],
    },
    Case {
        text: "{\"outbounds\": [{\"type\": \"direct\", \"tag\": \"a\"},\n{\"type\": \"block\", \"tag\": «\"a\"}]}",
        path: "outbounds[1].tag",
        says: &["a"],
    },
    Case {
        text: "{\"outbounds\": [{\"type\": \"direct\", \"tag\": \"direct\"}],\n\"route\": {\"rules\": [{\"port\": 1, \"outbound\": «\"dirct\"}]}}",
        path: "route.rules[0].outbound",
        says: &["dirct", "direct"],
    },
    Case {
        text: "{\"route\": {\n\"final\": «\"zz\"}}",
        path: "route.final",
        says: &["zz"],
    },
    Case {
        text: "{\"outbounds\": [\n{\"type\": \"socks\", \"tag\": \"x\", \"server\": \"127.0.0.1\", \"server_port\": 1, \"detour\": «\"zz\"}]}",
        path: "outbounds[0].detour",
        says: &["zz"],
    },
    Case {
        text: "{\"route\": {\"rules\": [\n{\"inbound\": [\"in\", «\"inn\"], \"action\": \"reject\"}]},\n\"inbounds\": [{\"type\": \"socks\", \"tag\": \"in\", \"listen_port\": 1}]}",
        path: "route.rules[0].inbound[1]",
        says: &["inn"],
    },
    Case {
        text: "{\"route\": {\"rules\": [\n{\"ip_cidr\": [«\"10.0.0.0/40\"], \"action\": \"reject\"}]}}",
        path: "route.rules[0].ip_cidr[0]",
        says: &["10.0.0.0/40"],
    },
    Case {
        text: "{\"route\": {\"rules\": [\n{\"domain_regex\": [«\"(\"], \"action\": \"reject\"}]}}",
        path: "route.rules[0].domain_regex[0]",
        says: &[],
    },
    Case {
        text: "{\"outbounds\": [\n{\"type\": «\"vless\", \"tag\": \"v\"}]}",
        path: "outbounds[0].type",
        says: &["vless", "not supported yet"],
    },
    Case {
        text: "{\"inbounds\": [\n«{\"type\": \"paniq\", \"tag\": \"p\"}]}",
        path: "inbounds[0]",
        says: &["missing one of profile_path, profile"],
    },
    Case {
        text: "{\"inbounds\": [{\"type\": \"tun\", \"address\": \"10.0.0.1/8\",\n «\"auto_redirect\": true}]}",
        path: "inbounds[0].auto_redirect",
        says: &["not supported yet", "auto_route"],
    },
    Case {
        text: "{\"inbounds\": [{\"type\": \"tun\", \"address\": \"10.0.0.1/8\",\n \"sansbox\": {«\"egres_mtu\": 1400}}]}",
        path: "inbounds[0].sansbox.egres_mtu",
        says: &["unknown key", "egress_mtu"],
    },
    Case {
        text: "{\n«\"dns\": {\"final\": \"x\"}}",
        path: "dns",
        says: &["not supported yet"],
    },
    Case {
        text: "{\"inbounds\": [{\"type\": \"http\", \"listen_port\": 1,\n  «\"tls\": {\"enabled\": true}}]}",
        path: "inbounds[0].tls",
        says: &["not supported yet"],
    },
    Case {
        text: "{\"route\": {\"rules\": [\n  {«\"rule_set\": [\"x\"], \"action\": \"reject\"}]}}",
        path: "route.rules[0].rule_set",
        says: &["not supported yet"],
    },
];

#[test]
fn errors_name_file_line_column_path_and_what_was_meant() {
    let mut wrong = Vec::new();
    for case in CASES {
        let (before, _) = case.text.split_once('«').expect("a mark");
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        let column = last.chars().count() + 1;
        let text = case.text.replace('«', "");
        let (code, said) = check(&text);
        if code != Some(1) {
            wrong.push(format!("{text}\n-- exit {code:?}:\n{said}"));
            continue;
        }
        let place = format!("a.json:{line}:{column}");
        let source = text.lines().nth(line - 1).unwrap_or_default().trim();
        let mut parts = vec!["FATAL[", place.as_str(), case.path, source];
        parts.extend(case.says);
        for part in parts {
            if !said.contains(part) {
                wrong.push(format!("{text}\n-- does not say {part:?}:\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn text_that_is_no_json_is_shown_where_it_breaks() {
    for (text, place) in [
        ("{\"log\": {\n  \"level\" \"info\"}}", "a.json:2:"),
        ("{\"log\": {},\n\n  oops}", "a.json:3:"),
        ("{\"log\": \"", "a.json:1:"),
        ("[]", "a.json:1:1"),
        ("{\"inbounds\": [\n", "a.json:"),
    ] {
        let said = refuse(text);
        assert!(said.contains(place), "{text:?} breaks at {place}:\n{said}");
        assert!(said.contains("decode config at a.json"), "{said}");
    }
}

#[test]
fn an_error_in_the_second_file_names_that_file() {
    let dir = TempDir::new();
    dir.write("a.json", "{\"log\": {}}");
    dir.write("b.json", "{\n \"log\": {\"lvel\": \"info\"}\n}");
    let output = command()
        .args(["check", "-c", "a.json", "-c", "b.json"])
        .current_dir(dir.path())
        .output()
        .expect("run");
    let said = without_colours(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["b.json:2:10", "log.lvel", "level"] {
        assert!(said.contains(part), "{part:?}:\n{said}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let dir = TempDir::new();
    dir.write("a.json", "{\"x\": 1}");
    for more in [&[][..], &["--disable-color"]] {
        let output = command()
            .args(["check", "-c", "a.json"])
            .args(more)
            .current_dir(dir.path())
            .output()
            .expect("run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("FATAL["), "{said}");
        assert!(!said.contains('\u{1b}'), "into a pipe: {said}");
    }
}

#[test]
fn passwords_are_not_shown_with_the_source_line() {
    let said = refuse(
        "{\"inbounds\": [{\"type\": \"mixed\", \"listen_port\": 1,\n\
         \"users\": [{\"username\": \"u\", \"password\": \"canary-5d1\", \"extra\": 1}]}]}",
    );
    assert!(said.contains("users[0].extra"), "{said}");
    assert!(!said.contains("canary-5d1"), "{said}");
}
