//! From a SYN to a connection, within limits.
use sansbox_core::Instant;

use super::Stack;
use super::events::Queued;
use crate::config::Handshake;
use crate::counters::DropReason;
use crate::event::CancelReason;
use crate::table::Entry;
use crate::tcp::flow::{Bare, Flow, news};
use crate::tcp::half_open::HalfOpen;
use crate::tcp::refuse::Control;
use crate::tcp::seq::{after, before};
use crate::wire::parse::{ACK, RST, SYN, Segment};

impl Stack {
    pub(super) fn handle_syn(&mut self, now: Instant, segment: &Segment<'_>) {
        self.handle_syn_after(now, segment, None);
    }

    /// A SYN that begins a connection; `last` is behind all that was sent on an earlier one
    /// between the same ends.
    pub(super) fn handle_syn_after(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        last: Option<u32>,
    ) {
        let source = self.table.hash_source(&segment.key);
        if let Err(reason) = self.make_room(source) {
            self.context.counters.drop(reason);
            return;
        }
        let mut iss = self.table.isn(&segment.key, now);
        if let Some(last) = last
            && !after(iss, last)
        {
            // Behind the old connection's numbers, so that its segments are old to the client.
            iss = last.wrapping_add(1 << 17);
        }
        let mut half = HalfOpen::new(segment, iss, &self.context);
        let answer = self.context.config.handshake == Handshake::Fast;
        if answer {
            half.answer(now);
        }
        let deadline = now + half.patience(&self.context.config);
        let index = self.table.insert(Entry::HalfOpen(half));
        self.half_open += 1;
        self.sources.add(source);
        self.wheel.set(index, deadline);
        if answer {
            self.unasked.push(index);
            self.mark_dirty(index);
        } else {
            self.queue_event(index);
        }
    }

    /// Is there room for one more? The oldest that nobody was asked about makes some.
    fn make_room(&mut self, source: u64) -> Result<(), DropReason> {
        let config = &self.context.config;
        if self.sources.count(source) >= config.half_open_per_source {
            return Err(DropReason::SourceFull);
        }
        let half_open_full = self.half_open >= config.half_open_max;
        let full = self.open + self.half_open >= config.flows_max;
        if !half_open_full && !full {
            return Ok(());
        }
        if let Some(oldest) = self.unasked.oldest() {
            self.context.counters.evicted += 1;
            self.remove_half_open(oldest);
            return Ok(());
        }
        Err(if half_open_full {
            DropReason::HalfOpenFull
        } else {
            DropReason::FlowsFull
        })
    }

    /// Sends the SYN-ACK if it was not sent.
    pub(super) fn answer(&mut self, now: Instant, index: u32) {
        let Some(Entry::HalfOpen(half)) = self.table.get_mut(index).map(|place| &mut place.entry)
        else {
            return;
        };
        if half.answered() {
            return;
        }
        half.answer(now);
        let deadline = now + half.patience(&self.context.config);
        self.wheel.set(index, deadline);
        self.mark_dirty(index);
    }

    pub(super) fn handle_half_open(
        &mut self,
        now: Instant,
        index: u32,
        segment: &Segment<'_>,
        size: u16,
    ) {
        let Some(Entry::HalfOpen(half)) = self.table.get(index).map(|place| &place.entry) else {
            return;
        };
        let half = *half;
        let next = half.irs.wrapping_add(1);
        if segment.has(RST) {
            self.handle_half_open_reset(index, segment, &half);
            return;
        }
        if segment.has(SYN) {
            self.handle_half_open_syn(now, index, segment, &half);
            return;
        }
        let acks_ours = half.answered() && segment.ack == half.iss.wrapping_add(1);
        if !segment.has(ACK) || !acks_ours {
            self.context.counters.drop(DropReason::NoFlow);
            self.refuse_stray(segment);
            return;
        }
        let edge = next.wrapping_add(u32::from(half.window_offered(&self.context)));
        let end = segment.seq.wrapping_add(segment.sequence_len());
        if before(end, next) || !before(segment.seq, edge) {
            self.context.counters.drop(DropReason::OutsideWindow);
            self.push_control(Control::Segment(half.acknowledge(&self.context)));
            return;
        }
        self.establish(now, index, &half);
        self.handle_open(now, index, segment, size);
    }

