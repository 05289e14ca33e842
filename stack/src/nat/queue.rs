//! Datagrams that wait for the association of their mapping.
use super::{Drop, Drops};
use bytes::BytesMut;
use core::net::SocketAddr;
use std::collections::VecDeque;

/// A datagram that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Where it goes.
    pub remote: SocketAddr,
    /// Its payload.
    pub payload: BytesMut,
}

/// The datagrams of one mapping, oldest first. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Queue {
    datagrams: VecDeque<Queued>,
}

/// What all queues share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
    pub(super) datagrams_max: usize,
}

impl Queue {
    /// Adds a copy of the datagram; the oldest of this queue make room for it.
    pub(super) fn push(
        &mut self,
        remote: SocketAddr,
        payload: &[u8],
        shared: &mut Shared,
        drops: &mut Drops,
    ) -> Result<(), Drop> {
        let cost = cost(payload.len());
        if cost > shared.bytes_max || shared.datagrams_max == 0 {
            return Err(Drop::QueueMemory);
        }
        while self.datagrams.len() >= shared.datagrams_max {
            self.pop(shared);
            drops.count(Drop::QueueFull);
        }
        while shared.bytes + cost > shared.bytes_max {
            if self.pop(shared).is_none() {
                return Err(Drop::QueueMemory);
            }
            drops.count(Drop::QueueMemory);
        }
        shared.bytes += cost;
        // A copy: a piece of a read buffer would keep all of it alive.
        let payload = BytesMut::from(payload);
        self.datagrams.push_back(Queued { remote, payload });
        Ok(())
    }

    pub(super) fn pop(&mut self, shared: &mut Shared) -> Option<Queued> {
        let Some(queued) = self.datagrams.pop_front() else {
            self.datagrams = VecDeque::new();
            return None;
        };
        shared.bytes = shared.bytes.saturating_sub(cost(queued.payload.len()));
        Some(queued)
    }
}

/// What a datagram costs of the shared memory.
const fn cost(len: usize) -> usize {
    len.saturating_add(size_of::<Queued>())
}
