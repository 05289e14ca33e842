//! Timers: retransmission, tail loss probe, probes of a closed window, keep-alive.
use std::time::Duration;

use sansbox_core::Instant;

use super::context::Context;
use super::flow::{AckDue, After, Alarm, Flow, State, flag};
use super::scoreboard::{Phase, Scoreboard};
use super::seq::distance;
use crate::config::{
    FIRST_FLIGHT_PAYLOAD, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES_MAX, RETRANSMITS_MAX, RTO_MIN,
};
use crate::event::ResetReason;
use crate::list::NIL;

/// A tail loss probe does not come earlier.
const TAIL_PROBE_MIN: Duration = Duration::from_millis(10);

impl Flow {
    /// Acts on timers that are due.
    pub(crate) fn handle_timeout(&mut self, context: &mut Context, now: Instant) -> After {
        if self.state == State::Finished {
            return After::Keep;
        }
        if now >= self.ack_at {
            self.ack_at = Instant::FAR;
            self.ack = AckDue::Now;
        }
        if now >= self.silent_at {
            let end = self.keep_alive(context, now);
            if end != After::Keep {
                return end;
            }
        }
        if now < self.retransmit_at {
            return After::Keep;
        }
        self.retransmit_at = Instant::FAR;
        match std::mem::replace(&mut self.alarm, Alarm::None) {
            Alarm::None => After::Keep,
            Alarm::Timeout => self.time_out(context, now),
            Alarm::TailProbe => {
                context.counters.tail_probes += 1;
                self.set(flag::PROBE_DUE);
                self.alarm = Alarm::Timeout;
                self.retransmit_at = now + self.rtt.timeout(self.backoff);
                After::Keep
            }
            Alarm::WindowProbe if self.backoff >= RETRANSMITS_MAX => {
                context.counters.timed_out += 1;
                After::Broken(ResetReason::Timeout)
            }
            Alarm::WindowProbe => {
                context.counters.window_probes += 1;
                self.backoff += 1;
                self.set(flag::NUDGE_DUE);
                self.alarm = Alarm::WindowProbe;
                self.retransmit_at = now + self.rtt.timeout(self.backoff);
                After::Keep
            }
        }
    }

    /// Everything from the first gap on is sent again, slowly (RFC 6298 section 5, RFC 5681).
    fn time_out(&mut self, context: &mut Context, now: Instant) -> After {
        if self.backoff >= RETRANSMITS_MAX {
            context.counters.timed_out += 1;
            return After::Broken(ResetReason::Timeout);
        }
        context.counters.timeouts += 1;
        let flight = distance(self.snd_una, self.snd_nxt);
        self.congestion
            .collapse(flight, self.mss, self.backoff == 0);
        self.backoff += 1;
        let una = self.snd_una;
        let board = self
            .scoreboard
            .get_or_insert_with(|| Box::new(Scoreboard::new(una)));
        board.forget();
        board.phase = Phase::Timeout;
        board.recover = self.snd_max;
        self.snd_nxt = self.snd_una;
        self.cursor = NIL;
        self.duplicates = 0;
        self.burst = FIRST_FLIGHT_PAYLOAD;
        self.unset(flag::TIMING | flag::PROBING | flag::PROBE_DUE);
        // The packet may be lost before it is sent: the timer runs until progress is made.
        self.alarm = Alarm::Timeout;
        self.retransmit_at = now + self.rtt.timeout(self.backoff);
        After::Keep
    }

    fn keep_alive(&mut self, context: &mut Context, now: Instant) -> After {
        if self.probes >= KEEPALIVE_PROBES_MAX {
            context.counters.timed_out += 1;
            return After::Broken(ResetReason::Silent);
        }
        self.probes += 1;
        self.silent_at = now + KEEPALIVE_INTERVAL;
        // What is on its way has a timer of its own.
        if self.snd_una == self.snd_max {
            context.counters.keepalive_probes += 1;
            self.set(flag::NUDGE_DUE);
        }
        After::Keep
    }

    /// Arms the alarm for what is on its way, or for what the window does not let out. One that
    /// runs is left alone.
    pub(crate) fn arm(&mut self, now: Instant) {
        if self.snd_una == self.snd_max {
            let waiting = self.unsent() > 0 || self.fin_unsent();
            if !waiting {
                self.disarm();
            } else if self.alarm != Alarm::WindowProbe {
                self.alarm = Alarm::WindowProbe;
                self.retransmit_at = now + self.rtt.timeout(self.backoff);
            }
            return;
        }
        if matches!(self.alarm, Alarm::Timeout | Alarm::TailProbe) {
            return;
        }
        self.alarm = Alarm::Timeout;
        self.retransmit_at = now + self.rtt.timeout(self.backoff);
        self.arm_tail_probe(now);
    }

    /// After new payload was sent: the probe waits for the end of the flight.
    pub(crate) fn arm_after_sending(&mut self, now: Instant) {
        if self.alarm == Alarm::WindowProbe {
            self.alarm = Alarm::None;
            self.backoff = 0;
        }
        self.arm(now);
        self.arm_tail_probe(now);
    }

    /// Replaces the timeout by an earlier probe where the peer reports what arrived.
    fn arm_tail_probe(&mut self, now: Instant) {
        let flight = distance(self.snd_una, self.snd_nxt);
        let calm = self.scoreboard.is_none() && self.backoff == 0;
        if !self.has(flag::SACK) || self.has(flag::PROBING) || !calm || flight == 0 {
            return;
        }
        let Some(trip) = self.rtt.smoothed() else {
            return;
        };
        // A single segment's acknowledgement may be delayed.
        let delayed = if flight <= u32::from(self.mss) {
            RTO_MIN
        } else {
            Duration::ZERO
        };
        let probe = now + (2 * trip + delayed).max(TAIL_PROBE_MIN);
        let moves = self.alarm == Alarm::TailProbe && probe < now + self.rtt.timeout(0);
        if moves || (self.alarm == Alarm::Timeout && probe < self.retransmit_at) {
            self.alarm = Alarm::TailProbe;
            self.retransmit_at = probe;
        }
    }

    fn disarm(&mut self) {
        self.alarm = Alarm::None;
        self.retransmit_at = Instant::FAR;
        self.backoff = 0;
    }
}
