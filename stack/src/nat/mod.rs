//! Mappings of clients' UDP sockets, and of their echo queries, to associations upstream.
//!
//! One mapping per client address and port, whoever it talks to (RFC 4787 REQ-1); replies of
//! anybody are let in (REQ-8), or only of addresses the client wrote to ([`Filtering`]). Only
//! what the client sends keeps a mapping alive (REQ-6), unless configured otherwise. An ICMP error
//! ends no mapping (REQ-12). A mapping's name has a generation, so that a late reply never
//! reaches the next client in the same place.
//!
//! Idle times: by protocol ([`Class::idle`]), or [`Config::udp_timeout`] for all of UDP. A mapping
//! used for several protocols lives as long as the longest asks for. A mapping that only asked one
//! DNS server goes when all is answered.
//!
//! Limits: [`Config`], [`PEERS_MAX`]. A client over its limit loses its own least recently used
//! mapping; over the limit of all, the least recently used goes.
//!
//! No datagram waits here: one that comes before the association of its mapping stands is kept by
//! whoever opens the association, who alone knows when it does.
mod class;
mod list;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_model;
mod types;

pub use class::{Class, DNS_IDLE, ECHO_IDLE, NTP_IDLE, QUIC_IDLE, REALTIME_IDLE, UDP_IDLE};
pub use table::Table;
pub use types::{Closed, Config, Filtering, Inbound, MappingId, Outbound, Why};

use crate::drops::drop_reasons;

/// Mappings of all clients.
pub const SESSIONS_MAX: usize = 4096;
/// Mappings of one client address.
pub const SESSIONS_PER_CLIENT_MAX: usize = 256;
/// Addresses that may answer one mapping, under address-dependent filtering; the one written to
/// least recently is forgotten.
pub const PEERS_MAX: usize = 64;

drop_reasons! {
    "nat";
    /// Why a datagram is dropped.
    pub enum Drop, Drops {
        Stale => "stale": "For a mapping that is gone.",
        Filtered => "filtered": "From an address that the client did not write to.",
        NoRoom => "no_room": "No mapping is allowed at all.",
    }
}
