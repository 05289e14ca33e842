//! Segments out.
use sansbox_core::Instant;

use super::context::Context;
use super::flow::{AckDue, Alarm, Bare, Flow, State, flag};
use super::rtt::micros;
use super::scoreboard::Phase;
use super::seq::{after, before, distance, earlier, later};
use crate::batch::TxPacket;
use crate::key::FlowKey;
use crate::wire::emit::{self, Header, Options, ip_header_len};
use crate::wire::parse::{ACK, FIN, PSH, RST};

/// One segment to send.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seq: u32,
    len: u32,
    fin: bool,
}

/// What limits the payload of a packet.
struct Sizes {
    options: Options,
    /// Payload of one segment.
    segment: u32,
    /// Payload of one packet, which the device may cut in segments.
    packet: u32,
}

impl Flow {
    /// Fills `out` with the next packet, if there is one.
    pub(crate) fn transmit(
        &mut self,
        context: &mut Context,
        now: Instant,
        key: &FlowKey,
        out: &mut TxPacket,
    ) -> bool {
        if self.state == State::Finished {
            return false;
        }
        let sizes = self.sizes(context, key);
        if let Some(plan) = self.plan(&sizes) {
            self.send(context, now, key, plan, &sizes, out);
            return true;
        }
        self.arm(now);
        if self.has(flag::NUDGE_DUE) {
            // An old sequence number, to which the peer must say where it is.
            self.unset(flag::NUDGE_DUE);
            self.bare(context, key, &sizes, self.snd_una.wrapping_sub(1), out);
            return true;
        }
        if self.ack == AckDue::Now {
            self.bare(context, key, &sizes, later(self.snd_nxt, self.snd_max), out);
            return true;
        }
        false
    }

    fn sizes(&self, context: &Context, key: &FlowKey) -> Sizes {
        let options = Options::Sack(self.sack_ranges(context));
        let options_len = u32::try_from(options.len()).unwrap_or(0);
        let segment = u32::from(self.mss).saturating_sub(options_len).max(1);
        let headers = u32::try_from(ip_header_len(key) + 20).unwrap_or(0) + options_len;
        let whole = u32::from(context.config.segmentation_max).saturating_sub(headers);
        let packet = if whole > segment {
            let burst = whole.min(u32::from(self.burst).max(segment));
            burst - burst % segment
        } else {
            segment.min(u32::from(self.burst))
        };
        Sizes {
            options,
            segment,
            packet,
        }
    }

    /// What to send next: a probe that is due, then losses, then what is new.
    fn plan(&mut self, sizes: &Sizes) -> Option<Plan> {
        if self.has(flag::PROBE_DUE) {
            self.unset(flag::PROBE_DUE);
            if let Some(plan) = self.plan_probe(sizes) {
                return Some(plan);
            }
        }
        if let Some(plan) = self.plan_lost(sizes) {
            return Some(plan);
        }
        let room = self.congestion.window.saturating_sub(self.pipe());
        self.plan_next(sizes, room)
    }

    fn pipe(&self) -> u32 {
        let flight = distance(self.snd_una, self.snd_nxt);
        let Some(board) = &self.scoreboard else {
            return flight;
        };
        if self.has(flag::SACK) {
            return board.pipe(self.snd_una, self.snd_nxt);
        }
        // Without reports, each duplicate stands for one segment that left (RFC 6582).
        flight.saturating_sub(u32::from(self.duplicates) * u32::from(self.mss))
    }

    /// A tail loss probe: new payload if there is any, else the end of the flight again.
    fn plan_probe(&mut self, sizes: &Sizes) -> Option<Plan> {
        if self.snd_una == self.snd_max {
            return None;
        }
        let plan = match self.plan_next(sizes, u32::MAX) {
            Some(plan) => plan,
            None => {
                let data_end = earlier(self.snd_max, self.snd_end);
                let len = distance(self.snd_una, data_end).min(sizes.segment);
                let seq = data_end.wrapping_sub(len);
                self.fit(seq, len, u32::MAX)
            }
        };
        let end = plan.seq.wrapping_add(plan.len + u32::from(plan.fin));
        self.set(flag::PROBING);
        self.probe = end;
        Some(plan)
    }

    /// The next lost gap, in fast recovery.
    fn plan_lost(&self, sizes: &Sizes) -> Option<Plan> {
        let board = self.scoreboard.as_ref()?;
        if board.phase != Phase::Fast {
            return None;
        }
        let (start, end) = board.next_lost()?;
        let room = self.congestion.window.saturating_sub(self.pipe());
        // The first one goes out at once (RFC 6675 section 5, step 4.3).
        let first = board.resent == self.snd_una;
        let room = if first { room.max(sizes.segment) } else { room };
        let len = distance(start, earlier(end, self.snd_end)).min(sizes.packet);
        if room < len.min(sizes.segment) {
            return None;
        }
        let len = len.min(room);
        let plan = self.fit(start, len, u32::MAX);
        (plan.len > 0 || plan.fin).then_some(plan)
    }

