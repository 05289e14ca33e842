//! The program from outside: what it prints and that its helper process ends with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sansbox-bench");

#[test]
fn a_run_without_subjects_names_every_mark_as_unmeasured() {
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args([
            "relay",
            "--only",
            "start,conn",
            "--sansbox",
            "/nonexistent/sansbox",
        ]);
        let output = command
            .args(["--peers", "", "--loops", ""])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&[]);
    assert_eq!(table.matches("not measured").count(), 5, "{table}");
    assert!(
        table.contains("sansbox is left out: there is no /nonexistent/sansbox"),
        "{table}"
    );

    let objects: Vec<Value> = run(&["--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 5);
    for object in objects {
        assert_eq!(object["bench"], "relay");
        assert_eq!(object["subject"], "sansbox");
        assert!(object["value"].is_null());
    }
}

#[test]
fn reports_are_written_side_by_side() {
    let folder = std::env::temp_dir().join(format!("sansbox-bench-{}", std::process::id()));
    let (page, plot) = (folder.join("docs/page.md"), folder.join("docs/plot.svg"));
    let mut command = Command::new(PROGRAM);
    command.args([
        "relay",
        "--only",
        "start",
        "--sansbox",
        "/nonexistent",
        "--peers",
        "",
        "--loops",
        "",
    ]);
    command.arg("--markdown").arg(&page).arg("--svg").arg(&plot);
    assert!(command.output().unwrap().status.success());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("](plot.svg)") && page.contains("## Marks not measured"),
        "{page}"
    );
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg "));
    std::fs::remove_dir_all(folder).unwrap();
}

/// A "sansbox" whose version never comes is a child like any other.
#[test]
fn a_signal_ends_the_children_too() {
    let folder = std::env::temp_dir().join(format!("sansbox-bench-signal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (script, note) = (folder.join("slow"), folder.join("pid"));
    let text = format!(
        "#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}; exec sleep 60\n",
        note.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "relay",
            "--only",
            "start",
            "--peers",
            "",
            "--loops",
            "",
            "--sansbox",
        ])
        .arg(&script);
    let mut bench = Ended(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for("the child to start", || note.exists());
    let child = std::fs::read_to_string(&note).unwrap();
    let process = std::path::Path::new("/proc").join(child.trim());
    assert!(process.exists());
    // A shell blocks all signals for a moment when it starts a program such as `mv`.
    wait_for("the shell to become `sleep`", || {
        std::fs::read_to_string(process.join("comm")).unwrap() == "sleep\n"
    });
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let blocked = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .unwrap();
    assert!(
        blocked.trim().bytes().all(|digit| digit == b'0'),
        "{blocked}"
    );

    assert!(
        Command::new("kill")
            .arg(bench.0.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    wait_for("the bench to end", || bench.0.try_wait().unwrap().is_some());
    assert_eq!(bench.0.wait().unwrap().code(), Some(130));
    assert!(!process.exists(), "the child outlives the bench");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_sink_echoes_holds_and_ends_with_its_input() {
    let mut command = Command::new(PROGRAM);
    command
        .arg("sink")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut sink = Ended(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(sink.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(line.trim()).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            stream.write_all(&[9]).unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [9]);
            stream
        })
        .collect();
    for stream in &mut held {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(
            stream.read(&mut [0]).unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
    }
    drop(sink.0.stdin.take());
    wait_for("the sink to end", || sink.0.try_wait().unwrap().is_some());
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Killed when the test ends early.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
