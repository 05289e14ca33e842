//! A stream whose first octets are a message and not payload.
use bytes::BytesMut;
use sansbox_core::{End, Instant, Pipe, Progress};
use sansbox_quic::{Endpoint, StreamId};

/// Octets that are taken from a stream before its message is complete: more than any message has.
const EARLY_MAX: usize = 1024;

/// A stream of QUIC, what came over it and was not given to the owner yet, and what this side puts
/// in front of the owner's octets.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) id: StreamId,
    received: Option<Pipe>,
    to_send: Option<Pipe>,
}

impl Early {
    pub(super) fn new(id: StreamId) -> Self {
        Self {
            id,
            received: Some(Pipe::new(EARLY_MAX)),
            to_send: Some(Pipe::new(EARLY_MAX)),
        }
    }

    /// Puts `message` in front of all that the owner sends.
    pub(super) fn say(&mut self, message: &[u8]) {
        if let Some(to_send) = self.to_send.as_mut().filter(|pipe| pipe.end() == End::Open) {
            to_send.push_slice(message);
        }
    }

    /// Sends nothing behind the message.
    pub(super) fn finish(&mut self) {
        if let Some(to_send) = &mut self.to_send {
            let _ = to_send.finish();
        }
    }

    /// Hands the message to QUIC.
    pub(super) fn flush(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let _ = self.listen(now, endpoint, 0);
    }

    /// Hands the message to QUIC, and takes nothing more.
    pub(super) fn refuse_more(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(received) = &mut self.received {
            let _ = received.reset_if_open();
        }
        self.flush(now, endpoint);
    }

    /// Moves octets between the stream and what is kept here. What came so far is returned, and
    /// whether more may come.
    pub(super) fn listen(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        message_len_max: usize,
    ) -> (&[u8], bool) {
        let received = self.received.get_or_insert_with(|| Pipe::new(EARLY_MAX));
        let to_send = self.to_send.get_or_insert_with(|| Pipe::new(EARLY_MAX));
        let _ = endpoint.exchange(now, self.id, received, to_send);
        let may_come = received.end() == End::Open;
        (received.peek(message_len_max), may_come)
    }

    /// Has the other end given the stream up?
    pub(super) fn is_reset(&self) -> bool {
        let pipes = [&self.received, &self.to_send];
        pipes
            .into_iter()
            .flatten()
            .any(|pipe| pipe.end() == End::Reset)
    }

    /// Drops the first `n` octets that came: the message.
    pub(super) fn skip(&mut self, n: usize) {
        if let Some(received) = &mut self.received {
            received.skip(n);
        }
    }

    /// The message is read: moves octets between the stream and its owner's pipes.
    pub(super) fn exchange(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let mut progress = Progress::NONE;
        if let Some(mut first) = self.to_send.take() {
            // All of it goes to the stream at once, in front of what follows.
            let mut nothing = Pipe::new(0);
            let comes = self.received.as_mut().unwrap_or(&mut nothing);
            progress |= endpoint.exchange(now, self.id, comes, &mut first);
            if first.end() == End::Reset {
                progress |= to_send.reset();
            }
        }
        let Some(early) = &mut self.received else {
            return progress | endpoint.exchange(now, self.id, received, to_send);
        };
        if received.end() != End::Open {
            progress |= early.reset_if_open();
        }
        progress |= early.transfer(received);
        progress |= endpoint.exchange(now, self.id, early, to_send);
        progress |= early.transfer(received);
        if early.is_empty() {
            self.received = None;
            progress |= endpoint.exchange(now, self.id, received, to_send);
        }
        progress
    }

    /// Does QUIC know the stream no more, and is all given that came?
    pub(super) fn is_over(&self, endpoint: &Endpoint) -> bool {
        self.received.is_none() && !endpoint.is_open(self.id)
    }
}

/// The stream is gone with its connection: both directions are reset, unless they were complete.
pub(super) fn lose(received: &mut Pipe, to_send: &mut Pipe) -> Progress {
    received.reset_if_open() | to_send.reset()
}

/// A message as octets.
pub(super) fn message(emit: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    emit(&mut out);
    out
}
