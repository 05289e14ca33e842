//! How much may be on its way (RFC 5681).
use crate::config::Congestion;

/// Segments at the start with [`Congestion::Reno`] (RFC 6928).
const START_SEGMENTS: u32 = 10;
/// The congestion window where nothing limits it but the peer's window.
const UNLIMITED: u32 = 1 << 30;

/// Congestion window and slow-start threshold, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) window: u32,
    threshold: u32,
}

impl Window {
    pub(crate) fn new(congestion: Congestion, mss: u16) -> Self {
        let window = match congestion {
            Congestion::Local => UNLIMITED,
            Congestion::Reno => START_SEGMENTS * u32::from(mss),
        };
        Self {
            window,
            threshold: UNLIMITED,
        }
    }

    /// `acked` bytes arrived in order while `flight` bytes were on their way.
    pub(crate) fn acked(&mut self, acked: u32, flight: u32, mss: u16) {
        // A window that was not used says nothing about a larger one (RFC 7661).
        if flight < self.window / 2 {
            return;
        }
        let grown = if self.window < self.threshold {
            acked.min(self.threshold - self.window)
        } else {
            let grown = u64::from(mss) * u64::from(acked) / u64::from(self.window.max(1));
            u32::try_from(grown).unwrap_or(u32::MAX).max(1)
        };
        self.window = self.window.saturating_add(grown).min(UNLIMITED);
    }

    /// A loss was found while `flight` bytes were on their way.
    pub(crate) fn halve(&mut self, flight: u32, mss: u16) {
        self.threshold = (flight / 2).max(2 * u32::from(mss));
        self.window = self.threshold;
    }

    /// The timer fired while `flight` bytes were on their way.
    pub(crate) fn collapse(&mut self, flight: u32, mss: u16, first: bool) {
        if first {
            self.threshold = (flight / 2).max(2 * u32::from(mss));
        }
        self.window = u32::from(mss);
    }

    /// What was lost has arrived.
    pub(crate) const fn recovered(&mut self) {
        self.window = self.threshold;
    }
}
