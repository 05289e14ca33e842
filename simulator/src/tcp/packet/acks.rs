//! Acknowledgements, where segments overtake each other and are lost. What smoltcp 0.13 does with
//! them costs a timeout each time, up to a minute:
//!
//! - It drops a segment whose acknowledgement is older than one that it has seen, with the payload
//!   (smoltcp issue 12), and believes every window that comes. Here such a segment gets what is
//!   known in place of what it says.
//! - It answers what it has already, or has no room for, once in a second: when an acknowledgement
//!   is lost, those that ask again wait longer and longer (smoltcp pull request 1162). Here each of
//!   them is answered.
use crate::net::packet::{Flags, Segment};

/// The newest acknowledgement and window of each end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acks {
    /// Behind the last byte, or FIN, that was sent.
    sent: u64,
    /// How much of it the other side has, and what it has room for.
    acked: u64,
    window: u64,
    /// Offset of the segment that the window is from.
    window_at: u64,
    /// What the other side was told of this end.
    own_acked: u64,
    own_window: u64,
}

/// Where a segment begins; the byte of a keep-alive may lie before the first one.
fn start(segment: &Segment) -> u64 {
    if i64::try_from(segment.offset).is_ok() {
        segment.offset
    } else {
        0
    }
}

fn end(segment: &Segment) -> u64 {
    start(segment) + segment.data.len() as u64 + u64::from(segment.flags.fin)
}

impl Acks {
    /// A segment leaves.
    pub(super) fn leave(&mut self, segment: &Segment) {
        let flags = segment.flags;
        if flags.rst {
            return;
        }
        if flags.ack {
            self.own_acked = segment.ack;
            self.own_window = segment.window;
        }
        self.sent = self.sent.max(end(segment));
    }

    /// A segment arrives: brings it up to date. Returns whether what is sent makes progress, or
    /// cannot because the other side has no room.
    pub(super) fn arrive(&mut self, segment: &mut Segment) -> bool {
        let flags = segment.flags;
        // What acknowledges bytes that never left, or comes from far away, is smoltcp's to judge.
        let is_far = start(segment) > self.own_edge();
        if !flags.ack || flags.rst || is_far || segment.ack > self.sent {
            return false;
        }
        let is_progress = segment.ack > self.acked;
        // RFC 9293 section 3.10.7.4, and that a window of the same age does not shrink.
        let at = start(segment);
        let is_newer =
            at > self.window_at || (at == self.window_at && segment.window > self.window);
        if flags.syn || is_progress || (segment.ack == self.acked && is_newer) {
            self.acked = segment.ack;
            self.window = segment.window;
            self.window_at = at;
        } else {
            segment.ack = self.acked;
            segment.window = self.window;
        }
        is_progress || self.window == 0
    }

    /// Behind the last byte that the other side may send.
    const fn own_edge(&self) -> u64 {
        self.own_acked.saturating_add(self.own_window)
    }

    /// Must a segment be answered at once: there is something in it, and all of that came before
    /// or is too much (RFC 9293 section 3.10.7.4)?
    pub(super) fn is_owed(&self, segment: &Segment) -> bool {
        let flags = segment.flags;
        let has_something = !segment.data.is_empty() || flags.fin;
        let is_old = end(segment) <= self.own_acked;
        let is_early = start(segment) >= self.own_edge();
        has_something && !flags.syn && !flags.rst && (is_old || is_early)
    }

    /// The last acknowledgement again.
    pub(super) fn repeated(&self) -> Segment {
        Segment {
            flags: Flags::ACK,
            offset: self.sent,
            ack: self.own_acked,
            window: self.own_window,
            ..Segment::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn segment(offset: u64, ack: u64, window: u64, data: &str) -> Segment {
        Segment {
            flags: Flags::ACK,
            offset,
            ack,
            window,
            data: BytesMut::from(data),
            ..Segment::default()
        }
    }

    /// An end that has sent 100 bytes, has 50 of the other side's, and room for 30 more.
    fn talking() -> Acks {
        let mut acks = Acks::default();
        acks.leave(&segment(0, 50, 30, &"x".repeat(100)));
        acks
    }

    #[test]
    fn what_comes_late_says_what_is_known() {
        let mut acks = talking();
        let mut newer = segment(60, 80, 200, "new");
        assert!(acks.arrive(&mut newer), "30 bytes were taken");
        assert_eq!(newer, segment(60, 80, 200, "new"));
        let mut older = segment(50, 40, 0, "old");
        assert!(!acks.arrive(&mut older));
        assert_eq!(older, segment(50, 80, 200, "old"));
        // As old, and with the window of before the last bytes.
        let mut closed = segment(55, 80, 0, "");
        assert!(!acks.arrive(&mut closed));
        assert_eq!(closed, segment(55, 80, 200, ""));
        let mut update = segment(60, 80, 300, "");
        assert!(!acks.arrive(&mut update));
        assert_eq!(update, segment(60, 80, 300, ""));
    }

    #[test]
    fn forged_segments_teach_nothing() {
        let mut acks = talking();
        let before = acks;
        let beyond = segment(50, 101, 9, "");
        let far = segment(1 << 40, 90, 9, "");
        let reset = Segment {
            flags: Flags::RST_ACK,
            ..segment(50, 90, 9, "")
        };
        for forged in [beyond, far, reset] {
            let mut seen = forged.clone();
            assert!(!acks.arrive(&mut seen));
            assert_eq!((seen, acks), (forged, before));
        }
    }

    #[test]
    fn what_came_before_and_what_is_too_much_is_owed_an_answer() {
        let acks = talking();
        assert!(acks.is_owed(&segment(40, 0, 0, "0123456789")));
        assert!(acks.is_owed(&segment(80, 0, 0, "too much")));
        assert!(!acks.is_owed(&segment(45, 0, 0, "0123456789")));
        assert!(!acks.is_owed(&segment(79, 0, 0, "x")));
        // Nobody answers acknowledgements.
        assert!(!acks.is_owed(&segment(40, 0, 0, "")));
        assert_eq!(acks.repeated(), segment(100, 50, 30, ""));
    }
}
