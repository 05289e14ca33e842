//! A stack and its clients in one thread, with memory for a wire. Only the stack's work is timed.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use sansbox_core::{Instant, Seed};
use sansbox_stack::{Config, Event, RxPacket, Stack, TxBatch};

use super::client::{
    Buffer, Client, FLAG_ACK, FLAG_RST, HEADER_BYTES, PAYLOAD_BYTES, Place, SYN_BYTES,
};
use super::load::Load;
use crate::process::thread_cpu_time;

/// Packets of a batch.
pub(super) const BATCH: usize = 64;
/// Measurements of what measuring costs.
const EMPTY_LAPS: u32 = 10_000;

/// What looking at the clock at both ends of a lap adds to it.
pub(super) fn lap_cost() -> Result<Duration> {
    let begin = thread_cpu_time()?;
    for _ in 1..EMPTY_LAPS {
        std::hint::black_box(thread_cpu_time()?);
    }
    Ok((thread_cpu_time()? - begin) / EMPTY_LAPS)
}

/// Everything that takes part.
pub(super) struct World {
    pub(super) stack: Stack,
    clients: Vec<Client>,
    /// The number of the first client.
    number: u32,
    load: Load,
    buffers: Vec<Buffer>,
    batch: TxBatch,
    now: Instant,
    chunk: Bytes,
    /// Of the next client that nobody answers to.
    spoofed: u32,
    /// Bytes of clients that were handed out.
    consumed: u64,
    spent: Duration,
    laps: u32,
}

impl World {
    /// With the clients of a load, not connected yet.
    pub(super) fn new(config: Config, load: Load) -> Self {
        Self {
            stack: Stack::new(config, Seed::from_u64(1)),
            clients: vec![Client::NEW; load.flows],
            number: 0,
            load,
            buffers: vec![[0; HEADER_BYTES + PAYLOAD_BYTES]; BATCH],
            batch: TxBatch::new(BATCH),
            now: Instant::ZERO + load.step,
            chunk: BytesMut::zeroed(PAYLOAD_BYTES).freeze(),
            spoofed: 0,
            consumed: 0,
            spent: Duration::ZERO,
            laps: 0,
        }
    }

    /// Other clients, as many, in the place of those that are there.
    pub(super) fn renew(&mut self) {
        self.number += self.clients.len() as u32;
        self.clients.fill(Client::NEW);
    }

    /// Forgets the time that was spent so far, and the bytes.
    pub(super) const fn reset(&mut self) {
        (self.spent, self.laps, self.consumed) = (Duration::ZERO, 0, 0);
    }

    /// Bytes of clients that were handed out.
    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The stack's processor time, without what measuring it cost.
    pub(super) fn spent(&self) -> Result<Duration> {
        Ok(self.spent.saturating_sub(lap_cost()? * self.laps))
    }

    /// The same with it.
    pub(super) const fn lapped(&self) -> Duration {
        self.spent
    }

