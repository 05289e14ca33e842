//! Moving bytes between sockets and a machine's pipes.
use super::driver::{Driver, Socket, TcpSlot};
use crate::{
    check::Invariant,
    host::{Cx, Read},
};
use bytes::BytesMut;
use sansbox_core::End;
use sansbox_engine::{ids::Slot, machine::Input};

impl Driver {
    /// Stream slots whose bytes pass through the machine.
    fn piped(&self) -> Vec<Slot> {
        let is_piped = |slot: &Slot| self.relay.as_ref().is_none_or(|relay| !relay.has(*slot));
        let is_tcp = |socket: &Socket| matches!(socket, Socket::Tcp(_));
        let slots = self.slots.iter();
        slots
            .filter(|(slot, socket)| is_tcp(socket) && is_piped(slot))
            .map(|(slot, _)| *slot)
            .collect()
    }

    /// Writes what the transmit pipes hold.
    pub(super) fn write(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut moved = false;
        for slot in self.piped() {
            while self.write_once(cx, slot) {
                moved = true;
                if cx.is_broken() {
                    return true;
                }
            }
        }
        moved
    }

    /// True when something moved and more may.
    fn write_once(&mut self, cx: &mut Cx<'_>, slot: Slot) -> bool {
        let Some(TcpSlot { id, shut, dead, .. }) = self.tcp(slot).copied() else {
            return false;
        };
        let Some(tx) = self.machine.pipes(slot).map(|pipes| pipes.tx) else {
            return false;
        };
        if dead {
            return false;
        }
        if tx.is_empty() {
            let ends_now = tx.end() == End::Fin && !shut;
            if ends_now {
                cx.shutdown(id);
                self.tcp(slot).into_iter().for_each(|tcp| tcp.shut = true);
            }
            return ends_now;
        }
        if shut {
            let what = format!("{} bytes on {slot:?} after its FIN", tx.len());
            cx.violate(Invariant::NothingAfterFin, self.describe(&what));
            return false;
        }
        match cx.write(id, tx.first()) {
            Ok(0) => return false,
            Ok(n) => self.apply(cx, Input::Drained(slot, n)),
            Err(_) => {
                self.tcp(slot).into_iter().for_each(|tcp| tcp.dead = true);
                self.apply(cx, Input::Ended(slot, End::Reset));
            }
        }
        true
    }

    /// Reads into the receive pipes that have room.
    pub(super) fn read(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut moved = false;
        for slot in self.piped() {
            moved |= self.read_once(cx, slot);
        }
        moved
    }

    /// A read length, as a runtime's buffer and the kernel's mood would have it.
    pub(super) fn read_len(&self, cx: &mut Cx<'_>) -> usize {
        if self.rules.short_reads {
            cx.streams().len_up_to(self.stream, self.rules.read_max)
        } else {
            self.rules.read_max
        }
    }

    fn read_once(&mut self, cx: &mut Cx<'_>, slot: Slot) -> bool {
        let has_room = match self.machine.pipes(slot) {
            Some(pipes) => pipes.rx.room() > 0,
            None => false,
        };
        let Some(TcpSlot {
            id,
            readable,
            ended,
            dead,
            ..
        }) = self.tcp(slot).copied()
        else {
            return false;
        };
        // After a FIN only a reset can still be read.
        if dead || !readable || !(has_room || ended) {
            return false;
        }
        let max = self.read_len(cx);
        let read = cx.read(id, max);
        self.on_read(cx, slot, read, |driver, cx, bytes| {
            driver.apply(cx, Input::Received(slot, bytes));
        })
    }

    /// Reports what a read gave; payload goes to `take`.
    pub(super) fn on_read(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
        read: Read,
        take: impl FnOnce(&mut Self, &mut Cx<'_>, BytesMut),
    ) -> bool {
        let Some(tcp) = self.tcp(slot) else {
            return false;
        };
        match read {
            Read::Bytes(bytes) => {
                take(self, cx, bytes);
                true
            }
            Read::WouldBlock => {
                tcp.readable = false;
                false
            }
            Read::Fin => {
                tcp.readable = false;
                let is_news = !tcp.ended;
                tcp.ended = true;
                let in_relay = self.relay.as_ref().is_some_and(|relay| relay.has(slot));
                // In a relay it is reported once it was forwarded.
                if is_news && !in_relay {
                    self.apply(cx, Input::Ended(slot, End::Fin));
                }
                is_news
            }
            Read::Reset => {
                tcp.dead = true;
                self.report_relayed(cx);
                self.apply(cx, Input::Ended(slot, End::Reset));
                true
            }
        }
    }
}
