//! Packets of one batch joined into super-packets.
use super::{
    FLAG_ACK, FLAG_CWR, FLAG_ECE, FLAG_FIN, FLAG_PSH, Gso, Header, TCP_HEADER_LEN,
    UDP_SEGMENTS_SENT_MAX, checksum_offset, defer, set_ip_len,
};
use crate::ip::{
    self, Checksum, IPV4_HEADER_LEN, IPV6_HEADER_LEN, PACKET_LEN_MAX, UDP_HEADER_LEN, be16, be32,
    byte, is_valid, len16, put,
};
use bytes::BytesMut;

/// Every slot is taken: write out what there is, [`Coalescer::clear`], and push again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Joins consecutive TCP segments, and UDP datagrams of one size, of the same flow.
///
/// Packets come out in the order in which their first bytes came in, and packets of one flow never
/// change places. What cannot be joined goes through as it is. Buffers are kept from batch to
/// batch, so a steady load allocates nothing; they never hold more than the slots times 64 KiB.
#[derive(Debug)]
pub struct Coalescer {
    slots: Vec<Slot>,
    used: usize,
    joins_udp: bool,
}

#[derive(Debug, Default)]
struct Slot {
    data: BytesMut,
    /// The first packet's header; `None` when it could not be read.
    ip: Option<ip::Header>,
    run: Option<Run>,
}

/// Segments that may grow.
#[derive(Clone, Copy, Debug)]
struct Run {
    protocol: u8,
    /// Length of all headers.
    head_len: usize,
    /// Payload of the first segment, and of every other but the last.
    size: usize,
    segments: usize,
    /// TCP only.
    next_sequence: u32,
    /// IPv4 only; set by the second segment.
    ids: Ids,
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    Unknown,
    /// All the same: only with DF, where they mean nothing (RFC 6864).
    Fixed,
    Counting,
}

impl Coalescer {
    /// A coalescer for batches of `slots` packets that cannot be joined. `joins_udp` is off for
    /// devices or kernels without UDP segmentation.
    #[must_use]
    pub fn new(slots: usize, joins_udp: bool) -> Self {
        let mut all = Vec::new();
        all.resize_with(slots, Slot::default);
        Self {
            slots: all,
            used: 0,
            joins_udp,
        }
    }

    /// Takes a packet, whose checksum is complete, as a wire carries it.
    ///
    /// # Errors
    /// [`Full`], and the packet was not taken.
    pub fn push(&mut self, packet: &[u8], checksum: Checksum) -> Result<(), Full> {
        let ip = ip::Header::parse(packet).ok();
        let packet = ip.map_or(packet, |ip| packet.get(..ip.total_len).unwrap_or(packet));
        let run = ip.and_then(|ip| self.run_of(packet, &ip, checksum));
        let used = self.slots.get_mut(..self.used).unwrap_or_default();
        if let (Some(ip), Some(run)) = (ip, run) {
            // Only the latest packet that must stay in front: nothing overtakes it.
            let mut behind = used.iter_mut().rev();
            if let Some(slot) = behind.find(|slot| slot.is_same_flow(&ip, packet))
                && slot.join(packet, &ip, &run)
            {
                return Ok(());
            }
        }
        let slot = self.slots.get_mut(self.used).ok_or(Full)?;
        slot.data.clear();
        slot.data.extend_from_slice(packet);
        (slot.ip, slot.run) = (ip, run);
        self.used += 1;
        Ok(())
    }

    /// The packets to write, each with its header. Call [`Self::clear`] afterwards.
    pub fn packets(&mut self) -> impl Iterator<Item = (Header, &[u8])> {
        let used = self.slots.get_mut(..self.used).unwrap_or_default();
        used.iter_mut().map(|slot| (slot.finish(), &*slot.data))
    }

    /// Forgets the batch.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// What a packet would be the first segment of; `None` if nothing can be joined to it.
    fn run_of(&self, packet: &[u8], ip: &ip::Header, checksum: Checksum) -> Option<Run> {
        let head = if ip.is_v6() {
            IPV6_HEADER_LEN
        } else {
            IPV4_HEADER_LEN
        };
        if ip.payload_at != head || ip.fragment.is_some() {
            return None;
        }
        let upper = ip.payload(packet);
        let (upper_len, is_open) = match ip.protocol {
            ip::protocol::TCP => {
                let flags = byte(upper, 13)?;
                let known = FLAG_ACK | FLAG_PSH | FLAG_FIN | FLAG_ECE | FLAG_CWR;
                if flags & FLAG_ACK == 0 || flags & !known != 0 {
                    return None;
                }
                let len = usize::from(byte(upper, 12)? >> 4) * 4;
                (len, flags & (FLAG_PSH | FLAG_FIN) == 0)
            }
            ip::protocol::UDP if self.joins_udp => {
                // A datagram without checksum, or shorter than its packet, stays what it is.
                let is_plain = be16(upper, 6)? != 0 && usize::from(be16(upper, 4)?) == upper.len();
                (is_plain.then_some(UDP_HEADER_LEN)?, true)
            }
            _ => return None,
        };
        let size = upper
            .len()
            .checked_sub(upper_len)
            .filter(|size| *size > 0)?;
        let is_whole = ip.protocol == ip::protocol::UDP || upper_len >= TCP_HEADER_LEN;
        let sums = || is_valid(ip.source, ip.destination, ip.protocol, upper);
        // Joined segments get a new checksum: a wrong one would become right.
        if !is_whole || checksum == Checksum::Verify && !sums() {
            return None;
        }
        let sequence = be32(upper, 4).unwrap_or_default();
        Some(Run {
            protocol: ip.protocol,
            head_len: ip.payload_at + upper_len,
            size,
            segments: 1,
            next_sequence: sequence.wrapping_add(u32::try_from(size).ok()?),
            ids: Ids::Unknown,
            is_open,
        })
    }
}

