//! What a middlebox knows of a TCP connection from the segments that pass.
use crate::net::{hop::Way, packet::Flags};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not both sides have sent a SYN.
    Opening,
    /// Both have, and it has not ended.
    Open,
    /// Both sides have sent a FIN, or one a RST.
    Closing,
}

/// The control bits seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpTrack {
    syn: Both,
    fin: Both,
    is_reset: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Both {
    out: bool,
    inward: bool,
}

impl Both {
    const fn set(&mut self, way: Way) {
        match way {
            Way::Out => self.out = true,
            Way::In => self.inward = true,
        }
    }

    const fn both(self) -> bool {
        self.out && self.inward
    }
}

impl TcpTrack {
    /// A connection of which the beginning was missed.
    pub(super) const fn adopted() -> Self {
        let both = Both {
            out: true,
            inward: true,
        };
        Self {
            syn: both,
            fin: Both {
                out: false,
                inward: false,
            },
            is_reset: false,
        }
    }

    /// A segment passes. A SYN on a connection that has ended begins a new one.
    pub(super) fn see(&mut self, way: Way, flags: Flags) {
        if flags.syn && !flags.ack && self.phase() == Phase::Closing {
            *self = Self::default();
        }
        if flags.syn {
            self.syn.set(way);
        }
        if flags.fin {
            self.fin.set(way);
        }
        self.is_reset |= flags.rst;
    }

    /// How far it has come.
    pub(super) const fn phase(self) -> Phase {
        if self.is_reset || self.fin.both() {
            Phase::Closing
        } else if self.syn.both() {
            Phase::Open
        } else {
            Phase::Opening
        }
    }
}

/// Is this segment the first of a connection?
pub(super) const fn opens(flags: Flags) -> bool {
    flags.syn && !flags.ack && !flags.rst
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: Flags = Flags::SYN;
    const SYN_ACK: Flags = Flags::SYN_ACK;
    const FIN: Flags = Flags {
        fin: true,
        ..Flags::ACK
    };
    const RST: Flags = Flags::RST;

    #[test]
    fn a_connection_opens_with_two_syns_and_closes_with_two_fins_or_one_rst() {
        let mut track = TcpTrack::default();
        let mut see = |way, flags| {
            track.see(way, flags);
            track.phase()
        };
        assert_eq!(see(Way::Out, SYN), Phase::Opening);
        assert_eq!(see(Way::Out, SYN), Phase::Opening, "sent again");
        assert_eq!(see(Way::In, SYN_ACK), Phase::Open);
        assert_eq!(see(Way::In, FIN), Phase::Open, "half closed");
        assert_eq!(see(Way::Out, FIN), Phase::Closing);
        assert_eq!(see(Way::Out, SYN), Phase::Opening, "a new connection");
        assert_eq!(see(Way::In, RST), Phase::Closing);
        assert_eq!(TcpTrack::adopted().phase(), Phase::Open);
    }
}
