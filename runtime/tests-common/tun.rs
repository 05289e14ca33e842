//! TUN devices that were handed in: sockets stand in for them, so that no rights are needed.
use crate::{
    common::{Notes, wait_for},
    runtime::{
        DeviceError, DeviceFile, Executor, Options, Reactor as _, Running, Runtime, Shutdown,
        StartError,
    },
    wire::{CLIENT, Client, MTU, Wire},
};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Association, Peer, Plan, Session,
    carrier::{Carrier, tun},
    config::{
        ReadOptions, Sources,
        model::{Dial, Tun},
        read,
    },
    drive::{InboundSockets, Recorded, Service},
    ids::{InboundId, OutboundId},
    machine::{Action, Input, Machine, SlotPipes, Wanted},
    record::{CloseReason, Record},
};
use smoltcp::{socket::tcp, wire::IpProtocol};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// What is there is on this machine; on a wire no packet may go there.
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const TUN: InboundId = InboundId(0);
const PLAIN: &str = r#"{"inbounds": [{"type": "tun", "address": ["172.19.0.1/30"]}]}"#;

pub(crate) fn plan(config: &str) -> Arc<Plan> {
    let sources = Sources::single("config.json", config);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("a configuration");
    Arc::new(Plan::build(&config).expect("a plan"))
}

/// A plan whose targets at [`FAR`] are on this machine.
pub(crate) struct Nearby(pub(crate) Arc<Plan>);

fn moved(address: SocketAddr, from: Ipv4Addr, to: Ipv4Addr) -> SocketAddr {
    if address.ip() == IpAddr::V4(from) {
        return SocketAddr::from((to, address.port()));
    }
    address
}

fn near(address: SocketAddr) -> SocketAddr {
    moved(address, FAR, Ipv4Addr::LOCALHOST)
}

pub(crate) struct Moved(Session);

impl Recorded for Moved {
    fn record(&self) -> &Record {
        self.0.record()
    }
}

impl Machine for Moved {
    fn apply(&mut self, now: Instant, mut input: Input<'_>) {
        if let Input::Datagram { from, .. } = &mut input {
            *from = moved(*from, Ipv4Addr::LOCALHOST, FAR);
        }
        if let Input::DatagramError { to, error, .. } = &mut input {
            *to = moved(*to, Ipv4Addr::LOCALHOST, FAR);
            assert_eq!(error.reporter, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            // Not one that a wire takes.
            error.reporter = Some(FAR.into());
        }
        self.0.apply(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        let mut action = self.0.poll_action()?;
        if let Action::Dial { to, .. } | Action::Send { to, .. } = &mut action {
            *to = near(*to);
        }
        Some(action)
    }

    fn pipes(&self, slot: sansbox_engine::ids::Slot) -> Option<SlotPipes<'_>> {
        self.0.pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Service for Nearby {
    type Session = Moved;
    type Association = Association;

    fn inbounds(&self) -> Vec<InboundSockets> {
        Service::inbounds(&*self.0)
    }

    fn dial(&self, outbound: OutboundId) -> Option<&Dial> {
        self.0.dial(outbound)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Moved {
        Moved(self.0.session(inbound, peer, seed, now))
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Association {
        self.0.association(inbound, peer, seed, now)
    }

    fn devices(&self) -> Vec<(InboundId, Arc<Tun>)> {
        self.0.devices()
    }

    fn device(
        self: &Arc<Self>,
        inbound: InboundId,
        device: tun::Device,
        seed: Seed,
        now: Instant,
    ) -> Option<Box<dyn Carrier>> {
        self.0.device(inbound, device, seed, now)
    }

    fn carried(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        wanted: Wanted,
        seed: Seed,
        now: Instant,
    ) -> Option<Moved> {
        self.0.carried(inbound, peer, wanted, seed, now).map(Moved)
    }
}

fn handed(file: OwnedFd, has_header: bool) -> DeviceFile {
    DeviceFile {
        inbound: TUN,
        file,
        mtu: MTU,
        has_header,
    }
}

fn try_start(
    config: &str,
    devices: Vec<DeviceFile>,
    workers: usize,
) -> Result<(Running, Arc<Notes>), StartError> {
    let options = Options {
        workers: Some(workers),
        devices,
        ..Options::default()
    };
    let notes = Arc::new(Notes::default());
    let observer = Arc::clone(&notes);
    let service = Arc::new(Nearby(plan(config)));
    Ok((Runtime::start(service, options, observer)?, notes))
}

fn start(config: &str, has_header: bool) -> (Running, Arc<Notes>, Wire) {
    let (device, wire) = Wire::new(has_header);
    let handed = vec![handed(device, has_header)];
    let (running, notes) = try_start(config, handed, 2).expect("started");
    (running, notes, wire)
}

/// Sends back what comes, one connection after the other.
fn echo_server() -> SocketAddrV4 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("accepted");
            let mut bytes = vec![0; 65_536];
            // An end of any kind is the end.
            while let Ok(n @ 1..) = connection.read(&mut bytes) {
                if connection.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
        }
    });
    SocketAddrV4::new(FAR, port)
}

fn tcp_goes_there_and_back(has_header: bool) {
    let (mut running, notes, wire) = start(PLAIN, has_header);
    let mut client = Client::connect(wire, 1234, echo_server());
    let bytes: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    assert!(client.exchange(&bytes) == bytes, "bytes were changed");
    client.until("an end", |socket| {
        socket.close();
        !socket.may_recv()
    });
    let records = notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::Completed));
    assert_eq!(records[0].peer, SocketAddr::from((CLIENT, 1234)));
    assert_eq!(
        (records[0].bytes_up, records[0].bytes_down),
        (700_000, 700_000)
    );
    assert_eq!(running.stop(Shutdown::default()), 0);
}

