//! What crossed between hosts, machines and network: hashed always, kept on request.
use crate::{
    host::HostId,
    net::packet::{Body, Flags, Icmp, Packet},
};
use core::net::SocketAddr;
use sansbox_core::Instant;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Bytes gathered before they are hashed.
const PENDING_LEN: usize = 16 << 10;
/// Bytes in front of an entry's payload: time, place, tag, number, length.
const HEAD_LEN: usize = 8 + 1 + 4 + 1 + 8 + 8;
/// Bytes of a payload that a line shows.
const TRACE_PREVIEW_LEN: usize = 24;

/// What kind of thing crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// A dial began; the bytes are the target.
    Dial,
    /// A dial ended; the bytes are its outcome.
    Dialed,
    /// A connection was accepted.
    Accepted,
    /// The kernel took bytes to send.
    Written,
    /// Bytes were read from the kernel.
    Read,
    /// A host ended its direction.
    Shutdown,
    /// A host closed its socket.
    Close,
    /// A host reset its connection.
    Abort,
    /// A host stopped answering on a connection.
    Vanish,
    /// The other side's FIN was read.
    Fin,
    /// A reset was read.
    Reset,
    /// A datagram was sent.
    DatagramSent,
    /// A datagram arrived.
    Datagram,
    /// A datagram was lost on the way.
    DatagramLost,
    /// A name lookup began; the bytes are the name.
    Resolve,
    /// A name lookup ended; the bytes are its outcome.
    Resolved,
    /// A machine asked for something; the bytes are the action as text.
    Action,
    /// A machine was told something that is no plain byte; the bytes are the input as text.
    Input,
    /// A machine is finished; the bytes are its close reason.
    Finished,
    /// A command reached a host.
    Command,
    /// A packet began its way over hops; the bytes are its payload.
    PacketSent,
    /// A packet left the last hop of its way; the bytes are its payload.
    PacketArrived,
    /// A packet went no further; the bytes say why.
    PacketLost,
    /// A hop did something to a packet; the bytes say what.
    PacketNote,
    /// Something was done to a hop or a host from outside; the bytes say what.
    Fault,
    /// A machine was made for a newcomer; the bytes say for whom.
    MachineBorn,
    /// A slot of a machine got its socket; the bytes say which.
    SlotOpened,
    /// A machine wants to be woken; the bytes say when.
    TimerSet,
    /// A machine's deadline came.
    TimerFired,
    /// What waits in a machine's pipes; the bytes say it by slot.
    PipeFill,
}

/// Headers of a packet, as far as the world knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// From whom, as the packet says.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What it carries.
    pub carries: Carries,
    /// Payload bytes that were counted, but not kept; there is no other payload then.
    pub unkept: u64,
}

impl From<&Packet> for Head {
    fn from(packet: &Packet) -> Self {
        Self {
            source: packet.source,
            destination: packet.destination,
            unkept: 0,
            carries: match &packet.body {
                Body::Udp(_) => Carries::Udp,
                Body::Icmp(icmp) => Carries::Icmp(*icmp),
                Body::Raw(_) => Carries::Raw,
                Body::Tcp(segment) => Carries::Tcp {
                    flags: segment.flags,
                    offset: segment.offset,
                    ack: segment.ack,
                },
            },
        }
    }
}

/// The transport header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// A UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp {
        /// Its control bits.
        flags: Flags,
        /// Offset of the first payload byte in its direction of the connection, counted from 0.
        offset: u64,
        /// With [`Flags::ack`]: offset of the first byte of the other direction that has not
        /// arrived; a FIN counts as one byte.
        ack: u64,
    },
    /// An ICMP message.
    Icmp(Icmp),
    /// A whole IP packet: the payload is all of it.
    Raw,
}

/// What waits in the pipes of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The slot's number.
    pub slot: u32,
    /// Received bytes that the machine did not take yet.
    pub received: usize,
    /// Bytes that the socket did not take yet.
    pub to_send: usize,
}

/// Values of an entry that are neither payload nor text. For pictures: never hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Headers of a packet.
    Packet(Head),
    /// The socket a machine was made for, or that a slot got; a UDP socket has none of TCP's
    /// numbers.
    Socket(Option<u64>),
    /// When a machine wants to be woken, if ever.
    Deadline(Option<Instant>),
    /// What waits in a machine's pipes, by slot.
    Fill(Box<[Fill]>),
}

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// On a host.
    Host(HostId),
    /// On a hop, by its number in the world.
    Hop(u32),
    /// At no place in particular.
    World,
}

