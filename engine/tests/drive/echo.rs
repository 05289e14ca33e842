//! Echo requests of a TUN device's clients, which a carrier has sent by sockets of the driver.
use crate::fake::{Echoes, Frames, Loop, Net};
use bytes::BytesMut;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use sansbox_core::{Instant, Refusal, Seed};
use sansbox_engine::{
    Plan,
    carrier::{EchoAnswer, tun::Device},
    config::{ReadOptions, Sources, read},
    drive::{CarrierDrive, Pool, Service as _, Turn},
    ids::{InboundId, OutboundId},
};
use sansbox_stack::ip::sum;
use std::{cell::RefCell, rc::Rc, sync::Arc};

const CONFIG: &str = r#"{
    "inbounds": [{"type": "tun", "address": "10.11.12.1/30", "sansbox": {"icmp_echo": "relay"}}],
    "outbounds": [
        {"type": "direct", "tag": "direct"},
        {"type": "direct", "tag": "other"},
        {"type": "socks", "tag": "proxy", "server": "192.0.2.1", "server_port": 1}
    ],
    "route": {"rules": [
        {"ip_cidr": "198.51.100.2", "outbound": "other"},
        {"ip_cidr": "198.51.100.3", "outbound": "proxy"},
        {"ip_cidr": "198.51.100.4", "action": "reject"},
        {"ip_cidr": "198.51.100.5", "action": "reject", "method": "drop"}
    ]}
}"#;
/// The client of each packet.
pub(crate) const CLIENT: [u8; 4] = [10, 11, 12, 1];

/// The target with this number.
pub(crate) const fn remote(host: u8) -> [u8; 4] {
    [198, 51, 100, host]
}

/// A device's drive.
pub(crate) struct Lab {
    drive: CarrierDrive<Net>,
    driver: Loop,
    pub(crate) pool: Pool,
    pub(crate) device: Rc<RefCell<Frames>>,
    now: Instant,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let read = read(&Sources::single("c.json", CONFIG), &ReadOptions::default());
        let plan = Arc::new(Plan::build(&read.expect("a configuration").0).expect("a plan"));
        let facts = Device {
            mtu: 1500,
            has_offload: false,
        };
        let seed = Seed::from_u64(1);
        let machine = plan.device(InboundId(0), facts, seed, Instant::ZERO);
        let device = Rc::new(RefCell::new(Frames::default()));
        let pool = Pool::default();
        let held = (Rc::clone(&device), facts);
        let machine = machine.expect("a device");
        Self {
            drive: CarrierDrive::device(machine, 1, InboundId(0), held, &pool),
            driver: Loop::default(),
            pool,
            device,
            now: Instant::ZERO,
        }
    }

    pub(crate) fn turn(&mut self) {
        let turn = self.drive.turn(&mut self.driver, &self.pool, self.now);
        assert_eq!(turn, Turn::Waiting);
    }

    /// A client asks; returns what it is told at once.
    fn asks(&mut self, host: u8, hops: u8, identifier: u16, sequence: u16) -> Vec<Vec<u8>> {
        let packet = request(remote(host), hops, identifier, sequence);
        self.device.borrow_mut().incoming.push_back(packet);
        self.turn();
        self.told()
    }

    /// What clients were told since.
    pub(crate) fn told(&self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.device.borrow_mut().written)
    }

    fn socket(&self, nth: usize) -> Rc<RefCell<Echoes>> {
        Rc::clone(&self.driver.echoes[nth])
    }

    fn answers(&mut self, nth: usize, answer: EchoAnswer) -> Vec<Vec<u8>> {
        self.socket(nth).borrow_mut().answers.push_back(answer);
        self.turn();
        self.told()
    }

    fn refused(&self) -> u64 {
        let interface = self.drive.carrier().interface().expect("an interface");
        let mut drops = interface.drops();
        let refused = drops.find(|dropped| dropped.reason == "echo_refused");
        refused.expect("a counter").count
    }
}

fn request(to: [u8; 4], hops: u8, identifier: u16, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 1, 0, 0, hops, 1, 0, 0];
    packet.extend_from_slice(&CLIENT);
    packet.extend_from_slice(&to);
    let check = !sum(&packet);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    let mut message = vec![8, 0, 0, 0];
    message.extend_from_slice(&identifier.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(b"data");
    let check = !sum(&message);
    message[2..4].copy_from_slice(&check.to_be_bytes());
    packet.extend_from_slice(&message);
    packet
}

/// Who says it, type and code.
fn heading(packet: &[u8]) -> ([u8; 4], u8, u8) {
    assert_eq!((packet[9], &packet[16..20]), (1, &CLIENT[..]));
    let from = packet[12..16].try_into().expect("four bytes");
    (from, packet[20], packet[21])
}

fn error(host: u8, sequence: u16, kind: u8, code: u8) -> EchoAnswer {
    EchoAnswer::Error {
        to: IpAddr::from(remote(host)),
        sequence,
        reporter: Some(Ipv4Addr::new(203, 0, 113, 9).into()),
        kind,
        code,
        mtu: 1300,
    }
}

