//! What was served, as plain data: one set per worker, added up by whoever shows them.
use crate::{
    ids::{InboundId, OutboundId},
    record::{CloseReason, Drops, Record},
};
use std::collections::BTreeMap;

/// Connections and bytes of one inbound or outbound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sessions and associations that ended.
    pub connections: u64,
    /// Payload bytes from clients.
    pub bytes_up: u64,
    /// Payload bytes to clients.
    pub bytes_down: u64,
}

impl Traffic {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
    }
}

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By inbound.
    pub inbounds: BTreeMap<InboundId, Traffic>,
    /// By outbound; what never reached one is not here.
    pub outbounds: BTreeMap<OutboundId, Traffic>,
    /// By the reason they ended; each session counts once.
    pub closed: BTreeMap<CloseReason, u64>,
    /// Datagrams dropped.
    pub drops: Drops,
}

impl Counters {
    /// Counts a session or association that has ended.
    pub fn count(&mut self, record: &Record) {
        let traffic = Traffic {
            connections: 1,
            bytes_up: record.bytes_up,
            bytes_down: record.bytes_down,
        };
        self.inbounds
            .entry(record.inbound)
            .or_default()
            .add(traffic);
        if let Some(outbound) = record.outbound {
            self.outbounds.entry(outbound).or_default().add(traffic);
        }
        if let Some(reason) = record.closed {
            *self.closed.entry(reason).or_default() += 1;
        }
        if let Some(drops) = &record.drops {
            self.drops.add(drops);
        }
    }

    /// Adds another worker's totals.
    pub fn merge(&mut self, other: &Self) {
        for (id, traffic) in &other.inbounds {
            self.inbounds.entry(*id).or_default().add(*traffic);
        }
        for (id, traffic) in &other.outbounds {
            self.outbounds.entry(*id).or_default().add(*traffic);
        }
        for (reason, count) in &other.closed {
            *self.closed.entry(*reason).or_default() += count;
        }
        self.drops.add(&other.drops);
    }
}