    /// The same SYN again is no news; another one begins anew.
    fn handle_half_open_syn(
        &mut self,
        now: Instant,
        index: u32,
        segment: &Segment<'_>,
        half: &HalfOpen,
    ) {
        if segment.has(ACK) {
            self.context.counters.drop(DropReason::TcpFlags);
            self.refuse_stray(segment);
        } else if segment.seq == half.irs {
            self.context.counters.syn_repeated += 1;
            if half.answered() {
                self.mark_dirty(index);
            }
        } else {
            self.cancel(index, CancelReason::Restarted);
            self.handle_syn(now, segment);
        }
    }

    fn handle_half_open_reset(&mut self, index: u32, segment: &Segment<'_>, half: &HalfOpen) {
        let next = half.irs.wrapping_add(1);
        let edge = next.wrapping_add(u32::from(half.window_offered(&self.context)));
        // A client that was not answered knows no other number than its own.
        let exact = segment.seq == next || (!half.answered() && segment.seq == half.irs);
        if exact {
            self.context.counters.resets_received += 1;
            self.cancel(index, CancelReason::Peer);
        } else if half.answered() && after(segment.seq, next) && before(segment.seq, edge) {
            self.context.counters.drop(DropReason::Challenged);
            self.push_control(Control::Segment(half.acknowledge(&self.context)));
        } else {
            self.context.counters.drop(DropReason::ResetOutside);
        }
    }

    /// The handshake is done.
    fn establish(&mut self, now: Instant, index: u32, half: &HalfOpen) {
        self.forget_half_open(index, half);
        let mut flow = Flow::new(half, &mut self.context, now);
        flow.tell(if half.told() {
            news::WRITABLE
        } else {
            news::OPEN
        });
        if half.shut() {
            flow.shutdown(now);
        }
        self.context.counters.opened += 1;
        let at = self.push_flow(flow);
        if let Some(place) = self.table.get_mut(index) {
            place.entry = Entry::Open(half.key, at);
        }
        self.wheel.clear(index);
        self.mark_dirty(index);
        self.queue_event(index);
    }

    /// Ends a half-open connection; the caller hears of it if it had heard before.
    pub(super) fn cancel(&mut self, index: u32, reason: CancelReason) {
        let flow = self.table.id(index);
        if let Some(Entry::HalfOpen(half)) = self.table.get(index).map(|place| &place.entry)
            && half.told()
        {
            self.events.push_back(Queued::Cancelled(flow, reason));
        }
        self.remove_half_open(index);
    }

    pub(super) fn remove_half_open(&mut self, index: u32) {
        if let Some(Entry::HalfOpen(half)) = self.table.get(index).map(|place| &place.entry) {
            let half = *half;
            self.forget_half_open(index, &half);
            self.wheel.clear(index);
            self.table.remove(index);
        }
    }

    fn forget_half_open(&mut self, index: u32, half: &HalfOpen) {
        self.unasked.remove(index);
        self.half_open -= 1;
        self.sources.subtract(self.table.hash_source(&half.key));
    }

    /// A half-open connection's wait is over.
    pub(super) fn expire_half_open(&mut self, now: Instant, index: u32) {
        let Some(Entry::HalfOpen(half)) = self.table.get_mut(index).map(|place| &mut place.entry)
        else {
            return;
        };
        if half.repeat() {
            let deadline = now + half.patience(&self.context.config);
            self.wheel.set(index, deadline);
            self.mark_dirty(index);
            return;
        }
        let reason = if half.answered() {
            CancelReason::HandshakeTimeout
        } else {
            CancelReason::DialDeadline
        };
        self.context.counters.expired += 1;
        self.cancel(index, reason);
    }
}

impl HalfOpen {
    /// RST to a client whose SYN was not refused in words.
    pub(super) const fn abort(&self) -> Bare {
        Bare {
            key: self.key,
            seq: if self.answered() {
                self.iss.wrapping_add(1)
            } else {
                0
            },
            ack: self.irs.wrapping_add(1),
            flags: RST | ACK,
            window: 0,
        }
    }

    /// Says what is expected, to a client that may be another one.
    fn acknowledge(&self, context: &crate::tcp::context::Context) -> Bare {
        Bare {
            key: self.key,
            seq: self.iss.wrapping_add(1),
            ack: self.irs.wrapping_add(1),
            flags: ACK,
            window: Flow::shifted(
                u32::from(self.window_offered(context)),
                self.shift.map_or(0, |_| crate::config::WINDOW_SHIFT),
            ),
        }
    }
}
