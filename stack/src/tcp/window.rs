//! The window that the client gets: tuned to what the caller consumes, within one budget.
use std::time::Duration;

use bytes::Buf as _;
use sansbox_core::Instant;

use super::context::{Context, Received};
use super::flow::{AckDue, Flow, State};
use super::rtt::micros;
use crate::config::{WINDOW_FLOOR, WINDOW_SHIFT};

/// The shortest time in which a window that was consumed counts as consumed fast, because
/// batches and timers are not finer.
const TUNING_MIN: Duration = Duration::from_millis(2);

/// The window does not grow in smaller steps, in bytes.
const STEP_MIN: u32 = WINDOW_FLOOR / 2;

impl Flow {
    /// The caller took `n` bytes, oldest first; at most what there is.
    pub(crate) fn consumed(&mut self, context: &mut Context, now: Instant, n: usize) {
        let earlier = self.taken.min(u32::try_from(n).unwrap_or(u32::MAX));
        self.taken -= earlier;
        let taken = earlier.saturating_add(self.remove(context, n - earlier as usize));
        self.unread = self.unread.saturating_sub(taken);
        self.recommit(context);
        self.tell_fin();
        if matches!(self.state, State::Finished) {
            return;
        }
        self.tune(context, now, taken);
        self.announce(context);
    }

    /// The oldest `n` bytes went to the caller, who has not consumed them yet.
    pub(crate) fn take(&mut self, context: &mut Context, n: usize) {
        let taken = self.remove(context, n);
        self.taken = self.taken.saturating_add(taken);
        self.tell_fin();
    }

    /// Removes up to `n` bytes from what was received, and says how many.
    fn remove(&mut self, context: &mut Context, n: usize) -> u32 {
        let mut left = n;
        while left > 0 {
            let Some(piece) = context.received.front_mut(&self.received) else {
                break;
            };
            let len = piece.len();
            if left < len {
                match piece {
                    Received::Packet(data) => {
                        data.start = data
                            .start
                            .saturating_add(u32::try_from(left).unwrap_or(u32::MAX));
                    }
                    Received::Stored(bytes) => bytes.advance(left),
                }
                left = 0;
            } else {
                left -= len;
                context.received.pop_front(&mut self.received);
            }
        }
        u32::try_from(n - left).unwrap_or(u32::MAX)
    }

    /// Doubles the window when a whole one was consumed within two round trips.
    fn tune(&mut self, context: &Context, now: Instant, taken: u32) {
        self.tuned_bytes = self.tuned_bytes.saturating_add(taken);
        let trip = self.rtt.smoothed().unwrap_or_default();
        let fast = (2 * trip).max(TUNING_MIN);
        let now = micros(now);
        let since = Duration::from_micros(now.wrapping_sub(self.tuned_at).into());
        let late = since > fast;
        if late {
            // What was taken now had longer than that to come.
            self.tuned_at = now;
            self.tuned_bytes = 0;
        }
        if self.tuned_bytes < self.window_limit {
            return;
        }
        self.tuned_at = now;
        self.tuned_bytes = 0;
        let scaled = if self.rcv_shift == 0 {
            u32::from(u16::MAX)
        } else {
            context.config.window_max
        };
        self.window_limit = self
            .window_limit
            .saturating_mul(2)
            .min(scaled.max(self.window_limit));
    }

    /// An acknowledgement at once when the window opened by much since the last one.
    fn announce(&mut self, context: &Context) {
        let room = self.rcv_edge.wrapping_sub(self.rcv_nxt);
        let grown = self.target_room(context).saturating_sub(room);
        let much = (self.window_limit / 2).min(2 * u32::from(self.mss).max(WINDOW_FLOOR));
        let closed = room < STEP_MIN && grown >= STEP_MIN;
        if grown >= much || closed {
            self.ack = AckDue::Now;
        }
    }

    /// Bytes that the peer may send from `rcv_nxt` on, if it were told now.
    fn target_room(&self, context: &Context) -> u32 {
        let room = self.rcv_edge.wrapping_sub(self.rcv_nxt);
        let wanted = self.window_limit.saturating_sub(self.unread);
        let grown = wanted.saturating_sub(room);
        let free = context
            .config
            .window_budget
            .saturating_sub(context.budget.windows);
        let floor = WINDOW_FLOOR.saturating_sub(self.unread.saturating_add(room));
        let free = u32::try_from(free).unwrap_or(u32::MAX).max(floor);
        room.saturating_add(grown.min(free))
    }

    /// Moves the window's edge to where it may be; the window field of a segment sent now.
    pub(crate) fn advertise(&mut self, context: &mut Context) -> u16 {
        let now = self.rcv_edge.wrapping_sub(self.rcv_nxt);
        let mut room = self.target_room(context);
        // Small steps would have the peer send small segments (RFC 9293 section 3.8.6.2.2).
        let step = (self.window_limit / 2)
            .min(u32::from(self.mss))
            .min(STEP_MIN);
        if room.saturating_sub(now) < step {
            room = now;
        }
        // The field counts in units: the edge goes where the peer will see it, never back.
        let field = Self::shifted(room, self.rcv_shift);
        let seen = u32::from(field) << self.rcv_shift;
        if seen > self.rcv_edge.wrapping_sub(self.rcv_nxt) {
            self.rcv_edge = self.rcv_nxt.wrapping_add(seen);
            self.recommit(context);
        }
        field
    }

    /// Brings the flow's part of the budget up to date.
    pub(crate) fn recommit(&mut self, context: &mut Context) {
        let room = self.rcv_edge.wrapping_sub(self.rcv_nxt);
        let committed = room.saturating_add(self.unread);
        let windows = &mut context.budget.windows;
        *windows = windows.saturating_sub(u64::from(self.committed)) + u64::from(committed);
        self.committed = committed;
    }
}

const _: () = assert!(WINDOW_SHIFT <= 14, "RFC 7323 section 2.3");
