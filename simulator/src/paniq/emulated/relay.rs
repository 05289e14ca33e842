//! What a persona makes of the ends of a relay's two directions.
use crate::paniq::{persona::Persona, profile::Profile};
use core::time::Duration;
use sansbox_core::{End, Instant, Pipe, Progress};
use sansbox_quic::{Endpoint, StreamId};

/// Octets that wait in each direction between a stream and its owner.
const PIPE_LEN: usize = 64 * 1024;

/// A stream between QUIC and an owner's pipes.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: StreamId,
    /// From the stream.
    pub(super) came: Pipe,
    /// To the stream.
    pub(super) goes: Pipe,
    half_close: bool,
    /// How long each direction may be silent.
    idle: Option<Duration>,
    came_at: Instant,
    went_at: Instant,
    /// The owner's connection is closed; what it still sends goes nowhere.
    pub(super) is_closed: bool,
    /// A direction was silent for too long.
    is_cut: bool,
    /// The tunnel is gone.
    pub(super) is_lost: bool,
}

impl Relay {
    pub(super) fn new(now: Instant, id: StreamId, persona: &Persona, profile: &Profile) -> Self {
        let idle = profile.relay_idle;
        Self {
            id,
            came: Pipe::new(PIPE_LEN),
            goes: Pipe::new(PIPE_LEN),
            half_close: persona.half_close,
            idle: persona.idle_per_direction.then_some(idle),
            came_at: now,
            went_at: now,
            is_closed: false,
            is_cut: false,
            is_lost: false,
        }
    }

    /// Moves octets between the stream and what is kept here.
    pub(super) fn pump(&mut self, now: Instant, endpoint: &mut Endpoint) -> Progress {
        // What nobody reads any more stays unread: no STOP_SENDING.
        let mut nobody = Pipe::new(0);
        let came = if self.is_closed {
            &mut nobody
        } else {
            &mut self.came
        };
        endpoint.exchange(now, self.id, came, &mut self.goes)
    }

    /// The relay begins: idle times count from now.
    pub(super) const fn begin(&mut self, now: Instant) {
        (self.came_at, self.went_at) = (now, now);
    }

    /// Moves octets and ends between the stream and the owner.
    pub(super) fn exchange(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        if self.is_closed {
            let swallowed = to_send.skip(usize::MAX);
            return Progress(swallowed > 0) | self.pump(now, endpoint);
        }
        let mut progress = self.pump(now, endpoint);
        if !self.came.is_empty() {
            self.came_at = now;
        }
        if !to_send.is_empty() {
            self.went_at = now;
        }
        if self.half_close {
            progress |= self.came.transfer(received) | to_send.transfer(&mut self.goes);
            return progress | self.pump(now, endpoint);
        }
        // The first loop that ends, ends everything; an error ends it as an end does.
        let has_come = self.came.end() != End::Open;
        let has_gone = to_send.end() != End::Open;
        if received.end() == End::Open {
            progress |= octets(&mut self.came, received);
        }
        progress |= octets(to_send, &mut self.goes);
        let came_ends = has_come && self.came.is_empty() || received.end() != End::Open;
        if self.is_cut || came_ends || has_gone && to_send.is_empty() {
            self.close(received);
            progress = Progress::MADE;
        }
        progress | self.pump(now, endpoint)
    }

    /// Ends everything: FIN for the stream, and the owner's connection is closed.
    pub(super) fn close(&mut self, received: &mut Pipe) {
        let _ = self.goes.finish();
        let _ = received.finish();
        self.is_closed = true;
    }

    /// When a direction has been silent for too long.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        let idle = self
            .idle
            .filter(|_| !self.is_closed && !self.is_cut && !self.is_lost)?;
        Some(self.came_at.min(self.went_at) + idle)
    }

    /// Ends the relay with the next exchange, if a direction has been silent for too long.
    pub(super) fn cut_when_idle(&mut self, now: Instant) {
        self.is_cut |= self.idle_at().is_some_and(|at| at <= now);
    }
}

/// Moves octets and no end.
fn octets(from: &mut Pipe, to: &mut Pipe) -> Progress {
    let mut progress = Progress::NONE;
    while to.room() > 0
        && let Some(bytes) = from.take(to.room())
    {
        to.push(bytes);
        progress = Progress::MADE;
    }
    progress
}
