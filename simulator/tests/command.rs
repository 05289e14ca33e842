//! The command as a program: digests agree between processes, and exit codes say what happened.
use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sansbox-sim"))
        .args(args)
        .output()
        .expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn digest(output: &Output) -> String {
    let text = text(output);
    let line = text.lines().find(|line| line.starts_with("digest"));
    line.expect("a digest").to_owned()
}

#[test]
fn two_processes_give_the_same_digest_and_two_seeds_do_not() {
    for name in [
        "socks5_connects",
        "happy_eyeballs_dead_first_address",
        "http_connect_relays",
        "udp_association_with_loss",
        "narrow_path",
        "vanish_socks5_auth",
    ] {
        let run = |seed: &str| sim(&["run", name, "--seed", seed]);
        let (first, second, other) = (run("7"), run("0x7"), run("8"));
        assert!(first.status.success(), "{}", text(&first));
        assert_eq!(digest(&first), digest(&second), "{name}");
        assert_ne!(digest(&first), digest(&other), "{name}");
    }
}

#[test]
fn list_names_every_scenario_with_its_description() {
    let output = sim(&["list"]);
    let lines = text(&output);
    assert_eq!(
        lines.lines().count(),
        sansbox_simulator::scenario::all().len()
    );
    for scenario in sansbox_simulator::scenario::all() {
        assert!(lines.contains(scenario.about.trim()), "{scenario:?}");
    }
}

#[test]
fn faults_names_every_class_of_faults() {
    let output = sim(&["faults"]);
    let lines = text(&output);
    let all: Vec<_> = sansbox_simulator::fault::all().collect();
    assert!(all.len() >= 40 && lines.lines().count() == all.len());
    for class in all {
        assert!(lines.contains(class.name) && lines.contains(class.about));
    }
}

#[test]
fn an_unknown_name_fails_and_shows_its_like() {
    let output = sim(&["run", "sock5_conects"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("socks5_connects"), "{said}");
}

#[test]
fn wrong_orders_fail_and_show_the_usage() {
    for args in [
        &[][..],
        &["dance"],
        &["run"],
        &["run", "socks5_connects", "--seed", "x"],
        &["run", "socks5_connects", "--sneed"],
        &["list", "more"],
    ] {
        let output = sim(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("sansbox-sim run NAME"), "{args:?}: {said}");
    }
}

#[test]
fn a_trace_shows_what_crossed() {
    let output = sim(&["run", "socks5_connects", "--trace"]);
    let text = text(&output);
    for what in [
        "Dial { id",
        "Passthrough(",
        "Ended(",
        "Finished #0 Some(Completed)",
    ] {
        assert!(text.contains(what), "{what} is not in the trace");
    }
}

const RECORDING: &str = "recordings/curl_socks5_password.sbx";

fn recording_in(folder: &str, connection: &str) -> (Output, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("{folder}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let out = folder.join("one.sbx");
    let path = out.to_str().expect("a path of text");
    let args = ["promote", RECORDING, "--connection", connection, "-o", path];
    (sim(&args), out)
}

#[test]
fn a_promoted_connection_replays_under_either_of_its_names() {
    for (n, name) in ["0.0", "2379692042"].into_iter().enumerate() {
        let (promoted, out) = recording_in(&format!("sansbox-promote-{n}"), name);
        let warning = String::from_utf8_lossy(&promoted.stderr).into_owned();
        assert!(promoted.status.success(), "{warning}");
        assert!(warning.contains("not encrypted"), "{warning}");
        let path = out.to_str().expect("a path of text");
        let replayed = sim(&["replay", path, "--whole"]);
        let said = text(&replayed);
        assert!(replayed.status.success(), "{said}");
        assert!(said.contains("1 connections identical"), "{said}");
        let traced = text(&sim(&["replay", path, "--trace"]));
        for shown in [
            "< Tick",
            "> Log(Opened)",
            "localhost",
            "Passthrough",
            "identical: ",
        ] {
            assert!(traced.contains(shown), "{shown}: {traced}");
        }
        std::fs::remove_dir_all(out.parent().expect("a folder")).expect("removed");
    }
}

#[test]
fn a_recording_of_another_build_says_which_one_it_needs() {
    let (_, out) = recording_in("sansbox-other-build", "0.0");
    let whole = std::fs::read(&out).expect("a recording");
    let this = sansbox_flight::build::Build::this().machines;
    let mut windows = whole.windows(this.len());
    let at = windows.position(|window| window == this.as_bytes());
    let at = at.expect("the name of the build");
    // The header ends where its check stands.
    let ends = |end: &usize| whole[*end..].starts_with(&check(&whole[..*end]));
    let end = (at..whole.len())
        .find(ends)
        .expect("the check of the header");
    let mut bytes = whole.clone();
    bytes[at..at + 4].copy_from_slice(b"beef");
    let fixed = check(&bytes[..end]);
    bytes[end..end + 8].copy_from_slice(&fixed);
    std::fs::write(&out, &bytes).expect("written");
    let path = out.to_str().expect("a path of text");
    let refused = sim(&["replay", path]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(
        why.contains("needs the build that made it: sansbox ") && why.contains("beef"),
        "{why}"
    );
    let forced = sim(&["replay", path, "--any-build"]);
    assert!(forced.status.success(), "{}", text(&forced));
    std::fs::remove_dir_all(out.parent().expect("a folder")).expect("removed");
}

fn check(bytes: &[u8]) -> [u8; 8] {
    use sha2::Digest as _;
    let digest: [u8; 32] = sha2::Sha256::digest(bytes).into();
    *digest.first_chunk().expect("eight bytes")
}

#[test]
fn what_is_no_recording_and_no_connection_is_said() {
    for (args, why) in [
        (&["replay", "Cargo.toml"][..], "this is no recording"),
        (&["replay", "none.sbx"], "none.sbx: "),
        (&["replay", "src"], "no *.sbx there"),
        (&["replay"], "replay wants a recording"),
        (
            &["replay", RECORDING, "--connection", "9.9"],
            "no connection 9.9",
        ),
        (
            &["replay", RECORDING, "--connection", "7"],
            "that is 7 in the log",
        ),
        (
            &["replay", RECORDING, "--connection", "x"],
            "the number of its log lines",
        ),
        (&["replay", RECORDING, "--key", "Cargo.toml"], "not a key"),
        (&["promote", RECORDING], "promote wants -o"),
    ] {
        let output = sim(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
}
