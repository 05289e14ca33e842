//! TUN devices in network namespaces, with the kernel as the client: takes root.
use crate::{
    common::{Notes, wait_for},
    isolated::{ip, isolated, rules, run, until},
    runtime::{Options, Running, Runtime, Shutdown, StartError},
    tun::{Nearby, plan},
};
use sansbox_core::Refusal;
use sansbox_engine::{drive::Service, record::CloseReason};
use sansbox_runtime::tun::{Device, Opening, Queue};
use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Its target is at `203.0.113.7`, which a [`Nearby`] service reaches on this machine.
const TUN: &str = r#"{"inbounds":
    [{"type": "tun", "interface_name": "tun0", "address": ["172.19.0.1/30"]}]}"#;
const AUTO: &str = r#"{"inbounds": [{"type": "tun", "interface_name": "tun0",
    "address": ["172.19.0.1/30"], "auto_route": true}]}"#;

fn far(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], port))
}

fn try_start<S: Service>(service: S) -> Result<(Running, Arc<Notes>), StartError> {
    let options = Options {
        workers: Some(2),
        ..Options::default()
    };
    let notes = Arc::new(Notes::default());
    let observer = Arc::clone(&notes);
    let running = Runtime::start(Arc::new(service), options, observer)?;
    Ok((running, notes))
}

/// Serves [`TUN`], with a route that leads everything far into it.
fn start() -> (Running, Arc<Notes>) {
    ip("link set lo up");
    let started = try_start(Nearby(plan(TUN))).expect("started");
    ip("route add 203.0.113.0/24 dev tun0");
    started
}

fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(to).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

