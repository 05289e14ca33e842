//! What all flows share: settings, counters, stores of nodes, and the budget.
use bytes::{Bytes, BytesMut};

use crate::batch::DataRef;
use crate::config::Config;
use crate::counters::Counters;
use crate::list::Nodes;

/// A piece of payload on its way to the client, kept until it is acknowledged.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Sequence number of its first byte.
    pub(crate) start: u32,
    pub(crate) bytes: Bytes,
}

/// A piece of payload on its way to the caller.
#[derive(Debug)]
pub(crate) enum Received {
    /// In the caller's batch.
    Packet(DataRef),
    /// Copied, because it came out of order or the caller did not take it.
    Stored(BytesMut),
}

impl Received {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Packet(data) => data.len() as usize,
            Self::Stored(bytes) => bytes.len(),
        }
    }
}

/// A segment that waits for the gap before it to be filled.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) seq: u32,
    pub(crate) bytes: BytesMut,
}

/// What all flows hold together, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// What peers may send, and what they sent and the caller did not consume.
    pub(crate) windows: u64,
    /// Payload behind gaps, with its overhead.
    pub(crate) held: u64,
    /// Payload queued for sending.
    pub(crate) queued: u64,
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) chunks: Nodes<Chunk>,
    pub(crate) received: Nodes<Received>,
    pub(crate) held: Nodes<Held>,
    pub(crate) budget: Budget,
}

impl Context {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config: config.bounded(),
            counters: Counters::default(),
            chunks: Nodes::default(),
            received: Nodes::default(),
            held: Nodes::default(),
            budget: Budget::default(),
        }
    }
}