#[test]
fn tcp_goes_there_and_back_through_a_device_that_was_handed_in() {
    tcp_goes_there_and_back(false);
}

#[test]
fn a_device_that_was_handed_in_may_have_a_header() {
    tcp_goes_there_and_back(true);
}

#[test]
fn datagrams_and_echo_requests_are_answered() {
    let (_running, _notes, wire) = start(PLAIN, false);
    let server = UdpSocket::bind("127.0.0.1:0").expect("bound");
    server.set_read_timeout(Some(PATIENCE)).expect("set");
    let far = SocketAddrV4::new(FAR, server.local_addr().expect("bound").port());
    let mut sender = None;
    for n in 1..=3_usize {
        wire.send_datagram(1234, far, &vec![7; n * 400]);
        let mut bytes = [0; 2048];
        let (got, from) = server.recv_from(&mut bytes).expect("a datagram");
        assert_eq!(got, n * 400);
        assert_eq!(
            *sender.get_or_insert(from),
            from,
            "one socket for one client"
        );
        server.send_to(&bytes[..got / 2], from).expect("sent");
        let answer = wire.next_datagram().expect("an answer");
        assert_eq!(answer, (far, 1234, vec![7; n * 200]));
    }
    let expected = (FAR, 5, b"are you there".to_vec());
    assert_eq!(wire.ping(FAR, 5), Some(expected));
}

/// A port on which nothing listens, at [`FAR`].
fn closed_port() -> SocketAddrV4 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    SocketAddrV4::new(FAR, socket.local_addr().expect("bound").port())
}

/// What a client is told of a datagram to `far`: that its port is closed.
fn is_told(wire: &Wire, client: u16, far: SocketAddrV4) {
    let (header, message) = wire.next(IpProtocol::Icmp).expect("a message");
    assert_eq!((header.src_addr, header.dst_addr), (FAR, CLIENT));
    assert_eq!(message[..2], [3, 3], "port unreachable");
    let quoted = &message[8..];
    assert_eq!(quoted[12..16], CLIENT.octets());
    assert_eq!(quoted[16..20], FAR.octets());
    let ports = [client.to_be_bytes(), far.port().to_be_bytes()].concat();
    assert_eq!(quoted[20..24], ports);
}

