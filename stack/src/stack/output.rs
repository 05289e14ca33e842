//! Packets and deadlines out.
use sansbox_core::Instant;

use super::{AHEAD, Stack};
use crate::batch::TxBatch;
use crate::table::Entry;
use crate::wire::emit;

/// Packets of one flow before it is another one's turn.
const TURN: usize = 8;

impl Stack {
    /// Fills `batch` with packets to send, and says whether it has added any. Flows take turns;
    /// what does not fit comes with the next call.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TxBatch) -> bool {
        let before = batch.packets().len();
        while let Some(control) = self.control.front().copied() {
            let Some(packet) = batch.next() else { break };
            control.emit(&mut self.context, packet);
            self.context.counters.packets_out += 1;
            batch.commit();
            self.control.pop_front();
        }
        let mut touched = 0;
        while !batch.is_full() {
            if touched == 0 {
                touched = AHEAD;
                self.touch(self.dirty.iter().copied().take(AHEAD));
            }
            touched -= 1;
            let Some(index) = self.dirty.pop_front() else {
                break;
            };
            if let Some(place) = self.table.get_mut(index) {
                place.dirty = false;
            }
            if self.transmit_entry(now, index, batch) {
                self.mark_dirty(index);
            }
        }
        batch.packets().len() > before
    }

    /// Adds packets of one entry. True: there may be more.
    fn transmit_entry(&mut self, now: Instant, index: u32, batch: &mut TxBatch) -> bool {
        let Self {
            table,
            flows,
            context,
            ..
        } = self;
        match table.get(index).map(|place| &place.entry) {
            Some(Entry::HalfOpen(half)) => {
                let Some(packet) = batch.next() else {
                    return true;
                };
                let header = half.syn_ack(context);
                emit::tcp(packet, &header, context.config.checksum_offload);
                batch.commit();
                context.counters.packets_out += 1;
                false
            }
            Some(Entry::Open(key, at)) => {
                let Some(Some(flow)) = flows.get_mut(*at as usize) else {
                    return false;
                };
                let mut more = true;
                for _ in 0..TURN {
                    let Some(packet) = batch.next() else { break };
                    if !flow.transmit(context, now, key, packet) {
                        more = false;
                        break;
                    }
                    batch.commit();
                    context.counters.packets_out += 1;
                }
                self.rearm(index);
                more
            }
            Some(Entry::Vacant | Entry::TimeWait(_)) | None => false,
        }
    }

    /// When [`Stack::handle_timeout`] has something to do. It may find less to do than thought,
    /// and then this moves on.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Acts on all deadlines until `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        loop {
            let due: [Option<u32>; AHEAD] = std::array::from_fn(|_| self.wheel.expire(now));
            self.touch(due.into_iter().flatten());
            // What one of them does may remove another one, and give its place away.
            let due = due.map(|index| index.map(|index| self.table.id(index)));
            for flow in due.into_iter().flatten() {
                if let Some(index) = self.table.resolve(flow) {
                    self.expire(now, index);
                }
            }
            if due.last().is_none_or(Option::is_none) {
                return;
            }
        }
    }

    /// Acts on the deadline of one entry.
    fn expire(&mut self, now: Instant, index: u32) {
        match self.table.get(index).map(|place| &place.entry) {
            Some(Entry::HalfOpen(_)) => self.expire_half_open(now, index),
            Some(Entry::TimeWait(_)) => self.remove_wait(index),
            Some(Entry::Open(..)) => {
                let Some((flow, context)) = self.flow_mut(index) else {
                    return;
                };
                let deadline = flow.deadline();
                if deadline > now {
                    self.wheel.set(index, deadline);
                    return;
                }
                let after = flow.handle_timeout(context, now);
                self.mark_dirty(index);
                self.conclude(now, index, after);
            }
            Some(Entry::Vacant) | None => {}
        }
    }
}
