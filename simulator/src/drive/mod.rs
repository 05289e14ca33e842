//! A host that drives machines of the engine exactly as a runtime does, and checks at every step
//! that both sides of the contract in [`sansbox_engine::machine`] hold.
mod driver;
mod effects;
mod host;
#[cfg(test)]
mod invariant_tests;
mod io;
mod relay;
mod subject;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
#[cfg(test)]
mod toy_datagrams;
#[cfg(test)]
mod watch_tests;

pub use host::MachineHost;
pub use subject::plan;

use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{machine::Machine, record::Record};

/// A machine under test.
pub trait Subject: Machine {
    /// What the machine knows of itself; `None` where it keeps no record.
    fn record(&self) -> Option<&Record>;
}

/// Who comes in, and what a machine is made from.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// Who dialled or sent.
    pub remote: SocketAddr,
    /// Where to.
    pub local: SocketAddr,
    /// Randomness of the new machine.
    pub seed: Seed,
    /// The current virtual time.
    pub now: Instant,
}

/// Makes a machine for a newcomer.
pub type Make = Box<dyn Fn(Newcomer) -> Box<dyn Subject>>;

/// What a host holds its machines to, and how it reads.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Within this a machine behind a TCP listener has connected, refused or closed.
    pub handshake_max: Duration,
    /// Most bytes of one read.
    pub read_max: usize,
    /// Each read takes a random length up to `read_max`, else as much as there is.
    pub short_reads: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            handshake_max: Duration::from_secs(60),
            read_max: 16 << 10,
            short_reads: true,
        }
    }
}
