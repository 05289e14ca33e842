//! What was served, as plain data: one set per worker, added up by whoever shows them.
use crate::{
    ids::{InboundId, OutboundId},
    machine::Stage,
    record::{CloseReason, Drops, Record},
};
use sansbox_core::Refusal;
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
    /// Requests refused, by reason. A client that may ask again can be refused several times.
    pub refused: BTreeMap<Refusal, u64>,
    /// By the reason they ended; each session counts once.
    pub closed: BTreeMap<CloseReason, u64>,
    /// Datagrams dropped.
    pub drops: Drops,
}

impl Counters {
    /// Counts what a machine reports with [`Action::Log`](crate::machine::Action::Log): its
    /// refusals as they come, the rest when it closes.
    pub fn count(&mut self, record: &Record, stage: Stage) {
        match stage {
            Stage::Refused(why) => *self.refused.entry(why).or_default() += 1,
            Stage::Closed => self.count_closed(record),
            Stage::Opened | Stage::AuthFailed | Stage::Routed | Stage::Connected => {}
        }
    }

    fn count_closed(&mut self, record: &Record) {
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
        for (reason, count) in &other.refused {
            *self.refused.entry(*reason).or_default() += count;
        }
        for (reason, count) in &other.closed {
            *self.closed.entry(*reason).or_default() += count;
        }
        self.drops.add(&other.drops);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use sansbox_core::{Instant, Seed};

    fn ended(inbound: u16, outbound: Option<u16>, closed: CloseReason) -> Record {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let seed = Seed::from_u64(1);
        let mut record = Record::new(InboundId(inbound), peer, seed, Instant::ZERO);
        record.outbound = outbound.map(OutboundId);
        (record.bytes_up, record.bytes_down) = (3, 5);
        record.closed = Some(closed);
        record
    }

    #[test]
    fn every_session_counts_once_where_it_came_in_and_went_out() {
        let mut counters = Counters::default();
        for record in [
            ended(0, Some(1), CloseReason::Completed),
            ended(0, Some(2), CloseReason::Completed),
            ended(1, None, CloseReason::AuthFailed),
        ] {
            let mut worker = Counters::default();
            for stage in [
                Stage::Opened,
                Stage::Routed,
                Stage::Connected,
                Stage::Closed,
            ] {
                worker.count(&record, stage);
            }
            counters.merge(&worker);
        }
        let traffic = |connections| Traffic {
            connections,
            bytes_up: 3 * connections,
            bytes_down: 5 * connections,
        };
        let inbounds = [(InboundId(0), traffic(2)), (InboundId(1), traffic(1))];
        assert_eq!(counters.inbounds, BTreeMap::from(inbounds));
        let outbounds = [(OutboundId(1), traffic(1)), (OutboundId(2), traffic(1))];
        assert_eq!(counters.outbounds, BTreeMap::from(outbounds));
        let closed = [(CloseReason::Completed, 2), (CloseReason::AuthFailed, 1)];
        assert_eq!(counters.closed, BTreeMap::from(closed));
    }

    #[test]
    fn refusals_count_each_time_and_drops_by_reason() {
        let mut counters = Counters::default();
        let mut record = ended(0, None, CloseReason::Completed);
        record.drop_datagram(crate::record::Drop::Policy);
        counters.count(&record, Stage::Refused(Refusal::Policy));
        counters.count(&record, Stage::Refused(Refusal::Policy));
        counters.count(&record, Stage::Closed);
        let mut sum = Counters::default();
        sum.merge(&counters);
        sum.merge(&counters);
        assert_eq!(sum.refused, BTreeMap::from([(Refusal::Policy, 4)]));
        assert_eq!(sum.drops.policy, 2);
    }
}
