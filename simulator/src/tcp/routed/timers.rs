//! Retransmission, window probes and keep-alive (RFC 6298, RFC 1122 section 4.2.3.6).
use super::conn::{Conn, Phase};
use crate::tcp::{stack::StackCx, table::Owner};
use core::time::Duration;
use sansbox_core::{Instant, Refusal};

/// First time to wait for the answer to a SYN.
const RTO_FIRST: Duration = Duration::from_secs(1);
/// Shortest time to wait for an acknowledgement (Linux, `TCP_RTO_MIN`).
const RTO_MIN: Duration = Duration::from_millis(200);
/// Longest (Linux, `TCP_RTO_MAX`).
const RTO_MAX: Duration = Duration::from_secs(120);
/// How often a SYN is sent again (Linux, `tcp_syn_retries`): 127 seconds in all.
const SYN_RETRIES: u32 = 6;
/// How often a SYN-ACK is (Linux, `tcp_synack_retries`).
const SYN_ACK_RETRIES: u32 = 5;
/// How often payload is (Linux, `tcp_retries2`).
const RETRIES: u32 = 15;
/// Acknowledgements of the same that mean a loss (RFC 5681).
const REPEATS: u32 = 3;
/// Keep-alive probes before a connection is given up.
const PROBES: u32 = 9;

/// What a connection waits for, and how long answers take.
#[derive(Debug)]
pub(super) struct Timers {
    rto: Duration,
    rto_at: Option<Instant>,
    tries: u32,
    /// Smoothed round-trip time and its variation.
    rtt: Option<(Duration, Duration)>,
    /// What is timed: the offset whose acknowledgement ends it, and when it was sent.
    timed: Option<(u64, Instant)>,
    repeats: u32,
    /// Everything below was sent when a loss was noticed.
    pub(super) recover: u64,
    heard_at: Instant,
    probes: u32,
}

impl Timers {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            rto: RTO_FIRST,
            rto_at: None,
            tries: 0,
            rtt: None,
            timed: Some((0, now)),
            repeats: 0,
            recover: 0,
            heard_at: now,
            probes: 0,
        }
    }

    pub(super) fn arm_syn(&mut self, now: Instant) {
        if self.rto_at.is_none_or(|at| at <= now) {
            self.rto_at = Some(now + self.rto);
        }
    }

    /// The other side was heard.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.probes = 0;
    }

    pub(super) fn established(&mut self) {
        self.rto_at = None;
        self.tries = 0;
        self.timed = None;
        if self.rtt.is_none() {
            self.rto = RTO_FIRST;
        }
    }

    /// The answer to a SYN has come; one that was sent again says nothing (Karn).
    pub(super) fn sample_syn(&mut self, now: Instant) {
        if let Some((_, sent)) = self.timed
            && self.tries == 0
        {
            self.sample(now.saturating_duration_since(sent));
        }
    }

    fn sample(&mut self, took: Duration) {
        let (smooth, variation) = match self.rtt {
            None => (took, took / 2),
            Some((smooth, variation)) => (
                (smooth * 7 + took) / 8,
                (variation * 3 + smooth.abs_diff(took)) / 4,
            ),
        };
        self.rtt = Some((smooth, variation));
        self.rto = (smooth + variation * 4).clamp(RTO_MIN, RTO_MAX);
    }

    /// New payload up to `until` was sent: time it, unless something is timed.
    pub(super) const fn time(&mut self, now: Instant, until: u64) {
        if self.timed.is_none() {
            self.timed = Some((until, now));
        }
    }

    pub(super) fn keep_armed(&mut self, now: Instant, waits: bool) {
        if !waits {
            self.rto_at = None;
        } else if self.rto_at.is_none() {
            self.rto_at = Some(now + self.rto);
        }
    }

    /// Something new was acknowledged.
    pub(super) fn progress(&mut self, now: Instant, ack: u64) {
        self.repeats = 0;
        self.restart();
        if let Some((until, sent)) = self.timed
            && ack >= until
        {
            self.timed = None;
            self.sample(now.saturating_duration_since(sent));
        }
    }

    /// What was waited for has come: the next wait is a short one.
    pub(super) fn restart(&mut self) {
        self.tries = 0;
        self.rto_at = None;
        self.rto = match self.rtt {
            Some((smooth, variation)) => (smooth + variation * 4).clamp(RTO_MIN, RTO_MAX),
            None => RTO_FIRST,
        };
    }

    pub(super) const fn is_third_repeat(&mut self) -> bool {
        self.repeats += 1;
        self.repeats == REPEATS
    }
}

impl Conn {
    /// When this end has something to do on its own.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.owner == Owner::Vanished || self.forget_at.is_some() {
            return None;
        }
        match self.phase {
            Phase::Dead => None,
            Phase::SynSent | Phase::SynReceived => self.clock.rto_at,
            Phase::Open => Some(match self.clock.rto_at {
                Some(at) => at,
                None => self.keep_alive_at(),
            }),
        }
    }

    fn keep_alive_at(&self) -> Instant {
        // Half of the time idle, the rest in probes.
        let half = self.path.keep_alive / 2;
        self.clock.heard_at + half + half / PROBES * self.clock.probes
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut StackCx<'_>) {
        let now = cx.now();
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.clock.rto_at.is_none() {
            self.probe(cx);
            return;
        }
        let retries = match self.phase {
            Phase::SynSent => SYN_RETRIES,
            Phase::SynReceived => SYN_ACK_RETRIES,
            Phase::Open | Phase::Dead => RETRIES,
        };
        let is_window_probe = self.phase == Phase::Open && self.send.acked == self.send.highest;
        if self.clock.tries >= retries && !(is_window_probe && self.clock.heard_lately(now)) {
            self.die(cx, Refusal::TimedOut);
            return;
        }
        self.clock.tries += 1;
        self.clock.rto = (self.clock.rto * 2).min(RTO_MAX);
        self.clock.rto_at = Some(now + self.clock.rto);
        self.clock.timed = None;
        match self.phase {
            Phase::SynSent | Phase::SynReceived => self.send_syn(cx),
            Phase::Open if is_window_probe => self.send_probe(cx),
            Phase::Open => self.send_all_again(cx),
            Phase::Dead => {}
        }
    }

    fn probe(&mut self, cx: &mut StackCx<'_>) {
        if self.clock.probes >= PROBES {
            self.die(cx, Refusal::TimedOut);
            return;
        }
        self.clock.probes += 1;
        self.send_probe(cx);
    }
}

impl Timers {
    /// Somebody answered within the last wait.
    fn heard_lately(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) <= RTO_MAX
    }
}
