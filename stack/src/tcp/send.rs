//! Payload from the caller: owned chunks, kept until the client has them.
use bytes::Bytes;
use sansbox_core::Instant;

use super::context::{Chunk, Context};
use super::flow::{Flow, State, flag};
use super::seq::distance;
use crate::config::{CHUNKS_MAX, SEND_FLOOR, WINDOW_START};
use crate::list::NIL;

impl Flow {
    /// Queues `chunk`, or hands it back whole when there is no room: then the caller hears when
    /// there is.
    pub(crate) fn write(&mut self, context: &mut Context, chunk: Bytes) -> Result<(), Bytes> {
        let open = matches!(self.state, State::Established | State::CloseWait);
        if !open {
            return Err(chunk);
        }
        if !self.has_room(context, 1) {
            self.set(flag::WANTS_ROOM);
            return Err(chunk);
        }
        let Ok(len) = u32::try_from(chunk.len()) else {
            return Err(chunk);
        };
        if len == 0 {
            return Ok(());
        }
        let queued = Chunk {
            start: self.snd_end,
            bytes: chunk,
        };
        context.chunks.push_back(&mut self.chunks, queued);
        context.budget.queued += u64::from(len);
        self.chunks_len += 1;
        self.snd_end = self.snd_end.wrapping_add(len);
        Ok(())
    }

    /// Is less queued than a `part`-th of what may be? The limit is soft by the one chunk that
    /// crosses it, and follows the peer's window.
    pub(crate) fn has_room(&self, context: &Context, part: u32) -> bool {
        let tuned = self.snd_wnd_max.saturating_mul(2).max(WINDOW_START);
        let mut limit = tuned.min(context.config.send_max);
        if context.budget.queued >= context.config.send_budget {
            limit = limit.min(SEND_FLOOR);
        }
        let queued = distance(self.snd_una, self.snd_end);
        queued < (limit / part).max(1)
            && self.chunks_len < CHUNKS_MAX / u16::try_from(part).unwrap_or(1)
    }

    /// Bytes queued and never sent.
    pub(crate) fn unsent(&self) -> u32 {
        distance(self.snd_max, self.snd_end)
    }

    /// Is our FIN queued and was never sent?
    pub(crate) fn fin_unsent(&self) -> bool {
        self.has(flag::FIN_QUEUED) && self.snd_max != self.snd_end.wrapping_add(1)
    }

    /// Ends our direction behind what is queued. False if it was ended before.
    pub(crate) fn shutdown(&mut self, now: Instant) -> bool {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::Finished => return false,
        };
        self.set(flag::FIN_QUEUED);
        self.arm(now);
        true
    }

    pub(crate) fn pop_chunk(&mut self, context: &mut Context) -> bool {
        let head = self.chunks.head();
        let Some(chunk) = context.chunks.pop_front(&mut self.chunks) else {
            return false;
        };
        if self.cursor == head {
            self.cursor = NIL;
        }
        self.chunks_len = self.chunks_len.saturating_sub(1);
        let len = chunk.bytes.len() as u64;
        context.budget.queued = context.budget.queued.saturating_sub(len);
        true
    }

    pub(crate) fn release_chunks(&mut self, context: &mut Context) {
        while self.pop_chunk(context) {}
    }
}
