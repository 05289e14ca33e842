//! Packets in the making.
use super::{CONTEXTS_MAX, Drop, Drops, FRAGMENTS_MAX, MEMORY_MAX, REASSEMBLY_TIMEOUT};
use crate::ip::{
    self, Header, IPV6_HEADER_LEN, PACKET_LEN_MAX, UDP_HEADER_LEN, be16, byte, len16, protocol, put,
};
use bytes::BytesMut;
use core::net::IpAddr;
use core::time::Duration;
use sansbox_core::Instant;

/// How much may be in the making, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets.
    pub contexts: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// From the first fragment.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            contexts: CONTEXTS_MAX,
            memory: MEMORY_MAX,
            timeout: REASSEMBLY_TIMEOUT,
        }
    }
}

/// Buffers that are used again: one for each of this many packets in the making.
const SPARES_MAX: usize = 4;
/// Least growth of a buffer of data, in bytes.
const GROWTH_MIN: usize = 2048;

/// Puts fragments together. Give it what [`Header::fragment`] says is one.
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    /// Oldest first.
    contexts: Vec<Context>,
    spares: Vec<Store>,
    /// Bytes of every store, spare or not, and of contexts.
    memory: usize,
    drops: Drops,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// IPv4 only: fragments of one IPv6 packet may differ in it (RFC 8200 section 4.5).
    protocol: u8,
}

#[derive(Debug)]
struct Context {
    key: Key,
    deadline: Instant,
    store: Store,
    /// From the first fragment.
    first: Option<ip::Fragment>,
    received: usize,
    end: Option<usize>,
    /// One bit for each value of the ECN field.
    ecn: u8,
    /// The packet is lost, and so are fragments that still come (RFC 5722).
    is_lost: bool,
}

#[derive(Debug, Default)]
struct Store {
    /// Headers of the first fragment, its fragment header included.
    head: Vec<u8>,
    /// By offset; they never overlap.
    pieces: Vec<Piece>,
    /// In the order of arrival.
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    offset: usize,
    /// Where in the data.
    at: usize,
    len: usize,
}

impl Piece {
    const fn end(&self) -> usize {
        self.offset + self.len
    }
}

impl Store {
    fn memory(&self) -> usize {
        self.head.capacity()
            + self.data.capacity()
            + self.pieces.capacity() * size_of::<Piece>()
            + size_of::<Context>()
    }

    fn clear(&mut self) {
        self.head.clear();
        self.pieces.clear();
        self.data.clear();
    }

    fn piece(&self, piece: &Piece) -> &[u8] {
        self.data
            .get(piece.at..piece.at + piece.len)
            .unwrap_or_default()
    }
}

