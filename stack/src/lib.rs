//! User-space TCP termination for TUN devices, as a pure state machine: IP packets in batches
//! in and out, connections as events, time and randomness as arguments.
//!
//! | module | holds |
//! |---|---|
//! | [`Stack`] | the machine |
//! | [`config`] | [`Config`] and every limit |
//! | [`batch`] | [`RxPacket`], [`TxPacket`], [`TxBatch`]: packets on both sides |
//! | [`event`] | [`Event`], [`Reject`]: what happened, what may be answered |
//! | [`key`] | [`FlowKey`], [`FlowId`]: what identifies a connection |
//! | [`counters`] | [`Counters`], [`Drop`]: nothing is dropped without a reason |
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
pub use counters::{Counters, Drop};
pub use event::{CancelReason, Event, Reject, ResetReason};
pub use key::{FlowId, FlowKey};
pub use stack::{Piece, Stack};