/// Sends back what each connection brings.
fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("accepted");
            thread::spawn(move || {
                let mut bytes = vec![0; 65_536];
                while let Ok(n @ 1..) = connection.read(&mut bytes) {
                    if connection.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// Sends many bytes and expects each of them back, and then an end.
fn echo(port: u16, seed: usize) {
    let mut client = connect(far(port));
    let bytes: Vec<u8> = (0..1_000_000).map(|n| ((n + seed) % 251) as u8).collect();
    let mut writer = client.try_clone().expect("cloned");
    let sent = bytes.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("written");
        writer
            .shutdown(std::net::Shutdown::Write)
            .expect("half closed");
    });
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all of it");
    writing.join().expect("a writer");
    assert!(got == bytes, "bytes were changed");
}

#[test]
fn two_queues_serve_the_kernels_connections_and_sockets() {
    isolated(|| {
        let (mut running, notes) = start();
        let port = echo_server();
        let clients: Vec<_> = (0..16)
            .map(|n| thread::spawn(move || echo(port, n)))
            .collect();
        for client in clients {
            client.join().expect("a client");
        }
        let records = notes.wait_closed(16);
        for record in &records {
            assert_eq!(record.closed, Some(CloseReason::Completed));
            assert_eq!((record.bytes_up, record.bytes_down), (1_000_000, 1_000_000));
        }
        let server = UdpSocket::bind("127.0.0.1:0").expect("bound");
        server.set_read_timeout(Some(PATIENCE)).expect("set");
        let port = server.local_addr().expect("bound").port();
        // Kept, so that each has a port of its own.
        let mut clients = Vec::new();
        for n in 0..16_u8 {
            let client = UdpSocket::bind("0.0.0.0:0").expect("bound");
            client.set_read_timeout(Some(PATIENCE)).expect("set");
            client.connect(far(port)).expect("connected");
            client.send(&[n; 1000]).expect("sent");
            let mut bytes = [0; 2048];
            let (got, from) = server.recv_from(&mut bytes).expect("received");
            server.send_to(&bytes[..got], from).expect("sent");
            assert_eq!(client.recv(&mut bytes).expect("received"), 1000);
            assert_eq!(bytes[..1000], [n; 1000]);
            clients.push(client);
        }
        assert_eq!(running.counters().accepted, 32);
        assert_eq!(running.stop(Shutdown::default()), 0);
    });
}

#[test]
fn a_device_may_go_down_and_come_up_again_or_be_taken_away() {
    isolated(|| {
        let (mut running, notes) = start();
        let port = echo_server();
        echo(port, 1);
        ip("link set tun0 down");
        thread::sleep(Duration::from_millis(50));
        ip("link set tun0 up");
        ip("route add 203.0.113.0/24 dev tun0");
        echo(port, 2);
        assert_eq!(notes.count("the device is gone"), 0);
        // Not every executor sees that; whoever does says so, once for each queue.
        ip("link del tun0");
        assert_eq!(running.stop(Shutdown::default()), 0);
        assert!(notes.count("the device is gone") <= 2);
    });
}

#[test]
fn stopping_resets_connections_and_takes_rules_and_routes_away() {
    isolated(|| {
        ip("link set lo up");
        let (mut running, _notes) = try_start(Nearby(plan(AUTO))).expect("started");
        assert!(!rules("-4").is_empty());
        let mut client = connect(far(echo_server()));
        client.write_all(b"hello").expect("written");
        client.read_exact(&mut [0; 5]).expect("an answer");
        running.stop(Shutdown::default());
        assert_nothing_left();
        let over = client.read(&mut [0; 8]);
        assert_eq!(
            over.expect_err("reset, not ended").kind(),
            ErrorKind::ConnectionReset
        );
    });
}

fn assert_nothing_left() {
    for family in ["-4", "-6"] {
        assert_eq!(rules(family), [""; 0]);
    }
    for name in ["tun0", "tun1"] {
        let is_gone = || !run(&format!("link show dev {name}")).status.success();
        until(&format!("{name} is gone"), is_gone);
    }
}

#[test]
fn dropping_it_takes_rules_and_routes_away() {
    isolated(|| {
        ip("link set lo up");
        let (running, _notes) = try_start(Nearby(plan(AUTO))).expect("started");
        assert!(!rules("-4").is_empty());
        drop(running);
        assert_nothing_left();
    });
}

#[test]
fn a_start_that_fails_half_way_leaves_nothing() {
    isolated(|| {
        ip("link set lo up");
        ip("route add 198.51.100.0/24 dev lo table 2023");
        for (second, why) in [
            // No device of that name can be made.
            (r#""interface_name": "lo""#, "cannot open tun device lo"),
            // The first is routed into already.
            (
                r#""interface_name": "tun1", "auto_route": true,
                    "iproute2_table_index": 2023, "iproute2_rule_index": 9100"#,
                "routing table 2023 has routes",
            ),
        ] {
            let config = format!(
                r#"{{"inbounds": [
                    {{"type": "tun", "interface_name": "tun0", "address": ["172.19.0.1/30"],
                        "auto_route": true}},
                    {{"type": "tun", "address": ["172.20.0.1/30"], {second}}}]}}"#
            );
            let failed = try_start(Nearby(plan(&config))).expect_err("refused");
            assert!(failed.to_string().starts_with(why), "{failed}");
            assert_nothing_left();
        }
    });
}

#[test]
fn connections_that_would_come_back_are_refused_with_one_word() {
    isolated(|| {
        ip("link set lo up");
        let (running, notes) = try_start(plan_of(TUN)).expect("started");
        ip("route add 203.0.113.0/24 dev tun0");
        for _ in 0..20 {
            // Answered at once, and reset before or after the kernel has told of it.
            let over = TcpStream::connect(far(443)).and_then(|mut client| {
                client.set_read_timeout(Some(PATIENCE))?;
                client.read(&mut [0; 8])
            });
            let over = over.expect_err("refused");
            assert_eq!(over.kind(), ErrorKind::ConnectionReset);
        }
        let records = notes.wait_closed(20);
        let refused = Some(CloseReason::Refused(Refusal::Loop));
        assert!(records.iter().all(|record| record.closed == refused));
        assert_eq!(running.counters().accepted, 20, "none came back");
        assert_eq!(notes.count("Reentry"), 1);
    });
}

