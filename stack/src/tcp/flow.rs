//! One connection after its handshake.
use sansbox_core::Instant;

use super::congestion::Window;
use super::context::Context;
use super::half_open::HalfOpen;
use super::rtt::{Rtt, micros};
use super::scoreboard::Scoreboard;
use crate::config::{FIRST_FLIGHT_PAYLOAD, WINDOW_SHIFT};
use crate::event::ResetReason;
use crate::key::FlowKey;
use crate::list::{NIL, Queue};

/// States of RFC 9293 section 3.3.2 that a connection passes here. SYN-RECEIVED is a
/// [`HalfOpen`], TIME-WAIT a [`super::time_wait::TimeWait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    /// Nothing goes in or out; the caller has not polled the end yet.
    Finished,
}

/// What a segment or a timer did to the connection as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum After {
    Keep,
    /// It broke.
    Broken(ResetReason),
    /// Both directions ended, the peer's last.
    TimeWait,
    /// Both directions ended, ours last and acknowledged.
    Closed,
}

/// How soon an acknowledgement is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckDue {
    No,
    /// With `Flow::ack_at`, or together with data.
    Delayed,
    Now,
}

/// What `Flow::retransmit_at` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    None,
    /// Retransmission timeout (RFC 6298).
    Timeout,
    /// Tail loss probe (RFC 8985 section 7).
    TailProbe,
    /// Probe of a closed window (RFC 9293 section 3.8.6.1).
    WindowProbe,
}

/// News that the caller has not polled, as bits.
pub(crate) mod news {
    pub(crate) const OPEN: u8 = 1;
    pub(crate) const DATA: u8 = 1 << 1;
    pub(crate) const WRITABLE: u8 = 1 << 2;
    pub(crate) const FIN: u8 = 1 << 3;
    pub(crate) const END: u8 = 1 << 4;
}

/// Yes-or-no facts, as bits.
pub(crate) mod flag {
    /// The peer takes and sends selective acknowledgements.
    pub(crate) const SACK: u16 = 1;
    /// The caller wants to hear of room.
    pub(crate) const WANTS_ROOM: u16 = 1 << 1;
    /// The caller ended its direction.
    pub(crate) const FIN_QUEUED: u16 = 1 << 2;
    /// Where the peer's FIN stands is known.
    pub(crate) const FIN_SEEN: u16 = 1 << 3;
    /// All before the peer's FIN arrived.
    pub(crate) const FIN_RECEIVED: u16 = 1 << 4;
    /// The caller heard of the peer's FIN.
    pub(crate) const FIN_TOLD: u16 = 1 << 5;
    /// Some received pieces lie in the caller's batch.
    pub(crate) const IN_BATCH: u16 = 1 << 6;
    /// A tail loss probe is on its way.
    pub(crate) const PROBING: u16 = 1 << 7;
    /// A tail loss probe is due.
    pub(crate) const PROBE_DUE: u16 = 1 << 8;
    /// A window or keep-alive probe is due.
    pub(crate) const NUDGE_DUE: u16 = 1 << 9;
    /// A round trip is being measured.
    pub(crate) const TIMING: u16 = 1 << 10;
    /// The connection broke.
    pub(crate) const BROKEN: u16 = 1 << 11;
}

/// Three cache lines, which is most of what a packet costs with many flows: what a segment in
/// order reads and writes, what sending does, and what only losses and measurements need.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Flow {
    // Receiving.
    pub(crate) state: State,
    pub(crate) news: u8,
    pub(crate) flags: u16,
    pub(crate) ack: AckDue,
    /// Segments with payload since the last acknowledgement.
    pub(crate) unacked: u8,
    pub(crate) held_len: u8,
    pub(crate) rcv_shift: u8,
    pub(crate) rcv_nxt: u32,
    /// The right edge of the window as the peer knows it; never moves back.
    pub(crate) rcv_edge: u32,
    /// The last acknowledgement sent.
    pub(crate) rcv_acked: u32,
    /// Bytes in order that the caller did not consume.
    pub(crate) unread: u32,
    /// Those of them that the caller took already.
    pub(crate) taken: u32,
    /// What the window may be, tuned to what the caller consumes.
    pub(crate) window_limit: u32,
    /// This flow's part of `Budget::windows`.
    pub(crate) committed: u32,
    /// Bytes consumed since `tuned_at`.
    pub(crate) tuned_bytes: u32,
    /// Payload per segment, options not counted.
    pub(crate) mss: u16,
    /// Payload of one packet, as far as the peer has shown that it can take it.
    pub(crate) burst: u16,
    pub(crate) received: Queue,
    /// In microseconds; wraps, and then one window may be doubled too early.
    pub(crate) tuned_at: u32,
    pub(crate) ack_at: Instant,

    // Sending.
    pub(crate) snd_una: u32,
    /// What is sent next; behind `snd_max` after a timeout.
    pub(crate) snd_nxt: u32,
    /// Behind the last byte ever sent.
    pub(crate) snd_max: u32,
    /// Behind the last byte queued: where our FIN stands.
    pub(crate) snd_end: u32,
    pub(crate) snd_wnd: u32,
    /// The largest window that the peer had.
    pub(crate) snd_wnd_max: u32,
    pub(crate) snd_wl1: u32,
    pub(crate) snd_wl2: u32,
    pub(crate) chunks: Queue,
    pub(crate) retransmit_at: Instant,
    pub(crate) silent_at: Instant,
    pub(crate) chunks_len: u16,
    pub(crate) snd_shift: u8,
    pub(crate) duplicates: u8,
    /// Timeouts in a row.
    pub(crate) backoff: u8,
    /// Keep-alive probes in a row.
    pub(crate) probes: u8,
    pub(crate) alarm: Alarm,
    pub(crate) broken: ResetReason,

    // Losses and measurements.
    /// Only after a loss.
    pub(crate) scoreboard: Option<Box<Scoreboard>>,
    pub(crate) congestion: Window,
    pub(crate) rtt: Rtt,
    /// What measures the round trip, with `TIMING`.
    pub(crate) timed_seq: u32,
    /// In microseconds; wraps long after what is timed was sent again.
    pub(crate) timed_at: u32,
    /// The chunk that held the end of what was sent last, or [`NIL`].
    pub(crate) cursor: u32,
    /// Where the tail loss probe on its way ends, with `PROBING`.
    pub(crate) probe: u32,
    pub(crate) held: Queue,
    /// Where the segment begins that was held last.
    pub(crate) held_last: u32,
    /// Sequence number of the peer's FIN, with `FIN_SEEN`.
    pub(crate) rcv_fin: u32,
    pub(crate) challenged_at: Instant,
}

