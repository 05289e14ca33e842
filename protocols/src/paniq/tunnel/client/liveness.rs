//! Whether the other end of a tunnel answers.
use sansbox_core::Instant;
use sansbox_quic::Activity;
use std::time::Duration;

/// How long a peer may wait with an acknowledgement (RFC 9000 section 18.2).
const ACK_DELAY_MAX: Duration = Duration::from_millis(26);

/// Probe timeouts without an answer after which a tunnel is suspected to be dead.
const PROBES_UNANSWERED: u32 = 3;

/// Probe timeouts without an answer before which no tunnel is dead: while what was lost fills the
/// congestion window, probes alone are sent, and their distance doubles (RFC 9002 section 6.2.1).
const PROBES_DEAD: u32 = 16;

/// Not before this, however short the round trip is.
const SILENCE_DEAD: Duration = Duration::from_secs(2);

/// Does the peer answer?
#[derive(Debug, Default)]
pub(super) struct Liveness {
    last: Activity,
    /// When the first thing was sent that nothing answered.
    pub(super) asked_at: Option<Instant>,
}

impl Liveness {
    pub(super) fn update(&mut self, now: Instant, activity: Activity) {
        if activity.answers != self.last.answers {
            self.asked_at = None;
        } else if activity.asked != self.last.asked && self.asked_at.is_none() {
            self.asked_at = Some(now);
        }
        self.last = activity;
    }

    pub(super) fn silent_at(&self) -> Option<Instant> {
        let silence = self.probe() * PROBES_UNANSWERED;
        self.asked_at.map(|at| at + silence)
    }

    pub(super) fn dead_at(&self) -> Option<Instant> {
        let silence = (self.probe() * PROBES_DEAD).max(SILENCE_DEAD);
        self.asked_at.map(|at| at + silence)
    }

    /// A probe timeout: RFC 9002 section 6.2.1, with half a round trip for its variation.
    pub(super) fn probe(&self) -> Duration {
        self.last.rtt + self.last.rtt / 2 + ACK_DELAY_MAX
    }
}
