//! Segments in (RFC 9293 section 3.10.7.4, RFC 5961).
use sansbox_core::Instant;

use super::context::{Context, Received};
use super::flow::{AckDue, After, Flow, State, flag, news};
use super::seq::{after, before, distance};
use crate::batch::DataRef;
use crate::config::{ACK_DELAY, CHALLENGE_INTERVAL};
use crate::counters::DropReason;
use crate::event::ResetReason;
use crate::wire::parse::{FIN, RST, SYN, Segment};

impl Flow {
    /// Takes one segment. `size` is the payload per segment where the device joined several.
    pub(crate) fn handle_segment(
        &mut self,
        context: &mut Context,
        now: Instant,
        segment: &Segment<'_>,
        size: u16,
    ) -> After {
        if segment.has(RST) {
            return self.handle_reset(context, now, segment);
        }
        if segment.has(SYN) {
            context.counters.drop(DropReason::Challenged);
            self.challenge(now);
            return After::Keep;
        }
        self.heard(context, now);
        if !self.acceptable(segment) {
            context.counters.drop(DropReason::OutsideWindow);
            self.answer_outside(now, segment);
            // A closed window takes no payload, but it takes acknowledgements.
            if segment.seq != self.rcv_nxt {
                return After::Keep;
            }
            return self
                .handle_ack(context, now, segment)
                .unwrap_or(After::Keep);
        }
        match self.handle_ack(context, now, segment) {
            Some(After::Keep) => {}
            Some(end) => return self.close_with(context, now, segment, end),
            None => return After::Keep,
        }
        self.handle_data(context, now, segment, size);
        self.handle_fin(context, segment)
    }

    /// An acknowledgement ended our direction; what came with it still counts.
    fn close_with(
        &mut self,
        context: &mut Context,
        now: Instant,
        segment: &Segment<'_>,
        end: After,
    ) -> After {
        self.handle_data(context, now, segment, 0);
        let fin = self.handle_fin(context, segment);
        if fin == After::Keep { end } else { fin }
    }

    /// Only a RST that is exactly next ends the connection (RFC 5961 section 3).
    fn handle_reset(
        &mut self,
        context: &mut Context,
        now: Instant,
        segment: &Segment<'_>,
    ) -> After {
        if segment.seq == self.rcv_nxt {
            // A peer that has everything may have forgotten the connection before our FIN.
            let ending = matches!(self.state, State::LastAck | State::Closing);
            return if ending && self.chunks.is_empty() {
                After::Closed
            } else {
                After::Broken(ResetReason::Peer)
            };
        }
        let inside = after(segment.seq, self.rcv_nxt) && before(segment.seq, self.rcv_edge);
        if inside {
            context.counters.drop(DropReason::Challenged);
            self.challenge(now);
        } else {
            context.counters.drop(DropReason::ResetOutside);
        }
        After::Keep
    }

    /// Is some of the segment inside the window? What an ACK that was reordered says is current
    /// enough if it is not older than our own last one.
    fn acceptable(&self, segment: &Segment<'_>) -> bool {
        let len = segment.sequence_len();
        let end = segment.seq.wrapping_add(len);
        if len == 0 {
            return !after(segment.seq, self.rcv_edge) && !before(segment.seq, self.rcv_acked);
        }
        before(segment.seq, self.rcv_edge) && after(end, self.rcv_nxt)
    }

    /// Tells the peer where the window is. Segments without payload are answered rarely, or two
    /// ends that disagree would answer each other for ever; a keep-alive probe always is.
    fn answer_outside(&mut self, now: Instant, segment: &Segment<'_>) {
        let probe = segment.seq == self.rcv_nxt.wrapping_sub(1);
        if segment.sequence_len() > 0 || probe {
            self.ack = AckDue::Now;
        } else {
            self.challenge(now);
        }
    }

    /// An ACK that asks the peer to confirm, at most twice a second.
    pub(crate) fn challenge(&mut self, now: Instant) {
        if self.challenged_at == Instant::ZERO || now >= self.challenged_at + CHALLENGE_INTERVAL {
            self.challenged_at = now;
            self.ack = AckDue::Now;
        }
    }