impl Reassembler {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            contexts: Vec::new(),
            spares: Vec::new(),
            memory: 0,
            drops: Drops::default(),
        }
    }

    /// What was dropped so far: fragments, and packets in the making.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Packets in the making.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contexts.len()
    }

    /// Whether no packet is in the making.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// Bytes of memory in use: never more than [`Limits::memory`].
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// Takes a fragment. When it was the last to be missing, the whole packet is appended to
    /// `out` and its length returned.
    ///
    /// # Errors
    /// A [`Drop`], which is counted already.
    pub fn handle_fragment(
        &mut self,
        now: Instant,
        packet: &[u8],
        header: &Header,
        out: &mut BytesMut,
    ) -> Result<Option<usize>, Drop> {
        let result = self.take(now, packet, header, out);
        if let Err(reason) = result {
            self.drops.count(reason);
        }
        result
    }

    /// When [`Self::expire`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.contexts.first().map(|context| context.deadline)
    }

    /// Gives up one packet that waited for too long; call it until `None`. If its first fragment
    /// is there it is appended to `first`, to be quoted in an ICMP time exceeded (code 1), and its
    /// length is returned; otherwise 0, and nobody is told (RFC 792, RFC 8200).
    pub fn expire(&mut self, now: Instant, first: &mut BytesMut) -> Option<usize> {
        if self.poll_timeout()? > now {
            return None;
        }
        let context = self.remove(0)?;
        let mut len = 0;
        if !context.is_lost {
            self.drops.count(Drop::TimedOut);
            let piece = context
                .store
                .pieces
                .first()
                .filter(|_| context.first.is_some());
            if let Some(piece) = piece {
                let data = context.store.piece(piece);
                first.extend_from_slice(&context.store.head);
                first.extend_from_slice(data);
                len = context.store.head.len() + data.len();
            }
        }
        self.recycle(context.store);
        Some(len)
    }

    fn take(
        &mut self,
        now: Instant,
        packet: &[u8],
        header: &Header,
        out: &mut BytesMut,
    ) -> Result<Option<usize>, Drop> {
        let fragment = header.fragment.ok_or(Drop::Whole)?;
        let data = packet.get(fragment.data_at..header.total_len);
        let data = data.filter(|data| !data.is_empty()).ok_or(Drop::Tiny)?;
        check_tiny(header, &fragment, packet)?;
        let key = Key {
            source: header.source,
            destination: header.destination,
            id: fragment.id,
            protocol: if header.is_v6() { 0 } else { header.protocol },
        };
        let found = self.contexts.iter().position(|context| context.key == key);
        let index = match found {
            Some(index) => index,
            None => self.open(key, now)?,
        };
        let context = self.contexts.get_mut(index).ok_or(Drop::NoMemory)?;
        let place = match context.place(&fragment, data) {
            Ok(place) => place,
            Err(reason) => {
                if !matches!(reason, Drop::Duplicate | Drop::Refused) {
                    self.lose(index);
                }
                return Err(reason);
            }
        };
        let head = packet.get(..fragment.data_at).unwrap_or_default();
        let head_len = if fragment.offset == 0 { head.len() } else { 0 };
        let Some(index) = self.make_room(index, head_len, data.len()) else {
            return Err(Drop::NoMemory);
        };
        let context = self.contexts.get_mut(index).ok_or(Drop::NoMemory)?;
        context.insert(place, &fragment, head, data, header.traffic_class);
        if context.first.is_none() || context.end != Some(context.received) {
            return Ok(None);
        }
        let context = self.remove(index).ok_or(Drop::NoMemory)?;
        let emitted = context.emit(out);
        self.recycle(context.store);
        emitted.map(Some)
    }

    /// A new context, at the end.
    fn open(&mut self, key: Key, now: Instant) -> Result<usize, Drop> {
        if self.limits.contexts == 0 {
            return Err(Drop::NoMemory);
        }
        while self.contexts.len() >= self.limits.contexts {
            self.evict(None);
        }
        let store = match self.spares.pop() {
            Some(store) => store,
            None => {
                let store = Store::default();
                self.memory += store.memory();
                store
            }
        };
        self.contexts.push(Context {
            key,
            deadline: now + self.limits.timeout,
            store,
            first: None,
            received: 0,
            end: None,
            ecn: 0,
            is_lost: false,
        });
        Ok(self.contexts.len() - 1)
    }

    /// Grows the store of the context at `index`; others give way if memory runs out. Returns
    /// where the context is then, or `None` if it had to go itself.
    fn make_room(&mut self, mut index: usize, head_len: usize, len: usize) -> Option<usize> {
        let store = &self.contexts.get(index)?.store;
        let wanted = store.data.len() + len;
        let data_cap = if wanted > store.data.capacity() {
            // Doubling, but never above what the longest packet takes.
            let doubled = (store.data.capacity() * 2).clamp(GROWTH_MIN, PACKET_LEN_MAX);
            wanted.max(doubled)
        } else {
            store.data.capacity()
        };
        let pieces_cap = if store.pieces.len() == store.pieces.capacity() {
            (store.pieces.capacity() * 2).clamp(8, FRAGMENTS_MAX)
        } else {
            store.pieces.capacity()
        };
        let head_cap = store.head.capacity().max(head_len);
        let growth = (data_cap - store.data.capacity())
            + (head_cap - store.head.capacity())
            + (pieces_cap - store.pieces.capacity()) * size_of::<Piece>();
        while self.memory + growth > self.limits.memory {
            if let Some(spare) = self.spares.pop() {
                self.memory = self.memory.saturating_sub(spare.memory());
                continue;
            }
            match self.evict(Some(index)) {
                Some(evicted) if evicted < index => index -= 1,
                Some(_) => {}
                None => {
                    // It is alone, and too much.
                    let context = self.remove(index)?;
                    self.memory = self.memory.saturating_sub(context.store.memory());
                    return None;
                }
            }
        }
        let store = &mut self.contexts.get_mut(index)?.store;
        let before = store.memory();
        store.data.reserve_exact(data_cap - store.data.len());
        store.pieces.reserve_exact(pieces_cap - store.pieces.len());
        store.head.reserve_exact(head_cap - store.head.len());
        self.memory = self.memory + store.memory() - before;
        Some(index)
    }

    /// Removes the oldest context, but not the one at `keep`, of the source with most of them:
    /// a flood takes the place of its own packets. Returns where it was.
    fn evict(&mut self, keep: Option<usize>) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        for (index, context) in self.contexts.iter().enumerate() {
            let same = |other: &&Context| other.key.source == context.key.source;
            let count = self.contexts.iter().filter(same).count();
            if Some(index) != keep && best.is_none_or(|(_, most)| count > most) {
                best = Some((index, count));
            }
        }
        let (index, _) = best?;
        let context = self.remove(index)?;
        if !context.is_lost {
            self.drops.count(Drop::Evicted);
        }
        self.recycle(context.store);
        Some(index)
    }

    fn remove(&mut self, index: usize) -> Option<Context> {
        (index < self.contexts.len()).then(|| self.contexts.remove(index))
    }

    /// Marks the packet as lost and lets go of its data.
    fn lose(&mut self, index: usize) {
        let Some(context) = self.contexts.get_mut(index) else {
            return;
        };
        context.is_lost = true;
        context.first = None;
        let store = core::mem::take(&mut context.store);
        // The context goes on without data: its own memory stays counted.
        self.memory += context.store.memory();
        self.recycle(store);
        while self.memory > self.limits.memory
            && let Some(spare) = self.spares.pop()
        {
            self.memory = self.memory.saturating_sub(spare.memory());
        }
    }

    fn recycle(&mut self, mut store: Store) {
        if self.spares.len() < SPARES_MAX {
            store.clear();
            self.spares.push(store);
        } else {
            self.memory = self.memory.saturating_sub(store.memory());
        }
    }
}

