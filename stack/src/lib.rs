//! IP packets as pure functions and tables: no sockets, no clock, no entropy.
//!
//! | module | what it does |
//! |---|---|
//! | [`ip`] | walks IPv4 and IPv6 headers, checksums, UDP datagrams |
//! | [`vnet`] | virtio_net_hdr: segmentation and checksum offload, both ways |
//! | [`fragment`] | reassembly and fragmentation |
//! | [`icmp`] | echo, errors with rate limits, errors translated into sessions |
//! | [`nat`] | UDP and echo mappings with idle times and bounded queues |
//! | [`mtu`] | the rules of two MTUs: MSS, packet too big, fragments |
//! | [`drops`] | counters of dropped packets by reason |
#![forbid(unsafe_code)]

pub mod drops;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod mtu;
pub mod nat;
#[cfg(test)]
mod testing;
pub mod vnet;