#[test]
fn a_reply_has_the_clients_identifier() {
    let mut lab = Lab::new();
    assert!(lab.asks(1, 64, 7, 3).is_empty());
    let socket = lab.socket(0);
    let sent = socket.borrow().sent[0].clone();
    assert_eq!((sent.to, sent.sequence), (remote(1).into(), 3));
    assert_eq!((sent.hop_limit, &sent.data[..]), (63, &b"data"[..]));
    let reply = |host| EchoAnswer::Reply {
        from: IpAddr::from(remote(host)),
        sequence: 3,
        data: BytesMut::from(&b"data"[..]),
    };
    let told = lab.answers(0, reply(1));
    assert_eq!(heading(&told[0]), (remote(1), 0, 0));
    assert_eq!(told[0][24..], *b"\0\x07\0\x03data");
    assert!(lab.answers(0, reply(9)).is_empty(), "nobody asked that one");
}

#[test]
fn errors_are_told_as_what_they_are() {
    let mut lab = Lab::new();
    assert!(lab.asks(1, 2, 7, 3).is_empty());
    for ((kind, code), told_as) in [
        ((11, 0), Some((11, 0))),
        ((3, 0), Some((3, 0))),
        ((3, 1), Some((3, 1))),
        ((3, 10), Some((3, 13))),
        ((3, 4), Some((3, 4))),
        ((5, 0), None),
    ] {
        let told = lab.answers(0, error(1, 3, kind, code));
        let found = told.first().map(|packet| {
            let (from, kind, code) = heading(packet);
            assert_eq!(from, [203, 0, 113, 9]);
            // The quoted request: to whom, identifier and number.
            assert_eq!(packet[44..48], remote(1));
            assert_eq!(packet[52..56], *b"\0\x07\0\x03");
            (kind, code)
        });
        assert_eq!(found, told_as);
    }
    assert_eq!(lab.refused(), 0);
}

#[test]
fn hops_that_end_at_the_device_are_told_by_its_far_end() {
    let mut lab = Lab::new();
    let told = lab.asks(1, 1, 7, 3);
    assert_eq!(heading(&told[0]), ([10, 11, 12, 2], 11, 0));
    assert!(lab.driver.echoes.is_empty());
}

#[test]
fn rules_choose_who_carries_and_only_direct_does() {
    let mut lab = Lab::new();
    assert!(lab.asks(1, 64, 7, 1).is_empty());
    assert!(lab.asks(2, 64, 7, 2).is_empty());
    assert!(lab.asks(1, 64, 7, 3).is_empty());
    let sockets: Vec<_> = lab.driver.echoes.iter().map(|s| s.borrow()).collect();
    let facts = |nth: usize| (sockets[nth].outbound, sockets[nth].sent.len());
    assert_eq!(
        (facts(0), facts(1)),
        ((OutboundId(0), 2), (OutboundId(1), 1))
    );
    assert_eq!(sockets.len(), 2);
    drop(sockets);
    for host in [3, 4] {
        let told = lab.asks(host, 64, 7, 1);
        assert_eq!(heading(&told[0]), (remote(host), 3, 13));
    }
    assert!(lab.asks(5, 64, 7, 1).is_empty(), "silence");
    assert_eq!((lab.refused(), lab.driver.echoes.len()), (3, 2));
}

#[test]
fn without_a_socket_requests_are_prohibited_until_there_is_one() {
    let mut lab = Lab::new();
    for (why, kind, code) in [
        (Refusal::Policy, 3, 13),
        (Refusal::CommandUnsupported, 3, 13),
        (Refusal::NetworkUnreachable, 3, 0),
    ] {
        lab.driver.echo_refusal = Some(why);
        let told = lab.asks(1, 64, 7, 1);
        assert_eq!(heading(&told[0]), (remote(1), kind, code), "{why:?}");
    }
    assert_eq!(lab.refused(), 3);
    lab.driver.echo_refusal = None;
    assert!(lab.asks(1, 64, 7, 2).is_empty());
    assert_eq!(lab.socket(0).borrow().sent.len(), 1);
}

#[test]
fn a_socket_is_closed_when_nobody_asks_any_more() {
    let mut lab = Lab::new();
    assert!(lab.asks(1, 64, 7, 1).is_empty());
    assert!(lab.asks(1, 64, 8, 1).is_empty());
    assert_eq!(Rc::strong_count(&lab.socket(0)), 3);
    lab.now += Duration::from_secs(61);
    lab.turn();
    for nth in 0..2 {
        assert_eq!(Rc::strong_count(&lab.socket(nth)), 2, "the list's and ours");
    }
    // The same client again has another one.
    assert!(lab.asks(1, 64, 7, 1).is_empty());
    assert_eq!(lab.driver.echoes.len(), 3);
}

#[test]
fn clients_have_no_more_sockets_than_may_be() {
    let mut lab = Lab::new();
    for identifier in 0..300 {
        lab.asks(1, 64, identifier, 1);
    }
    let open = lab.driver.echoes.iter();
    let open = open.filter(|socket| Rc::strong_count(socket) == 2).count();
    assert_eq!(open, sansbox_stack::interface::QUERIES_MAX);
}
