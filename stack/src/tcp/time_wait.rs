//! What is kept of a closed connection, so that its late segments do no harm.
use super::flow::{Bare, Flow};
use super::seq::after;
use crate::key::FlowKey;
use crate::wire::parse::{ACK, Segment};

/// A connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWait {
    pub(crate) key: FlowKey,
    pub(crate) snd_nxt: u32,
    pub(crate) rcv_nxt: u32,
    window: u16,
}

impl TimeWait {
    pub(crate) fn new(key: FlowKey, flow: &Flow) -> Self {
        let window = flow.rcv_edge.wrapping_sub(flow.rcv_nxt);
        Self {
            key,
            snd_nxt: flow.snd_max,
            rcv_nxt: flow.rcv_nxt,
            window: Flow::shifted(window, flow.rcv_shift),
        }
    }

    /// May this SYN begin a new connection between the same ends (RFC 9293 section 3.10.7.4)?
    pub(crate) const fn gives_way(&self, segment: &Segment<'_>) -> bool {
        after(segment.seq, self.rcv_nxt)
    }

    /// The acknowledgement that the client may have missed.
    pub(crate) const fn answer(&self) -> Bare {
        Bare {
            key: self.key,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: ACK,
            window: self.window,
        }
    }
}
