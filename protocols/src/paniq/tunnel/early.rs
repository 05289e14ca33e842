//! A stream whose first octets are a message and not payload.
use bytes::BytesMut;
use sansbox_core::{End, Instant, Pipe, Progress};
use sansbox_quic::{Endpoint, StreamId};

/// Octets that are taken from a stream before its message is complete: more than any message has.
const EARLY_MAX: usize = 1024;

/// Octets that most messages are shorter than.
const MESSAGE_LEN: usize = 64;

/// Empty pipes that every stream uses for its message: cheaper than new ones.
#[derive(Debug)]
pub(super) struct Scratch {
    received: Pipe,
    /// With room for nothing.
    nothing: Pipe,
    to_send: Pipe,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            received: Pipe::new(EARLY_MAX),
            nothing: Pipe::new(0),
            to_send: Pipe::new(EARLY_MAX),
        }
    }
}

/// A stream of QUIC, what came over it and was not given to the owner yet, and what this side puts
/// in front of the owner's octets.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) id: StreamId,
    /// What came and nobody has taken. Most messages come whole and alone, and leave nothing.
    received: Option<Box<Pipe>>,
    /// What this side says, until QUIC takes it.
    message: BytesMut,
    /// Nothing follows the message.
    is_finished: bool,
    /// The other end wants nothing more, and the owner is not told yet.
    is_stopped: bool,
}

impl Early {
    pub(super) fn new(id: StreamId) -> Self {
        Self {
            id,
            received: None,
            message: BytesMut::new(),
            is_finished: false,
            is_stopped: false,
        }
    }

    /// Puts `message` in front of all that the owner sends.
    pub(super) fn say(&mut self, message: BytesMut) {
        self.message = message;
    }

    /// Sends nothing behind the message.
    pub(super) const fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Hands the message to QUIC.
    pub(super) fn flush(&mut self, now: Instant, endpoint: &mut Endpoint, scratch: &mut Scratch) {
        self.hand_over(now, endpoint, &mut scratch.nothing, &mut scratch.to_send);
        if scratch.nothing.end() != End::Open {
            scratch.nothing = Pipe::new(0);
        }
    }

    /// Hands the message to QUIC, and takes nothing more.
    pub(super) fn refuse_more(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        scratch: &mut Scratch,
    ) {
        let mut nothing = Pipe::new(0);
        let _ = nothing.reset();
        self.received = None;
        self.hand_over(now, endpoint, &mut nothing, &mut scratch.to_send);
    }

    /// Gives QUIC all of the message at once, which keeps what there is no room for, and takes
    /// what came.
    fn hand_over(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) {
        to_send.push(core::mem::take(&mut self.message));
        if self.is_finished {
            let _ = to_send.finish();
        }
        let _ = endpoint.exchange(now, self.id, received, to_send);
        self.is_stopped |= to_send.end() == End::Reset;
        if to_send.end() != End::Open || !to_send.is_empty() {
            *to_send = Pipe::new(EARLY_MAX);
        }
    }

    /// Takes what came. `read` is given at most `len_max` octets of it and whether more may come,
    /// and says how many octets it has used.
    pub(super) fn listen<T>(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        scratch: &mut Scratch,
        len_max: usize,
        read: impl FnOnce(&[u8], bool) -> (T, usize),
    ) -> T {
        let mut own = self.received.take();
        let received = own.as_deref_mut().unwrap_or(&mut scratch.received);
        self.hand_over(now, endpoint, received, &mut scratch.to_send);
        let may_come = received.end() == End::Open;
        let (said, used) = read(received.peek(len_max), may_come);
        received.skip(used);
        if !received.is_empty() || received.end() != End::Open {
            self.received = own.or_else(|| {
                let fresh = Pipe::new(EARLY_MAX);
                Some(Box::new(core::mem::replace(&mut scratch.received, fresh)))
            });
        }
        said
    }

    /// Has the other end given the stream up?
    pub(super) fn is_reset(&self) -> bool {
        let received = self.received.as_ref();
        self.is_stopped || received.is_some_and(|received| received.end() == End::Reset)
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
        if core::mem::take(&mut self.is_stopped) {
            progress |= to_send.reset();
        }
        if let Some(early) = &mut self.received {
            if received.end() != End::Open {
                progress |= early.reset_if_open();
            }
            progress |= early.transfer(received);
            progress |= endpoint.exchange(now, self.id, early, to_send);
            progress |= early.transfer(received);
            if !early.is_empty() {
                return progress;
            }
            self.received = None;
        }
        progress | endpoint.exchange(now, self.id, received, to_send)
    }

    /// Does QUIC know the stream no more, and is all given that came? Then both of the owner's
    /// pipes have ended.
    pub(super) fn is_over(&self, endpoint: &Endpoint, received: &Pipe, to_send: &Pipe) -> bool {
        received.end() != End::Open
            && to_send.end() != End::Open
            && self.received.is_none()
            && !endpoint.is_open(self.id)
    }
}

/// The stream is gone with its connection: both directions are reset, unless they were complete.
pub(super) fn lose(received: &mut Pipe, to_send: &mut Pipe) -> Progress {
    received.reset_if_open() | to_send.reset()
}

/// A message as octets.
pub(super) fn message(emit: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::with_capacity(MESSAGE_LEN);
    emit(&mut out);
    out
}
