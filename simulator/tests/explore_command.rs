//! The commands that explore, as programs: files, lines, exit codes, and what they say.
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sansbox-sim"))
        .args(args)
        .output()
        .expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file in the test's own folder.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

/// Shrinks the first failure that a sweep finds; the decision file, and what was said.
fn shrunk(name: &str) -> (PathBuf, String) {
    let path = file(name);
    let sweep = sim(&[
        "sweep",
        "planted_leak",
        "--swarm",
        "full",
        "--seeds",
        "0..40",
    ]);
    assert_eq!(sweep.status.code(), Some(1), "{}", out(&sweep));
    let said = out(&sweep);
    let line = said.lines().find(|line| line.contains("sansbox-sim run"));
    let line = line.expect("a command to run it again");
    let seed = line.split("--seed ").nth(1).expect("a seed");
    let seed = seed.split_whitespace().next().expect("a seed");
    let args = ["planted_leak", "--seed", seed, "--swarm", "full"];
    let shrunk = sim(&[&["shrink"], &args[..], &["--out", text(&path)]].concat());
    assert!(shrunk.status.success(), "{}", err(&shrunk));
    (path, out(&shrunk))
}

#[test]
fn a_failure_goes_from_sweep_to_a_line_that_runs_it_again() {
    let (path, said) = shrunk("leak.json");
    let from_file = sim(&[
        "run",
        "planted_leak",
        "--decisions",
        &format!("@{}", text(&path)),
    ]);
    assert_eq!(from_file.status.code(), Some(1), "{}", err(&from_file));
    assert!(
        !out(&from_file).contains("not asked"),
        "{}",
        out(&from_file)
    );
    assert!(!out(&from_file).contains("differs"), "{}", out(&from_file));
    // The last line is the same run without a file.
    let line = said.lines().last().expect("a line");
    let quoted: Vec<&str> = line.split('\'').collect();
    let [words, decisions, ""] = quoted.as_slice() else {
        panic!("{line}");
    };
    let mut args: Vec<&str> = words.split_whitespace().skip(1).collect();
    args.push(decisions);
    let from_line = sim(&args);
    let broken = |output: &Output| {
        let said = out(output);
        let line = said.lines().find(|line| line.starts_with("outcome"));
        line.expect("an outcome").to_owned()
    };
    assert_eq!(broken(&from_line), broken(&from_file));
}

#[test]
fn damaged_cut_and_foreign_files_are_refused_with_a_reason() {
    let (path, _) = shrunk("good.json");
    let good = fs::read_to_string(&path).expect("the file");
    let bad = file("bad.json");
    for (content, reason) in [
        (
            good.get(..good.len() / 2).unwrap_or_default(),
            "EOF while parsing",
        ),
        (
            &good.replace("\"seed\"", "\"sede\""),
            "unknown field `sede`",
        ),
        (&good.replace("decisions-1", "decisions-2"), "this one says"),
        (
            &good.replace("planted_leak", "socks5_conects"),
            "did you mean socks5_connects",
        ),
        ("\u{0}\u{1}", "no decision file"),
        ("", "no decision file"),
    ] {
        fs::write(&bad, content).expect("a file");
        let output = sim(&["run", "--decisions", &format!("@{}", text(&bad))]);
        assert_eq!(output.status.code(), Some(1), "{reason}");
        assert!(err(&output).contains(reason), "{reason}: {}", err(&output));
    }
    fs::write(&bad, [0xff, 0xfe, 0x00]).expect("a file");
    let output = sim(&["run", "--decisions", &format!("@{}", text(&bad))]);
    assert_eq!(output.status.code(), Some(1));
    let output = sim(&[
        "run",
        "socks5_connects",
        "--decisions",
        &format!("@{}", text(&path)),
    ]);
    assert!(
        err(&output).contains("are of planted_leak, not of"),
        "{}",
        err(&output)
    );
    let output = sim(&["run", "socks5_connects", "--decisions", "nonsense"]);
    assert!(
        err(&output).contains("STREAM@NTH=CHOICE"),
        "{}",
        err(&output)
    );
    let output = sim(&["run", "--decisions", "@/nowhere/at/all.json"]);
    assert!(
        err(&output).contains("/nowhere/at/all.json"),
        "{}",
        err(&output)
    );
    let output = sim(&["shrink", "socks5_connects", "--seed", "1"]);
    assert!(
        err(&output).contains("no failure to make small"),
        "{}",
        err(&output)
    );
}

