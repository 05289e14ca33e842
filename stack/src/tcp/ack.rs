//! Acknowledgements in: what arrived, what is lost, and how much may follow.
use std::time::Duration;

use sansbox_core::Instant;

use super::context::Context;
use super::flow::{AckDue, After, Alarm, Flow, State, flag, news};
use super::rtt::micros;
use super::scoreboard::{Phase, Scoreboard};
use super::seq::{after, before, distance, earlier, later};
use crate::config::RETRANSMITS_MAX;
use crate::counters::DropReason;
use crate::list::NIL;
use crate::wire::parse::{FIN, Segment};

/// Duplicate acknowledgements that show a loss (RFC 5681 section 3.2).
const DUPLICATES: u8 = 3;

impl Flow {
    /// Takes the acknowledgement of a segment. `None`: the segment must not be looked at further.
    pub(crate) fn handle_ack(
        &mut self,
        context: &mut Context,
        now: Instant,
        segment: &Segment<'_>,
    ) -> Option<After> {
        if after(segment.ack, self.snd_max) {
            context.counters.drop(DropReason::AckUnsent);
            self.challenge(now);
            return None;
        }
        let oldest = self.snd_una.wrapping_sub(self.snd_wnd_max.max(1 << 16));
        if before(segment.ack, oldest) {
            context.counters.drop(DropReason::AckAncient);
            self.challenge(now);
            return None;
        }
        // An old one that was overtaken says nothing new, but its payload may be.
        if before(segment.ack, self.snd_una) {
            return Some(After::Keep);
        }
        let window_moved = self.update_window(segment);
        let sacked = self.handle_sacks(segment);
        // A peer that answers is there, however long its window stays closed.
        if self.snd_wnd == 0 || self.alarm == Alarm::WindowProbe {
            self.backoff = self.backoff.min(RETRANSMITS_MAX - 1);
        }
        let end = if segment.ack == self.snd_una {
            let plain = segment.data.is_empty() && !segment.has(FIN) && !window_moved;
            if self.snd_max != self.snd_una && (plain || sacked) {
                self.duplicates = self.duplicates.saturating_add(1);
            }
            After::Keep
        } else {
            self.advance(context, now, segment.ack)
        };
        self.find_losses(context);
        self.arm(now);
        Some(end)
    }

    /// Takes the window if the segment is not older than the one that brought the last. Did it
    /// change? What acknowledges more is newer even where it repeats payload, which RFC 9293 does
    /// not say: the window begins where the acknowledgement does, and would else move with it.
    fn update_window(&mut self, segment: &Segment<'_>) -> bool {
        let newer = after(segment.ack, self.snd_una)
            || before(self.snd_wl1, segment.seq)
            || (self.snd_wl1 == segment.seq && !after(self.snd_wl2, segment.ack));
        if !newer {
            return false;
        }
        let window = u32::from(segment.window) << self.snd_shift;
        let moved = window != self.snd_wnd;
        self.snd_wnd = window;
        self.snd_wnd_max = self.snd_wnd_max.max(window);
        self.snd_wl1 = segment.seq;
        self.snd_wl2 = segment.ack;
        moved
    }

    /// Notes what arrived beyond a gap. Was any of it news?
    fn handle_sacks(&mut self, segment: &Segment<'_>) -> bool {
        if !self.has(flag::SACK) || segment.options.sacks.iter().all(Option::is_none) {
            return false;
        }
        let (una, max) = (segment.ack, self.snd_max);
        let board = self
            .scoreboard
            .get_or_insert_with(|| Box::new(Scoreboard::new(una)));
        let mut news = false;
        for range in segment.options.sacks.iter().flatten() {
            news |= board.add(*range, una, max);
        }
        news
    }

    /// Everything before `ack` arrived.
    fn advance(&mut self, context: &mut Context, now: Instant, ack: u32) -> After {
        let flight = distance(self.snd_una, self.snd_nxt);
        let acked = distance(self.snd_una, ack);
        self.snd_una = ack;
        if before(self.snd_nxt, ack) {
            self.snd_nxt = ack;
            self.cursor = NIL;
        }
        self.duplicates = 0;
        self.backoff = 0;
        let acked_short = u16::try_from(acked).unwrap_or(u16::MAX);
        self.burst = self.burst.saturating_add(acked_short);
        if self.has(flag::TIMING) && !before(ack, self.timed_seq) {
            self.unset(flag::TIMING);
            let trip = micros(now).wrapping_sub(self.timed_at);
            self.rtt.sample(Duration::from_micros(u64::from(trip)));
        }
        if self.has(flag::PROBING) && !before(ack, self.probe) {
            self.unset(flag::PROBING);
        }
        self.drop_acked(context, ack);
        self.recover(ack, acked, flight);
        // Progress: the timer begins anew (RFC 6298 section 5.3).
        self.alarm = Alarm::None;
        if self.fin_acked() {
            return self.fin_arrived();
        }
        After::Keep
    }

