//! The time of an echo (RFC 792) through the device, as ping(8) has it: from before the request is
//! sent until the kernel of the client has the answer. When the client wakes up is not part of it.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use nix::cmsg_space;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
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
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SocketAddrV4::new(destination, 0).into())?;
    let mut micros = Vec::with_capacity(PINGS.into());
    let mut lost = 0;
    for sequence in 0..PINGS {
        let began = SystemTime::now();
        socket.send(&request(sequence))?;
        let answered = answer(&socket, sequence);
        // A clock that was set back meanwhile tells nothing.
        match answered.and_then(|at| at.duration_since(began).ok()) {
            Some(took) => micros.push(took.as_secs_f64() * 1e6),
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

/// Reads until the answer comes, or nothing does. Returns when the kernel had it.
fn answer(socket: &Socket, sequence: u16) -> Option<SystemTime> {
    let mut packet = [0; 256];
    let mut space = cmsg_space!(TimeSpec);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut room = [IoSliceMut::new(&mut packet)];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
        let received = recvmsg::<()>(fd, &mut room, Some(&mut space), flags).ok()?;
        let (length, mut said) = (received.bytes, received.cmsgs().ok()?);
        let at = said.find_map(|message| {
            let ControlMessageOwned::ScmTimestampns(at) = message else {
                return None;
            };
            Some(Duration::from(at))
        })?;
        if packet.get(..length).and_then(echoed) == Some(sequence) {
            return SystemTime::UNIX_EPOCH.checked_add(at);
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
