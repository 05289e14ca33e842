//! Starting, serving and ending.
use sansbox_tests::{
    Value,
    curl::curl,
    json,
    origin::{http::HttpServer, tcp},
    peers::need,
    ports::{free_port, is_free},
    process::{Process, START_TIMEOUT, STOP_TIMEOUT, Signal},
    proxy::{Proxy, STARTED, command, config, direct, inbound},
    socks,
    temp::TempDir,
    wire::{SILENCE, connect, read_all, read_exact},
};
use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

fn serves(port: u16) -> bool {
    let origin = tcp::echo(tcp::listener());
    let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = socks::open(proxy, None, origin.addr()).expect("it connects");
    stream.write_all(b"ping").expect("send");
    read_exact(&mut stream, 4, "the echo") == b"ping"
}

fn one(port: u16) -> Value {
    json!({
        "inbounds": [{ "type": "mixed", "tag": "in", "listen_port": port }],
        "outbounds": [direct()],
    })
}

/// Starts with `args`, and the files of `dir`.
fn start(dir: &TempDir, args: &[&str], input: &str) -> Process {
    let mut command = command();
    command.args(args).current_dir(dir.path());
    Process::spawn_with_input("sansbox", &mut command, input.as_bytes().to_vec())
}

#[test]
fn configuration_from_stdin_directory_and_several_files() {
    let (a, b) = (free_port(), free_port());
    let dir = TempDir::new();
    dir.write("d/1.json", one(a).to_string());
    dir.write(
        "d/2.json",
        json!({ "inbounds": [{ "type": "socks", "tag": "two", "listen_port": b }] }).to_string(),
    );
    dir.write("d/ignored.txt", "not JSON");
    let runs: [(&[&str], &str, &[u16]); 4] = [
        (&["run", "-c", "stdin"], &one(a).to_string(), &[a]),
        (&["run", "-C", "d"], "", &[a, b]),
        (&["run", "-c", "d/1.json", "-c", "d/2.json"], "", &[a, b]),
        (&["run", "-D", "d", "-c", "1.json"], "", &[a]),
    ];
    for (args, input, ports) in runs {
        let mut process = start(&dir, args, input);
        process.wait_for_line(STARTED, START_TIMEOUT);
        for &port in ports {
            assert!(serves(port), "{args:?}");
        }
        process.signal(Signal::Term);
        assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0), "{args:?}");
    }
}

#[test]
fn config_json_of_the_directory_is_the_default() {
    let port = free_port();
    let dir = TempDir::new();
    dir.write("sub/config.json", one(port).to_string());
    let mut process = start(&dir, &["run", "-D", "sub"], "");
    process.wait_for_line(STARTED, START_TIMEOUT);
    assert!(serves(port));
    process.signal(Signal::Term);
    assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0));
}

#[test]
fn without_any_configuration_it_serves_on_2080_and_says_how_to_try() {
    if !is_free(2080) {
        eprintln!("skipped: port 2080 is taken");
        return;
    }
    let origin = HttpServer::start();
    for args in [&[][..], &["run"]] {
        let dir = TempDir::new();
        let mut process = start(&dir, args, "");
        process.wait_for_line(STARTED, START_TIMEOUT);
        let hint = process.wait_for("a line with curl", START_TIMEOUT, |line| {
            line.contains("curl ")
        });
        assert!(hint.contains("socks5h://127.0.0.1:2080"), "{hint}");
        if let Some(program) = need("curl") {
            for proxy in ["socks5h://127.0.0.1:2080", "http://127.0.0.1:2080"] {
                let got = curl(&program, ["-x", proxy, &origin.url("/bytes/7")]).ok();
                assert_eq!(got.digest.len, 7, "{proxy}");
            }
        }
        let elsewhere = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 2080));
        assert!(elsewhere.is_ok(), "it listens on 127.0.0.1 alone");
        process.signal(Signal::Int);
        assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0));
    }
}

#[test]
fn a_taken_port_is_fatal_and_nothing_is_called_started() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = taken.local_addr().expect("an address").port();
    let dir = TempDir::new();
    // The first inbound could be bound: no half-started program may be left.
    let config = json!({
        "inbounds": [
            { "type": "mixed", "tag": "free", "listen_port": free_port() },
            { "type": "socks", "tag": "taken", "listen_port": port },
        ],
    });
    dir.write("config.json", config.to_string());
    let mut process = start(&dir, &["run"], "");
    let status = process.wait_exit(START_TIMEOUT);
    let log = process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(!log.contains(STARTED), "{log}");
    let fatal = log.lines().find(|line| line.contains("FATAL["));
    let fatal = fatal.unwrap_or_else(|| panic!("no FATAL line:\n{log}"));
    assert!(fatal.contains(&format!("127.0.0.1:{port}")), "{fatal}");
    assert!(fatal.contains("[taken]"), "{fatal}");
    assert!(fatal.to_lowercase().contains("in use"), "{fatal}");
}

