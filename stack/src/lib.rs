#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! | module | holds |
//! |---|---|
//! | [`Interface`] | the machine for all packets of a device |
//! | [`Stack`] | the part of it that terminates TCP |
//! | [`config`] | [`Config`] and every limit of it |
//! | [`batch`] | [`RxPacket`], [`TxPacket`], [`TxBatch`]: packets on both sides |
//! | [`event`] | [`Event`], [`Reject`]: what happened, what may be answered |
//! | [`key`] | [`FlowKey`], [`FlowId`]: what identifies a connection |
//! | [`counters`] | [`Counters`], [`DropReason`]: nothing is dropped without a reason |
//!
//! Beside the machine, and not joined to it yet, pure functions and tables for what is not TCP:
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
