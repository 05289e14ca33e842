//! Acknowledgements that a kernel would send, worked out from what arrived.
use super::{Carries, Head};
use core::net::SocketAddr;
use std::collections::BTreeMap;

type Ends = (SocketAddr, SocketAddr);

/// One direction of a connection.
#[derive(Debug, Default)]
struct Direction {
    /// Everything before this offset stands in the capture; a FIN counts as a byte.
    end: u64,
    /// What the other side has told to have arrived, in the capture.
    told: u64,
    is_open: bool,
}

/// Where the connections of a capture stand.
#[derive(Debug, Default)]
pub(super) struct Acks {
    directions: BTreeMap<Ends, Direction>,
}

impl Acks {
    /// A segment with `len` payload bytes arrived. Gives the acknowledgement that follows it, if
    /// it tells something new: its addresses, its offset, and what it acknowledges.
    pub(super) fn after(&mut self, head: &Head, len: usize) -> Option<(Ends, u64, u64)> {
        let Carries::Tcp { flags, offset, ack } = head.carries else {
            return None;
        };
        let there = (head.source, head.destination);
        let back = (head.destination, head.source);
        if flags.rst {
            return None;
        }
        if flags.syn && !flags.ack {
            // A port that is used again begins a new connection.
            self.directions.remove(&back);
            self.directions.insert(there, Direction::default());
            return None;
        }
        let answer = self.directions.entry(back).or_default();
        answer.told = answer.told.max(ack);
        let own_offset = answer.end;
        let direction = self.directions.entry(there).or_default();
        let was_open = core::mem::replace(&mut direction.is_open, true);
        if offset <= direction.end {
            let end = offset + len as u64 + u64::from(flags.fin);
            direction.end = direction.end.max(end);
        }
        let is_news = direction.end > direction.told || (flags.syn && !was_open);
        direction.told = direction.end;
        is_news.then_some((back, own_offset, direction.end))
    }
}
