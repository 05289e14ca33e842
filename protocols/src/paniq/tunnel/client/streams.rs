//! Streams of a carrier, from the wish for a target to its end.
use super::{Client, ClientConfig, Event, Path, Stream};
use crate::{
    paniq::{
        proxy::wire::{DatagramsRequest, Reply, Request, Status},
        tunnel::early::{Early, message},
    },
    socks::wire::{Address, Name},
};
use sansbox_core::{Instant, Refusal, Target};
use sansbox_quic::StreamId;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// A stream.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where to; `None`: datagrams to many targets.
    target: Option<Target>,
    pub(super) state: State,
    /// Its request was lost once with a tunnel.
    is_retried: bool,
}

#[derive(Debug)]
pub(super) enum State {
    /// For a tunnel, until the deadline.
    Waiting { deadline: Instant },
    /// The request is on its way.
    Requested {
        path: Path,
        early: Early,
        deadline: Instant,
    },
    /// The target is connected.
    Open { path: Path, early: Early },
    /// The tunnel is gone; the owner's pipes do not know it yet.
    Lost,
}

impl State {
    const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting { deadline } | Self::Requested { deadline, .. } => Some(*deadline),
            Self::Open { .. } | Self::Lost => None,
        }
    }

    /// Where it goes, and what QUIC calls it there.
    const fn place(&self) -> Option<(Path, StreamId)> {
        match self {
            Self::Requested { path, early, .. } | Self::Open { path, early } => {
                Some((*path, early.id))
            }
            Self::Waiting { .. } | Self::Lost => None,
        }
    }
}

/// What a reply says.
enum Said {
    Nothing,
    Accepted(SocketAddr),
    Refused(Refusal),
}

impl Client {
    /// Asks the server for a connection to `target`, as soon as there is a tunnel, which this
    /// makes when there is none. [`Event::Accepted`] or [`Event::Refused`] follows.
    pub fn open(&mut self, now: Instant, target: Target) -> Stream {
        self.open_for(now, Some(target))
    }

    /// Asks the server, likewise, for a stream of datagrams as
    /// [records](crate::paniq::proxy::record). A server that does not offer them refuses it.
    pub fn open_datagrams(&mut self, now: Instant) -> Stream {
        self.open_for(now, None)
    }

    fn open_for(&mut self, now: Instant, target: Option<Target>) -> Stream {
        let stream = Stream(self.streams_made);
        self.streams_made += 1;
        if self.waiting.len() >= self.config.waiting_max {
            let refused = Event::Refused(stream, Refusal::Exhausted);
            self.events.push_back(refused);
            return stream;
        }
        let path = self.usable(now).filter(|_| self.waiting.is_empty());
        let state = path.and_then(|path| self.request(now, path, stream, target.as_ref()));
        let is_requested = state.is_some();
        let entry = Entry {
            target,
            state: state.unwrap_or_else(|| State::Waiting {
                deadline: now + self.config.open_timeout,
            }),
            is_retried: false,
        };
        self.enter(stream, &entry.state);
        self.streams.insert(stream, entry);
        if !is_requested {
            self.drive(now);
        }
        stream
    }

    /// Asks for a target over a tunnel, unless the peer allows no more streams now.
    fn request(
        &mut self,
        now: Instant,
        path: Path,
        stream: Stream,
        target: Option<&Target>,
    ) -> Option<State> {
        let generation = self.generations.get_mut(&path)?;
        let mut early = Early::new(generation.open(now, stream)?);
        early.say(message(|out| match target {
            Some(target) => Request::from(target).emit(out),
            None => DatagramsRequest.emit(out),
        }));
        early.flush(now, generation.endpoint()?, &mut self.scratch);
        let deadline = now + self.reply_timeout();
        Some(State::Requested {
            path,
            early,
            deadline,
        })
    }

    /// Is the stream not over? Its owner keeps the pipes until it is: what was taken from `to_send`
    /// may still wait for room, and goes on its way with a later [`Client::exchange`].
    #[must_use]
    pub fn is_open(&self, stream: Stream) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Gives a stream up in both directions; no event follows.
    pub fn abandon(&mut self, now: Instant, stream: Stream) {
        let entry = self.streams.get(&stream);
        if let Some((path, id)) = entry.and_then(|entry| entry.state.place())
            && let Some(endpoint) = self.generations.get_mut(&path).and_then(|g| g.endpoint())
        {
            endpoint.abandon(now, id);
        }
        self.forget(stream);
        self.drive(now);
    }

