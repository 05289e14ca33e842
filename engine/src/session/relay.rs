//! A session in passthrough: the driver moves the bytes, this counts them and knows when to end.
use super::Next;
use crate::{
    effects::Effects,
    ids::Slot,
    machine::{Action, Input},
    record::{CloseReason, Record},
};
use core::time::Duration;
use sansbox_core::{End, Instant};

/// How long a relay may be silent. Dead peers are found by TCP keep-alive long before; this only
/// bounds what nobody uses any more.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// The same once one direction has ended.
pub(crate) const HALF_CLOSED_IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A relay that the driver runs.
#[derive(Debug)]
pub(crate) struct Relay {
    upstream: Slot,
    client_ended: bool,
    upstream_ended: bool,
    idle: Idle,
}

impl Relay {
    pub(crate) fn new(now: Instant, upstream: Slot) -> Self {
        let idle = Idle::new(now, IDLE_TIMEOUT);
        Self {
            upstream,
            client_ended: false,
            upstream_ended: false,
            idle,
        }
    }

    pub(crate) fn apply(
        &mut self,
        now: Instant,
        record: &mut Record,
        fx: &mut Effects,
        input: Input<'_>,
    ) -> Next {
        match input {
            Input::Relayed(slot, bytes) => {
                let direction = if slot == Slot::CLIENT {
                    &mut record.bytes_up
                } else {
                    &mut record.bytes_down
                };
                *direction += bytes;
                self.idle.touch(now);
                Next::Stay
            }
            Input::Ended(slot, End::Reset) => {
                let reason = if slot == Slot::CLIENT {
                    CloseReason::ClientReset
                } else {
                    CloseReason::UpstreamReset
                };
                self.close(fx, End::Reset, reason)
            }
            Input::Ended(slot, _) => {
                let ended = if slot == Slot::CLIENT {
                    &mut self.client_ended
                } else {
                    &mut self.upstream_ended
                };
                *ended = true;
                self.idle.shorten(now, HALF_CLOSED_IDLE_TIMEOUT);
                if self.client_ended && self.upstream_ended {
                    return self.close(fx, End::Fin, CloseReason::Completed);
                }
                Next::Stay
            }
            Input::Tick if self.idle.is_over(now, self.timeout()) => {
                self.close(fx, End::Reset, CloseReason::IdleTimeout)
            }
            Input::Stop => self.close(fx, End::Reset, CloseReason::Stopped),
            Input::Tick
            | Input::Received(..)
            | Input::Drained(..)
            | Input::Datagram { .. }
            | Input::DatagramError { .. }
            | Input::Done(..) => Next::Stay,
        }
    }

    fn close(&self, fx: &mut Effects, how: End, reason: CloseReason) -> Next {
        fx.push(Action::Close(Slot::CLIENT, how));
        fx.push(Action::Close(self.upstream, how));
        Next::Finish(reason)
    }

    const fn timeout(&self) -> Duration {
        if self.client_ended || self.upstream_ended {
            HALF_CLOSED_IDLE_TIMEOUT
        } else {
            IDLE_TIMEOUT
        }
    }

    pub(crate) const fn poll_timeout(&self) -> Instant {
        self.idle.poll_timeout()
    }
}

/// An idle timer that is moved only when it fires, so that bytes cost no timer work. The owner
/// knows the timeout, so that a session in passthrough stays small.
#[derive(Debug)]
pub(crate) struct Idle {
    last: Instant,
    check_at: Instant,
}

impl Idle {
    pub(crate) fn new(now: Instant, timeout: Duration) -> Self {
        Self {
            last: now,
            check_at: now + timeout,
        }
    }

    /// Something moved.
    pub(crate) const fn touch(&mut self, now: Instant) {
        self.last = now;
    }

    /// A shorter timeout holds from now on.
    pub(crate) fn shorten(&mut self, now: Instant, timeout: Duration) {
        self.last = now;
        self.check_at = self.check_at.min(now + timeout);
    }

    /// Whether nothing moved for `timeout`; moves the timer when something did.
    pub(crate) fn is_over(&mut self, now: Instant, timeout: Duration) -> bool {
        if now < self.check_at {
            return false;
        }
        self.check_at = self.last + timeout;
        now >= self.check_at
    }

    pub(crate) const fn poll_timeout(&self) -> Instant {
        self.check_at
    }
}
