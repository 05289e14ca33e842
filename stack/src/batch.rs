//! Batches of packets: slices of the caller's on the way in, headers and shared payload on the
//! way out.
use bytes::Bytes;

use crate::config::BATCH_SIZE;
use crate::ip::{Header, Problem};

/// What is known about a received packet's checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verified {
    /// Nothing: the stack verifies them.
    #[default]
    No,
    /// They hold, or the packet never left this machine and its checksum is not complete yet
    /// (`NEEDS_CSUM` and `DATA_VALID` of a `virtio_net_hdr`).
    Trusted,
}

/// One received IP packet, up to 65535 bytes.
#[derive(Clone, Copy, Debug)]
pub struct RxPacket<'a> {
    /// The packet from the first byte of its IP header.
    pub data: &'a [u8],
    /// What is known about its checksums.
    pub verified: Verified,
    /// Bytes of payload per segment where the device joined several; 0 where it did not. They
    /// are taken as one: it counts only for how soon an acknowledgement is due.
    pub segment_size: u16,
}

impl<'a> RxPacket<'a> {
    /// A packet as a device without offload gives it.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            verified: Verified::No,
            segment_size: 0,
        }
    }
}

/// A range of a packet of the batch given to [`crate::Stack::recv_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRef {
    /// Index of the packet in the batch.
    pub packet: u32,
    /// First byte of the payload in the packet.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

impl DataRef {
    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Is there nothing in it?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes in `packets`; empty if it is not the batch that this came from.
    #[must_use]
    pub fn bytes<'a>(self, packets: &[RxPacket<'a>]) -> &'a [u8] {
        packets
            .get(self.packet as usize)
            .and_then(|packet| packet.data.get(self.start as usize..self.end as usize))
            .unwrap_or_default()
    }
}

/// A received packet that is not TCP, or is a fragment, and therefore left to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Index of the packet in the batch.
    pub packet: u32,
    /// Its header. Joined with the others, fragments may be received again as one packet.
    pub header: Header,
}

/// A received packet that was refused for its header, and whose sender is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulty {
    /// Index of the packet in the batch.
    pub packet: u32,
    /// What is wrong.
    pub problem: Problem,
}

/// Bytes of header that fit into a [`TxPacket`].
pub const HEADER_MAX: usize = 128;
/// Pieces of payload of one packet.
pub const PAYLOAD_PIECES_MAX: usize = 8;

/// The state of a sent packet's TCP, UDP or ICMP checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// It is in its place.
    #[default]
    Full,
    /// The device completes it: it sums from `start` to the end of the packet and stores the
    /// result at `start + offset`, where the sum of the pseudo header stands now.
    Partial {
        /// Bytes from the start of the packet.
        start: u16,
        /// Bytes from `start`.
        offset: u16,
    },
}

/// One IP packet to send: header bytes and shared pieces of payload behind them.
#[derive(Clone, Debug)]
pub struct TxPacket {
    pub(crate) header: [u8; HEADER_MAX],
    pub(crate) header_len: u8,
    pub(crate) pieces: [Bytes; PAYLOAD_PIECES_MAX],
    pub(crate) pieces_len: u8,
    pub(crate) segment_size: u16,
    pub(crate) checksum: Checksum,
}

impl Default for TxPacket {
    fn default() -> Self {
        Self {
            header: [0; HEADER_MAX],
            header_len: 0,
            pieces: Default::default(),
            pieces_len: 0,
            segment_size: 0,
            checksum: Checksum::Full,
        }
    }
}

impl TxPacket {
    /// The IP header, and mostly that of what is in it.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header
            .get(..usize::from(self.header_len))
            .unwrap_or_default()
    }

    /// The payload, in order.
    #[must_use]
    pub fn payload(&self) -> &[Bytes] {
        self.pieces
            .get(..usize::from(self.pieces_len))
            .unwrap_or_default()
    }

    /// Bytes of payload in each segment that the device shall cut the packet into; 0: it is one.
    #[must_use]
    pub const fn segment_size(&self) -> u16 {
        self.segment_size
    }

    /// Whether the device has to complete the checksum.
    #[must_use]
    pub const fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Length of the whole packet in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        let payload: usize = self.payload().iter().map(Bytes::len).sum();
        usize::from(self.header_len) + payload
    }

    /// Never true for a packet that the stack made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the packet to `out`, for devices and tests that want it in one piece.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header());
        for piece in self.payload() {
            out.extend_from_slice(piece);
        }
    }

    /// Makes it a packet without payload again, and drops what it shared.
    pub(crate) fn clear(&mut self) {
        for piece in self.pieces.iter_mut().take(usize::from(self.pieces_len)) {
            *piece = Bytes::new();
        }
        self.header_len = 0;
        self.pieces_len = 0;
        self.segment_size = 0;
        self.checksum = Checksum::Full;
    }

    /// Adds a piece of payload; hands it back when there are too many.
    pub(crate) fn push_piece(&mut self, piece: Bytes) -> Result<(), Bytes> {
        let Some(place) = self.pieces.get_mut(usize::from(self.pieces_len)) else {
            return Err(piece);
        };
        *place = piece;
        self.pieces_len += 1;
        Ok(())
    }
}

/// Packets to send: a buffer that is filled by [`crate::Interface::poll_transmit`] or
/// [`crate::Stack::poll_transmit`] and used again.
#[derive(Debug)]
pub struct TxBatch {
    packets: Vec<TxPacket>,
    len: usize,
}

impl Default for TxBatch {
    fn default() -> Self {
        Self::new(BATCH_SIZE)
    }
}

impl TxBatch {
    /// Room for `capacity` packets, allocated here and never again.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            packets: vec![TxPacket::default(); capacity],
            len: 0,
        }
    }

    /// The packets, in the order in which they must be sent.
    #[must_use]
    pub fn packets(&self) -> &[TxPacket] {
        self.packets.get(..self.len).unwrap_or_default()
    }

    /// Forgets the packets, and with them their shares of payload.
    pub fn clear(&mut self) {
        for packet in self.packets.iter_mut().take(self.len) {
            packet.clear();
        }
        self.len = 0;
    }

    /// Does no other packet fit?
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len >= self.packets.len()
    }

    /// How many packets still fit.
    pub(crate) const fn room(&self) -> usize {
        self.packets.len().saturating_sub(self.len)
    }

    /// An empty packet to fill; [`TxBatch::commit`] makes it part of the batch.
    pub(crate) fn next(&mut self) -> Option<&mut TxPacket> {
        let packet = self.packets.get_mut(self.len)?;
        packet.clear();
        Some(packet)
    }

    pub(crate) const fn commit(&mut self) {
        self.len += 1;
    }
}