    /// Forgets all about a stream.
    pub(super) fn forget(&mut self, stream: Stream) {
        self.leave(stream);
        self.streams.remove(&stream);
    }

    /// Takes a stream out of whatever it waits for or uses.
    fn leave(&mut self, stream: Stream) {
        let Some(entry) = self.streams.get(&stream) else {
            return;
        };
        if let Some(deadline) = entry.state.deadline() {
            self.deadlines.remove(deadline, stream);
        }
        self.waiting.remove(&stream);
        if let Some((path, _)) = entry.state.place()
            && let Some(generation) = self.generations.get_mut(&path)
        {
            generation.streams -= 1;
        }
    }

    pub(super) fn refuse(&mut self, stream: Stream, why: Refusal) {
        self.forget(stream);
        self.events.push_back(Event::Refused(stream, why));
    }

    /// How long a stream waits for a tunnel or a reply.
    pub(super) fn waits_until(&self, stream: Stream) -> Option<Instant> {
        self.streams.get(&stream)?.state.deadline()
    }

    /// Enters a stream where it is to be found in its state.
    fn enter(&mut self, stream: Stream, state: &State) {
        if let Some(deadline) = state.deadline() {
            self.deadlines.insert(deadline, stream);
        }
        if let State::Waiting { .. } = state {
            self.waiting.insert(stream);
        }
        if let Some((path, _)) = state.place()
            && let Some(generation) = self.generations.get_mut(&path)
        {
            generation.streams += 1;
        }
    }

