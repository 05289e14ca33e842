//! The connections of a host: what every stack over packets keeps of them.
use super::stack::{ConnId, StackCx, StackEvent};
use crate::{
    net::packet::{Icmp, IcmpKind},
    rng::StreamId,
};
use core::net::SocketAddr;
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

/// Own and other address.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// Who uses an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Host,
    /// The host has closed it; the kernel finishes on its own.
    Closed,
    /// The host is gone without a word.
    Vanished,
}

/// One end of a connection, as its table sees it.
pub(super) trait Entry {
    fn pair(&self) -> Pair;

    /// Nothing is left to do or to remember.
    fn is_gone(&self, now: Instant) -> bool;

    /// It dials, and nobody has answered yet.
    fn is_asking(&self) -> bool;

    /// Packets of more octets than `mtu` do not pass.
    fn shrink(&mut self, cx: &mut StackCx<'_>, mtu: usize);

    /// When it has something to do on its own.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// All ends of a host.
#[derive(Debug)]
pub(super) struct Table<C> {
    conns: BTreeMap<ConnId, C>,
    pairs: BTreeMap<Pair, ConnId>,
    /// How often an address was dialled, or a listener served.
    counts: BTreeMap<SocketAddr, u64>,
}

impl<C> Default for Table<C> {
    fn default() -> Self {
        Self {
            conns: BTreeMap::new(),
            pairs: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl<C: Entry> Table<C> {
    /// The name and the random stream of a new end; `way`: to (`->`) or from (`<-`) the address
    /// that is dialled.
    pub(super) fn name(
        &mut self,
        cx: &mut StackCx<'_>,
        way: &str,
        dialled: SocketAddr,
    ) -> (ConnId, StreamId) {
        let count = self.counts.entry(dialled).or_default();
        let stream = cx.stream(&format!("{way}{dialled}#{count}"));
        *count += 1;
        (cx.new_conn(), stream)
    }

    /// From now on segments of its pair are for this end; returns the one they were for.
    fn put(&mut self, id: ConnId, conn: C) -> Option<ConnId> {
        let pair = conn.pair();
        self.conns.insert(id, conn);
        self.pairs.insert(pair, id)
    }

    /// From now on segments of its pair are for this end. Another one finishes without them.
    pub(super) fn insert(&mut self, id: ConnId, conn: C) {
        self.put(id, conn);
    }

    /// From now on segments of its pair are for this end. Another one is forgotten.
    pub(super) fn replace(&mut self, id: ConnId, conn: C) {
        if let Some(old) = self.put(id, conn) {
            self.conns.remove(&old);
        }
    }

    pub(super) fn remove(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            let pair = conn.pair();
            if self.pairs.get(&pair) == Some(&id) {
                self.pairs.remove(&pair);
            }
        }
    }

    /// The end that segments of a pair are for.
    pub(super) fn find(&self, pair: Pair) -> Option<(ConnId, &C)> {
        let id = *self.pairs.get(&pair)?;
        Some((id, self.conns.get(&id)?))
    }

    /// Does something with an end, and forgets it when that was the end of it.
    pub(super) fn with<R>(
        &mut self,
        now: Instant,
        id: ConnId,
        act: impl FnOnce(&mut C) -> R,
    ) -> Option<R> {
        let conn = self.conns.get_mut(&id)?;
        let result = act(conn);
        if conn.is_gone(now) {
            self.remove(id);
        }
        Some(result)
    }

    /// A router says something about a packet of one of these ends.
    pub(super) fn handle_icmp(&mut self, cx: &mut StackCx<'_>, icmp: &Icmp) {
        let pair = (icmp.about_source, icmp.about_destination);
        let Some((id, conn)) = self.find(pair) else {
            return;
        };
        match icmp.kind {
            IcmpKind::PacketTooBig { mtu } => {
                self.with(cx.now(), id, |conn| conn.shrink(cx, mtu));
            }
            // Of an open connection it is a passing trouble (RFC 1122 section 4.2.3.9).
            IcmpKind::Unreachable | IcmpKind::Prohibited if conn.is_asking() => {
                self.remove(id);
                let event = StackEvent::Failed(id, Refusal::HostUnreachable);
                cx.tell(cx.now(), event);
            }
            IcmpKind::Unreachable | IcmpKind::Prohibited => {}
        }
    }

    /// The first deadline of all ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.conns.values().filter_map(Entry::poll_timeout).min()
    }

    /// Ends whose deadline has come.
    pub(super) fn due(&self, now: Instant) -> Vec<ConnId> {
        let is_due = |conn: &C| conn.poll_timeout().is_some_and(|at| at <= now);
        let due = self.conns.iter().filter(|(_, conn)| is_due(conn));
        due.map(|(id, _)| *id).collect()
    }
}
