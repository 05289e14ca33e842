//! Classes of faults on the way of connections and datagrams, and in the resolver.
use super::class::{FaultClass, Kind};
use crate::tcp::Segments;

/// Classes that are a rate of the weather.
macro_rules! weather {
    ($($kind:ident $name:literal $field:ident $about:literal)+) => {
        &[$(FaultClass::new(Kind::$kind, $name, $about, |world, draw| {
            world.net.core.weather.$field = draw.rate(world);
        })),+]
    };
}

pub(super) const WEATHER: &[FaultClass] = weather! {
    Path "dial-refused" dial_refused "a dial is answered with RST"
    Path "dial-unreachable" dial_unreachable "a dial is answered by a router"
    Path "dial-unanswered" dial_unanswered "a dial is never answered"
    Path "dial-slow" dial_slow "a dial takes seconds"
    Path "dial-exhausted" dial_exhausted "the dialling host has no file left"
    Path "connection-reset" connection_reset "a segment takes with it a reset of both ends"
    Path "segment-stalled" segment_stalled "a segment, and all behind it, comes seconds later"
    Path "datagram-lost" datagram_lost "a datagram is lost"
    Path "datagram-doubled" datagram_doubled "a datagram comes twice"
    Path "datagram-late" datagram_late "a datagram comes seconds later"
    Path "bind-refused" bind_refused "the host has no port left for a UDP socket"
    Names "lookup-missing" lookup_missing "a name does not exist for once"
    Names "lookup-failed" lookup_failed "a lookup fails"
    Names "lookup-slow" lookup_slow "a lookup takes seconds"
    Names "lookup-unanswered" lookup_unanswered "a lookup is never answered"
    Names "lookup-poisoned" lookup_poisoned "a lookup gives an address where nobody is"
    Names "lookup-truncated" lookup_truncated "a lookup gives the first address alone"
    Names "lookup-one-family" lookup_one_family "a lookup gives the addresses of one family alone"
};

pub(super) const SHAPES: &[FaultClass] = &[
    FaultClass::new(
        Kind::Path,
        "small-segments",
        "bytes come in small pieces",
        |world, draw| {
            let most = draw.between(world, 400, 1) as usize;
            let change = |path: &mut crate::tcp::Path| path.segments = Segments::UpTo(most);
            world.net.tcp.change_paths(change);
        },
    ),
    FaultClass::new(
        Kind::Path,
        "small-window",
        "receivers have little room",
        |world, draw| {
            let most = draw.between(world, 8192, 100) as usize;
            world.net.tcp.change_paths(|path| path.window = most);
        },
    ),
    FaultClass::new(
        Kind::Path,
        "small-send-buffer",
        "senders have little room",
        |world, draw| {
            let most = draw.between(world, 8192, 100) as usize;
            world.net.tcp.change_paths(|path| path.send_buffer = most);
        },
    ),
    FaultClass::new(
        Kind::Path,
        "short-datagrams",
        "long datagrams are lost",
        |world, draw| {
            let most = draw.between(world, 1400, 300) as usize;
            world.net.udp.change_paths(|path| path.payload_max = most);
        },
    ),
];
