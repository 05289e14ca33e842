//! What the timeline shows: an item for each packet and for each other entry.
use super::{Story, conversations::Conversations};
use crate::{
    out::{
        IpPacket,
        jsonl::names,
        packets::{self, Packet},
    },
    transcript::{Carries, Detail, Entry, Fill, Head, Place, Tag, hex},
};
use std::collections::BTreeMap;

/// Bytes of payload shown in all items together.
const PREVIEW_LEN: usize = 2 << 20;
/// Bytes of payload shown in one item, at least and at most.
const PREVIEW_LEN_EACH: core::ops::RangeInclusive<usize> = 32..=512;
/// A lane that is none: a hop, or nobody.
const NO_LANE: i64 = -1;

/// What kind of item; the script knows them by these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Segment,
    Datagram,
    Lost,
    Fault,
    Action,
    Input,
    Network,
    TimerFired,
    TimerSet,
    Machine,
    Socket,
    Fill,
}

/// Names of the kinds, in their order, and whether they are shown at first.
pub(super) const KINDS: [(&str, bool); 12] = [
    ("TCP", true),
    ("UDP", true),
    ("lost", true),
    ("fault", true),
    ("action", true),
    ("input", true),
    ("dial and name", true),
    ("timer fired", true),
    ("timer set", false),
    ("machine", true),
    ("socket", false),
    ("pipe fill", true),
];

/// One item.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) lane: i64,
    pub(super) to_lane: i64,
    /// First and last entry; the same for what has no length.
    pub(super) entries: (usize, usize),
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) number: u64,
    pub(super) label: String,
    /// Lines "name TAB value" of what else is known.
    pub(super) facts: String,
    /// `source → destination` of a packet.
    pub(super) flow: String,
    /// Its packet, for the messages.
    pub(super) packet: Option<u64>,
    /// Offset in its direction.
    pub(super) offset: u64,
    /// What it acknowledges, or -1.
    pub(super) ack: i64,
    /// The first random choice behind it, and how many there are.
    pub(super) draws: (usize, usize),
    pub(super) len: u64,
    pub(super) preview: String,
    /// Bytes in the pipes of its host from here on.
    pub(super) fill: i64,
}

/// All items, in the order of their first entries.
pub(super) fn items(story: &Story<'_>, packets: &[Packet], all: &Conversations) -> Vec<Item> {
    let entries = story.entries;
    let preview = (PREVIEW_LEN / entries.len().max(1))
        .clamp(*PREVIEW_LEN_EACH.start(), *PREVIEW_LEN_EACH.end());
    let of_packet = |packet| packet_item(story, packet, all, preview);
    let mut items: Vec<Item> = packets.iter().filter_map(of_packet).collect();
    let mut fill = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if !packets::is_of_packet(entry.tag) {
            items.push(mark(index, entry, &mut fill, preview));
        }
    }
    if let Err(violation) = story.outcome {
        let name = story.hosts.iter().position(|h| *h == violation.host);
        let at = violation.at.as_nanos();
        items.push(Item {
            kind: Kind::Fault,
            lane: name.map_or(NO_LANE, |lane| lane as i64),
            label: format!("{:?} broken", violation.invariant),
            facts: format!("seen\t{}", one_line(&violation.detail)),
            ..Item::at(at, entries.len())
        });
    }
    items.sort_by_key(|item| item.entries);
    items
}

impl Item {
    const fn at(at: u64, entry: usize) -> Self {
        Self {
            kind: Kind::Socket,
            lane: NO_LANE,
            to_lane: NO_LANE,
            entries: (entry, entry),
            at,
            end: at,
            number: 0,
            label: String::new(),
            facts: String::new(),
            flow: String::new(),
            packet: None,
            offset: 0,
            ack: -1,
            draws: (0, 0),
            len: 0,
            preview: String::new(),
            fill: -1,
        }
    }
}

fn lane(place: Place) -> i64 {
    match place {
        Place::Host(host) => i64::from(host.0),
        Place::Hop(_) | Place::World => NO_LANE,
    }
}

/// Facts are lines.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\t'], " ")
}

fn owner(story: &Story<'_>, head: &Head) -> i64 {
    let ip = head.destination.ip();
    let owns = |all: &Vec<core::net::IpAddr>| all.contains(&ip);
    let at = story.addresses.iter().position(owns);
    at.map_or(NO_LANE, |lane| lane as i64)
}

