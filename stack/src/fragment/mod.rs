//! Fragments of IP packets: put together ([`Reassembler`]) and made ([`fragment`]).
//!
//! Rules: RFC 791 section 3.2 and RFC 815 for IPv4, RFC 8200 section 4.5 for IPv6. Any overlap
//! loses the whole packet and all of its fragments still to come (RFC 5722), in IPv4 as well; an
//! exact repetition of a fragment is passed over (RFC 8200). A first fragment holds the transport
//! header, and no fragment reaches into a TCP header (RFC 1858, RFC 3128).
//!
//! Limits: [`Limits`] and [`FRAGMENTS_MAX`]. What is over them costs the oldest packet of the
//! source that has most in the making.
mod id;
mod reassembly;
mod split;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_split;

pub use id::Identification;
pub use reassembly::{Limits, Reassembler};
pub use split::{Fragments, fragment};

use crate::drops::drop_reasons;
use core::time::Duration;

/// How long the fragments of a packet are waited for, from the first that arrives.
pub const REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(30);
/// Packets in the making.
pub const CONTEXTS_MAX: usize = 64;
/// Memory of all packets in the making, in bytes.
pub const MEMORY_MAX: usize = 4 << 20;
/// Fragments of one packet: 64 KiB at an MTU of 576, and some.
pub const FRAGMENTS_MAX: usize = 128;

drop_reasons! {
    "fragment";
    /// Why a fragment, or a packet in the making, is lost.
    pub enum Drop, Drops {
        Whole => "whole": "A packet that is no fragment came to be reassembled.",
        Tiny => "tiny": "A first fragment without transport header, or one that reaches into a TCP header.",
        Duplicate => "duplicate": "The same fragment again.",
        Overlap => "overlap": "A fragment that overlaps another one: the packet is lost.",
        BadEnd => "bad_end": "Fragments that disagree on where the packet ends: the packet is lost.",
        Refused => "refused": "A later fragment of a lost packet.",
        TooMany => "too_many": "More than `FRAGMENTS_MAX` fragments: the packet is lost.",
        TooLong => "too_long": "The whole packet would be longer than IP allows.",
        EcnMixed => "ecn_mixed": "Fragments both marked and not ECN-capable (RFC 3168 section 5.3).",
        Evicted => "evicted": "A packet in the making gave way to a newer one.",
        TimedOut => "timed_out": "Fragments were missing for too long.",
        NoMemory => "no_memory": "Not even an empty table has room for it.",
        DontFragment => "dont_fragment": "An IPv4 packet with DF is longer than the MTU.",
        AlreadyFragment => "already_fragment": "An IPv6 fragment is longer than the MTU.",
        MtuTooSmall => "mtu_too_small": "The MTU has no room for headers and 8 bytes.",
    }
}
