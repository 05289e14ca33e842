//! One connection, and bytes between it and the machine's pipes for it.
use super::{Driver, Sockets, buffers::Buffers, link::Link};
use crate::{
    ids::Slot,
    machine::{Input, Machine},
};
use core::task::Poll;
use sansbox_core::{End, Instant, Pipe};
use std::io::{self, IoSlice};

/// Segments written in one system call.
const SEGMENTS: usize = 16;

/// A connection and which of its directions are over.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) link: Link<T>,
    /// The peer's FIN was read.
    pub(crate) ended: bool,
    /// Our FIN was sent.
    shut: bool,
}

impl<T> Stream<T> {
    pub(crate) const fn new(link: Link<T>) -> Self {
        Self {
            link,
            ended: false,
            shut: false,
        }
    }

    /// Sends our FIN, once.
    pub(crate) fn shut<K: Sockets<Stream = T>>(
        &mut self,
        driver: &mut impl Driver<K>,
    ) -> io::Result<()> {
        if self.shut {
            return Ok(());
        }
        self.shut = true;
        self.link.shut(driver)
    }
}

/// What waits in a pipe, as far as there are slices for it.
pub(crate) fn gather<'s, 'p>(pipe: &'p Pipe, slices: &'s mut [IoSlice<'p>]) -> &'s [IoSlice<'p>] {
    let mut used = 0;
    for (slice, segment) in slices.iter_mut().zip(pipe.segments()) {
        *slice = IoSlice::new(segment);
        used += 1;
    }
    slices.get(..used).unwrap_or_default()
}

/// One connection and the machine's pipes for it.
pub(crate) struct StreamIo<'s, M, K: Sockets, D> {
    pub(crate) machine: &'s mut M,
    pub(crate) driver: &'s mut D,
    pub(crate) slot: Slot,
    pub(crate) stream: &'s mut Stream<K::Stream>,
    pub(crate) now: Instant,
}

impl<M: Machine, K: Sockets, D: Driver<K>> StreamIo<'_, M, K, D> {
    /// Writes until the pipe is empty or the socket full. True when the machine learnt something;
    /// an error: the connection is dead.
    pub(crate) fn write(&mut self) -> io::Result<bool> {
        let mut is_news = false;
        loop {
            let Some(pipes) = self.machine.pipes(self.slot) else {
                return Ok(is_news);
            };
            if pipes.tx.is_empty() {
                if pipes.tx.end() == End::Fin {
                    self.stream.shut(self.driver)?;
                }
                return Ok(is_news);
            }
            let mut slices = [IoSlice::new(&[]); SEGMENTS];
            let bytes = gather(pipes.tx, &mut slices);
            let Poll::Ready(written) = self.stream.link.poll_write(self.driver, bytes) else {
                return Ok(is_news);
            };
            let input = Input::Drained(self.slot, written?);
            self.machine.apply(self.now, input);
            is_news = true;
        }
    }

    /// Reads once, if the machine has room. True when the machine learnt something; an error: the
    /// connection is dead.
    pub(crate) fn read(&mut self, buffers: &Buffers) -> io::Result<bool> {
        let pipes = self.machine.pipes(self.slot);
        if self.stream.ended || pipes.is_none_or(|pipes| pipes.rx.room() == 0) {
            return Ok(false);
        }
        let received = self.stream.link.poll_segment(self.driver, buffers);
        let Poll::Ready(segment) = received else {
            return Ok(false);
        };
        let segment = segment?;
        let input = if segment.is_empty() {
            self.stream.ended = true;
            Input::Ended(self.slot, End::Fin)
        } else {
            Input::Received(self.slot, segment)
        };
        self.machine.apply(self.now, input);
        Ok(true)
    }
}
