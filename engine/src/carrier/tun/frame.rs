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

/// Which of several queues has to serve a frame, wherever it came out; `None`: the one where it
/// came out.
///
/// The kernel keeps a connection in one queue, but not what a client's UDP socket sends to several
/// destinations, which is one mapping all the same (RFC 4787 REQ-1). So all but TCP goes by the
/// source address alone, which fragments have as well.
#[must_use]
pub fn owner(frame: &[u8], has_header: bool, queues: usize) -> Option<usize> {
    const TCP: u8 = 6;
    let packet = frame.get(if has_header { HEADER_LEN } else { 0 }..)?;
    let (protocol, source) = match packet.first()? >> 4 {
        4 => (packet.get(9)?, packet.get(12..16)?),
        6 => (packet.get(6)?, packet.get(8..24)?),
        _ => return None,
    };
    if *protocol == TCP {
        return None;
    }
    // Any spread of addresses in a network will do.
    let hash = source.iter().fold(0_usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    hash.checked_rem(queues)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_tcp_belongs_to_the_queue_of_its_source() {
        let packet = |first: u8, protocol: u8, source: u8, destination: u8| {
            let mut packet = vec![0; 48];
            packet[0] = first;
            let (at, from, to) = if first >> 4 == 4 {
                (9, 15, 19)
            } else {
                (6, 23, 39)
            };
            (packet[at], packet[from], packet[to]) = (protocol, source, destination);
            packet
        };
        for first in [0x45, 0x60] {
            assert_eq!(owner(&packet(first, 6, 1, 2), false, 2), None, "TCP");
            let owners = |source| {
                let to = |to| owner(&packet(first, 17, source, to), false, 4).expect("some queue");
                (to(1), to(2))
            };
            for source in 0..8 {
                let (one, other) = owners(source);
                assert!(one == other && one < 4);
                assert_ne!(one, owners(source + 1).0, "neighbours are spread");
            }
            let mut framed = vec![0; HEADER_LEN];
            framed.extend(packet(first, 17, 3, 9));
            assert_eq!(owner(&framed, true, 4), Some(owners(3).0));
        }
        for bad in [&[][..], &[0x45; 8], &[0x99; 40]] {
            assert_eq!(owner(bad, false, 2), None);
        }
    }
}