    /// What follows at `snd_nxt`, after a timeout sent before. `room` is what congestion allows.
    fn plan_next(&mut self, sizes: &Sizes, room: u32) -> Option<Plan> {
        let mut gap_end = None;
        if before(self.snd_nxt, self.snd_max)
            && let Some(board) = &self.scoreboard
        {
            let (start, end) = board.gap(self.snd_nxt);
            self.snd_nxt = start;
            gap_end = end;
        }
        let edge = self.snd_una.wrapping_add(self.snd_wnd);
        let mut usable = distance(self.snd_nxt, edge);
        // What is sent again first was inside the window once, and asks where that went.
        if self.snd_nxt == self.snd_una && before(self.snd_nxt, self.snd_max) {
            usable = usable.max(distance(self.snd_nxt, self.snd_max).min(sizes.segment));
        }
        let left = distance(self.snd_nxt, gap_end.unwrap_or(self.snd_end));
        let len = left.min(usable).min(room).min(sizes.packet);
        let fin_left = self.has(flag::FIN_QUEUED) && !after(self.snd_nxt, self.snd_end);
        if len == 0 && !(fin_left && left == 0) {
            return None;
        }
        // Silly windows are waited out while something is on its way that will open them
        // (RFC 9293 section 3.8.6.2.1).
        let short = len < left && len < sizes.segment.min(sizes.packet);
        let flight = distance(self.snd_una, self.snd_nxt);
        if short && gap_end.is_none() && flight > 0 && len < self.snd_wnd_max / 2 {
            return None;
        }
        let plan = self.fit(self.snd_nxt, len, usable);
        (plan.len > 0 || plan.fin).then_some(plan)
    }

    /// The segment at `seq`, with our FIN if it follows and fits into `usable`.
    fn fit(&self, seq: u32, len: u32, usable: u32) -> Plan {
        let end = seq.wrapping_add(len);
        let fin = self.has(flag::FIN_QUEUED) && end == self.snd_end && usable > len;
        Plan { seq, len, fin }
    }

    fn send(
        &mut self,
        context: &mut Context,
        now: Instant,
        key: &FlowKey,
        plan: Plan,
        sizes: &Sizes,
        out: &mut TxPacket,
    ) {
        let len = self.slice(context, plan.seq, plan.len, out);
        let fin = plan.fin && len == plan.len;
        let end = plan.seq.wrapping_add(len);
        let mut flags = ACK;
        if len > 0 && end == self.snd_end {
            flags |= PSH;
        }
        if fin {
            flags |= FIN;
        }
        if len > sizes.segment {
            out.segment_size = u16::try_from(sizes.segment).unwrap_or(u16::MAX);
        }
        self.sent(context, now, plan.seq, end.wrapping_add(u32::from(fin)));
        self.emit(context, key, plan.seq, flags, sizes, out);
    }

    /// Notes that all between `seq` and `end` was sent.
    fn sent(&mut self, context: &mut Context, now: Instant, seq: u32, end: u32) {
        let new = after(end, self.snd_max);
        if before(seq, self.snd_max) {
            context.counters.retransmitted += 1;
            // What was sent twice cannot be timed (Karn's algorithm).
            if before(seq, self.timed_seq) {
                self.unset(flag::TIMING);
            }
        }
        if new && !self.has(flag::TIMING) && self.scoreboard.is_none() {
            self.set(flag::TIMING);
            self.timed_seq = end;
            self.timed_at = micros(now);
        }
        if let Some(board) = &mut self.scoreboard
            && board.phase == Phase::Fast
            && before(seq, board.lost)
        {
            board.resent = later(board.resent, end);
        }
        if !before(seq, self.snd_nxt) {
            self.snd_nxt = later(self.snd_nxt, end);
        }
        self.snd_max = later(self.snd_max, end);
        if new {
            self.arm_after_sending(now);
        } else if self.alarm == Alarm::None {
            self.arm(now);
        }
    }

    /// Shares up to `len` bytes from `seq` on with `out`: how many it took.
    fn slice(&mut self, context: &Context, seq: u32, len: u32, out: &mut TxPacket) -> u32 {
        let start = |id: u32| context.chunks.get(id).map(|chunk| chunk.start);
        let mut id = self.cursor;
        if start(id).is_none_or(|start| after(start, seq)) {
            id = self.chunks.head();
        }
        let mut taken = 0;
        while taken < len {
            let Some(chunk) = context.chunks.get(id) else {
                break;
            };
            let offset = distance(chunk.start, seq.wrapping_add(taken)) as usize;
            let rest = chunk.bytes.len().saturating_sub(offset);
            if rest == 0 {
                id = context.chunks.next(id);
                continue;
            }
            let part = rest.min((len - taken) as usize);
            if out
                .push_piece(chunk.bytes.slice(offset..offset + part))
                .is_err()
            {
                break;
            }
            taken += u32::try_from(part).unwrap_or(0);
            self.cursor = id;
        }
        taken
    }

    /// A segment without payload.
    fn bare(
        &mut self,
        context: &mut Context,
        key: &FlowKey,
        sizes: &Sizes,
        seq: u32,
        out: &mut TxPacket,
    ) {
        self.emit(context, key, seq, ACK, sizes, out);
    }

    fn emit(
        &mut self,
        context: &mut Context,
        key: &FlowKey,
        seq: u32,
        flags: u8,
        sizes: &Sizes,
        out: &mut TxPacket,
    ) {
        let header = Header {
            key,
            seq,
            ack: self.rcv_nxt,
            flags,
            window: self.advertise(context),
            options: sizes.options,
        };
        self.acked_now();
        emit::tcp(out, &header, context.config.checksum_offload);
    }

    /// The RST that tells the peer that the connection is given up.
    pub(crate) fn reset(&self, key: &FlowKey) -> Bare {
        Bare {
            key: *key,
            seq: later(self.snd_nxt, self.snd_max),
            ack: self.rcv_nxt,
            flags: RST | ACK,
            window: 0,
        }
    }
}
