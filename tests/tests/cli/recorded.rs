//! Commands recorded from sing-box 1.12.24: same exit code, same files, same output where it is
//! data, and the stable parts of what is said to people.
use sansbox_tests::{
    Value,
    ports::free_port,
    process::{Process, START_TIMEOUT, STOP_TIMEOUT, Signal},
    proxy::{STARTED, binary, command},
    temp::TempDir,
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

const RECORDED: &str = include_str!("../../vectors/cli.json");

/// One recorded command, run in a directory of its own.
struct Case {
    value: Value,
    dir: TempDir,
}

impl Case {
    fn texts<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        let list = self.value[key].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(|item| item.as_str().expect("a string"))
    }

    fn text(&self, key: &str) -> Option<String> {
        let dir = self.dir.path().display().to_string();
        Some(self.value[key].as_str()?.replace("<DIR>", &dir))
    }

    fn name(&self) -> String {
        format!("{} {}", self.value["argv"], self.value["files"])
    }

    fn command(&self) -> std::process::Command {
        let mut command = command();
        command
            .args(self.texts("argv"))
            .current_dir(self.dir.path());
        if let Some(variables) = self.value["env"].as_object() {
            for (name, value) in variables {
                command.env(name, value.as_str().expect("a string"));
            }
        }
        command
    }
}

/// The recorded cases, those that `wanted` accepts, with their files in place.
fn cases(wanted: impl Fn(&Value) -> bool) -> Vec<Case> {
    // The recorded ports may be taken here.
    let mut recorded = RECORDED.to_owned();
    for port in ["23450", "23451", "23452"] {
        recorded = recorded.replace(port, &free_port().to_string());
    }
    let recorded: Value = recorded.parse().expect("the recorded file is JSON");
    let list = recorded["cases"].as_array().expect("a list of cases");
    assert!(list.len() > 70, "all cases are there");
    list.iter()
        .filter(|case| wanted(case))
        .map(|case| {
            let dir = TempDir::new();
            if let Some(files) = case["files"].as_object() {
                for (name, content) in files {
                    dir.write(name, content.as_str().expect("a string"));
                }
            }
            Case {
                value: case.clone(),
                dir,
            }
        })
        .collect()
}

fn runs_on(case: &Value) -> bool {
    case.get("signals").is_some()
}

fn run(case: &Case) -> Output {
    let mut child = case
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the program");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = case.value["stdin"].as_str().unwrap_or_default().to_owned();
    // Commands that read no input may end before they are given any.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("wait for the program")
}

/// What is wrong with the output of one case.
fn faults(case: &Case, output: &Output) -> Vec<String> {
    let mut faults = Vec::new();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = sansbox_tests::process::without_colours(&String::from_utf8_lossy(&output.stderr));
    let exit = case.value["exit"].as_i64();
    if output.status.code().map(i64::from) != exit {
        faults.push(format!("exit {:?}, not {exit:?}", output.status.code()));
    }
    for part in case.texts("says") {
        if !stderr.contains(part) {
            faults.push(format!("stderr does not say {part:?}"));
        }
    }
    for name in case.texts("stdout_commands") {
        if !stdout.contains(name) {
            faults.push(format!("help does not name {name}"));
        }
    }
    if let Some(len) = case.value["stdout_len"].as_u64() {
        if output.stdout.len() as u64 != len {
            faults.push(format!("{} bytes, not {len}", output.stdout.len()));
        }
    } else if let Some(want) = case.text("stdout").filter(|text| !text.contains('<'))
        && case.value["argv"][0] != "version"
        && stdout != want.as_str()
    {
        faults.push(format!("stdout is {stdout:?}, not {want:?}"));
    }
    if let Some(want) = case.text("stderr").filter(|_| exit == Some(0))
        && stderr != want
    {
        faults.push(format!("stderr is {stderr:?}, not {want:?}"));
    }
    faults.extend(file_faults(case));
    if !faults.is_empty() {
        faults.push(format!("stdout: {stdout}\nstderr: {stderr}"));
    }
    faults
}

/// What is wrong with the files that are there afterwards.
fn file_faults(case: &Case) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(after) = case.value["files_after"].as_object() else {
        return faults;
    };
    for (name, want) in after {
        let path = case.dir.path().join(Path::new(name));
        let want = want.as_str().expect("a string");
        if name.ends_with('/') {
            if !path.is_dir() {
                faults.push(format!("no folder {name}"));
            }
            continue;
        }
        let got = fs::read_to_string(&path).unwrap_or_else(|e| format!("({e})"));
        if got != want {
            faults.push(format!("{name} holds {got:?}, not {want:?}"));
        }
    }
    faults
}

