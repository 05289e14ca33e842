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
