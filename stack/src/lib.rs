#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! | module | holds |
//! |---|---|
//! | [`interface`] | [`Interface`]: the machine for all packets of a device |
//! | [`Stack`] | the part of it that terminates TCP, useful alone |
//! | [`config`] | [`Config`] and every limit of it |
//! | [`batch`] | [`RxPacket`], [`TxPacket`], [`TxBatch`]: packets on both sides |
//! | [`event`] | [`Event`], [`Reject`]: what happened, what may be answered |
//! | [`key`] | [`FlowKey`], [`FlowId`]: what identifies a connection |
//! | [`counters`] | [`Counters`], [`DropReason`]: what TCP did, in numbers |
//! | [`drops`] | [`Dropped`]: nothing is dropped without a reason that is counted |
//!
//! The parts that an interface joins, each a table or functions of its own:
//!
//! | module | what it does |
//! |---|---|
//! | [`ip`] | walks IPv4 and IPv6 headers, checksums, UDP datagrams |
//! | [`fragment`] | reassembly and fragmentation |
//! | [`icmp`] | echo, errors with rate limits, errors translated into sessions |
//! | [`nat`] | UDP and echo mappings with idle times |
//! | [`mtu`] | the rules of two MTUs: packet too big, fragments, and MSS for outbounds of packets |
//!
//! And for whoever reads and writes the device: [`vnet`], virtio_net_hdr with segmentation and
//! checksum offload, both ways.
#![forbid(unsafe_code)]

pub mod batch;
pub mod config;
pub mod counters;
pub mod drops;
pub mod event;
pub mod fragment;
pub mod icmp;
pub mod interface;
pub mod ip;
pub mod key;
mod list;
pub mod mtu;
pub mod nat;
mod sources;
mod stack;
mod table;
mod tcp;
#[cfg(test)]
mod testing;
pub mod vnet;
mod wheel;
mod wire;

pub use batch::{Checksum, DataRef, Faulty, Other, RxPacket, TxBatch, TxPacket, Verified};
pub use config::{Config, Congestion, Handshake};
pub use counters::{Counters, DropReason};
pub use drops::Dropped;
pub use event::{CancelReason, Event, Reject, ResetReason};
pub use interface::{Interface, InterfaceConfig, InterfaceEvent};
pub use key::{FlowId, FlowKey};
pub use stack::{Piece, Stack, Usage};