/// Runs all cases whose first argument is one of `commands`.
fn check(commands: &[&str]) {
    let wanted = |case: &Value| {
        let first = case["argv"][0].as_str().unwrap_or_default();
        commands.contains(&first) && !runs_on(case)
    };
    let cases = cases(wanted);
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in &cases {
        let faults = faults(case, &run(case));
        if !faults.is_empty() {
            wrong.push(format!("{}:\n  {}", case.name(), faults.join("\n  ")));
        }
    }
    let (bad, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{bad} of {all}:\n{}", wrong.join("\n"));
}

#[test]
fn check_command() {
    check(&["check", "-c"]);
}

#[test]
fn format_command() {
    check(&["format"]);
}

#[test]
fn merge_command() {
    check(&["merge"]);
}

#[test]
fn generate_command() {
    check(&["generate"]);
}

#[test]
fn help_and_unknown_commands() {
    check(&["help", "--help", "-h", "bogus"]);
}

#[test]
fn run_command_refuses_what_it_cannot_start() {
    check(&["run"]);
}

/// Checks the shape that programs parse, and returns the version.
fn version_of(program: &Path, more: &[&str], name: &str) -> String {
    let run = |flags: &[&str]| {
        let mut command = command();
        if program.is_symlink() {
            command = std::process::Command::new(program);
        }
        let command = command.arg("version").args(more).args(flags);
        let output = command.output().expect("run");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let text = run(&[]);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let version = first
        .strip_prefix(&format!("{name} version "))
        .unwrap_or_else(|| panic!("not {name}'s: {text}"));
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{text}");
    assert_eq!(lines.next(), Some(""), "an empty line: {text}");
    assert!(text.contains("\nEnvironment: "), "{text}");
    assert!(text.contains("\nTags: "), "{text}");
    assert_eq!(run(&["-n"]), format!("{version}\n"));
    version.to_owned()
}

#[test]
fn version_command() {
    check(&["version"]);
    version_of(binary(), &[], "sansbox");
}

#[cfg(unix)]
#[test]
fn version_command_in_the_name_of_sing_box() {
    // Programs that start sing-box look for its version: by a flag, or by the name it is called.
    let by_flag = version_of(binary(), &["--sing-box"], "sing-box");
    assert!(by_flag.starts_with("1.12."), "{by_flag}");
    let dir = TempDir::new();
    let link = dir.path().join("sing-box");
    std::os::unix::fs::symlink(binary(), &link).expect("make a link");
    assert_eq!(version_of(&link, &[], "sing-box"), by_flag);
}

#[test]
fn generated_values_are_well_formed_and_differ() {
    let generate = |args: &[&str]| {
        let output = command().arg("generate").args(args).output().expect("run");
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    };
    let uuid = || String::from_utf8(generate(&["uuid"])).expect("text");
    let one = uuid();
    assert_ne!(one, uuid());
    let parts: Vec<_> = one.trim_end().split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
    assert_eq!(one.as_bytes()[14], b'4', "version 4: {one}");
    assert!(b"89ab".contains(&one.as_bytes()[19]), "variant: {one}");
    let hex = |_| String::from_utf8(generate(&["rand", "16", "--hex"])).expect("text");
    let values: Vec<String> = (0..3).map(hex).collect();
    for value in &values {
        assert_eq!(value.len(), 33, "{value}");
        let digits = value.trim_end();
        assert!(
            digits
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()),
            "{value}"
        );
    }
    assert!(values[0] != values[1] && values[1] != values[2]);
    assert_ne!(generate(&["rand", "32"]), generate(&["rand", "32"]));
    let pair = || String::from_utf8(generate(&["recorder-keypair"])).expect("text");
    let one = pair();
    assert_ne!(one, pair());
    let keys: Vec<_> = one
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    assert_eq!(keys.len(), 2, "{one}");
    for ((name, key), expected) in keys.iter().zip(["PrivateKey", "PublicKey"]) {
        assert_eq!((*name, key.len()), (expected, 44), "{one}");
    }
    assert_ne!(keys[0].1, keys[1].1);
}

#[test]
fn signals_end_it_gracefully() {
    let cases = cases(runs_on);
    assert_eq!(cases.len(), 2, "INT and TERM");
    for case in cases {
        let mut process = Process::spawn("sansbox", &mut case.command());
        process.wait_for_line(STARTED, START_TIMEOUT);
        process.signal(match case.value["signals"].as_str() {
            Some("INT") => Signal::Int,
            _ => Signal::Term,
        });
        let status = process.wait_exit(STOP_TIMEOUT);
        assert_eq!(status.code(), Some(0), "{}", process.log());
        let log = process.log();
        assert!(!log.contains("FATAL"), "{log}");
        assert!(log.contains("inbound/socks[ads.net]"), "{log}");
    }
}