const _: () = assert!(
    size_of::<Option<Flow>>() == 192,
    "a flow is three cache lines"
);

impl Flow {
    /// The connection whose handshake `half` was, and which the peer's ACK completes at `now`.
    pub(crate) fn new(half: &HalfOpen, context: &mut Context, now: Instant) -> Self {
        let rcv_nxt = half.irs.wrapping_add(1);
        let snd_nxt = half.iss.wrapping_add(1);
        let window = u32::from(half.window_offered(context));
        let mss = half.send_mss(&context.config);
        let mut flow = Self {
            state: State::Established,
            news: 0,
            flags: if half.sack() { flag::SACK } else { 0 },
            ack: AckDue::No,
            unacked: 0,
            held_len: 0,
            rcv_shift: half.shift.map_or(0, |_| WINDOW_SHIFT),
            rcv_nxt,
            rcv_edge: rcv_nxt.wrapping_add(window),
            rcv_acked: rcv_nxt,
            unread: 0,
            taken: 0,
            window_limit: window,
            committed: 0,
            tuned_bytes: 0,
            mss,
            burst: FIRST_FLIGHT_PAYLOAD,
            received: Queue::default(),
            tuned_at: micros(now),
            ack_at: Instant::FAR,
            snd_una: snd_nxt,
            snd_nxt,
            snd_max: snd_nxt,
            snd_end: snd_nxt,
            snd_wnd: u32::from(half.window),
            snd_wnd_max: u32::from(half.window),
            snd_wl1: half.irs,
            snd_wl2: half.iss,
            chunks: Queue::default(),
            retransmit_at: Instant::FAR,
            silent_at: Instant::FAR,
            chunks_len: 0,
            snd_shift: half.shift.unwrap_or(0),
            duplicates: 0,
            backoff: 0,
            probes: 0,
            alarm: Alarm::None,
            broken: ResetReason::Peer,
            scoreboard: None,
            congestion: Window::new(context.config.congestion, mss),
            rtt: Rtt::default(),
            timed_seq: 0,
            timed_at: 0,
            cursor: NIL,
            probe: 0,
            held: Queue::default(),
            held_last: 0,
            rcv_fin: 0,
            challenged_at: Instant::ZERO,
        };
        if let Some(trip) = half.round_trip(now) {
            flow.rtt.sample(trip);
        }
        flow.recommit(context);
        flow.heard(context, now);
        flow
    }

    pub(crate) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn set(&mut self, flag: u16) {
        self.flags |= flag;
    }

    pub(crate) const fn unset(&mut self, flag: u16) {
        self.flags &= !flag;
    }

    pub(crate) const fn tell(&mut self, news: u8) {
        self.news |= news;
    }

    /// Something came from the peer: it is alive.
    pub(crate) fn heard(&mut self, context: &Context, now: Instant) {
        self.probes = 0;
        self.silent_at = context
            .config
            .keepalive
            .map_or(Instant::FAR, |silence| now + silence);
    }

    pub(crate) const fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Reads from each of its cache lines, so that they are on their way when they are needed.
    pub(crate) const fn touch(&self) -> u32 {
        self.rcv_nxt ^ self.snd_una ^ self.timed_seq
    }

    /// Could [`Flow::transmit`] have something to send?
    pub(crate) fn may_send(&self) -> bool {
        let waiting = self.snd_nxt != self.snd_end && !self.chunks.is_empty();
        let due = flag::NUDGE_DUE | flag::PROBE_DUE;
        self.ack == AckDue::Now
            || self.flags & due != 0
            || waiting
            || self.scoreboard.is_some()
            || self.fin_unsent()
    }

    /// When [`Flow::handle_timeout`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        if self.state == State::Finished {
            return Instant::FAR;
        }
        self.ack_at.min(self.retransmit_at).min(self.silent_at)
    }

    /// Gives back all that it shares with others.
    pub(crate) fn release(&mut self, context: &mut Context) {
        while context.received.pop_front(&mut self.received).is_some() {}
        self.release_held(context);
        self.release_chunks(context);
        self.unread = 0;
        self.taken = 0;
        self.rcv_edge = self.rcv_nxt;
        self.recommit(context);
    }

    /// The window field for the handshake and for segments, before the shift.
    pub(crate) fn shifted(window: u32, shift: u8) -> u16 {
        u16::try_from(window >> shift).unwrap_or(u16::MAX)
    }
}

/// A key and the sequence numbers of a segment about it, for packets without payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare {
    pub(crate) key: FlowKey,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
}
