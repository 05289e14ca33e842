//! Streams of clients, from the request to their end.
use super::{Event, Server, Stream};
use crate::paniq::{
    proxy::wire::{DatagramsRequest, Reply, Request, Status},
    tunnel::early::{Early, message},
};
use sansbox_core::{Instant, Pipe, Progress, Refusal, Target};
use sansbox_quic::StreamId;
use std::net::SocketAddr;

/// A stream.
#[derive(Debug)]
pub(super) struct Entry {
    early: Early,
    peer: SocketAddr,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its request must be complete at the deadline.
    Request {
        deadline: Instant,
    },
    /// The owner knows the request, and has not answered.
    Asked,
    Open,
    /// Refused; what remains is to send the reply.
    Refused,
}

/// What came over a stream.
enum Said {
    Nothing,
    Wants(Target),
    WantsDatagrams,
    Malformed,
    /// It ended before its request was complete.
    Gone,
}

impl Server {
    pub(super) fn begin(&mut self, now: Instant, id: StreamId) {
        let Some(peer) = self.endpoint.peer(id.connection) else {
            return;
        };
        let stream = Stream(self.streams_made);
        // It may be gone with its connection.
        if !self.endpoint.set_label(id, stream.0) {
            return;
        }
        self.streams_made += 1;
        let deadline = now + self.timeout;
        let entry = Entry {
            early: Early::new(id),
            peer,
            state: State::Request { deadline },
        };
        self.streams.insert(stream, entry);
        // Most requests come whole.
        if self.follow_request(now, stream, deadline) {
            self.deadlines.insert((deadline, stream));
        }
    }

    /// Something came over a stream, or it has room, or its connection is gone.
    pub(super) fn follow(&mut self, now: Instant, stream: Stream) {
        match self.streams.get(&stream).map(|entry| entry.state) {
            Some(State::Request { deadline }) => {
                self.follow_request(now, stream, deadline);
            }
            Some(State::Asked) => self.follow_asked(now, stream),
            Some(State::Open) => self.events.push_back(Event::Ready(stream)),
            Some(State::Refused) => self.finish_refused(now, stream),
            None => {}
        }
    }

