//! Datagrams through a toy association, on loopback.
use crate::common::{Mode, Toy, World, wait_for};
use crate::runtime::{Network, Options, Shutdown};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

/// Sends everything back until it gets a datagram `stop`.
fn echo(ip: IpAddr) -> (SocketAddr, thread::JoinHandle<()>) {
    let socket = socket(ip);
    let address = socket.local_addr().expect("bound");
    let echo = thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut bytes) {
            if &bytes[..n] == b"stop" {
                break;
            }
            socket.send_to(&bytes[..n], from).expect("sent");
        }
    });
    (address, echo)
}

fn toy(target: SocketAddr, listen: IpAddr) -> Toy {
    let mut toy = Toy::new(Mode::Passthrough, target);
    toy.listens[0].udp = true;
    toy.listens[0].tcp = false;
    toy.listens[0].listen.listen = listen;
    toy
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let n = socket.recv(&mut bytes).expect("received");
    bytes.truncate(n);
    bytes
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Whether this machine has this loopback address; says so when it does not.
fn has(ip: IpAddr) -> bool {
    let has = ip == V4 || UdpSocket::bind((ip, 0)).is_ok();
    if !has {
        eprintln!("skipped: no {ip} on this machine");
    }
    has
}

#[test]
fn bursts_come_back_whole_and_in_order() {
    for ip in [V4, V6].into_iter().filter(|ip| has(*ip)) {
        let (target, echo) = echo(ip);
        let world = World::start(toy(target, ip));
        let client = socket(ip);
        let at = world.address(Network::Udp);
        client.connect(at).expect("connected");
        let mut expected = Vec::new();
        for burst in 0..50_usize {
            // Equal ones, one shorter, an empty one, a longer one: all kinds of runs.
            let sizes = [[300 + burst; 12].as_slice(), &[100, 0, 1200]].concat();
            for (n, size) in sizes.into_iter().enumerate() {
                let datagram = vec![(burst * 20 + n) as u8; size];
                client.send(&datagram).expect("sent");
                expected.push(datagram);
            }
            for datagram in expected.drain(..) {
                assert_eq!(receive(&client), datagram, "burst {burst}");
            }
        }
        let counters = world.running.counters();
        assert_eq!((counters.associations, counters.datagrams_dropped), (1, 0));
        client.send(b"stop").expect("sent");
        echo.join().expect("echoed");
    }
}

#[test]
fn the_largest_datagrams_pass() {
    for (ip, size) in [(V4, 65_507), (V6, 65_000)] {
        if !has(ip) {
            continue;
        }
        let (target, _echo) = echo(ip);
        let world = World::start(toy(target, ip));
        let client = socket(ip);
        let to = world.address(Network::Udp);
        client.send_to(&vec![9; size], to).expect("sent");
        assert_eq!(receive(&client).len(), size);
    }
}

#[test]
fn a_listener_for_both_families_answers_from_the_address_that_was_asked() {
    if !has(V6) {
        return;
    }
    let (target, _echo) = echo(V4);
    let mut world = World::start(toy(target, Ipv6Addr::UNSPECIFIED.into()));
    let port = world.address(Network::Udp).port();
    for ip in [IpAddr::from([127, 0, 0, 1]), [127, 0, 0, 7].into(), V6] {
        let client = socket(if ip.is_ipv4() { V4 } else { V6 });
        // A connected socket takes answers from nowhere else.
        client.connect((ip, port)).expect("connected");
        client.send(b"hello").expect("sent");
        assert_eq!(receive(&client), b"hello", "{ip}");
    }
    assert_eq!(world.running.counters().associations, 3);
    let notes = std::sync::Arc::clone(&world.notes);
    world.running.stop(Shutdown {
        grace: Duration::ZERO,
        deadline: PATIENCE,
    });
    drop(notes);
}

#[test]
fn an_idle_client_is_forgotten_and_served_anew() {
    let (target, _echo) = echo(V4);
    let mut toy = toy(target, V4);
    toy.idle = Duration::from_millis(150);
    let world = World::start(toy);
    let client = socket(V4);
    client
        .connect(world.address(Network::Udp))
        .expect("connected");
    for round in 1..=3 {
        client.send(b"hello").expect("sent");
        assert_eq!(receive(&client), b"hello");
        assert_eq!(world.running.counters().associations, round);
        wait_for("the end", || world.running.counters().open == 0);
    }
}

#[test]
fn clients_are_bounded() {
    let (target, _echo) = echo(V4);
    let options = Options {
        workers: Some(1),
        max_associations: 2,
        ..Options::default()
    };
    let world = World::try_start(toy(target, V4), options).expect("started");
    let clients = [socket(V4), socket(V4), socket(V4)];
    for client in &clients {
        client
            .connect(world.address(Network::Udp))
            .expect("connected");
        client.send(b"hello").expect("sent");
    }
    assert_eq!(receive(&clients[0]), b"hello");
    assert_eq!(receive(&clients[1]), b"hello");
    wait_for("the limit", || world.notes.count("AssociationLimit") == 1);
    assert_eq!(world.running.counters().datagrams_dropped, 1);
}