    fn handle_data(
        &mut self,
        context: &mut Context,
        now: Instant,
        segment: &Segment<'_>,
        size: u16,
    ) {
        if segment.data.is_empty() {
            return;
        }
        if self.has(flag::FIN_RECEIVED) {
            context.counters.drop(DropReason::AfterFin);
            self.ack = AckDue::Now;
            return;
        }
        let Some((seq, data)) = self.trim(context, segment) else {
            self.ack = AckDue::Now;
            return;
        };
        if seq != self.rcv_nxt {
            self.ack = AckDue::Now;
            self.hold(context, seq, segment.bytes(data));
            return;
        }
        let was_gap = self.held_len > 0;
        self.append(context, Received::Packet(data));
        self.set(flag::IN_BATCH);
        self.take_held(context);
        self.count_for_ack(now, data, size);
        if was_gap {
            self.ack = AckDue::Now;
        }
    }

    /// The part of the payload that is new and inside the window.
    fn trim(&self, context: &mut Context, segment: &Segment<'_>) -> Option<(u32, DataRef)> {
        let mut data = segment.data;
        let old = distance(segment.seq, self.rcv_nxt).min(data.len());
        data.start += old;
        let seq = segment.seq.wrapping_add(old);
        let mut edge = self.rcv_edge;
        if self.has(flag::FIN_SEEN) && before(self.rcv_fin, edge) {
            edge = self.rcv_fin;
        }
        let room = distance(seq, edge);
        if data.len() > room {
            context.counters.drop(DropReason::Trimmed);
            data.end = data.start + room;
        }
        (!data.is_empty()).then_some((seq, data))
    }

    /// Adds payload that is next in order.
    pub(crate) fn append(&mut self, context: &mut Context, piece: Received) {
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        self.rcv_nxt = self.rcv_nxt.wrapping_add(len);
        self.unread = self.unread.saturating_add(len);
        context.counters.bytes_in += u64::from(len);
        match piece {
            Received::Packet(_) => {
                context.received.push_back(&mut self.received, piece);
            }
            Received::Stored(bytes) => self.store(context, bytes),
        }
        self.tell(news::DATA);
    }

    /// Every second segment is acknowledged at once, and every first one soon.
    fn count_for_ack(&mut self, now: Instant, data: DataRef, size: u16) {
        let segments = if size == 0 {
            1
        } else {
            data.len().div_ceil(u32::from(size))
        };
        let segments = u8::try_from(segments).unwrap_or(u8::MAX);
        self.unacked = self.unacked.saturating_add(segments);
        if self.unacked >= 2 {
            self.ack = AckDue::Now;
        } else if self.ack == AckDue::No {
            self.ack = AckDue::Delayed;
            self.ack_at = now + ACK_DELAY;
        }
    }

    fn handle_fin(&mut self, context: &mut Context, segment: &Segment<'_>) -> After {
        let fin = segment.seq.wrapping_add(segment.data.len());
        if segment.has(FIN) && !self.has(flag::FIN_SEEN) {
            if before(fin, self.rcv_nxt) || after(fin, self.rcv_edge) {
                self.ack = AckDue::Now;
                return After::Keep;
            }
            self.set(flag::FIN_SEEN);
            self.rcv_fin = fin;
            self.drop_held_from(context, fin);
        }
        if !self.has(flag::FIN_SEEN) || self.has(flag::FIN_RECEIVED) {
            if segment.has(FIN) {
                self.ack = AckDue::Now;
            }
            return After::Keep;
        }
        if self.rcv_fin != self.rcv_nxt {
            self.ack = AckDue::Now;
            return After::Keep;
        }
        self.set(flag::FIN_RECEIVED);
        self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
        if before(self.rcv_edge, self.rcv_nxt) {
            self.rcv_edge = self.rcv_nxt;
        }
        self.ack = AckDue::Now;
        self.tell_fin();
        self.peer_finished()
    }

    /// The client's direction ended (RFC 9293 section 3.10.7.4, eighth).
    fn peer_finished(&mut self) -> After {
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                After::Keep
            }
            State::FinWait1 => {
                self.state = State::Closing;
                After::Keep
            }
            State::FinWait2 => After::TimeWait,
            State::CloseWait | State::Closing | State::LastAck | State::Finished => After::Keep,
        }
    }

    /// The caller hears of the end when it took everything before it.
    pub(crate) fn tell_fin(&mut self) {
        if self.unread == self.taken && self.has(flag::FIN_RECEIVED) && !self.has(flag::FIN_TOLD) {
            self.set(flag::FIN_TOLD);
            self.tell(news::FIN);
        }
    }
}
