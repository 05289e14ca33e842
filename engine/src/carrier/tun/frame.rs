//! Packets of a batch, with or without `virtio_net_hdr`.
use bytes::{Buf as _, BytesMut};
use sansbox_stack::{
    Checksum, DataRef, RxPacket, TxPacket, Verified,
    batch::HEADER_MAX,
    config::BATCH_SIZE,
    vnet::{self, Gso, HEADER_LEN},
};

/// A payload of at least so many bytes is handed over with the buffer it came in; a shorter one is
/// copied, so that what a stream keeps never pins much more than it holds.
const HAND_OVER: usize = 16 * 1024;

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    verified: Verified,
    segment_size: u16,
}

/// The packets that came last, as long as streams may take from them.
#[derive(Debug)]
pub(super) struct Batch {
    packets: Vec<BytesMut>,
    facts: Vec<Facts>,
    has_header: bool,
}

impl Batch {
    pub(super) const fn new(has_header: bool) -> Self {
        Self {
            packets: Vec::new(),
            facts: Vec::new(),
            has_header,
        }
    }

    /// Takes frames as the device gave them, at most [`BATCH_SIZE`]; leaves `frames` empty.
    pub(super) fn fill(&mut self, frames: &mut Vec<BytesMut>) {
        debug_assert!(frames.len() <= BATCH_SIZE, "the stack takes no more");
        self.clear();
        core::mem::swap(&mut self.packets, frames);
        let has_header = self.has_header;
        let facts = self.packets.iter_mut().map(|frame| {
            if !has_header {
                return Facts::default();
            }
            let Ok((header, _)) = vnet::Header::parse(frame) else {
                // The stack counts it as truncated.
                frame.clear();
                return Facts::default();
            };
            frame.advance(HEADER_LEN);
            let is_trusted = header.needs_checksum || header.data_valid;
            Facts {
                verified: if is_trusted {
                    Verified::Trusted
                } else {
                    Verified::No
                },
                segment_size: if header.gso == Gso::None {
                    0
                } else {
                    header.segment_size
                },
            }
        });
        self.facts.extend(facts);
    }

    pub(super) fn clear(&mut self) {
        self.packets.clear();
        self.facts.clear();
    }

    /// Calls `with` with the packets as the stack wants them.
    pub(super) fn with_packets(&self, with: impl FnOnce(&[RxPacket<'_>])) {
        let mut packets = [RxPacket::new(&[]); BATCH_SIZE];
        let known = self.packets.iter().zip(&self.facts);
        for (packet, (data, facts)) in packets.iter_mut().zip(known) {
            *packet = RxPacket {
                data,
                verified: facts.verified,
                segment_size: facts.segment_size,
            };
        }
        with(packets.get(..self.packets.len()).unwrap_or(&packets));
    }

    /// The bytes of a piece.
    pub(super) fn bytes(&self, piece: DataRef) -> &[u8] {
        self.packets
            .get(piece.packet as usize)
            .and_then(|packet| packet.get(piece.start as usize..piece.end as usize))
            .unwrap_or_default()
    }

    /// Takes a piece with its packet's buffer, where that is worth it.
    pub(super) fn take(&mut self, piece: DataRef) -> Option<BytesMut> {
        if (piece.len() as usize) < HAND_OVER {
            return None;
        }
        let packet = self.packets.get_mut(piece.packet as usize)?;
        let (start, end) = (piece.start as usize, piece.end as usize);
        if packet.len() < end {
            return None;
        }
        let mut packet = core::mem::take(packet);
        packet.truncate(end);
        packet.advance(start);
        Some(packet)
    }
}

/// The `virtio_net_hdr` in front of a packet to send.
#[must_use]
pub fn prefix(packet: &TxPacket) -> [u8; HEADER_LEN] {
    let Checksum::Partial { start, offset } = packet.checksum() else {
        return vnet::Header::default().emit();
    };
    debug_assert!(packet.header().len() <= HEADER_MAX, "bounded by the stack");
    let header_len = u16::try_from(packet.header().len()).unwrap_or(u16::MAX);
    let is_v6 = packet.header().first().is_some_and(|byte| byte >> 4 == 6);
    let gso = match (packet.segment_size(), is_v6) {
        (0, _) => Gso::None,
        (_, false) => Gso::TcpV4,
        (_, true) => Gso::TcpV6,
    };
    vnet::Header {
        needs_checksum: true,
        gso,
        header_len,
        segment_size: packet.segment_size(),
        checksum_start: start,
        checksum_offset: offset,
        ..vnet::Header::default()
    }
    .emit()
}
