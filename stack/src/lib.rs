#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! | module | holds |
//! |---|---|
//! | [`Stack`] | the machine |
//! | [`config`] | [`Config`] and every limit |
//! | [`batch`] | [`RxPacket`], [`TxPacket`], [`TxBatch`]: packets on both sides |
//! | [`event`] | [`Event`], [`Reject`]: what happened, what may be answered |
//! | [`key`] | [`FlowKey`], [`FlowId`]: what identifies a connection |
//! | [`counters`] | [`Counters`], [`DropReason`]: nothing is dropped without a reason |
#![forbid(unsafe_code)]

pub mod batch;
pub mod config;
pub mod counters;
pub mod event;
pub mod key;
mod list;
mod stack;
mod table;
mod tcp;
mod wheel;
mod wire;

pub use batch::{Checksum, DataRef, Other, RxPacket, TxBatch, TxPacket, Verified};
pub use config::{Config, Congestion, Handshake};
pub use counters::{Counters, DropReason};
pub use event::{CancelReason, Event, Reject, ResetReason};
pub use key::{FlowId, FlowKey};
pub use stack::{Piece, Stack, Usage};
