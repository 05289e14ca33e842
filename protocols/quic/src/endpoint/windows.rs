//! Windows that grow with what a path needs, as long as all connections of an endpoint together
//! stay within a budget.
use super::{Connection, ConnectionId, Endpoint};
use core::time::Duration;
use quinn_proto as quic;
use sansbox_core::Instant;

/// Octets that may be on their way to this end over one connection, and octets that one keeps until
/// they are acknowledged. Windows are promises and no memory, until somebody stops reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The receive window at first: the transport's `receive_window`.
    pub receive: u64,
    /// The least that it is once streams have grown: more than the transport's
    /// `stream_receive_window`, or one stream that nobody reads stops the others.
    pub receive_grown: u64,
    /// The most.
    pub receive_max: u64,
    /// Octets read after which streams may have grown.
    pub grows_after: u64,
    /// The send window at first: the transport's `send_window`.
    pub send: u64,
    /// The most. In between it is twice what congestion control allows.
    pub send_max: u64,
    /// What all connections may have together above their first windows.
    pub budget: u64,
}

/// How long nothing is read before a receive window is as it was at first.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// Parts of an epoch's round trips: a window that lasts longer than this is long enough.
const ROUND_TRIPS: u128 = 4;

/// The windows of one connection.
#[derive(Debug)]
pub(super) struct Tuned {
    receive: u64,
    send: u64,
    /// Octets read since the epoch began, and ever.
    read: u64,
    read_ever: u64,
    epoch: Instant,
}

impl Tuned {
    pub(super) const fn new(windows: &Windows) -> Self {
        Self {
            receive: windows.receive,
            send: windows.send,
            read: 0,
            read_ever: 0,
            epoch: Instant::ZERO,
        }
    }

    /// What is taken of the budget.
    const fn extra(&self, windows: &Windows) -> u64 {
        self.receive.saturating_sub(windows.receive) + self.send.saturating_sub(windows.send)
    }

    /// The receive window that is wanted at `now`, with a round trip of `rtt`. It doubles where half
    /// of it was read in less than two round trips, as with the Go programs' QUIC.
    fn wanted_receive(&mut self, now: Instant, rtt: Duration, windows: &Windows) -> u64 {
        let mut wanted = self.receive;
        if self.read_ever >= windows.grows_after {
            wanted = wanted.max(windows.receive_grown);
        }
        if self.read >= self.receive / 2 {
            let took = now.saturating_duration_since(self.epoch).as_nanos();
            let enough = ROUND_TRIPS * u128::from(self.read) * rtt.as_nanos();
            if took * u128::from(self.receive) < enough {
                wanted = wanted.max(self.receive * 2);
            }
            (self.epoch, self.read) = (now, 0);
        }
        wanted.min(windows.receive_max)
    }
}

impl Connection {
    fn extra(&self, windows: &Windows) -> u64 {
        let tuned = self.windows.as_ref();
        tuned.map_or(0, |tuned| tuned.extra(windows))
    }

    /// Notes that `n` octets were read.
    pub(super) const fn note_read(&mut self, now: Instant, n: u64) {
        if let Some(tuned) = &mut self.windows {
            if tuned.read == 0 {
                tuned.epoch = now;
            }
            tuned.read += n;
            tuned.read_ever += n;
        }
    }

    /// Grows or shrinks the windows within `left` octets of budget. Returns what is left then.
    pub(super) fn tune(&mut self, now: Instant, windows: &Windows, left: u64) -> u64 {
        let Some(tuned) = &mut self.windows else {
            return left;
        };
        let left = left + tuned.extra(windows);
        let receive = tuned.wanted_receive(now, self.quic.rtt(), windows);
        if receive > tuned.receive && receive - windows.receive + tuned.send - windows.send <= left
        {
            tuned.receive = receive;
            self.quic.set_receive_window(var_int(receive));
        }
        let allowed = self.quic.congestion_state().window().saturating_mul(2);
        let send = allowed.clamp(windows.send, windows.send_max);
        // Not with each acknowledgement.
        let is_far = send > tuned.send || send < tuned.send / 4;
        if is_far && send - windows.send + tuned.receive - windows.receive <= left {
            tuned.send = send;
            self.quic.set_send_window(send);
        }
        left.saturating_sub(tuned.extra(windows))
    }

    /// Takes back what was given where nothing was read for long.
    fn relax(&mut self, now: Instant, windows: &Windows) {
        if let Some(tuned) = &mut self.windows
            && tuned.receive > windows.receive
            && now >= tuned.epoch + IDLE_AFTER
        {
            tuned.receive = windows.receive;
            (tuned.read, tuned.read_ever) = (0, 0);
            self.quic.set_receive_window(var_int(windows.receive));
        }
    }
}

impl Endpoint {
    /// Lets windows grow as `windows` says.
    #[must_use]
    pub const fn with_windows(mut self, windows: Windows) -> Self {
        self.windows = Some(windows);
        self.budget = windows.budget;
        self
    }

    /// Octets of the budget that no connection has taken.
    #[must_use]
    pub const fn budget_left(&self) -> u64 {
        self.budget
    }

    /// A connection was read from, or acknowledged to.
    pub(super) fn tune(&mut self, now: Instant, id: ConnectionId) {
        if let Some(windows) = &self.windows
            && let Some(connection) = self.connections.get_mut(&id)
        {
            self.budget = connection.tune(now, windows, self.budget);
        }
    }

    /// A timer of a connection fired.
    pub(super) fn relax(&mut self, now: Instant, id: ConnectionId) {
        if let Some(windows) = &self.windows
            && let Some(connection) = self.connections.get_mut(&id)
        {
            let before = connection.extra(windows);
            connection.relax(now, windows);
            self.budget += before - connection.extra(windows);
        }
    }

    /// A connection is gone.
    pub(super) fn untune(&mut self, connection: &Connection) {
        if let Some(windows) = &self.windows {
            self.budget += connection.extra(windows);
        }
    }
}

fn var_int(n: u64) -> quic::VarInt {
    quic::VarInt::from_u64(n).unwrap_or(quic::VarInt::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows {
        receive: 1000,
        receive_grown: 3000,
        receive_max: 10_000,
        grows_after: 400,
        send: 1000,
        send_max: 9000,
        budget: 20_000,
    };
    const RTT: Duration = Duration::from_millis(100);

    fn wanted(receive: u64, read: u64, read_ever: u64, took: u64) -> u64 {
        let mut tuned = Tuned {
            receive,
            read,
            read_ever,
            ..Tuned::new(&WINDOWS)
        };
        let now = Instant::ZERO + Duration::from_millis(took);
        tuned.wanted_receive(now, RTT, &WINDOWS)
    }

    #[test]
    fn a_window_doubles_where_half_of_it_lasts_less_than_two_round_trips() {
        assert_eq!(wanted(4000, 2000, 9000, 199), 8000);
        assert_eq!(wanted(4000, 2000, 9000, 200), 4000);
        assert_eq!(wanted(4000, 1999, 9000, 1), 4000);
        assert_eq!(wanted(8000, 4000, 9000, 1), 10_000, "there is a most");
    }

    #[test]
    fn it_has_room_for_a_grown_stream_and_others() {
        assert_eq!(wanted(1000, 399, 399, 1), 1000);
        assert_eq!(wanted(1000, 400, 400, 1), 3000);
    }
}