impl Slot {
    /// Whether the packet must stay behind this slot. Of a slot with a fragment only addresses
    /// are known.
    fn is_same_flow(&self, ip: &ip::Header, packet: &[u8]) -> bool {
        let Some(mine) = &self.ip else {
            return false;
        };
        if (mine.source, mine.destination) != (ip.source, ip.destination) {
            return false;
        }
        if mine.fragment.is_some() {
            return true;
        }
        let has_ports = checksum_offset(ip.protocol).is_some();
        let ports = |ip: &ip::Header, packet| be32(packet, ip.payload_at);
        mine.protocol == ip.protocol && (!has_ports || ports(mine, &self.data) == ports(ip, packet))
    }

    /// Appends the packet if it is the next segment.
    fn join(&mut self, packet: &[u8], ip: &ip::Header, next: &Run) -> bool {
        let Some(run) = self.run.filter(|run| run.is_open) else {
            return false;
        };
        let fits = next.head_len == run.head_len
            && next.size <= run.size
            && self.data.len() + next.size <= PACKET_LEN_MAX
            && (run.protocol == ip::protocol::TCP || run.segments < UDP_SEGMENTS_SENT_MAX);
        let (Some(mine), Some(theirs)) =
            (self.data.get(..run.head_len), packet.get(..run.head_len))
        else {
            return false;
        };
        let ids = next_ids(&run, mine, theirs, ip);
        if !fits || ids.is_none() || !is_same_head(mine, theirs, ip, &run) {
            return false;
        }
        let is_last = !next.is_open || next.size < run.size;
        self.data
            .extend_from_slice(packet.get(run.head_len..).unwrap_or_default());
        if run.protocol == ip::protocol::TCP {
            let at = ip.payload_at + 13;
            let flags = byte(&self.data, at).unwrap_or_default()
                | byte(packet, at).unwrap_or_default() & (FLAG_PSH | FLAG_FIN);
            put(&mut self.data, at, &[flags]);
        }
        self.run = Some(Run {
            segments: run.segments + 1,
            next_sequence: next.next_sequence,
            ids: ids.unwrap_or(run.ids),
            is_open: !is_last,
            ..run
        });
        true
    }

    /// Makes the packet whole and says how it is to be sent.
    fn finish(&mut self) -> Header {
        let (Some(ip), Some(run)) = (self.ip, self.run.filter(|run| run.segments > 1)) else {
            return Header::default();
        };
        set_ip_len(&mut self.data, ip.is_v6(), ip.payload_at);
        let len = len16(self.data.len() - ip.payload_at);
        let gso = match (run.protocol, ip.is_v6()) {
            (ip::protocol::UDP, _) => Gso::Udp,
            (_, false) => Gso::TcpV4,
            (_, true) => Gso::TcpV6,
        };
        let mut ecn = false;
        if gso == Gso::Udp {
            put(&mut self.data, ip.payload_at + 4, &len.to_be_bytes());
        } else {
            ecn = byte(&self.data, ip.payload_at + 13).is_some_and(|flags| flags & FLAG_CWR != 0);
        }
        let total_len = self.data.len();
        let deferred = defer(&mut self.data, &ip::Header { total_len, ..ip });
        Header {
            gso,
            ecn,
            header_len: len16(run.head_len),
            segment_size: len16(run.size),
            ..deferred.unwrap_or_default()
        }
    }
}

/// How the identifications go on, or `None` if they do not.
fn next_ids(run: &Run, mine: &[u8], theirs: &[u8], ip: &ip::Header) -> Option<Ids> {
    if ip.is_v6() {
        return Some(Ids::Unknown);
    }
    let (first, next) = (be16(mine, 4)?, be16(theirs, 4)?);
    let counted = first.wrapping_add(len16(run.segments));
    let ids = if next == counted {
        Ids::Counting
    } else if next == first && ip.dont_fragment {
        Ids::Fixed
    } else {
        return None;
    };
    (run.ids == Ids::Unknown || run.ids == ids).then_some(ids)
}

/// Whether two heads of one length differ only where segments of one flow may.
fn is_same_head(mine: &[u8], theirs: &[u8], ip: &ip::Header, run: &Run) -> bool {
    let at = ip.payload_at;
    let is_tcp = run.protocol == ip::protocol::TCP;
    if is_tcp && be32(theirs, at + 4) != Some(run.next_sequence) {
        return false;
    }
    let may_differ = |index: usize| match index.checked_sub(at) {
        // Payload length.
        None if ip.is_v6() => matches!(index, 4 | 5),
        // Length, identification, checksum.
        None => matches!(index, 2..=5 | 10 | 11),
        // Sequence number, flags (below), checksum.
        Some(upper) if is_tcp => matches!(upper, 4..=7 | 13 | 16 | 17),
        // Length, checksum.
        Some(upper) => matches!(upper, 4..=7),
    };
    let mut pairs = mine.iter().zip(theirs).enumerate();
    let same = pairs.all(|(index, (a, b))| a == b || may_differ(index));
    let flags = |head| byte(head, at + 13).unwrap_or_default();
    // A later segment has no CWR of its own, and the same ECE.
    let flags_fit =
        !is_tcp || flags(theirs) & FLAG_CWR == 0 && (flags(mine) ^ flags(theirs)) & FLAG_ECE == 0;
    same && flags_fit
}