fn packet_item(
    story: &Story<'_>,
    packet: &Packet,
    all: &Conversations,
    preview: usize,
) -> Option<Item> {
    let entries = story.entries;
    let first = packet.first()?;
    let of = |index: Option<usize>| index.and_then(|index| entries.get(index));
    let head = packet.head(entries);
    let payload = packet.payload(entries);
    let (sent, arrived, lost) = (of(packet.sent), of(packet.arrived), of(packet.lost));
    let is_datagram = matches!(head.map(|h| h.carries), Some(Carries::Udp));
    let last = packet.arrived.or(packet.lost).unwrap_or(first);
    let end = arrived.or(lost);
    let at = entries.get(first)?.at.as_nanos();
    let mut facts = String::new();
    for note in &packet.notes {
        tell(story, &mut facts, "noted", *note);
    }
    if let Some(lost) = packet.lost {
        tell(story, &mut facts, "lost", lost);
    }
    let (transport, offset, ack) = transport(head.as_ref(), payload);
    facts += &transport;
    let draws = packet.sent.map_or(0..0, |index| story.decisions(index));
    Some(Item {
        kind: match (lost.is_some(), is_datagram) {
            (true, _) => Kind::Lost,
            (false, true) => Kind::Datagram,
            (false, false) => Kind::Segment,
        },
        lane: sent.map_or(NO_LANE, |entry| lane(entry.place)),
        to_lane: match (arrived, head) {
            (Some(entry), _) => lane(entry.place),
            (None, Some(head)) => owner(story, &head),
            (None, None) => NO_LANE,
        },
        entries: (first, last),
        end: end.map_or(at, |entry| entry.at.as_nanos()),
        number: packet.id,
        label: label(head.as_ref(), packet.id, payload, offset, all),
        facts,
        flow: head.map_or_else(String::new, |h| format!("{} → {}", h.source, h.destination)),
        packet: Some(packet.id),
        offset,
        ack,
        draws: (draws.start, draws.len()),
        len: payload.len() as u64 + head.map_or(0, |head| head.unkept),
        preview: hex(payload.get(..preview).unwrap_or(payload)),
        ..Item::at(at, first)
    })
}

/// Adds what an entry says of a packet.
fn tell(story: &Story<'_>, facts: &mut String, what: &str, index: usize) {
    let Some(entry) = story.entries.get(index) else {
        return;
    };
    let text = one_line(&String::from_utf8_lossy(&entry.bytes));
    let place = story.place(entry.place);
    *facts += &format!("{what}\t{text}, at {} by {place}, entry {index}", entry.at);
    let draws = story.decisions(index);
    if !draws.is_empty() {
        *facts += &format!(", decisions {}..{}", draws.start, draws.end);
    }
    facts.push('\n');
}

/// The transport as a fact, the offset, and what is acknowledged, or -1.
fn transport(head: Option<&Head>, payload: &[u8]) -> (String, u64, i64) {
    match head.map(|head| head.carries) {
        None => (String::new(), 0, -1),
        Some(Carries::Udp) => ("transport\tUDP".into(), 0, -1),
        Some(Carries::Raw) => (format!("transport\t{}", raw(payload)), 0, -1),
        Some(Carries::Icmp(icmp)) => (format!("transport\tICMP {icmp:?}"), 0, -1),
        Some(Carries::Tcp { flags, offset, ack }) => {
            let text = format!("transport\tTCP {}", names(flags));
            (text, offset, if flags.ack { ack as i64 } else { -1 })
        }
    }
}

fn octets(len: u64) -> String {
    let ending = if len == 1 { "" } else { "s" };
    format!("{len} byte{ending}")
}

/// What a whole packet is.
fn raw(packet: &[u8]) -> String {
    IpPacket::read(packet).map_or_else(|| "not an IP packet".into(), |packet| packet.text)
}

/// What stands on a packet's arrow.
fn label(head: Option<&Head>, id: u64, payload: &[u8], offset: u64, all: &Conversations) -> String {
    let len = payload.len();
    let mut parts: Vec<String> = Vec::new();
    match head.map(|head| head.carries) {
        Some(Carries::Tcp { flags, .. }) => {
            let bits = [
                (flags.syn && !flags.ack, "SYN"),
                (flags.syn && flags.ack, "SYN ACK"),
                (flags.fin, "FIN"),
                (flags.rst, "RST"),
            ];
            let set = bits.iter().filter(|(is_set, _)| *is_set);
            parts.extend(set.map(|(_, name)| (*name).to_owned()));
        }
        Some(Carries::Icmp(icmp)) => parts.push(format!("ICMP {:?}", icmp.kind)),
        Some(Carries::Raw) => return raw(payload),
        Some(Carries::Udp) | None => {}
    }
    let unkept = head.map_or(0, |head| head.unkept);
    if unkept > 0 {
        parts.push(format!("{}, not recorded", octets(unkept)));
        return parts.join(" · ");
    }
    let end = offset + len as u64;
    let messages = all.messages(id);
    let whole = messages.iter().filter(|message| message.to <= end);
    parts.extend(whole.map(|message| message.name.clone()));
    match messages.last() {
        Some(open) if open.to > end => parts.push(format!("… {}", open.name)),
        Some(_) => {}
        None if len > 0 => parts.push(octets(len as u64)),
        None if parts.is_empty() => parts.push("ACK".into()),
        None => {}
    }
    parts.join(" · ")
}

