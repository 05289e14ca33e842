//! What the owner of a persona's client does with it.
use super::{EmulatedClient, Entry, State, Tunnel};
use crate::paniq::{
    machine::{ClientMachine, ClientTold, Sending},
    persona::Preamble,
};
use bytes::{Buf as _, BytesMut};
use core::net::SocketAddr;
use sansbox_core::{Instant, Pipe, Progress, Target};
use sansbox_protocols::paniq::{
    preamble::{self, SourcePort},
    transport::OpenError,
};

impl ClientMachine for EmulatedClient {
    fn open(&mut self, now: Instant, target: Target) -> u64 {
        let stream = self.made;
        self.made += 1;
        if matches!(self.tunnel, Tunnel::Dead) {
            let refused = ClientTold::Refused(stream, "connection lost".to_owned());
            self.told.push_back(refused);
            return stream;
        }
        let entry = Entry {
            target,
            state: State::Waiting,
            is_retried: false,
        };
        self.entries.insert(stream, entry);
        self.waiting.insert(stream);
        self.place_waiting(now);
        self.dial_when_wanted();
        stream
    }

    fn is_open(&self, stream: u64) -> bool {
        let entry = self.entries.get(&stream);
        entry.is_some_and(|entry| !matches!(entry.state, State::Over(_)))
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return Progress::NONE;
        };
        let State::Open(relay) = &mut entry.state else {
            return Progress::NONE;
        };
        if relay.is_lost {
            let _ = received.finish();
            self.entries.remove(&stream);
            return Progress::MADE;
        }
        let Some((endpoint, _)) = &mut self.quic else {
            return Progress::NONE;
        };
        let progress = relay.exchange(now, endpoint, received, to_send);
        if relay.is_closed
            && let State::Open(relay) = core::mem::replace(&mut entry.state, State::Waiting)
        {
            entry.state = State::Over(relay);
        }
        progress
    }

    fn socket(&mut self, now: Instant, path: u64, is_there: bool) {
        if path != self.path {
            return;
        }
        match &mut self.tunnel {
            Tunnel::Socket if !is_there => self.lose(now, "no socket"),
            Tunnel::Socket => {
                let source_port = match self.persona.preamble {
                    Preamble::None => return self.begin_quic(now),
                    Preamble::Fresh => SourcePort::Fresh,
                    Preamble::Go | Preamble::Unchecked => SourcePort::Kept,
                };
                let config = self.profile.client_preamble(source_port);
                let seed = self.seed.derive_nth("preamble", self.path);
                match preamble::Client::new(now, config, seed) {
                    Ok(preamble) => self.tunnel = Tunnel::Preamble(Box::new(preamble)),
                    Err(why) => self.lose(now, &why.to_string()),
                }
            }
            Tunnel::Preamble(preamble) => preamble.source_port_changed(now),
            Tunnel::None | Tunnel::Handshake { .. } | Tunnel::Ready | Tunnel::Dead => {}
        }
        self.drive(now);
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        path: u64,
        from: SocketAddr,
        mut data: BytesMut,
    ) -> Result<(), String> {
        if from != self.server || path != self.path {
            return Ok(());
        }
        if let Tunnel::Preamble(preamble) = &mut self.tunnel {
            let heard = preamble.handle_datagram(&data);
            self.follow_preamble(now);
            return match heard {
                preamble::Heard::Response => Ok(()),
                preamble::Heard::Unexpected(kind) => Err(format!("unexpected {kind:?}")),
                preamble::Heard::NoFrame(why) => Err(why.to_string()),
            };
        }
        let Some(wrap) = &mut self.wrap else {
            return Ok(());
        };
        let inner = match wrap.open(&data) {
            Ok(inner) => inner,
            Err(OpenError::TooLong { .. }) if self.persona.dies_of_long_datagram => {
                self.lose(now, "payload too large");
                return Ok(());
            }
            Err(why) => return Err(why.to_string()),
        };
        data.truncate(inner.end);
        data.advance(inner.start);
        if let Tunnel::Handshake { heard, .. } = &mut self.tunnel {
            *heard = now;
        }
        if let Some((endpoint, _)) = &mut self.quic {
            endpoint.handle_datagram(now, from, 0, data);
        }
        self.drive(now);
        Ok(())
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(u64, Sending)> {
        out.clear();
        let to = self.server;
        if let Tunnel::Preamble(preamble) = &mut self.tunnel {
            let segment = preamble.poll_transmit(now, self.wall.at(now), out)?;
            return Some((self.path, Sending { to, segment }));
        }
        let current = self.quic.as_mut().zip(self.wrap.as_mut());
        let current = current.map(|((endpoint, _), wrap)| (self.path, endpoint, wrap));
        let leaving = self.leaving.iter_mut();
        let leaving = leaving.map(|(path, endpoint, wrap)| (*path, endpoint, wrap));
        for (path, endpoint, wrap) in leaving.chain(current) {
            while endpoint.poll_transmit(now, 1, &mut self.plain).is_some() {
                wrap.seal(&self.plain, out);
                if !out.is_empty() {
                    let segment = out.len();
                    return Some((path, Sending { to, segment }));
                }
            }
        }
        None
    }

    fn poll_event(&mut self) -> Option<ClientTold> {
        self.told.pop_front()
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        let preamble = match &self.tunnel {
            Tunnel::Preamble(preamble) => preamble.poll_timeout(),
            Tunnel::None
            | Tunnel::Socket
            | Tunnel::Handshake { .. }
            | Tunnel::Ready
            | Tunnel::Dead => None,
        };
        let quic = self.quic.as_ref().and_then(|(quic, _)| quic.poll_timeout());
        let leaving = self.leaving.iter().filter_map(|(_, e, _)| e.poll_timeout());
        let streams = self
            .entries
            .values()
            .filter_map(|entry| match &entry.state {
                State::Requested(_, deadline) => *deadline,
                State::Open(relay) => relay.idle_at(),
                State::Waiting | State::Over(_) => None,
            });
        let all = [preamble, quic, self.handshake_at()];
        let all = all.into_iter().flatten();
        all.chain(leaving).chain(streams).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Tunnel::Preamble(preamble) = &mut self.tunnel {
            preamble.handle_timeout(now);
            self.follow_preamble(now);
        }
        if let Some((endpoint, _)) = &mut self.quic {
            endpoint.handle_timeout(now);
        }
        for (_, endpoint, _) in &mut self.leaving {
            endpoint.handle_timeout(now);
        }
        self.drive(now);
        if self.handshake_at().is_some_and(|at| at <= now) {
            self.lose(now, "timeout: no recent network activity");
        }
        let streams: Vec<u64> = self.entries.keys().copied().collect();
        for stream in streams {
            match self.entries.get_mut(&stream).map(|entry| &mut entry.state) {
                Some(State::Requested(_, Some(at))) if *at <= now => {
                    self.fail_alone(now, stream, "timeout");
                }
                Some(State::Open(relay)) => relay.cut_when_idle(now),
                Some(State::Waiting | State::Requested(..) | State::Over(_)) | None => {}
            }
        }
    }
}
