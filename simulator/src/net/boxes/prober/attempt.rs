//! One connection, or one datagram, of a prober.
use super::{Ending, Reaction};
use crate::host::{Cx, DialId, Read, SocketId, UdpId};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Instant;

/// Most bytes of a server's answer that are written down.
const HEARD_MAX: usize = 64 << 10;
const READ_LEN: usize = 4 << 10;

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Dial(DialId),
    Tcp(SocketId),
    Udp(UdpId),
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) job: usize,
    pub(super) is_suspect: bool,
    server: SocketAddr,
    flight: Vec<u8>,
    sent: usize,
    heard: Vec<Vec<u8>>,
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Attempt {
    pub(super) const fn new(
        job: usize,
        is_suspect: bool,
        server: SocketAddr,
        flight: Vec<u8>,
    ) -> Self {
        Self {
            job,
            is_suspect,
            server,
            flight,
            sent: 0,
            heard: Vec::new(),
            since: None,
            until: None,
        }
    }

    pub(super) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// When the prober's patience ends; a dial ends by itself.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn begin(&mut self, now: Instant, patience: Duration) {
        self.since = Some(now);
        self.until = Some(now + patience);
    }

    pub(super) fn unsent(&self) -> &[u8] {
        self.flight.get(self.sent..).unwrap_or_default()
    }

    fn heard_len(&self) -> usize {
        self.heard.iter().map(Vec::len).sum()
    }

    pub(super) fn hear_datagram(&mut self, data: &[u8]) {
        if self.heard_len() + data.len() <= HEARD_MAX {
            self.heard.push(data.to_vec());
        }
    }

    /// Sends and reads what it can; returns how it ended.
    pub(super) fn work(&mut self, cx: &mut Cx<'_>, socket: SocketId) -> Option<Ending> {
        let mut is_dead = false;
        while !self.unsent().is_empty() && !is_dead {
            match cx.write(socket, self.unsent()) {
                Ok(0) => break,
                Ok(n) => self.sent += n,
                Err(_) => is_dead = true,
            }
        }
        loop {
            match cx.read(socket, READ_LEN) {
                Read::Bytes(bytes) => {
                    if self.heard_len() + bytes.len() <= HEARD_MAX {
                        if self.heard.is_empty() {
                            self.heard.push(Vec::new());
                        }
                        if let Some(heard) = self.heard.last_mut() {
                            heard.extend_from_slice(&bytes);
                        }
                    }
                }
                Read::Fin => return Some(Ending::Fin),
                Read::Reset => return Some(Ending::Reset),
                Read::WouldBlock => return is_dead.then_some(Ending::Reset),
            }
        }
    }

    pub(super) fn reaction(self, now: Instant, ending: Ending) -> Reaction {
        let took = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Reaction {
            server: self.server,
            heard: self.heard,
            ending,
            took,
        }
    }
}
