//! TCP between hosts.
//!
//! `ideal`: ordered bytes with random segments, latency, rate, windows, FIN, RST and half-open
//! connections; no packets, no retransmission.
pub(crate) mod conn;
pub mod ideal;
#[cfg(test)]
mod tests;

pub use ideal::{Path, Reach, Segments};

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Who dialled.
    Dialer,
    /// Who accepted.
    Acceptor,
}
