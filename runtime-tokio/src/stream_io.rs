//! Bytes between one connection and the machine's pipes for it.
use crate::{
    buffers::Buffers,
    slots::{Stream, is_retry, mark_drained},
};
use sansbox_core::{End, Instant};
use sansbox_engine::{
    ids::Slot,
    machine::{Input, Machine},
};
use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

/// Segments written in one system call.
const SEGMENTS: usize = 16;

/// One connection and the machine's pipes for it.
pub(crate) struct StreamIo<'s, M> {
    pub(crate) machine: &'s mut M,
    pub(crate) slot: Slot,
    pub(crate) stream: &'s mut Stream,
    pub(crate) now: Instant,
}

impl<M: Machine> StreamIo<'_, M> {
    /// Writes until the pipe is empty or the socket full. An error: the connection is dead.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut is_news = false;
        loop {
            let Some(pipes) = self.machine.pipes(self.slot) else {
                return Ok(is_news);
            };
            if pipes.tx.is_empty() {
                if pipes.tx.end() == End::Fin {
                    self.stream.shut()?;
                }
                return Ok(is_news);
            }
            match self.stream.tcp.poll_write_ready(cx) {
                Poll::Pending => return Ok(is_news),
                Poll::Ready(ready) => ready?,
            }
            let mut slices = [IoSlice::new(&[]); SEGMENTS];
            let mut used = 0;
            for (slice, segment) in slices.iter_mut().zip(pipes.tx.segments()) {
                *slice = IoSlice::new(segment);
                used += 1;
            }
            let used = slices.get(..used).unwrap_or_default();
            match self.stream.tcp.try_write_vectored(used) {
                Ok(n) => {
                    self.machine.apply(self.now, Input::Drained(self.slot, n));
                    is_news = true;
                }
                Err(e) if is_retry(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads once, if the machine has room. An error: the connection is dead.
    pub(crate) fn read(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> io::Result<bool> {
        let tcp = &self.stream.tcp;
        loop {
            let pipes = self.machine.pipes(self.slot);
            if self.stream.ended || pipes.is_none_or(|pipes| pipes.rx.room() == 0) {
                return Ok(false);
            }
            match tcp.poll_read_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready?,
            }
            let (segment, was_full) = match buffers.receive(|room| tcp.try_read(room)) {
                Ok(received) => received,
                Err(e) if is_retry(&e) => continue,
                Err(e) => return Err(e),
            };
            let input = if segment.is_empty() {
                self.stream.ended = true;
                Input::Ended(self.slot, End::Fin)
            } else {
                if !was_full {
                    mark_drained(tcp);
                }
                Input::Received(self.slot, segment)
            };
            self.machine.apply(self.now, input);
            return Ok(true);
        }
    }
}