#[test]
fn a_closed_port_is_told_and_loses_no_other_datagram() {
    let (_running, _notes, wire) = start(PLAIN, false);
    let server = UdpSocket::bind("127.0.0.1:0").expect("bound");
    server.set_read_timeout(Some(PATIENCE)).expect("set");
    let far = SocketAddrV4::new(FAR, server.local_addr().expect("bound").port());
    let (closed, other) = (closed_port(), closed_port());
    let receives = |n: u8| {
        let mut bytes = [0; 64];
        let (len, from) = server.recv_from(&mut bytes).expect("a datagram");
        assert_eq!(bytes[..len], [n; 9]);
        from
    };
    for n in 0..20 {
        // Nothing else wakes the session.
        wire.send_datagram(1234, closed, b"anybody");
        is_told(&wire, 1234, closed);
        wire.send_datagram(1234, far, &[n; 9]);
        receives(n);
    }
    for n in 0..20 {
        // The error of the first comes while the next is sent, or before.
        wire.send_datagram(1234, closed, b"anybody");
        wire.send_datagram(1234, far, &[n; 9]);
        receives(n);
        is_told(&wire, 1234, closed);
    }
    // Each client of its own target.
    wire.send_datagram(1234, closed, b"anybody");
    is_told(&wire, 1234, closed);
    wire.send_datagram(1235, other, b"anybody");
    is_told(&wire, 1235, other);
}

#[test]
fn a_device_may_be_served_in_another_way_while_it_is_served() {
    let (running, notes, wire) = start(PLAIN, false);
    let before = running.device(TUN).expect("a device");
    assert_eq!(before.egress_mtu, 1500);
    // `wait` is answered, so nothing is on its way.
    assert!(wire.ping(FAR, 1).is_some());
    let reject = tun::Settings {
        icmp_echo: tun::EchoMode::Reject,
        ..before
    };
    running.set_device(TUN, reject).expect("set");
    wait_for("another answer", || wire.ping(FAR, 2).is_none());
    running.set_device(TUN, before).expect("as it was");
    wait_for("the first answer", || wire.ping(FAR, 3).is_some());
    assert_eq!(running.device(TUN), Some(before));
    // A connection that nobody takes: at once there, or never.
    let closed = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = closed.local_addr().expect("bound").port();
    drop(closed);
    let far = SocketAddrV4::new(FAR, port);
    let mut client = Client::connect(wire, 1234, far);
    client.until("an end", |socket| socket.state() == tcp::State::Closed);
    let wire = client.into_wire();
    assert_eq!(wire.answered(), 1, "before the target was asked");
    let consistent = tun::Settings {
        handshake_mode: tun::Handshake::Consistent,
        ..reject
    };
    running.set_device(TUN, consistent).expect("set");
    wait_for("another answer", || wire.ping(FAR, 4).is_none());
    let mut client = Client::connect(wire, 1235, far);
    client.until("a refusal", |socket| socket.state() == tcp::State::Closed);
    assert_eq!(client.into_wire().answered(), 1, "nobody took this one");
    notes.wait_closed(2);
    // What cannot be.
    let small = tun::Settings {
        egress_mtu: 575,
        ..reject
    };
    let refused = running.set_device(TUN, small).expect_err("too small");
    assert!(matches!(refused, DeviceError::Settings(_)), "{refused}");
    let refused = running.set_device(InboundId(1), reject);
    assert_eq!(refused, Err(DeviceError::NoDevice));
    assert_eq!(running.device(TUN), Some(consistent), "nothing has changed");
}

#[test]
fn the_egress_mtu_may_change_while_datagrams_come() {
    let (running, _notes, wire) = start(PLAIN, false);
    let server = UdpSocket::bind("127.0.0.1:0").expect("bound");
    server.set_nonblocking(true).expect("set");
    let far = SocketAddrV4::new(FAR, server.local_addr().expect("bound").port());
    let narrow = tun::Settings {
        egress_mtu: 1280,
        icmp_echo: tun::EchoMode::Reject,
        ..running.device(TUN).expect("a device")
    };
    running.set_device(TUN, narrow).expect("set");
    wait_for("the other settings", || wire.ping(FAR, 1).is_none());
    // With DF, which is what the sender is told about.
    wire.send_datagram(1234, far, &[7; 1300]);
    let (_, told) = wire.next(IpProtocol::Icmp).expect("a message");
    assert_eq!(told[..2], [3, 4], "fragmentation needed");
    assert_eq!(u16::from_be_bytes([told[6], told[7]]), 1280);
    let wider = tun::Settings {
        egress_mtu: MTU,
        ..running.device(TUN).expect("a device")
    };
    running.set_device(TUN, wider).expect("set");
    wait_for("a datagram of 1300 bytes", || {
        wire.send_datagram(1234, far, &[7; 1300]);
        server.recv(&mut [0; 2048]).is_ok_and(|n| n == 1300)
    });
}

