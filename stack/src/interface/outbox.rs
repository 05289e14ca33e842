//! Packets that wait for the device, and the buffers that their payload lies in.
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::batch::{Checksum, TxBatch};
use crate::ip::{self, IPV4_HEADER_LEN, IPV6_HEADER_LEN, UDP_HEADER_LEN};

/// Longest header that is kept apart from the payload: IPv6 and UDP.
const HEAD_MAX: usize = IPV6_HEADER_LEN + UDP_HEADER_LEN;
/// Length of a buffer: any packet fits.
const BUFFER_LEN: usize = 64 << 10;

/// A packet that waits.
#[derive(Debug)]
struct Waiting {
    head: [u8; HEAD_MAX],
    head_len: u8,
    payload: Bytes,
    checksum: Checksum,
}

impl Waiting {
    fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len()
    }
}

/// A bounded queue of packets.
#[derive(Debug)]
pub(super) struct Outbox {
    packets: VecDeque<Waiting>,
    packets_max: usize,
    bytes: usize,
    bytes_max: usize,
    pool: Pool,
}

impl Outbox {
    pub(super) fn new(packets_max: usize, bytes_max: usize, pool_max: usize) -> Self {
        Self {
            packets: VecDeque::new(),
            packets_max,
            bytes: 0,
            bytes_max,
            pool: Pool::new(pool_max),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Is there room for so many packets of so many bytes together?
    pub(super) fn has_room(&self, packets: usize, bytes: usize) -> bool {
        self.packets.len() + packets <= self.packets_max && self.bytes + bytes <= self.bytes_max
    }

    /// Queues a packet with a copy of its payload; false if there is no room.
    pub(super) fn push(&mut self, head: &[u8], payload: &[u8], checksum: Checksum) -> bool {
        let len = head.len() + payload.len();
        if !self.has_room(1, len) || head.len() > HEAD_MAX {
            return false;
        }
        let mut waiting = Waiting {
            head: [0; HEAD_MAX],
            head_len: u8::try_from(head.len()).unwrap_or_default(),
            payload: self.pool.copy(payload),
            checksum,
        };
        ip::put(&mut waiting.head, 0, head);
        self.bytes += len;
        self.packets.push_back(waiting);
        true
    }

    /// Queues a whole packet whose checksums are in their places.
    pub(super) fn push_packet(&mut self, packet: &[u8]) -> bool {
        let is_v6 = ip::byte(packet, 0).is_some_and(|first| first >> 4 == 6);
        let at = if is_v6 {
            IPV6_HEADER_LEN
        } else {
            IPV4_HEADER_LEN
        };
        let (head, payload) = packet.split_at_checked(at).unwrap_or((packet, &[]));
        self.push(head, payload, Checksum::Full)
    }

    /// Moves up to `max` packets into `batch`.
    pub(super) fn fill(&mut self, batch: &mut TxBatch, max: usize) {
        for _ in 0..max {
            if self.packets.is_empty() {
                return;
            }
            let Some(packet) = batch.next() else { return };
            let Some(waiting) = self.packets.pop_front() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(waiting.len());
            ip::put(&mut packet.header, 0, &waiting.head);
            packet.header_len = waiting.head_len;
            packet.checksum = waiting.checksum;
            if !waiting.payload.is_empty() && packet.push_piece(waiting.payload).is_err() {
                return;
            }
            batch.commit();
        }
    }
}

/// Buffers that are cut from, and used again when nobody holds a piece any more.
#[derive(Debug)]
struct Pool {
    current: BytesMut,
    spent: Vec<BytesMut>,
    max: usize,
}

impl Pool {
    fn new(max: usize) -> Self {
        Self {
            current: BytesMut::new(),
            spent: Vec::new(),
            max,
        }
    }

    /// A copy of `data` in a buffer that others share.
    fn copy(&mut self, data: &[u8]) -> Bytes {
        if data.is_empty() {
            return Bytes::new();
        }
        if self.current.capacity() < data.len() {
            self.turn(data.len());
        }
        self.current.extend_from_slice(data);
        self.current.split().freeze()
    }

    /// Makes another buffer the current one: a spent one if it is free, else a new one.
    fn turn(&mut self, len: usize) {
        if self.current.try_reclaim(len) {
            return;
        }
        let free = self
            .spent
            .iter_mut()
            .position(|buffer| buffer.try_reclaim(BUFFER_LEN));
        let next = match free {
            Some(at) => self.spent.swap_remove(at),
            None => BytesMut::with_capacity(BUFFER_LEN.max(len)),
        };
        let spent = core::mem::replace(&mut self.current, next);
        // What is not kept is freed with the last packet that lies in it.
        if self.spent.len() + 1 < self.max {
            self.spent.push(spent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_no_more_are_kept_than_allowed() {
        let mut pool = Pool::new(3);
        let held: Vec<Bytes> = (0..10).map(|n| pool.copy(&[n; 40_000])).collect();
        assert_eq!(pool.spent.len(), 2);
        for (n, bytes) in (0_u8..).zip(&held) {
            assert!(bytes.iter().all(|byte| *byte == n));
        }
        drop(held);
        let first = pool.copy(&[1; 40_000]);
        let second = pool.copy(&[2; 40_000]);
        assert_ne!(first.as_ptr(), second.as_ptr());
        drop((first, second));
        for _ in 0..10 {
            drop(pool.copy(&[3; 60_000]));
        }
        assert_eq!(pool.spent.len(), 2);
    }

    #[test]
    fn a_queue_holds_no_more_than_its_bounds() {
        let mut out = Outbox::new(3, 1000, 2);
        assert!(out.push(&[1; 28], &[2; 500], Checksum::Full));
        assert!(!out.push(&[1; 28], &[2; 500], Checksum::Full), "bytes");
        assert!(out.push(&[1; 28], &[], Checksum::Full));
        assert!(out.push(&[1; 28], &[], Checksum::Full));
        assert!(!out.push(&[1; 28], &[], Checksum::Full), "packets");
        let mut batch = TxBatch::new(2);
        out.fill(&mut batch, 8);
        assert_eq!((out.len(), batch.packets().len()), (1, 2));
        assert_eq!(batch.packets()[0].len(), 528);
        batch.clear();
        out.fill(&mut batch, 8);
        assert_eq!((out.len(), out.bytes), (0, 0));
    }
}