/// One thing that crossed. The same run gives the same entries, so an entry is named by its place
/// in their list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// Where.
    pub place: Place,
    /// What kind of thing.
    pub tag: Tag,
    /// The socket, dial, lookup, machine or packet.
    pub number: u64,
    /// Random choices made before it.
    pub decisions: usize,
    /// Payload, or text, as the tag says.
    pub bytes: Box<[u8]>,
    /// What else pictures need.
    pub detail: Option<Box<Detail>>,
    /// It is there for pictures alone: the digest does not know of it.
    pub is_sketch: bool,
}

/// The hash over all that crossed, and the entries.
#[derive(Debug)]
pub struct Transcript {
    hash: Sha256,
    /// Notes not hashed yet: the hash is quicker in bulk.
    pending: Vec<u8>,
    count: u64,
    entries: Option<Vec<Entry>>,
}

impl Transcript {
    /// An empty transcript; with `keeps`, entries are kept.
    #[must_use]
    pub fn new(keeps: bool) -> Self {
        Self {
            hash: Sha256::new(),
            pending: Vec::with_capacity(PENDING_LEN),
            count: 0,
            entries: keeps.then(Vec::new),
        }
    }

    /// Adds one entry.
    pub fn note(
        &mut self,
        (at, decisions): (Instant, usize),
        place: Place,
        tag: Tag,
        number: u64,
        bytes: &[u8],
    ) {
        self.count += 1;
        let (kind, index) = match place {
            Place::Host(host) => (0, host.0),
            Place::Hop(hop) => (1, hop),
            Place::World => (2, 0),
        };
        let mut head = [0; HEAD_LEN];
        let len = bytes.len() as u64;
        let parts: [&[u8]; 6] = [
            &at.as_nanos().to_be_bytes(),
            &[kind],
            &index.to_be_bytes(),
            &[tag as u8],
            &number.to_be_bytes(),
            &len.to_be_bytes(),
        ];
        let mut rest = &mut head[..];
        for part in parts {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        self.pending.extend_from_slice(&head);
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PENDING_LEN {
            self.hash.update(&self.pending);
            self.pending.clear();
        }
        if let Some(entries) = &mut self.entries {
            entries.push(Entry {
                at,
                place,
                tag,
                number,
                decisions,
                bytes: bytes.into(),
                detail: None,
                is_sketch: false,
            });
        }
    }

    /// Adds an entry for pictures alone: it is not hashed, and lost where entries are not kept.
    pub fn sketch(
        &mut self,
        (at, decisions): (Instant, usize),
        place: Place,
        (tag, number): (Tag, u64),
        detail: Option<Detail>,
        bytes: &[u8],
    ) {
        if let Some(entries) = &mut self.entries {
            entries.push(Entry {
                at,
                place,
                tag,
                number,
                decisions,
                bytes: bytes.into(),
                detail: detail.map(Box::new),
                is_sketch: true,
            });
        }
    }

    /// Gives the last entry what pictures need of it.
    pub fn detail(&mut self, detail: Detail) {
        if let Some(entry) = self.entries.as_mut().and_then(|all| all.last_mut()) {
            entry.detail = Some(Box::new(detail));
        }
    }

    /// Are entries kept? What only they need is not worth making otherwise.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        self.entries.is_some()
    }

    /// How many entries there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// SHA-256 over the entries so far.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = self.hash.clone();
        hash.update(&self.pending);
        hash.finalize().into()
    }

    /// The entries, where they are kept.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.entries.as_deref().unwrap_or_default()
    }
}

impl Entry {
    /// Are its bytes payload? They are text otherwise.
    #[must_use]
    pub const fn is_payload(&self) -> bool {
        matches!(
            self.tag,
            Tag::Written
                | Tag::Read
                | Tag::DatagramSent
                | Tag::Datagram
                | Tag::DatagramLost
                | Tag::PacketSent
                | Tag::PacketArrived
        )
    }

    /// A line for people; `place` is the name of where it happened.
    #[must_use]
    pub fn line(&self, place: &str) -> String {
        let Self {
            at,
            tag,
            number,
            bytes,
            ..
        } = self;
        let mut out = format!("{at} {place:<12} {tag:?} #{number}");
        if !self.is_payload() {
            let _ = write!(out, " {}", String::from_utf8_lossy(bytes));
            return out;
        }
        let shown = bytes.get(..TRACE_PREVIEW_LEN).unwrap_or(bytes);
        let more = if shown.len() < bytes.len() { ".." } else { "" };
        let (len, shown) = (bytes.len(), shown.escape_ascii());
        let _ = write!(out, " {len} bytes \"{shown}\"{more}");
        out
    }
}

/// A digest in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
