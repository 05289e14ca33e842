//! Passthrough: moving bytes between two sockets without showing them to the machine.
use super::driver::{Driver, TcpSlot};
use crate::host::Cx;
use bytes::BytesMut;
use sansbox_core::End;
use sansbox_engine::{ids::Slot, machine::Input};

/// Bytes that one direction holds at most before it stops reading.
const BUFFER_LEN: usize = 64 << 10;

#[derive(Debug)]
struct Half {
    from: Slot,
    to: Slot,
    buffer: BytesMut,
    unreported: u64,
    /// The FIN of `from` was forwarded.
    is_done: bool,
}

/// Two directions of a relay.
#[derive(Debug)]
pub(super) struct Relay {
    halves: [Half; 2],
}

impl Relay {
    pub(super) fn new(a: Slot, b: Slot) -> Self {
        let half = |from, to| Half {
            from,
            to,
            buffer: BytesMut::new(),
            unreported: 0,
            is_done: false,
        };
        Self {
            halves: [half(a, b), half(b, a)],
        }
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        self.halves.iter().any(|half| half.from == slot)
    }

    pub(super) fn has_unreported(&self) -> bool {
        self.halves.iter().any(|half| half.unreported > 0)
    }
}

impl Driver {
    fn half(&mut self, from: Slot) -> Option<&mut Half> {
        let halves = &mut self.relay.as_mut()?.halves;
        halves.iter_mut().find(|half| half.from == from)
    }

    /// Tells the machine what was moved since the last report.
    pub(super) fn report_relayed(&mut self, cx: &mut Cx<'_>) {
        let Some(relay) = &mut self.relay else {
            return;
        };
        let counts: Vec<(Slot, u64)> = relay
            .halves
            .iter_mut()
            .map(|half| (half.from, core::mem::take(&mut half.unreported)))
            .filter(|(_, n)| *n > 0)
            .collect();
        for (slot, n) in counts {
            self.apply(cx, Input::Relayed(slot, n));
        }
    }

    /// Moves bytes and ends both ways.
    pub(super) fn relay(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(relay) = &self.relay else {
            return false;
        };
        let ways = relay.halves.each_ref().map(|half| (half.from, half.to));
        let mut moved = false;
        for (from, to) in ways {
            moved |= self.fill_half(cx, from);
            moved |= self.drain_half(cx, from, to);
            moved |= self.end_half(cx, from, to);
        }
        if moved && !self.reports_late {
            self.report_relayed(cx);
        }
        moved
    }

    fn fill_half(&mut self, cx: &mut Cx<'_>, from: Slot) -> bool {
        let max = self.read_len(cx);
        let Some(half) = self.half(from) else {
            return false;
        };
        let has_room = half.buffer.len() < BUFFER_LEN;
        match self.tcp(from).copied() {
            Some(tcp) if tcp.readable && !tcp.dead && (has_room || tcp.ended) => {
                let read = cx.read(tcp.id, max);
                self.on_read(cx, from, read, |driver, _, bytes| {
                    if let Some(half) = driver.half(from) {
                        half.buffer.extend_from_slice(&bytes);
                    }
                })
            }
            Some(_) | None => false,
        }
    }

    fn drain_half(&mut self, cx: &mut Cx<'_>, from: Slot, to: Slot) -> bool {
        let Some(TcpSlot { id, dead, .. }) = self.tcp(to).copied() else {
            return false;
        };
        let Some(half) = self.half(from) else {
            return false;
        };
        if dead || half.buffer.is_empty() {
            return false;
        }
        match cx.write(id, &half.buffer) {
            Ok(n) => {
                let _ = half.buffer.split_to(n);
                half.unreported += n as u64;
                n > 0
            }
            Err(_) => {
                if let Some(tcp) = self.tcp(to) {
                    tcp.dead = true;
                }
                self.report_relayed(cx);
                self.apply(cx, Input::Ended(to, End::Reset));
                true
            }
        }
    }

    fn end_half(&mut self, cx: &mut Cx<'_>, from: Slot, to: Slot) -> bool {
        let has_ended = self.tcp(from).is_some_and(|tcp| tcp.ended && !tcp.dead);
        let Some(half) = self.half(from) else {
            return false;
        };
        if half.is_done || !has_ended || !half.buffer.is_empty() {
            return false;
        }
        half.is_done = true;
        if let Some(tcp) = self.tcp(to) {
            let id = tcp.id;
            if !tcp.shut && !tcp.dead {
                tcp.shut = true;
                cx.shutdown(id);
            }
        }
        self.report_relayed(cx);
        self.apply(cx, Input::Ended(from, End::Fin));
        true
    }
}