    fn set_state(&mut self, stream: Stream, state: State) {
        self.leave(stream);
        self.enter(stream, &state);
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.state = state;
        }
    }

    /// Begins what waits, in its order, as far as the peer allows streams.
    pub(super) fn place_waiting(&mut self, now: Instant) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(path) = self.usable(now) else {
            return;
        };
        while let Some(stream) = self.waiting.first().copied() {
            let Some(entry) = self.streams.get(&stream) else {
                self.waiting.remove(&stream);
                continue;
            };
            let target = entry.target.clone();
            let Some(state) = self.request(now, path, stream, target.as_ref()) else {
                return;
            };
            self.set_state(stream, state);
        }
    }

    /// Something came over a stream, or it has room.
    pub(super) fn follow_stream(&mut self, now: Instant, stream: Stream) {
        let said = match self.streams.get_mut(&stream).map(|entry| &mut entry.state) {
            Some(State::Open { .. }) => {
                return self.events.push_back(Event::Ready(stream));
            }
            Some(State::Requested { path, early, .. }) => {
                let generation = self.generations.get_mut(path);
                // A connection that is lost tells so by itself.
                let Some(generation) = generation.filter(|g| g.is_alive()) else {
                    return;
                };
                let Some(endpoint) = generation.endpoint() else {
                    return;
                };
                let said = early.listen(now, endpoint, &mut self.scratch, Reply::LEN_MAX, read);
                if let Said::Refused(_) = said {
                    endpoint.abandon(now, early.id);
                }
                said
            }
            Some(State::Waiting { .. } | State::Lost) | None => return,
        };
        match said {
            Said::Nothing => {}
            Said::Refused(why) => self.refuse(stream, why),
            Said::Accepted(bound) => self.accept(stream, bound),
        }
    }

    /// The reply to a stream that is requested says yes.
    fn accept(&mut self, stream: Stream, bound: SocketAddr) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if let State::Requested {
            path,
            early,
            deadline,
        } = core::mem::replace(&mut entry.state, State::Lost)
        {
            entry.state = State::Open { path, early };
            self.deadlines.remove(deadline, stream);
            self.events.push_back(Event::Accepted(stream, bound));
            self.events.push_back(Event::Ready(stream));
        }
    }

    /// All streams that use a path, in their order, and what QUIC calls them there.
    #[expect(clippy::disallowed_methods, reason = "they are sorted")]
    fn streams_of(&self, path: Path) -> Vec<(Stream, StreamId)> {
        let places = self.streams.iter();
        let places = places.filter_map(|(stream, entry)| Some((*stream, entry.state.place()?)));
        let mut places: Vec<_> = places
            .filter(|(_, (of, _))| *of == path)
            .map(|(stream, (_, id))| (stream, id))
            .collect();
        places.sort_unstable();
        places
    }

    /// A tunnel is silent, and there is a new one: what had no answer is asked for again, once.
    pub(super) fn ask_again(&mut self, now: Instant, path: Path) {
        for (stream, id) in self.streams_of(path) {
            let entry = self.streams.get_mut(&stream);
            let Some(entry) = entry.filter(|entry| {
                matches!(entry.state, State::Requested { .. }) && !entry.is_retried
            }) else {
                continue;
            };
            entry.is_retried = true;
            let old = self.generations.get_mut(&path);
            if let Some(endpoint) = old.and_then(|old| old.endpoint()) {
                endpoint.abandon(now, id);
            }
            let deadline = now + self.config.open_timeout;
            self.set_state(stream, State::Waiting { deadline });
        }
    }

    /// A tunnel is gone: what had no answer is asked for again, once; what had one is lost. Returns
    /// whether there was a tunnel at all.
    pub(super) fn lose_streams(&mut self, now: Instant, path: Path) -> bool {
        let was_up = self.generations.get(&path).is_some_and(|g| g.was_up);
        for (stream, _) in self.streams_of(path) {
            let Some(entry) = self.streams.get_mut(&stream) else {
                continue;
            };
            let is_requested = matches!(entry.state, State::Requested { .. });
            if is_requested && entry.is_retried {
                self.refuse(stream, Refusal::HostUnreachable);
            } else if is_requested {
                entry.is_retried = true;
                let deadline = now + self.config.open_timeout;
                self.set_state(stream, State::Waiting { deadline });
            } else {
                self.set_state(stream, State::Lost);
                self.events.push_back(Event::Ready(stream));
            }
        }
        was_up
    }

    /// Refuses what waited for too long, for a tunnel or for a reply.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(stream) = self.deadlines.pop_due(now) {
            let place = self.streams.get(&stream).and_then(|s| s.state.place());
            let Some((path, id)) = place else {
                self.refuse(stream, Refusal::TimedOut);
                continue;
            };
            let generation = self.generations.get_mut(&path);
            let is_silent = generation.as_ref().is_some_and(|g| g.is_silent(now));
            if let Some(endpoint) = generation.and_then(|g| g.endpoint()) {
                endpoint.abandon(now, id);
            }
            let left = self
                .config
                .open_timeout
                .saturating_sub(self.reply_timeout());
            if !is_silent || left.is_zero() || !self.wait_again(stream, now + left) {
                self.refuse(stream, Refusal::TimedOut);
            }
        }
    }

    /// Has a stream wait for another tunnel, unless it did before.
    fn wait_again(&mut self, stream: Stream, deadline: Instant) -> bool {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return false;
        };
        if core::mem::replace(&mut entry.is_retried, true) {
            return false;
        }
        self.set_state(stream, State::Waiting { deadline });
        true
    }

    /// How long a reply may take.
    fn reply_timeout(&self) -> Duration {
        let ClientConfig {
            dial_timeout,
            preamble,
            ..
        } = &self.config;
        dial_timeout.saturating_add(preamble.timeout)
    }
}

/// What the reply says, and its length when it is complete.
fn read(octets: &[u8], may_come: bool) -> (Said, usize) {
    match Reply::parse(octets) {
        Ok(Some((reply, n))) => match reply.status {
            Status::Success => (Said::Accepted(socket_addr(&reply.address)), n),
            Status::BadRequest => (Said::Refused(Refusal::UpstreamProtocol), n),
            Status::Failure | Status::Other(_) => (Said::Refused(Refusal::General), n),
        },
        Ok(None) if may_come => (Said::Nothing, 0),
        Ok(None) | Err(_) => (Said::Refused(Refusal::UpstreamProtocol), 0),
    }
}

/// The address in a reply; nothing depends on it.
fn socket_addr(address: &Address<'_>) -> SocketAddr {
    let ip = match address.name {
        Name::Ip(ip) => ip,
        Name::Domain(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, address.port)
}