/// RFC 1858 and RFC 3128: what a filter decides by is in the first fragment, whole.
fn check_tiny(header: &Header, fragment: &ip::Fragment, packet: &[u8]) -> Result<(), Drop> {
    if fragment.offset == 8 && header.protocol == protocol::TCP {
        return Err(Drop::Tiny);
    }
    if fragment.offset != 0 {
        return Ok(());
    }
    let upper = header.payload(packet);
    let len = match header.protocol {
        protocol::TCP => {
            let len = byte(upper, 12).map_or(0, |offset| usize::from(offset >> 4) * 4);
            len.max(20)
        }
        protocol::UDP | protocol::ICMP | protocol::ICMPV6 => UDP_HEADER_LEN,
        _ => 0,
    };
    if upper.len() < len {
        return Err(Drop::Tiny);
    }
    Ok(())
}

impl Context {
    /// Where the fragment goes among the pieces.
    fn place(&self, fragment: &ip::Fragment, data: &[u8]) -> Result<usize, Drop> {
        if self.is_lost {
            return Err(Drop::Refused);
        }
        let (offset, end) = (fragment.offset, fragment.offset + data.len());
        let pieces = &self.store.pieces;
        let place = pieces.partition_point(|piece| piece.offset < offset);
        let before = place.checked_sub(1).and_then(|at| pieces.get(at));
        let after = pieces.get(place);
        let is_end = self.end == Some(end);
        if let Some(same) = after.filter(|piece| piece.offset == offset && piece.end() == end)
            && self.store.piece(same) == data
            && is_end != fragment.more
        {
            return Err(Drop::Duplicate);
        }
        let overlaps = before.is_some_and(|piece| piece.end() > offset)
            || after.is_some_and(|piece| piece.offset < end);
        if overlaps {
            return Err(Drop::Overlap);
        }
        let is_past = self.end.is_some_and(|known| end > known);
        let is_early = !fragment.more && (self.end.is_some() || after.is_some());
        if is_past || is_early {
            return Err(Drop::BadEnd);
        }
        if pieces.len() >= FRAGMENTS_MAX {
            return Err(Drop::TooMany);
        }
        Ok(place)
    }

    fn insert(
        &mut self,
        place: usize,
        fragment: &ip::Fragment,
        head: &[u8],
        data: &[u8],
        traffic_class: u8,
    ) {
        let (offset, at, len) = (fragment.offset, self.store.data.len(), data.len());
        self.store.data.extend_from_slice(data);
        self.store.pieces.insert(place, Piece { offset, at, len });
        if offset == 0 {
            self.store.head.extend_from_slice(head);
            self.first = Some(*fragment);
        }
        if !fragment.more {
            self.end = Some(offset + len);
        }
        self.received += len;
        self.ecn |= 1 << (traffic_class & 3);
    }

    /// Appends the whole packet.
    fn emit(&self, out: &mut BytesMut) -> Result<usize, Drop> {
        const NOT_ECT: u8 = 1 << 0;
        const CE: u8 = 1 << 3;
        let first = self.first.ok_or(Drop::NoMemory)?;
        let is_v6 = self.key.source.is_ipv6();
        let len = first.head_len + self.received;
        if len > PACKET_LEN_MAX + if is_v6 { IPV6_HEADER_LEN } else { 0 } {
            return Err(Drop::TooLong);
        }
        let is_marked = self.ecn & CE != 0;
        if is_marked && self.ecn & NOT_ECT != 0 {
            return Err(Drop::EcnMixed);
        }
        let start = out.len();
        out.reserve(len);
        out.extend_from_slice(self.store.head.get(..first.head_len).unwrap_or_default());
        for piece in &self.store.pieces {
            out.extend_from_slice(self.store.piece(piece));
        }
        let packet = out.get_mut(start..).unwrap_or_default();
        if is_v6 {
            put(packet, 4, &len16(len - IPV6_HEADER_LEN).to_be_bytes());
            put(packet, first.next_header_at, &[first.next_header]);
            let class = byte(packet, 1).unwrap_or_default();
            put(packet, 1, &[if is_marked { class | 0x30 } else { class }]);
        } else {
            put(packet, 2, &len16(len).to_be_bytes());
            let flags = be16(packet, 6).unwrap_or_default() & 0x4000;
            put(packet, 6, &flags.to_be_bytes());
            let service = byte(packet, 1).unwrap_or_default();
            put(packet, 1, &[if is_marked { service | 3 } else { service }]);
            put(packet, 10, &[0; 2]);
            let check = !ip::sum(packet.get(..first.head_len).unwrap_or_default());
            put(packet, 10, &check.to_be_bytes());
        }
        Ok(len)
    }
}