    /// Returns whether it still waits for the rest of the request.
    fn follow_request(&mut self, now: Instant, stream: Stream, deadline: Instant) -> bool {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return false;
        };
        if !self.endpoint.is_alive(entry.early.id.connection) {
            self.forget(stream);
            return false;
        }
        let has_datagrams = self.has_datagrams;
        let said = entry.early.listen(
            now,
            &mut self.endpoint,
            &mut self.scratch,
            Request::LEN_MAX,
            |octets, may_come| read(octets, may_come, has_datagrams),
        );
        let peer = entry.peer;
        let request = match said {
            Said::Nothing => return true,
            Said::Malformed => {
                self.reply_failure(now, stream, Status::BadRequest);
                return false;
            }
            Said::Gone => {
                self.abandon(now, stream);
                return false;
            }
            Said::Wants(target) => Event::Request(stream, peer, target),
            Said::WantsDatagrams => Event::DatagramsRequest(stream, peer),
        };
        entry.state = State::Asked;
        self.deadlines.remove(&(deadline, stream));
        self.events.push_back(request);
        false
    }

    /// Does the client still want what it asked for?
    fn follow_asked(&mut self, now: Instant, stream: Stream) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        let nothing = |_: &[u8], _| ((), 0);
        let early = &mut entry.early;
        early.listen(now, &mut self.endpoint, &mut self.scratch, 0, nothing);
        if entry.early.is_reset() {
            self.abandon(now, stream);
            self.events.push_back(Event::Cancelled(stream));
        }
    }

    /// The target of a stream is connected, from `bound`, which the client is told; `0.0.0.0:0`
    /// tells nothing.
    pub fn accept(&mut self, now: Instant, stream: Stream, bound: SocketAddr) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if entry.state != State::Asked {
            return;
        }
        let reply = message(|out| Reply::success(bound).emit(out));
        entry.early.say(reply);
        entry.state = State::Open;
        let early = &mut entry.early;
        early.flush(now, &mut self.endpoint, &mut self.scratch);
        self.events.push_back(Event::Ready(stream));
    }

    /// The target of a stream is not connected: the client is told, and the stream is over. All
    /// reasons look alike to it (status 1), as with the Go programs.
    pub fn refuse(&mut self, now: Instant, stream: Stream, why: Refusal) {
        let is_asked = self
            .streams
            .get(&stream)
            .is_some_and(|entry| entry.state == State::Asked);
        if !is_asked {
            return;
        }
        if why == Refusal::Dropped {
            // A rule that wants silence: the stream is reset without a word.
            self.abandon(now, stream);
        } else {
            self.reply_failure(now, stream, Status::Failure);
        }
    }

    fn reply_failure(&mut self, now: Instant, stream: Stream, status: Status) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if let State::Request { deadline } = entry.state {
            self.deadlines.remove(&(deadline, stream));
        }
        let reply = message(|out| Reply::failure(status).emit(out));
        entry.early.say(reply);
        entry.early.finish();
        entry.state = State::Refused;
        self.finish_refused(now, stream);
    }

    /// Sends the rest of a refusal; nothing more is taken from the client.
    fn finish_refused(&mut self, now: Instant, stream: Stream) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        let early = &mut entry.early;
        early.refuse_more(now, &mut self.endpoint, &mut self.scratch);
        if !self.endpoint.is_open(entry.early.id) {
            self.forget(stream);
        }
    }

    /// Moves octets and ends of a stream that was accepted: what came into `received`, and what
    /// `to_send` holds on its way; a reset of `to_send` resets the stream. When the client or its
    /// tunnel is gone, both pipes are reset.
    pub fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return Progress::NONE;
        };
        if entry.state != State::Open {
            return Progress::NONE;
        }
        let progress = entry
            .early
            .exchange(now, &mut self.endpoint, received, to_send);
        if entry.early.is_over(&self.endpoint, received, to_send) {
            self.forget(stream);
        }
        progress
    }

    /// Is the stream not over? Its owner keeps the pipes until it is: what was taken from `to_send`
    /// may still wait for room, and goes on its way with a later [`Server::exchange`].
    #[must_use]
    pub fn is_open(&self, stream: Stream) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Gives a stream up in both directions; no event follows.
    pub fn abandon(&mut self, now: Instant, stream: Stream) {
        if let Some(entry) = self.streams.get(&stream) {
            self.endpoint.abandon(now, entry.early.id);
        }
        self.forget(stream);
    }

    fn forget(&mut self, stream: Stream) {
        if let Some(entry) = self.streams.remove(&stream)
            && let State::Request { deadline } = entry.state
        {
            self.deadlines.remove(&(deadline, stream));
        }
    }

    /// Gives up what did not say in time what it wants, with the answer to a malformed request.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, stream)) = self.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            self.reply_failure(now, stream, Status::BadRequest);
        }
    }
}

/// What the request says, and its length when it is complete.
fn read(octets: &[u8], may_come: bool, has_datagrams: bool) -> (Said, usize) {
    let said = match octets {
        [DatagramsRequest::VERSION, ..] if has_datagrams => DatagramsRequest::parse(octets)
            .map(|request| request.map(|(_, n)| (Said::WantsDatagrams, n))),
        _ => Request::parse(octets).map(|request| {
            request.map(|(request, n)| match request.address.to_target() {
                Ok(target) => (Said::Wants(target), n),
                Err(_) => (Said::Malformed, n),
            })
        }),
    };
    match said {
        Ok(Some(said)) => said,
        Ok(None) if may_come => (Said::Nothing, 0),
        Ok(None) => (Said::Gone, 0),
        Err(_) => (Said::Malformed, 0),
    }
}
