//! Segments that arrive.
use super::conn::{Conn, Phase};
use crate::{
    net::packet::Segment,
    tcp::{
        stack::{StackCx, StackEvent},
        table::Owner,
    },
};
use bytes::{Buf as _, BytesMut};
use sansbox_core::Refusal;

impl Conn {
    pub(super) fn handle_segment(&mut self, cx: &mut StackCx<'_>, segment: Segment) {
        if self.owner == Owner::Vanished || self.phase == Phase::Dead {
            return;
        }
        self.clock.heard(cx.now());
        if segment.flags.rst {
            self.die(cx, Refusal::ConnectionRefused);
            return;
        }
        match (self.phase, segment.flags.syn, segment.flags.ack) {
            (Phase::SynSent, true, true) => self.connected(cx, &segment),
            (Phase::SynReceived, true, _) => self.send_syn(cx),
            (Phase::SynReceived, false, true) => {
                self.established(&segment);
                let event = StackEvent::Accepted {
                    conn: self.id,
                    local: self.local,
                    remote: self.remote,
                };
                cx.tell(cx.now(), event);
                self.handle_open(cx, segment);
            }
            // The grant again: its acknowledgement was lost.
            (Phase::Open, true, _) => self.send_ack(cx),
            (Phase::Open, false, true) => self.handle_open(cx, segment),
            (Phase::SynSent | Phase::SynReceived | Phase::Open | Phase::Dead, ..) => {}
        }
    }

    fn established(&mut self, segment: &Segment) {
        self.phase = Phase::Open;
        self.send.edge = segment.ack + segment.window;
        self.clock.established();
    }

    fn connected(&mut self, cx: &mut StackCx<'_>, segment: &Segment) {
        self.clock.sample_syn(cx.now());
        self.established(segment);
        self.send_ack(cx);
        cx.tell(cx.now(), StackEvent::Connected(self.id));
        self.pump(cx);
    }

    fn handle_open(&mut self, cx: &mut StackCx<'_>, segment: Segment) {
        let old_fin = self.recv.has_fin();
        let has_content = !segment.data.is_empty() || segment.flags.fin;
        if segment.ack > self.send.highest {
            // Bytes were made up on the way: the two ends will never agree again.
            self.send_reset(cx);
            self.die(cx, Refusal::General);
            return;
        }
        let is_probe = (segment.offset.wrapping_sub(self.ack()) as i64) < 0;
        self.handle_ack(cx, &segment);
        let is_new = segment.offset + segment.data.len() as u64 > self.recv.next;
        if self.owner == Owner::Closed && is_new && !segment.data.is_empty() {
            // Bytes for a socket that is closed are answered with a reset.
            self.send_reset(cx);
            self.phase = Phase::Dead;
            return;
        }
        if !has_content {
            if is_probe {
                self.send_ack(cx);
            }
            return;
        }
        let before = self.recv.next;
        if segment.flags.fin {
            let end = segment.offset + segment.data.len() as u64;
            self.recv.fin_at.get_or_insert(end);
        }
        self.take(segment.offset, segment.data);
        self.send_ack(cx);
        if self.recv.next > before || (self.recv.has_fin() && !old_fin) {
            self.tell_readable(cx);
        }
    }

    /// Sorts payload in, as far as there is room for it.
    fn take(&mut self, offset: u64, mut data: BytesMut) {
        let edge = self.recv.next + self.window();
        let known = self.recv.next.saturating_sub(offset);
        let offset = offset + known;
        if known >= data.len() as u64 || offset >= edge {
            return;
        }
        data.advance(known as usize);
        data.truncate(usize::try_from(edge - offset).unwrap_or(usize::MAX));
        if offset > self.recv.next {
            let held = self.recv.early.entry(offset).or_default();
            if held.len() < data.len() {
                *held = data;
            }
            return;
        }
        self.recv.next += data.len() as u64;
        self.recv.buf.extend_from_slice(&data);
        while let Some(entry) = self.recv.early.first_entry()
            && *entry.key() <= self.recv.next
        {
            let (offset, mut data) = entry.remove_entry();
            let known = self.recv.next - offset;
            if known < data.len() as u64 {
                data.advance(known as usize);
                self.recv.next += data.len() as u64;
                self.recv.buf.extend_from_slice(&data);
            }
        }
    }
}
