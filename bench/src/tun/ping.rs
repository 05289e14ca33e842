//! The time of an echo (RFC 792) through the device.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use super::memory::client::{fold, sum};
use crate::stats;

/// Echoes of the median.
const PINGS: u16 = 200;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(1);
/// Of all, so many may stay without an answer.
const LOST_MAX: usize = 3;

const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const HEADER_BYTES: usize = 8;
/// With the payload that ping(8) has.
const MESSAGE_BYTES: usize = HEADER_BYTES + 56;
/// Any constant: nobody else is in the namespace.
const IDENTIFIER: u16 = 0x5a42;

/// The median time of an echo from the calling thread's namespace, in microseconds.
pub(super) fn run(destination: Ipv4Addr) -> Result<f64> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SocketAddrV4::new(destination, 0).into())?;
    let mut micros = Vec::with_capacity(PINGS.into());
    let mut lost = 0;
    for sequence in 0..PINGS {
        let began = Instant::now();
        socket.send(&request(sequence))?;
        match answer(&mut socket, sequence) {
            Some(()) => micros.push(began.elapsed().as_secs_f64() * 1e6),
            None => lost += 1,
        }
        if lost > LOST_MAX {
            bail!("{lost} of {} echo requests got no answer", sequence + 1);
        }
        thread::sleep(PAUSE);
    }
    stats::median(&micros).map_or_else(|| bail!("no echo came back"), Ok)
}

fn request(sequence: u16) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    let (header, _) = message.split_at_mut(HEADER_BYTES);
    let mut fields = [0; HEADER_BYTES];
    fields[0] = ECHO;
    fields[4..6].copy_from_slice(&IDENTIFIER.to_be_bytes());
    fields[6..8].copy_from_slice(&sequence.to_be_bytes());
    let checksum = fold(sum(&fields));
    fields[2..4].copy_from_slice(&checksum.to_be_bytes());
    header.copy_from_slice(&fields);
    message
}

/// Reads until the answer comes, or nothing does.
fn answer(socket: &mut Socket, sequence: u16) -> Option<()> {
    let mut packet = [0; 256];
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let length = socket.read(&mut packet).ok()?;
        if packet.get(..length).and_then(echoed) == Some(sequence) {
            return Some(());
        }
    }
    None
}

/// The sequence number of an answer of ours in an IPv4 packet.
fn echoed(packet: &[u8]) -> Option<u16> {
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header_bytes..)?;
    let [kind, 0, _, _, a, b, c, d] = *message.first_chunk::<HEADER_BYTES>()? else {
        return None;
    };
    let ours = kind == ECHO_REPLY && u16::from_be_bytes([a, b]) == IDENTIFIER;
    ours.then_some(u16::from_be_bytes([c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_other_messages() {
        let mut packet = vec![0x45; 20];
        packet.extend_from_slice(&request(513));
        assert_eq!(echoed(&packet), None, "a request");
        packet[20] = ECHO_REPLY;
        assert_eq!(echoed(&packet), Some(513));
        packet[24] ^= 1;
        assert_eq!(echoed(&packet), None, "of somebody else");
        assert_eq!(echoed(&packet[..27]), None);
        assert_eq!(echoed(&[]), None);
    }

    #[test]
    fn the_kernel_answers() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: raw sockets need root");
            return;
        }
        let micros = run(Ipv4Addr::LOCALHOST).unwrap();
        assert!(micros > 0.0 && micros < 1e6, "{micros}");
    }
}
