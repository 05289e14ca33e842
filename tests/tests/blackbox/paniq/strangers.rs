//! Who is no client, who asks for too much, and what is said of it all.
use super::{
    OUTBOUND, PATIENCE, SERVER_UP, Setup, Tunnel, count, open, ping, profiles, wait_until,
};
use sansbox_tests::{
    body, json,
    origin::tcp,
    process::Signal,
    proxy::Proxy,
    record::{KEY_FILE, Recordings},
    socks::{self, reply},
    temp::TempDir,
};
use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

#[test]
fn a_client_with_other_keys_gets_no_answer() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::impatient();
    let address = format!("127.0.0.1:{}", setup.port());
    let [_, mut stranger] = profiles(&address);
    // The same in all but the key of the server.
    let key = stranger["obfuscation"]["server_public_key"].take();
    let server = Proxy::start(&setup.server);
    let friend = Proxy::start(&setup.client);
    ping(&open(&friend, origin.addr()));
    setup.client["inbounds"][0]["listen_port"] = json!(sansbox_tests::ports::free_port());
    let [_, profile] = setup.profiles();
    profile["obfuscation"]["server_public_key"] = key;
    let stranger = Proxy::start(&setup.client);
    let code = socks::open(stranger.addr(), None, origin.addr()).err();
    assert_eq!(code, Some(reply::HOST_UNREACHABLE));
    let said = format!("{OUTBOUND}: tunnel to {address} is down: preamble: ");
    wait_until("the log says why", PATIENCE, || {
        count(&stranger, &said) == 1
    });
    ping(&open(&friend, origin.addr()));
    assert_eq!(count(&server, SERVER_UP), count(&friend, "is up"));
}

#[test]
fn garbage_does_nothing() {
    let origin = tcp::echo(tcp::listener());
    let tunnel = Tunnel::start();
    let held = tunnel.open(origin.addr());
    ping(&held);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let server = SocketAddr::from(([127, 0, 0, 1], tunnel.server.port()));
    for len in [0, 1, 4, 32, 148, 444, 1200, 1350, 9000, 65_000] {
        for _ in 0..20 {
            socket.send_to(&body::bytes(len), server).expect("send");
        }
    }
    assert!(socks::receive(&socket, Duration::from_millis(500)).is_none());
    ping(&held);
    ping(&tunnel.open(origin.addr()));
    let now = tunnel.server.log();
    // Each worker of the client has a tunnel of its own; nobody else has one.
    assert_eq!(
        count(&tunnel.server, SERVER_UP),
        count(&tunnel.client, "is up")
    );
    assert!(!now.contains("WARN") && !now.contains("ERROR"), "{now}");
}

#[test]
fn streams_beyond_max_connections_are_refused_and_the_others_go_on() {
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    setup.server["sansbox"] = json!({ "max_connections": 3, "workers": 1 });
    let tunnel = setup.start();
    let mut held: Vec<_> = (0..3).map(|_| tunnel.open(origin.addr())).collect();
    for _ in 0..5 {
        let code = socks::open(tunnel.client.addr(), None, origin.addr()).err();
        assert_eq!(code, Some(reply::GENERAL_FAILURE));
    }
    held.iter().for_each(ping);
    assert_eq!(origin.accepted(), 3);
    drop(held.pop());
    wait_until("a place is free", PATIENCE, || {
        count(&tunnel.server, " closed: ") >= 1
    });
    held.push(tunnel.open(origin.addr()));
    held.iter().for_each(ping);
}

#[test]
fn logs_tell_of_tunnels_and_hold_no_secrets() {
    const USER: &str = "canary-user-51d0";
    const PASSWORD: &str = "canary-password-83aa";
    let origin = tcp::echo(tcp::listener());
    let mut setup = Setup::new();
    setup.client["inbounds"][0]["users"] = json!([{ "username": USER, "password": PASSWORD }]);
    for config in [&mut setup.client, &mut setup.server] {
        config["log"]["level"] = json!("info");
    }
    let Tunnel { client, server } = setup.start();
    let user = Some((USER, PASSWORD));
    ping(&socks::open(client.addr(), user, origin.addr()).expect("connected"));
    let port = setup.port();
    let (_, client) = client.stop(Signal::Term);
    let down = "is down: ";
    wait_until("the server knows", PATIENCE, || count(&server, down) == 1);
    let (_, server) = server.stop(Signal::Term);
    let up = format!("{OUTBOUND}: tunnel to 127.0.0.1:{port} is up");
    assert!(client.contains(&up), "{client}");
    let line = server.lines().find(|line| line.contains(SERVER_UP));
    let line = line.expect("a tunnel");
    assert!(line.contains(", client 127.0.0.1:"), "{line}");
    let obfuscation = setup
        .profiles()
        .map(|profile| profile["obfuscation"].clone());
    let [private, public] = ["server_private_key", "server_public_key"]
        .map(|key| obfuscation[0][key].as_str().expect("a key").to_owned());
    for log in [&client, &server] {
        for secret in [USER, PASSWORD, &private, &public] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    }
}

#[test]
fn recorded_sessions_of_both_ends_replay() {
    let origin = tcp::echo(tcp::listener());
    let dir = TempDir::new();
    let recordings = Recordings::in_folder(dir.path());
    let mut setup = Setup::new();
    for config in [&mut setup.client, &mut setup.server] {
        config["sansbox"] = json!({ "recorder": recordings.full() });
    }
    let Tunnel { client, server } = setup.start();
    let mut stream = open(&client, origin.addr());
    ping(&stream);
    let content = body::bytes(300_000);
    let mut writer = stream.try_clone().expect("clone");
    let sent = content.clone();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, &sent).expect("send");
        writer
            .shutdown(std::net::Shutdown::Write)
            .expect("half-close");
    });
    let back = sansbox_tests::wire::read_all(&mut stream, PATIENCE);
    assert!(back.bytes == content, "{} bytes", back.bytes.len());
    sender.join().expect("all was sent");
    let closed = SocketAddr::from(([127, 0, 0, 1], sansbox_tests::ports::closed_port()));
    assert!(socks::open(client.addr(), None, closed).is_err());
    assert!(socks::open(client.addr(), None, ("no-such-host.invalid", 1)).is_err());
    for proxy in [client, server] {
        let (_, log) = proxy.stop(Signal::Term);
        assert!(log.contains("the daemon stopped: wrote"), "{log}");
    }
    let key = dir.path().join(KEY_FILE);
    let output = Command::new(sansbox_tests::proxy::simulator())
        .args(["replay", "--whole", "--key"])
        .args([&key, dir.path()])
        .output()
        .expect("run the simulator");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains(" 0 differ"),
        "{said}"
    );
    // Three at each end.
    assert!(said.contains("6 connections identical"), "{said}");
}
