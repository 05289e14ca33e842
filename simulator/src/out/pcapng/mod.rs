//! A capture of all packets.
//!
//! Every packet stands in it once: on the interface it arrived at, with the time of arrival, or,
//! when it never arrived, on the interface it left. One capture with both ends in it would show
//! every segment twice, and tools would call the second one a retransmission.
//!
//! Connections without hops have no bare acknowledgements; they are added here, because tools
//! miss them otherwise.
mod acks;
mod blocks;
mod frames;

use super::{Story, packets};
use crate::{
    host::HostId,
    transcript::{Carries, Entry, Head, Place, Tag},
};
use acks::Acks;
use blocks::{Capture, Direction};
use core::{fmt::Write as _, net::IpAddr};
use packets::Packet;
use std::collections::BTreeMap;

/// Who writes.
const PROGRAM: &str = concat!("sansbox-sim ", env!("CARGO_PKG_VERSION"));

/// A capture in the pcapng format: an interface for each address of each host, nanoseconds, the
/// fate of each packet with the entries, faults and random choices behind it as a comment, and
/// the key log as a Decryption Secrets Block. Packets are raw IP.
#[must_use]
pub fn pcapng(story: &Story<'_>) -> Vec<u8> {
    let mut capture = Capture::new(PROGRAM, &about(story));
    let interfaces = Interfaces::of(story, &mut capture);
    if let Some(secrets) = story.capture.filter(|all| !all.keylog.is_empty()) {
        capture.key_log(&secrets.keylog);
    }
    let entries = story.entries;
    let mut all = packets::gather(entries);
    let shown = |packet: &Packet| packet.arrived.or(packet.sent).unwrap_or(usize::MAX);
    all.sort_by_key(shown);
    let mut faults = Faults::of(entries);
    let mut acks = Acks::default();
    for packet in &all {
        let index = shown(packet);
        let (Some(entry), Some(head)) = (entries.get(index), packet.head(entries)) else {
            continue;
        };
        let comment = fate(story, packet, faults.until(index));
        let has_arrived = packet.arrived.is_some();
        let port = interfaces.port(entry.place, &head, has_arrived);
        let payload = packet.payload(entries);
        let cut = frames::cut(&head).filter(|_| head.unkept > 0);
        if let Some((front, original)) = &cut {
            capture.cut_packet(port, entry.at, (front, *original), &comment);
        } else {
            for frame in frames::frames(&head, payload) {
                capture.packet(port, entry.at, &frame, &comment);
            }
        }
        if !has_arrived || !entry.is_sketch {
            continue;
        }
        let len = payload.len() as u64 + head.unkept;
        if let Some((back, offset, ack)) = acks.after(&head, len) {
            let text = "added by the writer: what arrived is acknowledged";
            for frame in frames::acknowledgement(back, offset, ack) {
                capture.packet((port.0, Direction::Out), entry.at, &frame, text);
            }
        }
    }
    capture.finish()
}

/// The comment on the whole capture.
fn about(story: &Story<'_>) -> String {
    let mut out = format!("{}: {}\n{}", story.title, story.verdict(), story.replay);
    for line in story.minimised {
        out.push('\n');
        out += line;
    }
    out
}

/// Which interface stands for an address of a host.
struct Interfaces {
    by_address: BTreeMap<(HostId, IpAddr), u32>,
    first: BTreeMap<HostId, u32>,
}

impl Interfaces {
    fn of(story: &Story<'_>, capture: &mut Capture) -> Self {
        let mut interfaces = Self {
            by_address: BTreeMap::new(),
            first: BTreeMap::new(),
        };
        let hosts = story.hosts.iter().zip(story.addresses);
        let mut names = Vec::new();
        let mut number = 0;
        for (nth, (name, addresses)) in (0..).zip(hosts) {
            for address in addresses {
                let family = if address.is_ipv4() { "4" } else { "6" };
                let port = format!("{name}/{family}");
                capture.interface(&port, &format!("{address} of {name}"), *address);
                interfaces
                    .by_address
                    .insert((HostId(nth), *address), number);
                interfaces.first.entry(HostId(nth)).or_insert(number);
                names.push((*address, name.as_str()));
                number += 1;
            }
        }
        // An address of two hosts is the name of neither.
        names.retain(|(address, _)| {
            let owners = story.addresses.iter().filter(|all| all.contains(address));
            owners.count() == 1
        });
        capture.names(names.into_iter());
        interfaces
    }

    fn port(&self, place: Place, head: &Head, has_arrived: bool) -> (u32, Direction) {
        let (own, direction) = if has_arrived {
            (head.destination, Direction::In)
        } else {
            (head.source, Direction::Out)
        };
        let Place::Host(host) = place else {
            return (0, direction);
        };
        let exact = self.by_address.get(&(host, own.ip()));
        let number = exact.or_else(|| self.first.get(&host));
        (number.copied().unwrap_or(0), direction)
    }
}

/// Faults in the order they were done.
struct Faults<'a> {
    left: Vec<(usize, &'a Entry)>,
}

impl<'a> Faults<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let all = entries.iter().enumerate();
        let is_fault = |(_, entry): &(usize, &Entry)| entry.tag == Tag::Fault;
        let mut left: Vec<_> = all.filter(is_fault).collect();
        left.reverse();
        Self { left }
    }

    /// Those before `index` that were not told yet.
    fn until(&mut self, index: usize) -> Vec<(usize, &'a Entry)> {
        let mut out = Vec::new();
        while let Some(fault) = self.left.pop_if(|(at, _)| *at < index) {
            out.push(fault);
        }
        out
    }
}

/// The comment on one packet: its fate, and what lies behind it.
fn fate(story: &Story<'_>, packet: &Packet, faults: Vec<(usize, &Entry)>) -> String {
    let entries = story.entries;
    let mut out = format!("packet {}", packet.id);
    let mut tell = |what: &str, index: Option<usize>, has_text: bool| {
        let Some((index, entry)) = index.and_then(|at| Some((at, entries.get(at)?))) else {
            return;
        };
        let place = story.place(entry.place);
        let _ = write!(out, "; {what} at {} by {place}, entry {index}", entry.at);
        let decisions = story.decisions(index);
        if !decisions.is_empty() {
            let _ = write!(out, ", decisions {}..{}", decisions.start, decisions.end);
        }
        if has_text {
            let _ = write!(out, ": {}", String::from_utf8_lossy(&entry.bytes));
        }
    };
    tell("sent", packet.sent, false);
    for note in &packet.notes {
        tell("noted", Some(*note), true);
    }
    tell("arrived", packet.arrived, false);
    tell("LOST", packet.lost, true);
    if packet.arrived.is_none() && packet.lost.is_none() {
        out += "; never arrived";
    }
    for (index, fault) in faults {
        let text = String::from_utf8_lossy(&fault.bytes);
        let _ = write!(out, "; before it FAULT, entry {index}: {text}");
    }
    out
}
