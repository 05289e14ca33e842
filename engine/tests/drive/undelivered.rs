//! Datagrams of a TUN device's clients that did not arrive, as a socket tells it.
use crate::{
    fake::{Frames, Udp},
    script::Hub,
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use sansbox_engine::{
    drive::Counters,
    machine::{Cause, Undelivered},
};
use sansbox_stack::ip::sum;
use std::{cell::RefCell, rc::Rc};

const CONFIG: &str = r#"{
    "inbounds": [{"type": "tun", "address": "10.11.12.1/30"}],
    "outbounds": [{"type": "direct", "tag": "direct"}, {"type": "block", "tag": "no"}],
    "route": {"rules": [{"port": 9, "outbound": "no"}]}
}"#;
const CLIENT: [u8; 4] = [10, 11, 12, 1];
const TARGET: [u8; 4] = [198, 51, 100, 1];
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// The device has the first number, the session of the first mapping the next.
const SESSION: usize = 2;

/// A datagram without a checksum, which IPv4 allows.
fn packet(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(28 + data.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&CLIENT);
    packet.extend_from_slice(&TARGET);
    let check = !sum(&packet);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    for field in [from, to, len - 20, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(data);
    packet
}

/// Who says it, type and code, and the ports of the datagram that it is about.
type Told = ([u8; 4], (u8, u8), [u16; 2]);

struct Lab {
    hub: Hub,
    device: usize,
    frames: Rc<RefCell<Frames>>,
}

impl Lab {
    fn new() -> Self {
        let mut hub = Hub::new(CONFIG);
        let (device, frames) = hub.device();
        Self {
            hub,
            device,
            frames,
        }
    }

    fn says(&mut self, from: u16, to: u16) {
        let packet = packet(from, to, b"data");
        self.frames.borrow_mut().incoming.push_back(packet);
        self.hub.turn(self.device);
    }

    fn socket(&self, nth: usize) -> Rc<RefCell<Udp>> {
        Rc::clone(&self.hub.driver.bound[nth])
    }

    /// A socket says this of a datagram to that port.
    fn fails(&self, nth: usize, port: u16, cause: Cause, reporter: Option<IpAddr>) {
        let to = SocketAddr::from((TARGET, port));
        let error = Undelivered { cause, reporter };
        self.socket(nth).borrow_mut().errors.push_back((to, error));
    }

    /// What clients were told since.
    fn told(&self) -> Vec<Told> {
        let written = core::mem::take(&mut self.frames.borrow_mut().written);
        let read = |packet: &Vec<u8>| {
            assert_eq!((packet[9], &packet[16..20]), (1, &CLIENT[..]));
            assert_eq!(
                (&packet[40..44], &packet[44..48]),
                (&CLIENT[..], &TARGET[..])
            );
            let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
            let from = packet[12..16].try_into().expect("four bytes");
            (from, (packet[20], packet[21]), [port(48), port(50)])
        };
        written.iter().map(read).collect()
    }
}

#[test]
fn a_client_is_told_what_its_socket_is_told() {
    let mut lab = Lab::new();
    lab.says(5000, 53);
    lab.says(5001, 53);
    assert!(lab.socket(0).borrow().is_watched && lab.told().is_empty());
    let router = Some(IpAddr::from(ROUTER));
    for (cause, reporter, from, kind) in [
        (Cause::PortUnreachable, None, TARGET, (3, 3)),
        (Cause::HostUnreachable, router, ROUTER.octets(), (3, 1)),
        (Cause::NetUnreachable, router, ROUTER.octets(), (3, 0)),
        (Cause::ProtocolUnreachable, None, TARGET, (3, 2)),
        (Cause::AdminProhibited, router, ROUTER.octets(), (3, 13)),
        (Cause::TooBig { mtu: 1400 }, router, ROUTER.octets(), (3, 4)),
        (Cause::HopLimitExceeded, router, ROUTER.octets(), (11, 0)),
        (Cause::ReassemblyTimeExceeded, None, TARGET, (11, 1)),
    ] {
        lab.fails(0, 53, cause, reporter);
        lab.hub.turn(SESSION);
        assert_eq!(lab.told(), [(from, kind, [5000, 53])], "{cause:?}");
    }
    // Of a port to which it sent nothing.
    lab.fails(0, 54, Cause::PortUnreachable, None);
    lab.hub.turn(SESSION);
    assert_eq!(lab.told(), []);
    // The other client's socket is another one.
    lab.fails(1, 53, Cause::PortUnreachable, None);
    lab.hub.turn(SESSION + 1);
    assert_eq!(lab.told(), [(TARGET, (3, 3), [5001, 53])]);
}

#[test]
fn what_an_outbound_blocks_is_a_closed_port_and_others_are_carried() {
    let mut lab = Lab::new();
    lab.says(5000, 9);
    lab.says(5000, 53);
    lab.says(5000, 9);
    assert_eq!(lab.told(), [(TARGET, (3, 3), [5000, 9]); 2]);
    assert_eq!(lab.socket(0).borrow().runs.len(), 1);
}

#[test]
fn a_flood_of_errors_is_bounded() {
    let mut lab = Lab::new();
    lab.says(5000, 53);
    for _ in 0..1000 {
        lab.fails(0, 53, Cause::PortUnreachable, None);
    }
    lab.hub.turn(SESSION);
    assert_eq!(lab.told().len(), 50, "errors at once");
    let mut counted = Counters::default();
    lab.hub.pool.tally.add_to(&mut counted);
    assert_eq!(counted.datagrams_dropped, 1000 - 64, "more do not wait");
}

#[test]
fn an_error_for_a_mapping_that_is_gone_harms_nobody() {
    let mut lab = Lab::new();
    lab.says(5000, 53);
    lab.fails(0, 53, Cause::PortUnreachable, None);
    lab.hub.drop(SESSION);
    lab.hub.turn(lab.device);
    assert_eq!(lab.told(), []);
    lab.says(5000, 53);
    assert_eq!(lab.hub.driver.bound.len(), 2, "a new mapping");
}
