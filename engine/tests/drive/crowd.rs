//! A device with very many clients.
use crate::echo::{CLIENT, Lab, remote};
use sansbox_stack::{config::BATCH_SIZE, ip::sum};

/// No more than the stack keeps resets.
const CONNECTIONS: u16 = 250;
const TCP: u8 = 6;
const SYN: u8 = 2;
const RST: u8 = 4;

/// A segment without payload of a client at this port.
fn segment(port: u16, flags: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, TCP, 0, 0];
    packet.extend_from_slice(&CLIENT);
    packet.extend_from_slice(&remote(1));
    let check = !sum(&packet);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    let mut segment = [port.to_be_bytes(), 443_u16.to_be_bytes()].concat();
    segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [&packet[12..20], &[0, TCP, 0, 20], &segment].concat();
    let check = !sum(&pseudo);
    segment[16..18].copy_from_slice(&check.to_be_bytes());
    packet.extend_from_slice(&segment);
    packet
}

/// A kernel acknowledges what it is given at once, and its queue has room for some hundreds.
#[test]
fn what_a_device_answers_is_read_while_it_is_written_to() {
    let mut lab = Lab::new();
    let syns = (0..CONNECTIONS).map(|n| segment(10_000 + n, SYN));
    lab.device.borrow_mut().incoming.extend(syns);
    lab.turn();
    assert_eq!(lab.told().len(), usize::from(CONNECTIONS), "SYN-ACKs");

    {
        let mut device = lab.device.borrow_mut();
        // Nothing follows of it.
        device.answer = Some(segment(1, RST));
        device.most_waiting = 0;
    }
    // Nobody serves them, so all are reset at once.
    while lab.pool.pop_birth().is_some() {}
    lab.turn();
    let resets = lab.told().iter().filter(|told| told[33] & RST != 0).count();
    assert_eq!(resets, usize::from(CONNECTIONS));
    let waited = lab.device.borrow().most_waiting;
    assert!(waited <= 2 * BATCH_SIZE, "{waited} frames waited");
}