#[test]
fn started_is_said_only_when_every_port_is_served() {
    for _ in 0..5 {
        let ports: Vec<u16> = (0..8).map(|_| free_port()).collect();
        let inbounds: Vec<Value> = ports
            .iter()
            .map(|port| json!({ "type": "mixed", "tag": format!("p{port}"), "listen_port": port }))
            .collect();
        let proxy = Proxy::start(&json!({ "inbounds": inbounds, "outbounds": [direct()] }));
        for &port in &ports {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            assert!(TcpStream::connect(addr).is_ok(), "{port}: {}", proxy.log());
        }
    }
}

#[test]
fn check_binds_nothing_and_says_nothing() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = taken.local_addr().expect("an address").port();
    let dir = TempDir::new();
    dir.write("config.json", one(port).to_string());
    let output = command()
        .arg("check")
        .current_dir(dir.path())
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn open_connections_do_not_keep_it_from_ending() {
    let origin = tcp::echo(tcp::listener());
    for signal in [Signal::Term, Signal::Int] {
        let proxy = Proxy::start(&config(inbound("mixed", &[]), json!([direct()])));
        let mut open = socks::open(proxy.addr(), None, origin.addr()).expect("it connects");
        open.write_all(b"ping").expect("send");
        assert_eq!(read_exact(&mut open, 4, "the echo"), b"ping");
        // One more that never says what it wants.
        let mut silent = connect(proxy.addr());
        let before = Instant::now();
        let (status, log) = proxy.stop(signal);
        let took = before.elapsed();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(took < Duration::from_secs(11), "{took:?}");
        for stream in [&mut open, &mut silent] {
            let rest = read_all(stream, SILENCE);
            assert_ne!(rest.ending, sansbox_tests::wire::Ending::StillOpen);
        }
    }
}

#[test]
fn the_ports_are_free_again_at_once() {
    let port = free_port();
    for _ in 0..3 {
        let dir = TempDir::new();
        dir.write("config.json", one(port).to_string());
        let mut process = start(&dir, &["run"], "");
        process.wait_for_line(STARTED, START_TIMEOUT);
        assert!(serves(port));
        process.signal(Signal::Term);
        assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0));
    }
}

#[test]
fn a_log_file_gets_the_log() {
    let port = free_port();
    let dir = TempDir::new();
    let mut config = one(port);
    config["log"] = json!({ "output": "box.log", "level": "info" });
    dir.write("config.json", config.to_string());
    let mut process = start(&dir, &["run"], "");
    let path = dir.path().join("box.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let deadline = Instant::now() + START_TIMEOUT;
    while !read().contains(STARTED) {
        assert!(Instant::now() < deadline, "{}", process.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(serves(port));
    process.signal(Signal::Term);
    assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0));
    let text = read();
    assert!(!text.contains('\u{1b}'), "no colours in a file: {text}");
    assert!(!process.log().contains(STARTED), "not on stderr as well");
}

#[test]
fn a_disabled_log_says_nothing() {
    let port = free_port();
    let dir = TempDir::new();
    let mut config = one(port);
    config["log"] = json!({ "disabled": true });
    dir.write("config.json", config.to_string());
    let mut process = start(&dir, &["run"], "");
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < deadline, "{}", process.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(serves(port));
    process.signal(Signal::Term);
    assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0));
    assert_eq!(process.log(), "");
}

#[test]
fn sighup_names_what_needs_a_restart_and_changes_nothing() {
    let (port, other) = (free_port(), free_port());
    let dir = TempDir::new();
    dir.write("config.json", one(port).to_string());
    let mut process = start(&dir, &["run"], "");
    process.wait_for_line(STARTED, START_TIMEOUT);
    for (config, said) in [
        (one(port).to_string(), "reload service: nothing has changed"),
        (
            one(other).to_string(),
            "restart is needed for inbounds[0].listen_port",
        ),
        (
            "{ \"inbound\": [] }".to_owned(),
            "did you mean \"inbounds\"?",
        ),
    ] {
        dir.write("config.json", config);
        process.signal(Signal::Hup);
        process.wait_for_line(said, START_TIMEOUT);
        assert!(serves(port) && is_free(other), "{}", process.log());
    }
    process.signal(Signal::Term);
    assert_eq!(process.wait_exit(STOP_TIMEOUT).code(), Some(0));
}
