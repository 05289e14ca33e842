//! The classes of faults that a swarm draws from.
use super::swarm::Draw;
use crate::net::Weather;

/// A class of faults.
pub(crate) struct FaultClass {
    /// Its name, unique.
    pub(crate) name: &'static str,
    /// Puts it on a world, with rates as drawn.
    pub(crate) install: fn(&mut Weather, &mut Draw<'_>),
}

macro_rules! weather {
    ($($name:literal $field:ident)+) => {
        &[$(FaultClass {
            name: $name,
            install: |weather, draw| weather.$field = draw.rate(),
        }),+]
    };
}

pub(crate) const ALL: &[FaultClass] = weather! {
    "dial-refused" dial_refused
    "dial-unreachable" dial_unreachable
    "dial-unanswered" dial_unanswered
    "dial-slow" dial_slow
    "dial-exhausted" dial_exhausted
    "connection-reset" connection_reset
    "segment-stalled" segment_stalled
    "lookup-missing" lookup_missing
    "lookup-failed" lookup_failed
    "lookup-slow" lookup_slow
    "lookup-unanswered" lookup_unanswered
    "datagram-lost" datagram_lost
    "datagram-doubled" datagram_doubled
    "datagram-late" datagram_late
    "bind-refused" bind_refused
};