    /// Moves recovery on, or ends it.
    fn recover(&mut self, ack: u32, acked: u32, flight: u32) {
        let sack = self.has(flag::SACK);
        let (mss, max) = (self.mss, self.snd_max);
        let mut fast = false;
        if let Some(board) = &mut self.scoreboard {
            board.advance(ack);
            let done = !before(ack, board.recover);
            match board.phase {
                Phase::Watching => {}
                Phase::Fast if done => {
                    board.phase = Phase::Watching;
                    self.congestion.recovered();
                }
                Phase::Fast => {
                    fast = true;
                    if !sack {
                        // A partial acknowledgement: the next segment is lost, too (RFC 6582).
                        board.lost = earlier(ack.wrapping_add(u32::from(mss)), max);
                    }
                }
                Phase::Timeout if done => board.phase = Phase::Watching,
                Phase::Timeout => {}
            }
            if board.is_idle() {
                self.scoreboard = None;
            }
        }
        if !fast {
            self.congestion.acked(acked, flight, mss);
        }
    }

    /// Begins fast recovery where enough arrived beyond a gap.
    fn find_losses(&mut self, context: &mut Context) {
        let (una, max, mss) = (self.snd_una, self.snd_max, self.mss);
        let flight = distance(una, self.snd_nxt);
        let many = self.duplicates >= DUPLICATES;
        if self.scoreboard.is_none() && !many {
            return;
        }
        let probe = self.has(flag::PROBING).then_some(self.probe);
        let board = self
            .scoreboard
            .get_or_insert_with(|| Box::new(Scoreboard::new(una)));
        if board.phase == Phase::Timeout {
            return;
        }
        board.mark_lost(mss);
        // The probe arrived, and what was sent two round trips before it did not.
        if let Some(end) = probe
            && board.arrived(end.wrapping_sub(1))
        {
            let start = board.range_start(end.wrapping_sub(1));
            board.lost = later(board.lost, start);
            self.flags &= !flag::PROBING;
        }
        if many && board.phase == Phase::Watching {
            let first = board.ranges().first().map(|range| range.0);
            let end = first.unwrap_or_else(|| earlier(una.wrapping_add(u32::from(mss)), max));
            board.lost = later(board.lost, end);
        }
        if board.phase == Phase::Watching && after(board.lost, una) {
            board.phase = Phase::Fast;
            board.recover = max;
            board.resent = una;
            self.congestion.halve(flight, mss);
            self.unset(flag::TIMING);
            self.alarm = Alarm::None;
            context.counters.fast_recoveries += 1;
        }
        if self
            .scoreboard
            .as_ref()
            .is_some_and(|board| board.is_idle())
            && self.duplicates == 0
        {
            self.scoreboard = None;
        }
    }

    /// Is our FIN acknowledged?
    fn fin_acked(&self) -> bool {
        self.has(flag::FIN_QUEUED) && self.snd_una == self.snd_end.wrapping_add(1)
    }

    /// The peer has all of our direction.
    fn fin_arrived(&mut self) -> After {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                After::Keep
            }
            State::Closing => After::TimeWait,
            State::LastAck => After::Closed,
            State::Established | State::FinWait2 | State::CloseWait | State::Finished => {
                After::Keep
            }
        }
    }

    /// Drops chunks that arrived, and tells of room.
    fn drop_acked(&mut self, context: &mut Context, ack: u32) {
        while let Some(chunk) = context.chunks.front(&self.chunks) {
            let len = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
            if after(chunk.start.wrapping_add(len), ack) {
                break;
            }
            self.pop_chunk(context);
            context.counters.bytes_out += u64::from(len);
        }
        if self.has(flag::WANTS_ROOM) && self.has_room(context, 2) {
            self.unset(flag::WANTS_ROOM);
            self.tell(news::WRITABLE);
        }
    }

    /// An acknowledgement is on its way: nothing is due any more.
    pub(crate) fn acked_now(&mut self) {
        self.ack = AckDue::No;
        self.ack_at = Instant::FAR;
        self.unacked = 0;
        self.rcv_acked = self.rcv_nxt;
    }
}
