//! What goes wrong on the way by itself, and how often. All of it is drawn as hazards, so each
//! single event can be taken away.
use super::Core;
use crate::transcript::{Place, Tag};
use core::{fmt, time::Duration};

/// How often each thing goes wrong, in a million; 0: never, and nothing is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// A dial is answered with RST.
    pub dial_refused: u32,
    /// A dial is answered by a router on the way.
    pub dial_unreachable: u32,
    /// A dial is never answered.
    pub dial_unanswered: u32,
    /// A dial takes seconds longer.
    pub dial_slow: u32,
    /// The dialling host has no file left.
    pub dial_exhausted: u32,
    /// A segment takes with it a reset of both ends.
    pub connection_reset: u32,
    /// A segment, and all behind it, comes seconds later.
    pub segment_stalled: u32,
    /// A name does not exist for once.
    pub lookup_missing: u32,
    /// A lookup fails.
    pub lookup_failed: u32,
    /// A lookup takes seconds longer.
    pub lookup_slow: u32,
    /// A lookup is never answered.
    pub lookup_unanswered: u32,
    /// A lookup gives an address where nobody is.
    pub lookup_poisoned: u32,
    /// A lookup gives the first address alone.
    pub lookup_truncated: u32,
    /// A lookup gives the addresses of one family alone.
    pub lookup_one_family: u32,
    /// A datagram is lost.
    pub datagram_lost: u32,
    /// A datagram comes twice.
    pub datagram_doubled: u32,
    /// A datagram comes seconds later.
    pub datagram_late: u32,
    /// The host has no port or file left for a UDP socket.
    pub bind_refused: u32,
}

impl Weather {
    /// Does nothing happen to datagrams?
    pub(crate) const fn spares_datagrams(&self) -> bool {
        self.datagram_lost | self.datagram_doubled | self.datagram_late == 0
    }
}

/// Longest that slow things take longer.
const SLOWER_MAX: Duration = Duration::from_secs(20);

impl Core {
    /// Does this go wrong? Drawn from the stream `fault/CLASS/WHAT`.
    pub(crate) fn strikes(&mut self, rate: u32, class: &str, what: fmt::Arguments<'_>) -> bool {
        if rate == 0 {
            return false;
        }
        let stream = self.streams.open(&format!("fault/{class}/{what}"));
        let strikes = self.streams.hazard(stream, rate);
        if strikes && self.transcript.keeps() {
            let when = (self.now, self.streams.decisions().len());
            let text = format!("{class} strikes {what}");
            let fault = (Tag::Fault, 0);
            self.transcript
                .sketch(when, Place::World, fault, None, text.as_bytes());
        }
        strikes
    }

    /// From here on nothing goes wrong by itself.
    pub(crate) fn heal(&mut self) {
        self.weather = Weather::default();
        self.streams.heal();
    }

    /// How much longer something takes that takes longer.
    pub(crate) fn slower(&mut self, class: &str, what: fmt::Arguments<'_>) -> Duration {
        let stream = self.streams.open(&format!("fault/{class}/{what}/time"));
        let millis = SLOWER_MAX.as_millis() as u64;
        Duration::from_millis(1 + self.streams.below(stream, millis))
    }
}
