//! Payload behind a gap: copied, kept in order, and reported to the peer (RFC 2018).
use bytes::BytesMut;

use super::context::{Context, Held, Received};
use super::flow::{Flow, flag};
use super::seq::{after, before, distance, earlier};
use crate::batch::DataRef;
use crate::config::{OUT_OF_ORDER_MAX, STORED_OVERHEAD};
use crate::counters::DropReason;
use crate::list::NIL;

/// Stored pieces up to this size are joined, so that many small ones cost little more than one.
const JOINED_MAX: usize = 16 << 10;
/// Pieces behind a gap are joined up to this size: 32 of them hold the largest window.
const HELD_JOINED_MAX: usize = 64 << 10;

impl Flow {
    /// Keeps `bytes`, which begin at `seq` behind a gap, but for what is kept already.
    pub(crate) fn hold(&mut self, context: &mut Context, seq: u32, bytes: &[u8]) {
        let end = seq.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
        self.held_last = seq;
        let (mut at, mut before_id) = (seq, NIL);
        let mut overlapped = false;
        let mut id = self.held.head();
        // Fills the gaps between what is kept, one after the other.
        loop {
            let next = context.held.get(id).map(|held| {
                let len = u32::try_from(held.bytes.len()).unwrap_or(0);
                (held.seq, held.seq.wrapping_add(len))
            });
            let gap_end = next.map_or(end, |(start, _)| earlier(start, end));
            if before(at, gap_end) {
                let from = at.wrapping_sub(seq) as usize;
                let to = gap_end.wrapping_sub(seq) as usize;
                let part = bytes.get(from..to).unwrap_or_default();
                if !self.keep(context, before_id, at, part) {
                    return;
                }
            }
            let Some((start, next_end)) = next else { break };
            if before(start, end) && after(next_end, at) {
                overlapped = true;
            }
            if !before(start, end) {
                break;
            }
            if after(next_end, at) {
                at = next_end;
            }
            before_id = id;
            id = context.held.next(id);
        }
        if overlapped {
            context.counters.drop(DropReason::Duplicate);
        }
    }

    /// Keeps one part behind the node `before`. A part that continues that node joins it, so that
    /// a burst behind a gap takes few places.
    fn keep(&mut self, context: &mut Context, before: u32, seq: u32, bytes: &[u8]) -> bool {
        let joins = context.held.get(before).is_some_and(|held| {
            let len = u32::try_from(held.bytes.len()).unwrap_or(0);
            held.seq.wrapping_add(len) == seq && held.bytes.len() + bytes.len() <= HELD_JOINED_MAX
        });
        if !joins && self.held_len >= OUT_OF_ORDER_MAX {
            context.counters.drop(DropReason::OutOfOrderFull);
            return false;
        }
        let overhead = if joins { 0 } else { STORED_OVERHEAD };
        let cost = bytes.len() as u64 + u64::from(overhead);
        if context.budget.held + cost > context.config.window_budget {
            context.counters.drop(DropReason::OutOfOrderBudget);
            return false;
        }
        context.budget.held += cost;
        context.counters.copied_out_of_order += bytes.len() as u64;
        if joins && let Some(held) = context.held.get_mut(before) {
            held.bytes.extend_from_slice(bytes);
            return true;
        }
        self.held_len += 1;
        let held = Held {
            seq,
            bytes: BytesMut::from(bytes),
        };
        context.held.insert_after(&mut self.held, before, held);
        true
    }

    /// Moves what the gap's end made in order to what the caller may read.
    pub(crate) fn take_held(&mut self, context: &mut Context) {
        while let Some(head) = context.held.front(&self.held) {
            if after(head.seq, self.rcv_nxt) {
                return;
            }
            let Some(mut held) = self.pop_held(context) else {
                return;
            };
            let old = distance(held.seq, self.rcv_nxt) as usize;
            if old < held.bytes.len() {
                bytes::Buf::advance(&mut held.bytes, old);
                self.append(context, Received::Stored(held.bytes));
            }
        }
    }

    fn pop_held(&mut self, context: &mut Context) -> Option<Held> {
        let held = context.held.pop_front(&mut self.held)?;
        self.uncharge(context, &held);
        Some(held)
    }

