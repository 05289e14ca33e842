//! Putting bytes on the line, and hearing that they arrived.
use super::conn::{Conn, Phase};
use crate::{
    net::packet::{Flags, Segment, TcpOptions},
    tcp::{stack::StackCx, table::Owner},
};
use bytes::{Buf as _, BytesMut};
use core::time::Duration;
use sansbox_core::Instant;

/// What is sent again goes in segments of at least this, where there is as much.
const AGAIN_LEN_MIN: usize = 536;
/// Packets on the way, at most.
const FLIGHT_MAX: u64 = 256;
/// Packets on the way after a timeout (RFC 5681 section 3.1).
const FLIGHT_AFTER_TIMEOUT: u64 = 1;
/// Packets on the way after a loss that was noticed otherwise, at least.
const FLIGHT_AFTER_LOSS_MIN: u64 = 2;

impl Conn {
    /// The acknowledgement that every segment carries.
    pub(super) fn ack(&self) -> u64 {
        self.recv.next + u64::from(self.recv.has_fin())
    }

    /// Bytes that there is room for.
    pub(super) fn window(&self) -> u64 {
        let room = self.path.window.saturating_sub(self.recv.buf.len());
        room as u64
    }

    /// When a segment of `len` payload bytes is on the line.
    fn line(&mut self, now: Instant, len: usize) -> Instant {
        let on_line = match self.path.rate {
            Some(rate) => Duration::from_nanos(len as u64 * 1_000_000_000 / rate.max(1)),
            None => Duration::ZERO,
        };
        let free = self.send.line_free_at.max(now) + on_line;
        self.send.line_free_at = free;
        free
    }

    pub(super) fn emit(&mut self, cx: &mut StackCx<'_>, flags: Flags, offset: u64, data: BytesMut) {
        let at = self.line(cx.now(), data.len());
        let (ack, window) = (self.ack(), self.window());
        self.recv.told_edge = self.recv.told_edge.max(ack + window);
        let segment = Segment {
            flags,
            offset,
            ack,
            window,
            data,
            options: TcpOptions::default(),
        };
        cx.send(at, self.local, self.remote, segment);
    }

    /// The request for a connection, or its grant.
    pub(super) fn send_syn(&mut self, cx: &mut StackCx<'_>) {
        let flags = if self.phase == Phase::SynSent {
            Flags::SYN
        } else {
            Flags::SYN_ACK
        };
        self.emit(cx, flags, 0, BytesMut::new());
        self.clock.arm_syn(cx.now());
    }

    pub(super) fn send_ack(&mut self, cx: &mut StackCx<'_>) {
        let offset = self.send.highest;
        self.emit(cx, Flags::ACK, offset, BytesMut::new());
    }

    /// A segment that must be answered, whatever was acknowledged.
    pub(super) fn send_probe(&mut self, cx: &mut StackCx<'_>) {
        let offset = self.send.acked.wrapping_sub(1);
        self.emit(cx, Flags::ACK, offset, BytesMut::new());
    }

    /// The receiver's window has opened enough to say so.
    pub(super) fn open_window(&mut self, cx: &mut StackCx<'_>) {
        let edge = self.ack() + self.window();
        let step = (self.path.window as u64 / 2).clamp(1, 2 * self.segment_max as u64);
        let is_worth = edge >= self.recv.told_edge + step;
        if self.phase == Phase::Open && self.owner == Owner::Host && is_worth {
            self.send_ack(cx);
        }
    }

    /// Sends the `len` bytes at `offset`, and the FIN where it follows them.
    fn send_data(&mut self, cx: &mut StackCx<'_>, offset: u64, len: usize) -> u64 {
        let from = (offset - self.send.base) as usize;
        let bytes = self.send.buf.get(from..from + len).unwrap_or_default();
        let data = BytesMut::from(bytes);
        let fin = self.send.fin_queued && offset + len as u64 == self.send.end();
        let flags = Flags { fin, ..Flags::ACK };
        self.emit(cx, flags, offset, data);
        offset + len as u64 + u64::from(fin)
    }

    /// Puts on the line what window and flight allow.
    pub(super) fn pump(&mut self, cx: &mut StackCx<'_>) {
        if self.phase != Phase::Open || self.owner == Owner::Vanished {
            return;
        }
        loop {
            let send = &self.send;
            let is_again = send.next < send.highest;
            let piece = if is_again {
                self.piece_again()
            } else {
                self.segment_max
            };
            let flight = send.acked + send.flight_max * piece as u64;
            let room = send.edge.min(flight).saturating_sub(send.next);
            let left = send.end().saturating_sub(send.next);
            let want = left.min(room).min(piece as u64) as usize;
            let fin = send.fin_queued && send.next == send.end();
            if want == 0 && !fin {
                break;
            }
            let n = if is_again {
                want
            } else {
                cx.streams().len_up_to(self.stream, want)
            };
            let next = self.send_data(cx, self.send.next, n);
            if !is_again {
                self.clock.time(cx.now(), next);
            }
            self.send.next = next;
            self.send.highest = self.send.highest.max(next);
        }
        let has_unsent = self.send.next < self.send.end();
        let waits = self.send.acked < self.send.highest || has_unsent;
        self.clock.keep_armed(cx.now(), waits);
    }

    /// The other side says what has arrived.
    pub(super) fn handle_ack(&mut self, cx: &mut StackCx<'_>, segment: &Segment) {
        let (ack, edge) = (segment.ack, segment.ack + segment.window);
        let has_opened = edge > self.send.edge;
        self.send.edge = self.send.edge.max(edge);
        if has_opened && self.send.acked == self.send.highest {
            self.clock.restart();
        }
        if ack > self.send.acked && ack <= self.send.highest {
            self.send.acked = ack;
            self.send.next = self.send.next.max(ack);
            let gone = (ack - self.send.base).min(self.send.buf.len() as u64);
            self.send.buf.advance(gone as usize);
            self.send.base += gone;
            self.send.flight_max = (self.send.flight_max + 1).min(FLIGHT_MAX);
            self.clock.progress(cx.now(), ack);
            if ack < self.clock.recover {
                // The next hole of the same loss.
                self.send_first_again(cx);
            }
            if self.send.buf.len() < self.path.send_buffer {
                self.tell_writable(cx);
            }
        } else if ack == self.send.acked
            && self.send.acked < self.send.next
            && segment.data.is_empty()
            && !has_opened
            && self.clock.is_third_repeat()
            && ack >= self.clock.recover
        {
            self.clock.recover = self.send.highest;
            self.send.flight_max = (self.send.flight_max / 2).max(FLIGHT_AFTER_LOSS_MIN);
            self.send_first_again(cx);
        }
        self.pump(cx);
        self.settle(cx);
    }

    /// Longest segment of what is sent again.
    fn piece_again(&self) -> usize {
        self.segment_max.max(AGAIN_LEN_MIN.min(self.segment_limit))
    }

    /// Sends the first unacknowledged segment again.
    fn send_first_again(&mut self, cx: &mut StackCx<'_>) {
        let offset = self.send.acked;
        let left = self.send.end().saturating_sub(offset);
        let n = left
            .min(self.piece_again() as u64)
            .min(self.send.highest - offset) as usize;
        if offset <= self.send.end() {
            self.send_data(cx, offset, n);
        }
    }

    /// Nothing was acknowledged in time: everything is sent again.
    pub(super) fn send_all_again(&mut self, cx: &mut StackCx<'_>) {
        self.send.next = self.send.acked;
        self.send.flight_max = FLIGHT_AFTER_TIMEOUT;
        self.clock.recover = 0;
        self.pump(cx);
    }
}