/// An item for an entry that is no packet's. `fill` holds what waits in each machine's pipes.
fn mark(
    index: usize,
    entry: &Entry,
    fill: &mut BTreeMap<(i64, u64), usize>,
    preview: usize,
) -> Item {
    let kind = kind(entry.tag);
    let lane = lane(entry.place);
    let number = entry.number;
    let mut item = Item {
        kind,
        lane,
        number,
        ..Item::at(entry.at.as_nanos(), index)
    };
    if entry.is_payload() {
        item.len = entry.bytes.len() as u64;
        item.preview = hex(entry.bytes.get(..preview).unwrap_or(&entry.bytes));
        item.label = format!("{} {}", verb(entry.tag), octets(item.len));
    } else {
        let text = String::from_utf8_lossy(&entry.bytes);
        item.label = format!("{} {text}", verb(entry.tag)).trim().to_owned();
    }
    match entry.detail.as_deref() {
        Some(Detail::Fill(all)) => {
            let sum: usize = all.iter().map(|f| f.received + f.to_send).sum();
            fill.insert((lane, number), sum);
            let of_lane = fill.iter().filter(|((of, _), _)| *of == lane);
            item.fill = of_lane.map(|(_, sum)| *sum as i64).sum();
            item.facts = all.iter().map(slot_facts).collect();
        }
        Some(Detail::Socket(Some(socket))) => item.facts = format!("socket\t#{socket}"),
        Some(Detail::Socket(None)) => item.facts = "socket\tUDP".into(),
        Some(Detail::Deadline(_) | Detail::Packet(_)) | None => {}
    }
    item
}

fn slot_facts(fill: &Fill) -> String {
    let Fill {
        slot,
        received,
        to_send,
    } = fill;
    format!("slot {slot}\t{received} bytes received, {to_send} bytes to send\n")
}

const fn kind(tag: Tag) -> Kind {
    match tag {
        Tag::Dial | Tag::Dialed | Tag::Accepted | Tag::Resolve | Tag::Resolved => Kind::Network,
        Tag::Written
        | Tag::Read
        | Tag::Shutdown
        | Tag::Close
        | Tag::Abort
        | Tag::Vanish
        | Tag::Fin
        | Tag::Reset
        | Tag::DatagramSent
        | Tag::Datagram
        | Tag::DatagramLost => Kind::Socket,
        Tag::Action => Kind::Action,
        Tag::Input => Kind::Input,
        Tag::Finished | Tag::MachineBorn | Tag::SlotOpened => Kind::Machine,
        Tag::Command | Tag::Fault => Kind::Fault,
        Tag::TimerSet => Kind::TimerSet,
        Tag::TimerFired => Kind::TimerFired,
        Tag::PipeFill => Kind::Fill,
        // Told by their packets.
        Tag::PacketSent | Tag::PacketArrived | Tag::PacketLost | Tag::PacketNote => Kind::Segment,
    }
}

/// What an entry's label begins with; what machines say speaks for itself.
const fn verb(tag: Tag) -> &'static str {
    match tag {
        Tag::Dial => "dial",
        Tag::Dialed => "dialled",
        Tag::Accepted => "accepted",
        Tag::Written => "wrote",
        Tag::Read => "read",
        Tag::Shutdown => "shut down",
        Tag::Close => "closed",
        Tag::Abort => "aborted",
        Tag::Vanish => "vanished",
        Tag::Fin => "read FIN",
        Tag::Reset => "read reset",
        Tag::DatagramSent => "sent datagram",
        Tag::Datagram => "got datagram",
        Tag::DatagramLost => "lost datagram",
        Tag::Resolve => "resolve",
        Tag::Resolved => "resolved",
        Tag::Finished => "finished",
        Tag::Command => "command",
        Tag::MachineBorn => "new machine:",
        Tag::TimerSet => "timer",
        Tag::TimerFired => "timer fired",
        Tag::PipeFill => "pipes hold",
        Tag::Fault | Tag::Action | Tag::Input | Tag::SlotOpened => "",
        Tag::PacketSent | Tag::PacketArrived | Tag::PacketLost | Tag::PacketNote => "packet",
    }
}
