//! The event queue: what happens next, in order of time and then of scheduling.
use crate::host::{Command, DialId, HostId, QueryId, SocketId};
use crate::{
    fault::Fault,
    net::{packet::PacketId, site::HopId},
    tcp::Side,
};
use sansbox_core::Instant;
use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// Something that happens at an instant.
#[derive(Debug)]
pub(crate) enum Event {
    /// The first event of a host.
    Start(HostId),
    /// Somebody outside tells a host something.
    Command(HostId, Command),
    /// A connection request reaches the listening host.
    Accept(u32),
    /// The outcome of a dial reaches the dialling host.
    Dialed(DialId),
    /// A segment from this socket reaches the other side.
    Arrive(SocketId, u64),
    /// The sender at this socket learns of new window.
    Pump(SocketId),
    /// A reset, or without a packet the kernel's verdict that the peer is gone, reaches this
    /// socket.
    Reset(SocketId, Option<PacketId>),
    /// The host of this socket wakes up to read.
    Readable(SocketId),
    /// The host of this socket wakes up to write.
    Writable(SocketId),
    /// A datagram in the core's store reaches its socket.
    Datagram(u32),
    /// The outcome of a name lookup reaches the asking host.
    Resolved(QueryId),
    /// A packet in the core's store moves on.
    Packet(u32),
    /// A hop's deadline may have come.
    HopTimer(HopId),
    /// A deadline of a host's TCP stack may have come.
    StackTimer(HostId),
    /// Something is done to the network or a host from outside.
    Fault(Box<Fault>),
    /// The kernel of a crashed host is back.
    Rebooted(HostId),
    /// No fault strikes any more.
    Heal,
    /// All streams go on from another seed.
    Reseed(u64),
}

impl Event {
    /// It matters only to somebody who still waits: a world in which nobody does may end before.
    const fn is_background(&self) -> bool {
        matches!(
            self,
            Self::HopTimer(_) | Self::StackTimer(_) | Self::Fault(_) | Self::Rebooted(_)
        )
    }
}

impl SocketId {
    /// The socket at the other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        Self {
            conn: self.conn,
            side: match self.side {
                Side::Dialer => Side::Acceptor,
                Side::Acceptor => Side::Dialer,
            },
        }
    }
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    number: u64,
    event: Event,
}

impl Entry {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Events to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    next_number: u64,
    background: usize,
}

impl Queue {
    /// Schedules an event.
    pub(crate) fn push(&mut self, at: Instant, event: Event) {
        let number = self.next_number;
        self.next_number += 1;
        self.background += usize::from(event.is_background());
        self.heap.push(Reverse(Entry { at, number, event }));
    }

    /// When the next event happens.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.0.at)
    }

    /// Takes the next event.
    pub(crate) fn pop(&mut self) -> Option<(Instant, Event)> {
        let Reverse(entry) = self.heap.pop()?;
        self.background -= usize::from(entry.event.is_background());
        Some((entry.at, entry.event))
    }

    /// There are events, and none that must happen.
    pub(crate) fn is_background_only(&self) -> bool {
        self.background > 0 && self.heap.len() == self.background
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_the_order_of_scheduling() {
        let mut queue = Queue::default();
        let t = Instant::from_nanos;
        for (at, host) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            queue.push(t(at), Event::Start(HostId(host)));
        }
        let mut order = Vec::new();
        while let Some((at, Event::Start(host))) = queue.pop() {
            order.push((at.as_nanos(), host.0));
        }
        assert_eq!(order, [(3, 1), (3, 3), (5, 0), (5, 2)]);
    }
}
