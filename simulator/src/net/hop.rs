//! What packets pass on their way: links, middleboxes, faults.
//!
//! Hosts stand in sites. What leaves a site passes the site's hops in order, inside first; what
//! enters passes them in reverse. A hop is told of each packet and says what becomes of it: any
//! number of packets go on, now or later, in either way; the rest is lost, with a reason.
use super::packet::{Packet, PacketId};
use crate::rng::{StreamId, Streams};
use core::{fmt, net::IpAddr, time::Duration};
use sansbox_core::Instant;

/// Which way a packet passes a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Away from the hosts of the site.
    Out,
    /// Towards them.
    In,
}

impl Way {
    /// The other way.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::Out => Self::In,
            Self::In => Self::Out,
        }
    }
}

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// By chance.
    Chance,
    /// A queue was full, or managed.
    Queue,
    /// Too long for what follows.
    TooLong,
    /// Damaged, and its checksum says so.
    Damaged,
    /// A firewall or a NAT filter.
    Filtered,
    /// No mapping leads in.
    NoMapping,
    /// A censor.
    Censored,
    /// The link is down.
    Down,
    /// Nobody has this address or port.
    NoHost,
}

/// What is done to a hop from outside, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopFault {
    /// Nothing passes any more.
    Down,
    /// Everything passes again.
    Up,
    /// A NAT forgets its mappings: what comes in is lost until a host speaks again.
    Forget,
    /// A NAT gives every flow a new external port.
    Rebind,
    /// A NAT gets a new external address.
    Renumber(IpAddr),
    /// A link carries so many bytes per second from now on.
    Rate(u64),
    /// A link takes so long from now on.
    Latency(Duration),
    /// The path carries packets of at most so many octets from now on.
    Mtu(usize),
}

/// What a hop wants done.
#[derive(Debug)]
pub enum HopOutput {
    /// A packet goes on.
    Forward {
        /// When it leaves the hop.
        at: Instant,
        /// Which way.
        way: Way,
        /// What.
        packet: Packet,
    },
    /// A packet went no further.
    Lost {
        /// What.
        packet: Packet,
        /// Why.
        why: Lost,
    },
    /// Something happened to a packet that a reader of the timeline should see.
    Note {
        /// To which one.
        packet: PacketId,
        /// What.
        text: String,
    },
}

/// A hop's way to the world.
pub struct HopCx<'a> {
    now: Instant,
    streams: &'a mut Streams,
    stream: StreamId,
    next_packet: &'a mut u64,
    outputs: &'a mut Vec<HopOutput>,
}

impl<'a> HopCx<'a> {
    /// What a hop sees at `now`; it draws from `stream` alone, names new packets from
    /// `next_packet` on and leaves what it wants done in `outputs`.
    pub const fn new(
        now: Instant,
        streams: &'a mut Streams,
        stream: StreamId,
        next_packet: &'a mut u64,
        outputs: &'a mut Vec<HopOutput>,
    ) -> Self {
        Self {
            now,
            streams,
            stream,
            next_packet,
            outputs,
        }
    }

    /// The current virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// A number below `n`, for what is neither better nor worse one way or the other.
    pub fn below(&mut self, n: u64) -> u64 {
        self.streams.below(self.stream, n)
    }

    /// Does the bad thing happen, which does `per_million` times in a million? A shrinker may
    /// answer no in the stream's place.
    pub fn hazard(&mut self, per_million: u32) -> bool {
        self.streams.hazard(self.stream, per_million)
    }

    /// A random time up to `max`.
    pub fn up_to(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.below(nanos + 1))
    }

    /// A packet goes on at once.
    pub fn forward(&mut self, way: Way, packet: Packet) {
        self.forward_at(self.now, way, packet);
    }

    /// A packet goes on at a later time.
    pub fn forward_at(&mut self, at: Instant, way: Way, packet: Packet) {
        let at = at.max(self.now);
        self.outputs.push(HopOutput::Forward { at, way, packet });
    }

    /// A packet goes no further.
    pub fn lose(&mut self, packet: Packet, why: Lost) {
        self.outputs.push(HopOutput::Lost { packet, why });
    }

    /// Something happened to a packet.
    pub fn note(&mut self, packet: PacketId, text: impl Into<String>) {
        let text = text.into();
        self.outputs.push(HopOutput::Note { packet, text });
    }

    /// A name for a packet that the hop makes.
    pub const fn new_packet_id(&mut self) -> PacketId {
        let id = PacketId(*self.next_packet);
        *self.next_packet += 1;
        id
    }
}

impl fmt::Debug for HopCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopCx")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Something on the way.
pub trait Hop {
    /// What it is, in a word, for reports: `link`, `nat`.
    fn kind(&self) -> &'static str;

    /// A packet arrives that passes in `way`.
    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet);

    /// When [`Self::handle_timeout`] is wanted next. Pure.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The deadline has come; it must be cleared or moved.
    fn handle_timeout(&mut self, _cx: &mut HopCx<'_>) {}

    /// Does the world send what goes to this address to the hop's site? (A NAT's external ones.)
    fn owns(&self, _ip: IpAddr) -> bool {
        false
    }

    /// Something is done to it from outside; false when that means nothing to it.
    fn fault(&mut self, _cx: &mut HopCx<'_>, _fault: HopFault) -> bool {
        false
    }
}
