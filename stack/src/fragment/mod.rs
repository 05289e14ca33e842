//! Fragments of IP packets: put together ([`Reassembler`]) and made ([`fragment`]).
//!
//! Rules: RFC 791 section 3.2 and RFC 815 for IPv4, RFC 8200 section 4.5 for IPv6. Any overlap
//! loses the whole packet and all of its fragments still to come (RFC 5722), in IPv4 as well; an
//! exact repetition of a fragment is passed over (RFC 8200). A first fragment holds the transport
//! header, and no fragment reaches into a TCP header (RFC 1858, RFC 3128).
//!
//! Limits: [`Limits`] and [`FRAGMENTS_MAX`]. What is over them costs the oldest packet of the
//! source that has most in the making.
//!
//! | why it is dropped | when |
//! |---|---|
//! | `whole` | a packet that is no fragment came to be reassembled |
//! | `tiny` | a first fragment without transport header, or one that reaches into a TCP header |
//! | `duplicate` | the same fragment again |
//! | `overlap` | a fragment that overlaps another one: the packet is lost |
//! | `bad_end` | fragments that disagree on where the packet ends: the packet is lost |
//! | `refused` | a later fragment of a lost packet |
//! | `too_many` | more than [`FRAGMENTS_MAX`] fragments: the packet is lost |
//! | `too_long` | the whole packet would be longer than IP allows |
//! | `ecn_mixed` | fragments both marked and not ECN-capable (RFC 3168 section 5.3) |
//! | `evicted` | a packet in the making gave way to a newer one |
//! | `timed_out` | fragments were missing for too long |
//! | `no_memory` | not even an empty table has room for it |
//! | `dont_fragment` | an IPv4 packet with DF is longer than the MTU |
//! | `already_fragment` | an IPv6 fragment is longer than the MTU |
//! | `mtu_too_small` | the MTU has no room for headers and 8 bytes |
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
    /// Why a fragment, or a packet in the making, is lost.
    pub enum Drop, Drops {
        /// No fragment.
        Whole => "whole",
        /// Without transport header, or into a TCP header.
        Tiny => "tiny",
        /// The same again.
        Duplicate => "duplicate",
        /// Over another one.
        Overlap => "overlap",
        /// Another end than before.
        BadEnd => "bad_end",
        /// Of a lost packet.
        Refused => "refused",
        /// More than [`FRAGMENTS_MAX`].
        TooMany => "too_many",
        /// Longer than IP allows.
        TooLong => "too_long",
        /// Marked and not ECN-capable.
        EcnMixed => "ecn_mixed",
        /// A newer packet took the place.
        Evicted => "evicted",
        /// Fragments were missing for too long.
        TimedOut => "timed_out",
        /// Not even an empty table has room for it.
        NoMemory => "no_memory",
        /// IPv4 with DF.
        DontFragment => "dont_fragment",
        /// IPv6 that is a fragment already.
        AlreadyFragment => "already_fragment",
        /// No room for headers and 8 bytes.
        MtuTooSmall => "mtu_too_small",
    }
}