    fn timed<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let begin = thread_cpu_time()?;
        let done = work(self)?;
        self.spent += thread_cpu_time()? - begin;
        self.laps += 1;
        Ok(done)
    }

    /// A batch of `count` packets of `len` bytes goes in, all that comes of it is served, and what
    /// goes out is shown. With `answer`, each piece of data is answered with one byte.
    fn turn(
        &mut self,
        (count, len): (usize, usize),
        answer: bool,
        mut shown: impl FnMut(&mut [Client], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.now += self.load.step;
        self.timed(|this| {
            let (now, stack) = (this.now, &mut this.stack);
            let packets: [RxPacket<'_>; BATCH] = std::array::from_fn(|n| {
                let packet = this.buffers.get(n).and_then(|buffer| buffer.get(..len));
                RxPacket::new(packet.unwrap_or_default())
            });
            let packets = packets.get(..count).context("too many packets")?;
            stack.recv_batch(now, packets);
            while let Some(event) = stack.poll_event() {
                match event {
                    Event::Open { flow, source, .. } => {
                        let number = Place::number(source);
                        let index = number.and_then(|number| number.checked_sub(this.number));
                        let client = index.and_then(|n| this.clients.get_mut(n as usize));
                        client.context("somebody else's flow opened")?.open(flow);
                    }
                    Event::Data(flow) => {
                        let pieces = stack.pieces(flow);
                        let len = pieces.map(|piece| piece.bytes(packets).len()).sum();
                        this.consumed += len as u64;
                        stack.consumed(now, flow, len);
                        if answer {
                            let byte = this.chunk.slice(..1);
                            ensure!(stack.write(flow, byte).is_ok(), "no room for a byte");
                        }
                    }
                    Event::Writable(_)
                    | Event::Fin(_)
                    | Event::Reset(..)
                    | Event::Cancelled(..)
                    | Event::Closed(_) => {}
                }
            }
            stack.retain(packets);
            if stack.poll_timeout().is_some_and(|at| at <= now) {
                stack.handle_timeout(now);
            }
            while stack.poll_transmit(now, &mut this.batch) {
                for packet in this.batch.packets() {
                    shown(&mut this.clients, packet.header())?;
                }
                this.batch.clear();
            }
            Ok(())
        })
    }

    /// SYN, SYN-ACK, and an ACK with `hello` bytes, for all clients. With `answer`, a byte comes
    /// back. A client's first byte is thus served when this returns.
    pub(super) fn connect(&mut self, hello: u16, answer: bool) -> Result<()> {
        for first in (0..self.clients.len()).step_by(BATCH) {
            let count = (self.clients.len() - first).min(BATCH);
            let each = move |turn| turn;
            self.fill(first..first + count, each, |client, place, buffer| {
                client.syn(place, buffer)
            });
            let (mut next, number) = (first, self.number);
            self.turn((count, SYN_BYTES), false, |clients, header| {
                let client = clients.get_mut(next).context("an answer too many")?;
                let place = Place::of(number + next as u32);
                next += 1;
                client.answered(place, header)
            })?;
            self.wipe();
            ensure!(
                next == first + count,
                "{} SYNs without answer",
                first + count - next
            );
            self.fill(first..first + count, each, |client, place, buffer| {
                client.packet(place, buffer, FLAG_ACK, hello);
                client.seq = client.seq.wrapping_add(hello.into());
            });
            let len = HEADER_BYTES + usize::from(hello);
            let mut answers = 0;
            self.turn((count, len), answer, |_, _| {
                answers += 1;
                Ok(())
            })?;
            ensure!(
                answers >= usize::from(answer) * count,
                "bytes without answer"
            );
        }
        let open = self.clients.iter().filter(|client| client.flow().is_some());
        ensure!(
            open.count() == self.clients.len(),
            "flows that did not open"
        );
        Ok(())
    }

    /// RST from all clients.
    pub(super) fn reset_all(&mut self) -> Result<()> {
        for first in (0..self.clients.len()).step_by(BATCH) {
            let count = (self.clients.len() - first).min(BATCH);
            self.fill(
                first..first + count,
                |turn| turn,
                |client, place, buffer| client.packet(place, buffer, FLAG_RST, 0),
            );
            self.turn((count, HEADER_BYTES), false, |_, _| Ok(()))?;
        }
        ensure!(self.stack.open_flows() == 0, "flows that RST did not end");
        Ok(())
    }

    /// Makes a packet of the client that each of these turns is of.
    fn fill(
        &mut self,
        turns: Range<usize>,
        client: impl Fn(usize) -> usize,
        mut make: impl FnMut(&mut Client, Place, &mut [u8]),
    ) {
        for (turn, buffer) in turns.zip(&mut self.buffers) {
            let n = client(turn);
            if let Some(client) = self.clients.get_mut(n) {
                make(client, Place::of(self.number + n as u32), buffer);
            }
        }
    }

    /// One batch up, from the clients whose turns begin at `first`.
    pub(super) fn up(&mut self, first: usize) -> Result<()> {
        let load = self.load;
        self.fill(
            first..first + BATCH,
            |turn| load.client(turn),
            |client, place, buffer| {
                client.packet(place, buffer, FLAG_ACK, PAYLOAD_BYTES as u16);
                client.seq = client.seq.wrapping_add(PAYLOAD_BYTES as u32);
            },
        );
        self.turn((BATCH, HEADER_BYTES + PAYLOAD_BYTES), false, |_, _| Ok(()))
    }

    /// One batch down, to the clients whose turns begin at `first`, and their acknowledgements.
    pub(super) fn down(&mut self, first: usize) -> Result<()> {
        let load = self.load;
        self.timed(|this| {
            for turn in first..first + BATCH {
                let client = this.clients.get(load.client(turn));
                let flow = client.and_then(Client::flow).context("no flow")?;
                let written = this.stack.write(flow, this.chunk.clone());
                ensure!(written.is_ok(), "a chunk did not fit");
            }
            let mut sent = 0;
            while this.stack.poll_transmit(this.now, &mut this.batch) {
                sent += this.batch.packets().len();
                this.batch.clear();
            }
            ensure!(sent == BATCH, "{sent} packets went out, not {BATCH}");
            Ok(())
        })?;
        self.fill(
            first..first + BATCH,
            |turn| load.client(turn),
            |client, place, buffer| {
                client.ack = client.ack.wrapping_add(PAYLOAD_BYTES as u32);
                client.packet(place, buffer, FLAG_ACK, 0);
            },
        );
        self.turn((BATCH, HEADER_BYTES), false, |_, _| Ok(()))
    }

    /// One batch of SYNs, each from an address of its own, that nobody goes on with.
    pub(super) fn flood(&mut self) -> Result<()> {
        for buffer in &mut self.buffers {
            Client::NEW.syn(Place::spoofed(self.spoofed), buffer);
            self.spoofed += 1;
        }
        self.turn((BATCH, SYN_BYTES), false, |_, _| Ok(()))?;
        self.wipe();
        Ok(())
    }

    /// Makes zeros of the option of SYNs: payload is all zeros.
    fn wipe(&mut self) {
        for buffer in &mut self.buffers {
            if let Some(option) = buffer.get_mut(HEADER_BYTES..SYN_BYTES) {
                option.fill(0);
            }
        }
    }
}