#[test]
fn shards_merge_and_a_missing_one_is_named() {
    let paths: Vec<PathBuf> = (1..=3).map(|n| file(&format!("part-{n}.json"))).collect();
    for (n, path) in paths.iter().enumerate() {
        let shard = format!("{}/3", n + 1);
        let args = ["--seeds", "0..9", "--shard", &shard, "--json", text(path)];
        let output = sim(&[&["sweep", "planted_spin"], &args[..]].concat());
        assert!(output.status.code() <= Some(1), "{}", err(&output));
    }
    let all: Vec<&str> = paths.iter().map(|path| text(path)).collect();
    let merged = sim(&[&["merge"], &all[..]].concat());
    assert!(
        out(&merged).contains("9 runs of 1 scenarios"),
        "{}",
        out(&merged)
    );
    assert!(
        out(&merged).contains("3 shards; missing: none"),
        "{}",
        out(&merged)
    );
    let merged = sim(&["merge", all[0], all[2]]);
    assert_eq!(merged.status.code(), Some(1));
    assert!(out(&merged).contains("missing: 2/3"), "{}", out(&merged));
    let twice = sim(&["merge", all[0], all[0]]);
    assert!(
        err(&twice).contains("shard 1/3 comes twice"),
        "{}",
        err(&twice)
    );
}

#[test]
fn two_runs_part_where_their_seeds_first_matter_and_the_same_do_not_part() {
    let run = ["bisect", "socks5_connects", "--seed", "1", "--with-seed"];
    let other = sim(&[&run[..], &["2"]].concat());
    assert_eq!(other.status.code(), Some(1));
    assert!(out(&other).contains("they part at line"), "{}", out(&other));
    let same = sim(&[&run[..], &["1"]].concat());
    assert_eq!(out(&same), "no difference\n");
    let program = env!("CARGO_BIN_EXE_sansbox-sim");
    let args = ["bisect", "socks5_connects", "--seed", "1", "--with-program"];
    let build = sim(&[&args[..], &[program]].concat());
    assert_eq!(out(&build), "no difference\n", "{}", err(&build));
}

#[test]
fn two_traces_in_files_part_too() {
    let (one, two) = (file("one.txt"), file("two.txt"));
    fs::write(&one, "a\nb\nc\n").expect("a file");
    fs::write(&two, "a\nb\nd\n").expect("a file");
    let output = sim(&["diff", text(&one), text(&two)]);
    assert_eq!(out(&output), "they part at line 3\n  a\n  b\n- c\n+ d\n");
}

#[test]
fn branches_are_shown_for_a_moment() {
    let (path, _) = shrunk("branch.json");
    let decisions = format!("@{}", text(&path));
    let args = [
        "--points",
        "2",
        "--branches",
        "4",
        "--decisions",
        &decisions,
    ];
    let output = sim(&[&["branch"], &args[..]].concat());
    assert!(output.status.success(), "{}", err(&output));
    let percents = out(&output).lines().filter(|l| l.contains(" % |")).count();
    assert_eq!(percents, 3, "{}", out(&output));
}

#[test]
fn planted_bugs_are_not_among_the_scenarios() {
    assert!(!out(&sim(&["list"])).contains("planted_"));
    let planted = out(&sim(&["list", "--planted"]));
    assert_eq!(planted.lines().count(), 3, "{planted}");
}

#[test]
fn wrong_orders_say_what_is_right() {
    for (args, said) in [
        (&["sweep", "--seeds", "9..1"][..], "seeds are A..B"),
        (&["sweep", "--shard", "0/3"], "1 <= I <= N"),
        (&["sweep", "--swarm", "huge"], "lite or full"),
        (&["sweep", "--time", "60"], "a number with its unit"),
        (&["sweep", "--jobs", "0"], "from 1 to 4096"),
        (&["merge"], "merge wants"),
        (&["diff", "x"], "two files"),
        (&["bisect", "socks5_connects"], "--with-seed"),
        (
            &["run", "socks5_connects", "--branch-at", "1s"],
            "go together",
        ),
    ] {
        let output = sim(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(said), "{args:?}: {}", err(&output));
    }
}
