//! Two MTUs: packets from the TUN may be up to 65,535 bytes long, what leaves for the Internet
//! mostly 1280 or 1420. [`Budget`] says what fits and what to do with what does not.
//!
//! * TCP that ends here: the client's MSS follows the TUN's MTU alone, which is the business of
//!   [`crate::Stack`]; the operating system cuts what leaves.
//! * TCP that passes through: [`clamp_mss`] lowers the MSS in SYN and SYN-ACK to what the tunnel
//!   carries ([`Budget::clamped_mss`]).
//! * Datagrams and packets: [`Budget::datagram`] and [`Budget::packet`] say carry, cut, or answer
//!   with ICMP; never drop in silence.
mod budget;
mod config;
mod mss;
#[cfg(test)]
mod tests;

pub use crate::config::{
    BATCH_SIZE, MSS_DEFAULT_V4, MSS_DEFAULT_V6, TCP_RX_BUFFER_SIZE, TCP_TX_BUFFER_SIZE, TUN_MTU_MIN,
};
pub use budget::{BadMtu, Budget, Carrier, Verdict};
pub use config::{CHANNEL_SIZE, DEFAULT_MSS_CLAMP, PrismConfig, TUN_ADDRESS, TX_POOL_MAX_SIZE};
pub use mss::{Rewrite, clamp_mss};

use crate::drops::drop_reasons;

/// Least of what a tunnel carries: the datagram that every IPv4 host takes (RFC 791).
pub const CARRIED_LEN_MIN: u16 = 576;
/// Least MTU of IPv6 (RFC 8200 section 5).
pub const IPV6_MTU_MIN: u16 = 1280;
/// Longest UDP payload that any carrier takes: what IPv4 has room for.
pub const UDP_PAYLOAD_MAX: usize = 65_507;

drop_reasons! {
    "mtu";
    /// Why a packet does not fit.
    pub enum Drop, Drops {
        DontFragment => "dont_fragment": "IPv4 with DF is longer than the tunnel carries; the sender is told.",
        NoFragments => "no_fragments": "IPv4 without DF, on a tunnel without fragments; the sender is told.",
        PacketTooBig => "packet_too_big": "IPv6 is longer than the tunnel carries; the sender is told.",
        BelowIpv6Minimum => "below_ipv6_minimum": "IPv6 of up to 1280 bytes does not fit: the sender is told, but cannot help it.",
        TooLong => "too_long": "More payload than any tunnel carries (65,507 bytes); the sender is told.",
        BadTcpHeader => "bad_tcp_header": "A SYN whose header or options are malformed.",
    }
}
