//! What a caller may choose.
use std::time::Duration;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads, each with its own event loop; one for each usable CPU when absent. With more than
    /// one, each is pinned to its CPU and prefers the connections that arrive there.
    pub workers: Option<usize>,
    /// Most sessions and associations at a time; accepting pauses there. No limit when absent.
    pub max_connections: Option<usize>,
    /// Most UDP clients of one listener on one worker; datagrams of others are dropped.
    pub max_associations: usize,
    /// Give sockets whose peer is on this machine a cheap congestion controller: loopback has no
    /// congestion, and the controller costs more than the relay itself.
    pub loopback_congestion: bool,
    /// Most kernel pipes that bulk relays hold together; later ones copy.
    pub max_pipes: usize,
    /// Raise the soft limit of open files to the hard one.
    pub raise_file_limit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: None,
            max_connections: None,
            max_associations: 16_384,
            loopback_congestion: true,
            // 64 pipes of 1 MiB is what the kernel lets an unprivileged user have.
            max_pipes: 48,
            raise_file_limit: true,
        }
    }
}

/// How to stop. Listeners close at once in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// How long sessions may go on before they are told to stop.
    pub grace: Duration,
    /// After that, how long they may take to end before they are cut.
    pub deadline: Duration,
}