#[test]
fn a_worker_of_the_callers_serves_a_device_as_it_was_set_before() {
    let (device, wire) = Wire::new(false);
    let options = Options {
        devices: vec![handed(device, false)],
        ..Options::default()
    };
    let service = Arc::new(Nearby(plan(PLAIN)));
    let notes = Arc::new(Notes::default());
    let (mut running, mut workers) =
        Runtime::embed(service, options, notes).expect("nothing to open");
    let settings = tun::Settings {
        icmp_echo: tun::EchoMode::Reject,
        ..running.device(TUN).expect("a device")
    };
    running.set_device(TUN, settings).expect("set");
    let client = thread::spawn(move || {
        // The first turn may come before the settings, and no other.
        wait_for("the other answer", || wire.ping(FAR, 1).is_none());
        running.stop(Shutdown::default())
    });
    let worker = workers.pop().expect("one");
    let served = Executor::run(async { worker.run().await });
    served.expect("a reactor").expect("served");
    assert_eq!(client.join().expect("a client"), 0);
}

#[test]
fn stopping_resets_what_is_open() {
    let (mut running, _notes, wire) = start(PLAIN, false);
    let mut client = Client::connect(wire, 1234, echo_server());
    assert_eq!(client.exchange(b"hello"), b"hello");
    running.stop(Shutdown::default());
    client.until("a reset", |socket| socket.state() == tcp::State::Closed);
}

#[test]
fn a_device_whose_other_end_is_closed_ends_and_the_rest_goes_on() {
    let json = r#"{"inbounds": [{"type": "tun", "address": ["172.19.0.1/30"]},
        {"type": "tun", "address": ["172.19.0.1/30"]}]}"#;
    let (pairs, wires): (Vec<_>, Vec<_>) = [Wire::new(false), Wire::new(false)].into_iter().unzip();
    let devices = (0..).map(InboundId).zip(pairs);
    let devices = devices.map(|(inbound, file)| DeviceFile {
        inbound,
        ..handed(file, false)
    });
    let (mut running, notes) = try_start(json, devices.collect(), 1).expect("started");
    let [first, second] = <[Wire; 2]>::try_from(wires).expect("two");
    let mut client = Client::connect(first, 1234, echo_server());
    assert_eq!(client.exchange(b"hello"), b"hello");
    drop(client);
    let records = notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::ClientReset));
    wait_for("a word about it", || notes.count("the device is gone") == 1);
    assert!(second.ping(FAR, 1).is_some());
    assert_eq!(running.stop(Shutdown::default()), 0);
    assert_eq!(notes.count("the device is gone"), 1);
}

#[test]
fn what_cannot_be_handed_in_is_refused() {
    let refused = |config: &str, device: DeviceFile| {
        let started = try_start(config, vec![device], 1);
        started.expect_err("refused").to_string()
    };
    let file = || Wire::new(false).0;
    let with = |key: &str| {
        format!(r#"{{"inbounds": [{{"type": "tun", "address": "172.19.0.1/30", {key}}}]}}"#)
    };
    for (key, why) in [
        (
            r#""auto_route": true"#,
            "auto_route needs a tun device that was opened here",
        ),
        (
            r#""interface_name": "tun0""#,
            "interface_name is for a tun device that is opened here",
        ),
        (
            r#""mtu": 1500"#,
            "mtu is for a tun device that is opened here",
        ),
    ] {
        let text = refused(&with(key), handed(file(), false));
        assert!(text.starts_with(why), "{text}");
    }
    let small = DeviceFile {
        mtu: 1279,
        ..handed(file(), false)
    };
    let text = refused(PLAIN, small);
    assert!(text.contains("1279") && text.contains("1280"), "{text}");
    let other = DeviceFile {
        inbound: InboundId(1),
        ..handed(file(), false)
    };
    let none = r#"{"inbounds": [{"type": "mixed", "listen": "127.0.0.1"}]}"#;
    for (config, device) in [(none, handed(file(), false)), (none, other)] {
        let text = refused(config, device);
        assert!(
            text.contains("handed in for an inbound that is none"),
            "{text}"
        );
    }
    // The same MTU said twice is no contradiction.
    let same = with(&format!(r#""mtu": {MTU}"#));
    try_start(&same, vec![handed(file(), false)], 1).expect("started");
}