    fn uncharge(&mut self, context: &mut Context, held: &Held) {
        let cost = held.bytes.len() as u64 + u64::from(STORED_OVERHEAD);
        context.budget.held = context.budget.held.saturating_sub(cost);
        self.held_len = self.held_len.saturating_sub(1);
    }

    /// Nothing may follow the peer's FIN.
    pub(crate) fn drop_held_from(&mut self, context: &mut Context, fin: u32) {
        let mut before_id = NIL;
        let mut id = self.held.head();
        while let Some(held) = context.held.get_mut(id) {
            let room = distance(held.seq, fin) as usize;
            if room >= held.bytes.len() {
                before_id = id;
                id = context.held.next(id);
                continue;
            }
            context.counters.drop(DropReason::AfterFin);
            if room > 0 {
                let cut = held.bytes.len() - room;
                held.bytes.truncate(room);
                context.budget.held = context.budget.held.saturating_sub(cut as u64);
                before_id = id;
                id = context.held.next(id);
                continue;
            }
            let next = context.held.next(id);
            if let Some(held) = context.held.remove_after(&mut self.held, before_id) {
                self.uncharge(context, &held);
            }
            id = next;
        }
    }

    pub(crate) fn release_held(&mut self, context: &mut Context) {
        while self.pop_held(context).is_some() {}
    }

    /// Up to three ranges behind gaps, the one that grew last first (RFC 2018 section 4).
    pub(crate) fn sack_ranges(&self, context: &Context) -> [Option<(u32, u32)>; 3] {
        let mut ranges = [None; 3];
        if self.held.is_empty() || !self.has(flag::SACK) {
            return ranges;
        }
        let mut others = 1;
        let mut current: Option<(u32, u32)> = None;
        let mut place = |range: (u32, u32)| {
            let newest = !before(self.held_last, range.0) && before(self.held_last, range.1);
            let at = if newest { 0 } else { others };
            if let Some(place) = ranges.get_mut(at) {
                *place = Some(range);
                others += usize::from(!newest);
            }
        };
        for held in context.held.iter(self.held) {
            let end = held
                .seq
                .wrapping_add(u32::try_from(held.bytes.len()).unwrap_or(0));
            current = match current {
                Some((start, touching)) if touching == held.seq => Some((start, end)),
                Some(range) => {
                    place(range);
                    Some((held.seq, end))
                }
                None => Some((held.seq, end)),
            };
        }
        if let Some(range) = current {
            place(range);
        }
        // What was held last may have been dropped; then the ranges begin one place later.
        if ranges.first().is_some_and(Option::is_none) {
            ranges.rotate_left(1);
        }
        ranges
    }

    /// Adds stored bytes to what the caller may read.
    pub(crate) fn store(&mut self, context: &mut Context, bytes: BytesMut) {
        let tail = self.received.tail();
        if let Some(Received::Stored(last)) = context.received.get_mut(tail)
            && last.len() + bytes.len() <= JOINED_MAX
        {
            last.extend_from_slice(&bytes);
            return;
        }
        let piece = Received::Stored(bytes);
        context.received.push_back(&mut self.received, piece);
    }

    /// Copies what the caller left of its batch, because the batch goes away. `bytes` finds the
    /// bytes of a reference.
    pub(crate) fn retain<'a>(
        &mut self,
        context: &mut Context,
        bytes: impl Fn(DataRef) -> &'a [u8],
    ) {
        self.unset(flag::IN_BATCH);
        let mut id = self.received.head();
        let mut before_id = NIL;
        while let Some(piece) = context.received.get(id) {
            let Received::Packet(data) = *piece else {
                before_id = id;
                id = context.received.next(id);
                continue;
            };
            let slice = bytes(data);
            assert!(
                slice.len() == data.len() as usize,
                "retain() needs the batch that was received, or acknowledged payload is lost"
            );
            context.counters.copied_retained += slice.len() as u64;
            if let Some(Received::Stored(last)) = context.received.get_mut(before_id)
                && last.len() + slice.len() <= JOINED_MAX
            {
                last.extend_from_slice(slice);
                let next = context.received.next(id);
                context.received.remove_after(&mut self.received, before_id);
                id = next;
                continue;
            }
            if let Some(piece) = context.received.get_mut(id) {
                *piece = Received::Stored(BytesMut::from(slice));
            }
            before_id = id;
            id = context.received.next(id);
        }
    }
}
