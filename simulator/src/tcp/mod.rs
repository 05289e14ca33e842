//! TCP between hosts.
//!
//! `ideal`: ordered bytes with random segments, latency, rate, windows, FIN, RST and half-open
//! connections; between hosts without hops no packets and no retransmission, over hops both
//! (`routed`). What carries connections over packets is a [`Stack`].
pub(crate) mod conn;
mod crash;
mod dial;
pub mod ideal;
mod over;
mod routed;
mod sketch;
pub mod stack;
#[cfg(test)]
mod tests;

pub use ideal::{Path, Reach, Segments};
pub use stack::{ConnId, Stack, StackCx, StackEvent};

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
