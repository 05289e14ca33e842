//! TCP between hosts.
//!
//! `ideal`: ordered bytes with random segments, latency, rate, windows, FIN, RST and half-open
//! connections; between hosts without hops no packets and no retransmission, over hops both
//! (`routed`). `packet`: smoltcp, over packets everywhere. What carries connections over packets
//! is a [`Stack`]; which one a host has says its [`Tier`].
pub(crate) mod conn;
mod crash;
mod dial;
pub mod ideal;
mod over;
pub(crate) mod packet;
mod routed;
mod sketch;
pub mod stack;
mod table;
#[cfg(test)]
mod tests;

use core::{fmt, str::FromStr};

pub use ideal::{Path, Reach, Segments};
pub use stack::{ConnId, Stack, StackCx, StackEvent};

/// How much of TCP there is on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Ordered bytes; packets only where a hop looks at them.
    #[default]
    Ideal,
    /// All of it that smoltcp has: handshakes, retransmission, windows, path MTU.
    Packet,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ideal => "ideal",
            Self::Packet => "packet",
        })
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ideal" => Ok(Self::Ideal),
            "packet" => Ok(Self::Packet),
            _ => Err(format!("{text:?} is no tier: ideal or packet")),
        }
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Who dialled.
    Dialer,
    /// Who accepted.
    Acceptor,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}
