//! The end of a program that serves a TUN device, seen from the machine whose packets it takes.
use sansbox_tests::{
    namespace::Namespace,
    process::Signal,
    proxy::{Proxy, config},
};
use serde_json::json;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

const SERVER: &str = "203.0.113.5:7";

/// Rules of the machine.
fn rules(client: &Namespace) -> String {
    client.enter(|| {
        let output = std::process::Command::new("ip").arg("rule").output();
        String::from_utf8(output.expect("ip runs").stdout).expect("text")
    })
}

#[test]
fn a_signal_resets_connections_of_a_device_and_takes_its_routes_away() {
    let (Some(client), Some(server)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    client.join("198.51.100.1/24", &server, "198.51.100.2/24");
    client.run("ip route add default via 198.51.100.2");
    server.run("ip addr add 203.0.113.5/32 dev lo");
    let listener = server.enter(|| TcpListener::bind(SERVER).expect("bound"));
    let before = rules(&client);
    let inbound = json!({
        "type": "tun",
        "tag": "in",
        "address": ["172.19.0.1/30"],
        "auto_route": true,
    });
    let outbound = json!({ "type": "direct", "tag": "direct", "bind_interface": "wire" });
    let proxy = Proxy::start_in(&config(inbound, json!([outbound])), Some(client.name()));
    assert_ne!(rules(&client), before);

    let to: SocketAddr = SERVER.parse().expect("an address");
    let patience = Duration::from_secs(20);
    let mut socket = client.enter(|| {
        TcpStream::connect_timeout(&to, patience)
            .unwrap_or_else(|e| panic!("connect: {e}\n{}", proxy.log()))
    });
    socket.set_read_timeout(Some(patience)).expect("set");
    let (mut served, _) = listener.accept().expect("a connection");
    socket.write_all(b"ping").expect("sent");
    served.read_exact(&mut [0; 4]).expect("received");
    let waiting = thread::spawn(move || socket.read(&mut [0; 4]));

    let (status, log) = proxy.stop(Signal::Term);
    assert!(status.success(), "{log}");
    assert_eq!(rules(&client), before, "{log}");
    let over = waiting.join().expect("a client");
    let over = over.expect_err("cut short, which no end in order may hide");
    assert_eq!(over.kind(), ErrorKind::ConnectionReset, "{log}");
}
