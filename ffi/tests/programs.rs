//! The C programs in `examples/`, built with warnings as errors and run: as they are, under the
//! sanitizers, and under valgrind. Without a C compiler or valgrind they are skipped, except where
//! `SANSBOX_CI=1` says that all must be there.
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What a static Rust library needs from the system, as `rustc --print native-static-libs` says.
const SYSTEM: [&str; 7] = [
    "-lgcc_s",
    "-lutil",
    "-lrt",
    "-lpthread",
    "-lm",
    "-ldl",
    "-lc",
];
/// Bytes after which a relay counts as bulk, many times over.
const BULK: usize = 4 << 20;
const TIMEOUT: Duration = Duration::from_secs(120);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo put this test, and the library that it built for it.
fn built() -> PathBuf {
    let test = env::current_exe().expect("this program has a path");
    test.parent().expect("it stands in a folder").to_owned()
}

/// Whether a tool is there.
fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        let must = env::var_os("SANSBOX_CI").is_some_and(|value| value == "1");
        assert!(
            !must,
            "{tool} is missing, and SANSBOX_CI=1 says that it must be there"
        );
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

/// How to link.
#[derive(Clone, Copy)]
enum Link {
    Static,
    Shared,
}

/// A program, removed when dropped.
struct Program {
    path: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.path);
    }
}

fn compile(name: &str, kind: &str, link: Link, flags: &[&str]) -> Program {
    let source = root().join(format!("examples/{name}.c"));
    compile_file(&source, kind, link, flags)
}

fn compile_file(source: &Path, kind: &str, link: Link, flags: &[&str]) -> Program {
    let name = source.file_stem().expect("a name").to_string_lossy();
    let path = env::temp_dir().join(format!("sansbox-{name}-{kind}-{}", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args([
        "-g",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
    ]);
    cc.args(flags).arg("-I").arg(root().join("include"));
    cc.arg(source);
    match link {
        Link::Static => cc.arg(built().join("libsansbox_ffi.a")).args(SYSTEM),
        Link::Shared => cc.arg(built().join("libsansbox_ffi.so")),
    };
    let output = cc.arg("-o").arg(&path).output().expect("run cc");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}, {kind}: {errors}");
    Program { path }
}

/// The program, or valgrind on it.
fn command(program: &Program, valgrind: bool) -> Command {
    let mut command = if valgrind {
        let mut command = Command::new("valgrind");
        command.args([
            "--quiet",
            "--leak-check=full",
            "--show-leak-kinds=definite,indirect,possible",
            "--errors-for-leak-kinds=definite,indirect,possible",
            "--error-exitcode=99",
        ]);
        command.arg(&program.path);
        command
    } else {
        Command::new(&program.path)
    };
    command.env("LD_LIBRARY_PATH", built());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for the end; what it wrote. Kills it when there is none.
fn finish(mut child: Child, mut output: impl std::io::Read) -> String {
    let end = Instant::now() + TIMEOUT;
    let status = loop {
        match child.try_wait().expect("wait for the program") {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().expect("kill the program");
                panic!("no end after {TIMEOUT:?}");
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let (mut text, mut errors) = (String::new(), String::new());
    output.read_to_string(&mut text).expect("read its output");
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut errors).expect("read its errors");
    assert!(status.success(), "{status}\n{text}\n{errors}");
    text
}

/// A whole SOCKS5 session through machines on the program's own loop.
fn run_client(program: &Program, valgrind: bool) {
    let mut child = command(program, valgrind).spawn().expect("start it");
    let output = child.stdout.take().expect("a pipe");
    let text = finish(child, output);
    for name in ["entry", "proxy"] {
        let line = format!("{name}: 200000 bytes up, 200000 bytes down, closed 1");
        assert!(text.contains(&line), "{text}");
    }
}

/// A device of the program's own, whose way of being served changes.
fn run_device(program: &Program, valgrind: bool) {
    let mut child = command(program, valgrind).spawn().expect("start it");
    let output = child.stdout.take().expect("a pipe");
    let text = finish(child, output);
    assert_eq!(text, "answered with type 0\nthen with type 3\ngone\n");
}

/// A running proxy; clients come and go, one of them rudely.
fn run_embedded(program: &Program, valgrind: bool) {
    let mut child = command(program, valgrind).spawn().expect("start it");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("its first line");
    let port = line.trim().strip_prefix("inbound 0 serves port ");
    let port: u16 = port
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("{line}"));
    let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("an origin");
    let target = origin.local_addr().expect("it is bound");

    let client = connect_through(port, target.port());
    let (mut served, _) = origin.accept().expect("a connection");
    (&client).write_all(b"ping").expect("send");
    let mut got = [0; 4];
    served.read_exact(&mut got).expect("receive");
    assert_eq!(&got, b"ping");
    die_in_bulk(client, served);

    let idle = connect_through(port, target.port());
    let _served = origin.accept().expect("a connection");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"\n").expect("tell it to stop");
    let text = finish(child, output);
    assert!(text.contains(" connections open"), "{text}");
    assert!(text.contains("2 accepted, 2 ended, 4 bytes up, "), "{text}");
    drop(idle);
}

/// The client ends its direction, takes a lot and is gone. What is then written to it raises
/// SIGPIPE, which would end the program if its threads did not block it.
fn die_in_bulk(mut client: TcpStream, mut served: TcpStream) {
    client.shutdown(Shutdown::Write).expect("half close");
    assert_eq!(served.read(&mut [0]).expect("receive"), 0);
    thread::scope(|scope| {
        let written = scope.spawn(|| served.write_all(&vec![7; BULK]));
        let read = client.read_exact(&mut vec![0; BULK]);
        read.expect("receive in bulk");
        written.join().expect("a writer").expect("send in bulk");
    });
    drop(client);
    while served.write_all(&[7; 65_536]).is_ok() {}
}

/// A connection through the proxy.
fn connect_through(proxy: u16, target: u16) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", proxy)).expect("reach the proxy");
    client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    client.write_all(&[5, 1, 0]).expect("greet");
    let mut answer = [0; 2];
    client.read_exact(&mut answer).expect("a method");
    assert_eq!(answer, [5, 0]);
    let mut request = vec![5, 1, 0, 1, 127, 0, 0, 1];
    request.extend(target.to_be_bytes());
    client.write_all(&request).expect("ask");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply[..2], [5, 0]);
    client
}

