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
    pub(super) fn after(&mut self, head: &Head, len: u64) -> Option<(Ends, u64, u64)> {
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
            let end = offset + len + u64::from(flags.fin);
            direction.end = direction.end.max(end);
        }
        let is_news = direction.end > direction.told || (flags.syn && !was_open);
        direction.told = direction.end;
        is_news.then_some((back, own_offset, direction.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::packet::Flags;

    #[test]
    fn only_news_are_acknowledged_and_gaps_hold_them_back() {
        let (a, b) = (
            SocketAddr::from(([10, 0, 0, 1], 1)),
            SocketAddr::from(([10, 0, 0, 2], 2)),
        );
        let mut acks = Acks::default();
        let mut arrive = |(source, destination), flags, offset, ack, len| {
            let carries = Carries::Tcp { flags, offset, ack };
            let head = Head {
                source,
                destination,
                carries,
                unkept: 0,
            };
            acks.after(&head, len).map(|(_, offset, ack)| (offset, ack))
        };
        let (up, down) = ((a, b), (b, a));
        let fin = Flags {
            fin: true,
            ..Flags::ACK
        };
        assert_eq!(arrive(up, Flags::SYN, 0, 0, 0), None);
        assert_eq!(arrive(down, Flags::SYN_ACK, 0, 0, 0), Some((0, 0)));
        assert_eq!(arrive(up, Flags::ACK, 0, 0, 10), Some((0, 10)));
        assert_eq!(arrive(up, Flags::ACK, 0, 0, 10), None, "sent again");
        assert_eq!(arrive(up, Flags::ACK, 15, 0, 5), None, "behind a gap");
        assert_eq!(arrive(down, Flags::ACK, 0, 10, 3), Some((10, 3)));
        assert_eq!(arrive(up, Flags::ACK, 10, 3, 5), Some((3, 15)));
        assert_eq!(
            arrive(up, fin, 15, 3, 5),
            Some((3, 21)),
            "the FIN is a byte"
        );
        assert_eq!(arrive(down, Flags::RST, 3, 21, 0), None);
        assert_eq!(arrive(up, Flags::SYN, 0, 0, 0), None, "the port again");
        assert_eq!(arrive(down, Flags::SYN_ACK, 0, 0, 0), Some((0, 0)));
    }
}
