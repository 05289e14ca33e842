//! Every example runs and does what its text says.
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn in_memory_prints_its_transcript() {
    let output = Command::new(env!("CARGO_BIN_EXE_in_memory")).output();
    let output = output.expect("run it");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    assert_eq!(text, include_str!("in_memory.txt"));
}

#[test]
fn the_library_examples_are_short() {
    for (name, text) in [
        ("library_blocking", include_str!("../library_blocking.rs")),
        ("library_tokio", include_str!("../library_tokio.rs")),
    ] {
        let lines = text.lines().count();
        assert!(lines < 50, "{name}: {lines} lines");
    }
    let lines = include_str!("../epoll/driver.rs").lines().count();
    assert!(lines < 200, "the driver of epoll: {lines} lines");
}

#[test]
fn the_c_in_the_book_stands_in_the_programs() {
    let programs = [
        include_str!("../../ffi/examples/socks_client.c"),
        include_str!("../../ffi/examples/embedded.c"),
        include_str!("../../ffi/examples/device.c"),
    ];
    let book = include_str!("../../docs/embedding.md");
    let samples: Vec<_> = book.split("```c\n").skip(1).collect();
    assert!(!samples.is_empty());
    for sample in samples {
        let sample = sample.split("```").next().expect("an end");
        let stands = programs.iter().any(|program| program.contains(sample));
        assert!(stands, "in no program:\n{sample}");
    }
}

/// The epoll example, killed when dropped.
#[cfg(target_os = "linux")]
struct Proxy {
    child: Child,
    address: SocketAddr,
}

#[cfg(target_os = "linux")]
impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
fn proxy() -> Proxy {
    start(&mut Command::new(env!("CARGO_BIN_EXE_epoll")))
}

#[cfg(target_os = "linux")]
fn start(command: &mut Command) -> Proxy {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("start it");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    let address = first.strip_prefix("serving ").expect("an address");
    let address = address.parse().expect("an address");
    // Its log must not fill the pipe.
    thread::spawn(move || lines.for_each(drop));
    Proxy { child, address }
}

/// Sends back what comes, until it ends.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            // A client that is gone ends it, too.
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream).ok());
        }
    });
    address
}

#[cfg(target_os = "linux")]
#[test]
fn the_client_machine_works_in_both_programs() {
    let (proxy, echo) = (proxy(), echo());
    for program in [
        env!("CARGO_BIN_EXE_library_blocking"),
        env!("CARGO_BIN_EXE_library_tokio"),
    ] {
        let run = |target: SocketAddr| {
            let arguments = [proxy.address.to_string(), target.to_string()];
            let mut command = Command::new(program);
            command.args(arguments).arg("there and back");
            command.output().expect("run it")
        };
        let output = run(echo);
        assert!(output.status.success(), "{program}: {output:?}");
        assert_eq!(output.stdout, b"there and back", "{program}");
        let nobody = TcpListener::bind("127.0.0.1:0").expect("bind");
        let nowhere = nobody.local_addr().expect("it is bound");
        drop(nobody);
        let output = run(nowhere);
        assert!(!output.status.success(), "{program}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("Refused"), "{program}: {errors}");
    }
}

/// Asks the proxy; the reply code.
#[cfg(target_os = "linux")]
fn request(proxy: &Proxy, request: &[u8]) -> (TcpStream, u8) {
    let mut client = TcpStream::connect(proxy.address).expect("reach the proxy");
    client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    client.write_all(&[5, 1, 0]).expect("greet");
    client.read_exact(&mut [0; 2]).expect("a method");
    client.write_all(request).expect("ask");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("a reply");
    (client, reply[1])
}

#[cfg(target_os = "linux")]
#[test]
fn epoll_resolves_and_carries_bulk_of_many_at_once() {
    let (proxy, echo) = (proxy(), echo());
    let mut localhost = b"\x05\x01\x00\x03\x09localhost".to_vec();
    localhost.extend(echo.port().to_be_bytes());
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 31 / 7) as u8).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (client, code) = request(&proxy, &localhost);
                assert_eq!(code, 0);
                let writer = scope.spawn({
                    let (mut client, sent) = (client.try_clone().expect("a handle"), &sent);
                    move || {
                        client.write_all(sent).expect("send");
                        client.shutdown(std::net::Shutdown::Write).expect("end");
                    }
                });
                let mut got = Vec::new();
                (&client).read_to_end(&mut got).expect("receive");
                writer.join().expect("a writer");
                assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
            });
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn epoll_refuses_what_it_cannot_do() {
    let proxy = proxy();
    let (_, code) = request(&proxy, b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00");
    assert_eq!(code, 7, "no UDP");
    let name = b"\x05\x01\x00\x03\x0fno.such.invalid\x00\x50";
    let (_, code) = request(&proxy, name);
    assert_eq!(code, 4, "no such host");
}

#[cfg(target_os = "linux")]
#[test]
fn epoll_pauses_when_files_run_out_and_goes_on_when_there_are_some() {
    const FILES: usize = 24;
    let mut command = Command::new("sh");
    let limited = format!("ulimit -n {FILES} && exec \"$0\"");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_epoll")]);
    let mut proxy = start(command.stderr(Stdio::piped()));
    let errors = BufReader::new(proxy.child.stderr.take().expect("a pipe"));
    let complaints = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&complaints);
    thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            assert!(line.starts_with("accept: "), "{line}");
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let connect = |_| TcpStream::connect(proxy.address).expect("the kernel accepts");
    let many: Vec<TcpStream> = (0..2 * FILES).map(connect).collect();
    let began = Instant::now();
    while complaints.load(Ordering::Relaxed) < 3 {
        assert!(began.elapsed() < TIMEOUT, "files do not run out");
        thread::sleep(Duration::from_millis(10));
    }
    // 0.1 s, 0.2 s, 0.4 s: whoever asks at once has asked thousands of times by now.
    let so_far = complaints.load(Ordering::Relaxed);
    assert!(so_far < 20, "{so_far} complaints");
    drop(many);
    let (_, code) = request(&proxy, b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00");
    assert_eq!(code, 7, "it serves again");
}