#[test]
fn a_socks_session_on_a_loop_in_c() {
    if has("cc") {
        run_client(&compile("socks_client", "static", Link::Static, &[]), false);
        run_client(&compile("socks_client", "shared", Link::Shared, &[]), false);
    }
}

#[test]
fn a_proxy_inside_a_program_in_c() {
    if has("cc") {
        run_embedded(&compile("embedded", "static", Link::Static, &[]), false);
    }
}

#[test]
fn a_device_inside_a_program_in_c() {
    if has("cc") {
        run_device(&compile("device", "static", Link::Static, &[]), false);
    }
}

#[test]
fn the_sanitizers_find_nothing() {
    if has("cc") {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        run_client(
            &compile("socks_client", "asan", Link::Static, &flags),
            false,
        );
        run_embedded(&compile("embedded", "asan", Link::Static, &flags), false);
        run_device(&compile("device", "asan", Link::Static, &flags), false);
    }
}

#[test]
fn valgrind_finds_no_error_and_no_leak() {
    if has("cc") && has("valgrind") {
        run_client(
            &compile("socks_client", "valgrind", Link::Static, &[]),
            true,
        );
        run_embedded(&compile("embedded", "valgrind", Link::Static, &[]), true);
        run_device(&compile("device", "valgrind", Link::Static, &[]), true);
    }
}

#[test]
fn what_is_wrong_would_be_found() {
    const WRONG: &str = r#"
        #include <stdlib.h>
        #include "sansbox.h"
        int main(int count, char **arguments) {
            char *lost = malloc(100);
            (void)arguments;
            lost[count > 7] = 1;
            lost = NULL;
            return lost != NULL || sansbox_abi_version() == 0;
        }"#;
    if !has("cc") {
        return;
    }
    let source = env::temp_dir().join(format!("sansbox-wrong-{}.c", std::process::id()));
    fs::write(&source, WRONG).expect("write a source");
    let plain = compile_file(&source, "plain", Link::Static, &[]);
    let flags = ["-fsanitize=address,undefined"];
    let checked = compile_file(&source, "checked", Link::Static, &flags);
    fs::remove_file(&source).expect("remove the source");
    let ends_well = |program: &Program, valgrind| {
        let output = command(program, valgrind).output().expect("run it");
        output.status.success()
    };
    assert!(ends_well(&plain, false));
    assert!(!ends_well(&checked, false), "the sanitizer missed a leak");
    if has("valgrind") {
        assert!(!ends_well(&plain, true), "valgrind missed a leak");
    }
}
