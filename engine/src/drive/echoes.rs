//! A carrier's sockets for echo requests.
use super::{Driver, Sockets};
use crate::{
    carrier::{Carrier, EchoAnswer, EchoRequest, Path},
    ids::OutboundId,
};
use core::{net::IpAddr, task::Poll};
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

/// Answers that one socket gives before others get their turn.
const ANSWERS_MAX: usize = 64;

/// All of them.
pub(super) struct Echoes<K: Sockets> {
    sockets: BTreeMap<Path, K::Echo>,
}

impl<K: Sockets> Default for Echoes<K> {
    fn default() -> Self {
        Self {
            sockets: BTreeMap::new(),
        }
    }
}

impl<K: Sockets> Echoes<K> {
    pub(super) fn bind(
        &mut self,
        driver: &mut impl Driver<K>,
        path: Path,
        to: IpAddr,
        outbound: OutboundId,
    ) -> Result<(), Refusal> {
        let socket = driver.bind_echo(to, outbound)?;
        self.sockets.insert(path, socket);
        Ok(())
    }

    pub(super) fn unbind(&mut self, path: Path) {
        self.sockets.remove(&path);
    }

    /// Sends a request; what became of it at once.
    pub(super) fn send(
        &mut self,
        driver: &mut impl Driver<K>,
        path: Path,
        request: &EchoRequest,
    ) -> Option<EchoAnswer> {
        let sent = match self.sockets.get_mut(&path) {
            Some(socket) => driver.send_echo(socket, request),
            None => Err(Refusal::General),
        };
        let why = sent.err()?;
        Some(EchoAnswer::Refused {
            to: request.to,
            sequence: request.sequence,
            why,
        })
    }

    /// Gives the machine what came. False: nothing.
    pub(super) fn receive(
        &mut self,
        driver: &mut impl Driver<K>,
        machine: &mut dyn Carrier,
        now: Instant,
    ) -> bool {
        let mut is_news = false;
        for (path, socket) in &mut self.sockets {
            for _ in 0..ANSWERS_MAX {
                let Poll::Ready(answer) = driver.poll_echo(socket) else {
                    break;
                };
                is_news = true;
                machine.handle_echo(now, *path, answer);
            }
        }
        is_news
    }
}