#[test]
fn datagrams_that_come_back_are_refused_with_one_word() {
    isolated(|| {
        ip("link set lo up");
        let (running, notes) = try_start(plan_of(TUN)).expect("started");
        ip("route add 203.0.113.0/24 dev tun0");
        let client = UdpSocket::bind("0.0.0.0:0").expect("bound");
        client.connect(far(53)).expect("connected");
        for _ in 0..20 {
            // What is refused may be told of at the next call.
            let _told = client.send(b"round and round");
            thread::sleep(Duration::from_millis(5));
        }
        wait_for("a word about it", || notes.count("Reentry") == 1);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(notes.count("Reentry"), 1);
        assert_eq!(running.counters().accepted, 1, "the client's alone");
    });
}

#[test]
fn a_connection_from_the_port_of_a_udp_socket_of_ours_is_served() {
    isolated(|| {
        let (_running, notes) = start();
        let server = UdpSocket::bind("127.0.0.1:0").expect("bound");
        server.set_read_timeout(Some(PATIENCE)).expect("set");
        let port = server.local_addr().expect("bound").port();
        let client = UdpSocket::bind("0.0.0.0:0").expect("bound");
        client.send_to(b"hello", far(port)).expect("sent");
        let (_, ours) = server.recv_from(&mut [0; 8]).expect("received");

        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let at = SocketAddr::from(([172, 19, 0, 1], ours.port()));
        socket.bind(&at.into()).expect("no other connection's");
        socket.connect(&far(echo_server()).into()).expect("served");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(b"hello").expect("written");
        stream.read_exact(&mut [0; 5]).expect("an answer");
        assert_eq!(notes.count("Reentry"), 0);
    });
}

#[test]
fn what_is_dialled_leaves_by_the_interface_of_the_default_route() {
    isolated(|| {
        ip("link set lo up");
        let (_up, queue) = uplink();
        let config = r#"{"route": {"auto_detect_interface": true}, "inbounds": [{"type": "tun",
            "interface_name": "tun0", "address": ["172.19.0.1/30"], "auto_route": true}]}"#;
        let (running, notes) = try_start(plan_of(config)).expect("started");
        let client = thread::spawn(|| TcpStream::connect(far(443)));
        let syn = next(&queue, 6);
        assert_eq!(syn[16..20], [203, 0, 113, 7]);
        assert_eq!(syn[12..16], [10, 50, 0, 2], "from the uplink's address");
        let socket = UdpSocket::bind("0.0.0.0:0").expect("bound");
        socket.send_to(b"straight out", far(53)).expect("sent");
        let datagram = next(&queue, 17);
        assert!(datagram.ends_with(b"straight out"));
        assert_eq!(datagram[12..16], [10, 50, 0, 2]);
        assert_eq!(notes.count("Reentry"), 0);
        assert_eq!(running.counters().accepted, 2);
        drop(running);
        // Answered at once, and reset at the end.
        drop(client.join().expect("a client"));
    });
}

/// The service itself, without anything nearby.
fn plan_of(config: &str) -> sansbox_engine::Plan {
    Arc::into_inner(plan(config)).expect("nobody else has it")
}

/// A way to the Internet: a device whose packets nobody answers.
fn uplink() -> (Device, Queue) {
    let address = vec!["10.50.0.2/24".parse().expect("a prefix")];
    let mut config = sansbox_engine::config::model::Tun::new(address);
    config.interface_name = Some("up0".to_owned());
    let how = Opening {
        segmentation: false,
        ..Opening::default()
    };
    let mut device = Device::open(&config, how).expect("a device");
    let queue = device.take_queues().pop().expect("a queue");
    ip("route add default via 10.50.0.1 dev up0");
    (device, queue)
}

/// The next IPv4 packet of a protocol.
fn next(queue: &Queue, protocol: u8) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let mut found = Vec::new();
    wait_for("a packet", || {
        while let Ok(n) = queue.read(&mut bytes) {
            if bytes[0] >> 4 == 4 && bytes[9] == protocol {
                found = bytes[..n].to_vec();
                return true;
            }
        }
        false
    });
    found
}
