//! `docs/protocols/paniq.md`: what it says to paste works.
use sansbox_tests::{Value, process::without_colours, proxy::command, temp::TempDir};
use std::{path::Path, process::Output};

const PAGE: &str = include_str!("../../../docs/protocols/paniq.md");

/// The configurations on the page, in order.
fn configurations() -> Vec<&'static str> {
    let blocks = PAGE.split("```json\n").skip(1);
    let ends = |block: &'static str| block.split_once("```").expect("the block ends").0;
    blocks.map(ends).collect()
}

/// The commands on the page that are there to be pasted, as arguments.
fn commands() -> Vec<Vec<&'static str>> {
    let lines = PAGE.lines();
    let pasted = lines.filter_map(|line| line.strip_prefix("    sansbox "));
    pasted.map(|line| line.split(' ').collect()).collect()
}

fn run(dir: &Path, args: &[&str]) -> (Output, String) {
    let output = command().args(args).current_dir(dir).output().expect("run");
    let said = without_colours(&String::from_utf8_lossy(&output.stderr));
    (output, said)
}

/// A folder in which all commands of the page ran, and what the last of them printed.
fn after_the_commands() -> (TempDir, String) {
    let dir = TempDir::new();
    let mut printed = String::new();
    for args in commands() {
        let (output, said) = run(dir.path(), &args);
        assert!(output.status.success(), "{args:?}: {said}");
        printed = String::from_utf8(output.stdout).expect("text");
    }
    (dir, printed)
}

#[test]
fn the_commands_make_the_files_and_the_link() {
    let (dir, link) = after_the_commands();
    assert!(link.starts_with("pnq://"), "{link}");
    for (name, has_key) in [("server.json", true), ("client.json", false)] {
        let text = std::fs::read_to_string(dir.path().join(name)).expect("a file");
        let profile: Value = text.parse().expect("JSON");
        let key = &profile["obfuscation"]["server_private_key"];
        assert_eq!(key.is_string(), has_key, "{name}");
    }
}

#[test]
fn the_configurations_are_good() {
    let (dir, link) = after_the_commands();
    let all = configurations();
    let [server, client, linked] = &all[..] else {
        panic!("{all:?}");
    };
    let sample = linked.split('"').find(|text| text.starts_with("pnq://"));
    let own = linked.replace(sample.expect("a link"), link.trim());
    for (text, silent) in [
        (*server, true),
        (*client, true),
        (own.as_str(), true),
        // The sample has no room for padding.
        (*linked, false),
    ] {
        dir.write("pasted.json", text);
        let (output, said) = run(dir.path(), &["check", "-c", "pasted.json"]);
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{text}\n{said}"
        );
        assert_eq!(said.is_empty(), silent, "{text}\n{said}");
        let (output, said) = run(dir.path(), &["format", "-c", "pasted.json"]);
        assert!(output.status.success(), "{said}");
        // Five lines, as the page promises.
        assert!(text.trim().lines().count() <= 5, "{text}");
    }
}

#[test]
fn profiles_are_looked_for_in_the_working_directory() {
    let (dir, _) = after_the_commands();
    let elsewhere = TempDir::new();
    elsewhere.write("c.json", configurations()[0]);
    let config = elsewhere.path().join("c.json").display().to_string();
    let here = dir.path().display().to_string();
    let (output, said) = run(elsewhere.path(), &["check", "-D", &here, "-c", &config]);
    assert!(output.status.success(), "{said}");
    let (output, said) = run(elsewhere.path(), &["check", "-c", "c.json"]);
    assert!(!output.status.success());
    for part in [
        "c.json:3:34",
        "inbounds[0].profile_path",
        "cannot read \"server.json\": no such file or directory",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_is_odd_is_told_by_check() {
    let (dir, link) = after_the_commands();
    dir.write("client.link", link);
    let text = configurations()[0].replace("server.json", "client.link");
    dir.write("c.json", text);
    let (output, said) = run(dir.path(), &["check", "-c", "c.json"]);
    assert!(output.status.success(), "{said}");
    let want = "c.json: inbounds[0].profile_path: profile client.link: \
                obfuscation.server_private_key: not given";
    assert!(said.contains("WARN[") && said.contains(want), "{said}");
}

#[test]
fn what_is_wrong_with_a_named_profile_is_told_with_both_places() {
    let (dir, _) = after_the_commands();
    let path = dir.path().join("server.json");
    let text = std::fs::read_to_string(path).expect("a file");
    let text = text.replacen("\"rate_limit_burst\": 20", "\"rate_limit_burst\": 2", 1);
    let line = text
        .lines()
        .position(|line| line.contains("rate_limit_burst"));
    let line = line.expect("a limit") + 1;
    dir.write("server.json", text);
    dir.write("c.json", configurations()[0]);
    let (output, said) = run(dir.path(), &["check", "-c", "c.json"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "c.json:3:34, at inbounds[0].profile_path",
        &format!("profile server.json:{line}:25: obfuscation.rate_limit_burst: 2 is less than"),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
