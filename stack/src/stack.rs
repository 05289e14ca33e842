//! The stack: packets and the caller's decisions in, packets and events out.
mod events;
mod handshake;
mod input;
mod output;

use std::collections::VecDeque;

use bytes::Bytes;
use sansbox_core::{Instant, Seed};

use crate::batch::{DataRef, Faulty, Other, RxPacket};
use crate::config::{CONTROL_QUEUE_MAX, Config, Handshake};
use crate::counters::{Counters, DropReason};
use crate::event::{Reject, ResetReason};
use crate::key::{FlowId, FlowKey};
use crate::sources::Sources;
use crate::table::{Ages, Entry, Table};
use crate::tcp::context::{Context, Received};
use crate::tcp::flow::{After, Flow};
use crate::tcp::refuse::{Control, refusal};
use crate::tcp::time_wait::TimeWait;
use crate::wheel::Wheel;

use events::Queued;

/// A user-space TCP terminator for one TUN device or one of its queues. See the crate's page for
/// how to drive it.
pub struct Stack {
    context: Context,
    table: Table,
    flows: Vec<Option<Flow>>,
    flows_free: Vec<u32>,
    wheel: Wheel,
    /// Half-open connections that were answered without asking the caller.
    unasked: Ages,
    waiting: Ages,
    half_open: u32,
    /// The same by source.
    sources: Sources,
    open: u32,
    /// Entries that may have something to send.
    dirty: VecDeque<u32>,
    control: VecDeque<Control>,
    events: VecDeque<Queued>,
    others: Vec<Other>,
    faulty: Vec<Faulty>,
    /// Flows with received pieces in the caller's batch.
    in_batch: Vec<u32>,
}

/// Entries that are looked for together, before the turn of the first one.
const AHEAD: usize = 16;

/// What all connections of a [`Stack`] hold together, in bytes: the sides of its budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What clients may send, and what they sent and the caller did not consume
    /// ([`Config::window_budget`]).
    pub windows: u64,
    /// Payload behind gaps, part of the windows, with what keeping it costs.
    pub held: u64,
    /// Payload queued for sending ([`Config::send_budget`]).
    pub queued: u64,
}

/// A piece of payload that the caller has not consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A range of the batch given to [`Stack::recv_batch`].
    Packet(DataRef),
    /// Bytes that the stack keeps.
    Stored(&'a [u8]),
}

impl<'a> Piece<'a> {
    /// The bytes; `packets` is the batch given to [`Stack::recv_batch`].
    #[must_use]
    pub fn bytes(self, packets: &[RxPacket<'a>]) -> &'a [u8] {
        match self {
            Self::Packet(data) => data.bytes(packets),
            Self::Stored(bytes) => bytes,
        }
    }
}

impl Stack {
    /// A stack without connections. `seed` must be uniformly random: initial sequence numbers and
    /// the order of the table depend on it.
    #[must_use]
    pub fn new(config: Config, seed: Seed) -> Self {
        Self {
            context: Context::new(config),
            table: Table::new(&seed),
            flows: Vec::new(),
            flows_free: Vec::new(),
            wheel: Wheel::default(),
            unasked: Ages::default(),
            waiting: Ages::default(),
            half_open: 0,
            sources: Sources::default(),
            open: 0,
            dirty: VecDeque::new(),
            control: VecDeque::new(),
            events: VecDeque::new(),
            others: Vec::new(),
            faulty: Vec::new(),
            in_batch: Vec::new(),
        }
    }

    /// What it was made with, every field inside its bounds.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.context.config
    }

    /// Answers SYNs in another way from now on. Connections that began keep theirs.
    pub const fn set_handshake(&mut self, handshake: Handshake) {
        self.context.config.handshake = handshake;
    }

    /// What happened so far, in numbers.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.context.counters
    }

    /// Connections after their handshake whose end was not polled.
    #[must_use]
    pub const fn open_flows(&self) -> u32 {
        self.open
    }

    /// Connections before the end of their handshake.
    #[must_use]
    pub const fn half_open_flows(&self) -> u32 {
        self.half_open
    }

    /// What all connections hold together.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        let budget = &self.context.budget;
        Usage {
            windows: budget.windows,
            held: budget.held,
            queued: budget.queued,
        }
    }

    /// Both ends of a connection; `None` if the handle is void.
    #[must_use]
    pub fn key(&self, flow: FlowId) -> Option<FlowKey> {
        let index = self.table.resolve(flow)?;
        match &self.table.get(index)?.entry {
            Entry::HalfOpen(half) => Some(half.key),
            Entry::Open(key, _) => Some(*key),
            Entry::Vacant | Entry::TimeWait(_) => None,
        }
    }

    /// The upstream is there: answers the SYN of `flow` now. Nothing happens if it was answered
    /// or the handle is void.
    pub fn accept(&mut self, now: Instant, flow: FlowId) {
        if let Some(index) = self.table.resolve(flow) {
            self.answer(now, index);
        }
    }

    /// Answers the SYN of `flow` before the upstream is there, because its route depends on the
    /// client's first bytes. False where [`Handshake::Consistent`] forbids it, or the handle is
    /// void.
    pub fn sniff(&mut self, now: Instant, flow: FlowId) -> bool {
        if self.context.config.handshake == Handshake::Consistent {
            return false;
        }
        let index = self.table.resolve(flow);
        index.is_some_and(|index| {
            self.answer(now, index);
            true
        })
    }

    /// Refuses `flow`. One whose SYN was answered is reset, however it is refused; the handle is
    /// void from now on.
    pub fn reject(&mut self, flow: FlowId, reject: Reject) {
        let Some(index) = self.table.resolve(flow) else {
            return;
        };
        let Some(Entry::HalfOpen(half)) = self.table.get(index).map(|place| &place.entry) else {
            self.abort(flow);
            return;
        };
        if half.answered() {
            self.abort(flow);
            return;
        }
        if let Some(control) = refusal(half, reject) {
            self.push_control(control);
        }
        self.context.counters.refused += 1;
        self.remove_half_open(index);
    }

    /// Gives `flow` up: sends RST, and drops what is queued. The handle is void from now on.
    pub fn abort(&mut self, flow: FlowId) {
        let Some(index) = self.table.resolve(flow) else {
            return;
        };
        match self.table.get(index).map(|place| &place.entry) {
            Some(Entry::HalfOpen(half)) => {
                let control = Control::Segment(half.abort());
                self.push_control(control);
                self.remove_half_open(index);
            }
            Some(Entry::Open(key, _)) => {
                let key = *key;
                let reset = self
                    .flow(index)
                    .filter(|flow| !flow.is_finished())
                    .map(|flow| flow.reset(&key));
                if let Some(reset) = reset {
                    self.push_control(Control::Segment(reset));
                }
                self.remove_flow(index);
            }
            Some(Entry::Vacant | Entry::TimeWait(_)) | None => {}
        }
    }

    /// Queues `chunk` for the client; it is shared, never copied, until it is acknowledged.
    ///
    /// # Errors
    /// The chunk itself, whole, when there is no room for it or the connection does not take any
    /// (its handshake is not done, it was shut down, its end waits to be polled). When there is
    /// room again the caller hears [`crate::Event::Writable`].
    pub fn write(&mut self, flow: FlowId, chunk: Bytes) -> Result<(), Bytes> {
        let Some(index) = self.table.resolve(flow) else {
            return Err(chunk);
        };
        let Self { flows, context, .. } = self;
        let Some(Entry::Open(_, at)) = self.table.get(index).map(|place| &place.entry) else {
            return Err(chunk);
        };
        let Some(Some(state)) = flows.get_mut(*at as usize) else {
            return Err(chunk);
        };
        state.write(context, chunk)?;
        self.mark_dirty(index);
        Ok(())
    }

    /// No bytes follow: FIN is sent behind what is queued, or when the handshake is done. The
    /// other direction stays open.
    pub fn shutdown(&mut self, now: Instant, flow: FlowId) {
        let Some(index) = self.table.resolve(flow) else {
            return;
        };
        if let Some(Entry::HalfOpen(half)) = self.table.get_mut(index).map(|place| &mut place.entry)
        {
            half.set_shut();
            return;
        }
        let Some((state, _)) = self.flow_mut(index) else {
            return;
        };
        if state.shutdown(now) {
            self.mark_dirty(index);
            self.rearm(index);
        }
    }

    /// What the client sent and the caller did not consume, in order.
    pub fn pieces(&self, flow: FlowId) -> impl Iterator<Item = Piece<'_>> {
        let index = self.table.resolve(flow);
        let state = index.and_then(|index| self.flow(index));
        let queue = state.map(|state| state.received).unwrap_or_default();
        self.context.received.iter(queue).map(|piece| match piece {
            Received::Packet(data) => Piece::Packet(*data),
            Received::Stored(bytes) => Piece::Stored(bytes),
        })
    }

    /// The caller moved the oldest `n` bytes of [`Stack::pieces`] elsewhere, and still has to do
    /// with them: they are no pieces any more, and the client may not send more until they are
    /// [`Stack::consumed`].
    pub fn take(&mut self, flow: FlowId, n: usize) {
        let Some(index) = self.table.resolve(flow) else {
            return;
        };
        let Some((state, context)) = self.flow_mut(index) else {
            return;
        };
        state.take(context, n);
        self.after_call(index);
    }

    /// The caller is done with the oldest `n` bytes, those of [`Stack::take`] first, then of
    /// [`Stack::pieces`]: the client may send as many more.
    pub fn consumed(&mut self, now: Instant, flow: FlowId, n: usize) {
        let Some(index) = self.table.resolve(flow) else {
            return;
        };
        let Some((state, context)) = self.flow_mut(index) else {
            return;
        };
        state.consumed(context, now, n);
        self.after_call(index);
    }

    fn flow(&self, index: u32) -> Option<&Flow> {
        let Entry::Open(_, at) = &self.table.get(index)?.entry else {
            return None;
        };
        self.flows.get(*at as usize)?.as_ref()
    }

    fn flow_mut(&mut self, index: u32) -> Option<(&mut Flow, &mut Context)> {
        let Entry::Open(_, at) = &self.table.get(index)?.entry else {
            return None;
        };
        let flow = self.flows.get_mut(*at as usize)?.as_mut()?;
        Some((flow, &mut self.context))
    }

    /// Reads from entries before their turn. With many connections their memory is in no cache;
    /// that of several is fetched at the same time.
    fn touch(&self, entries: impl Iterator<Item = u32>) {
        let seen = entries.fold(0, |seen, index| {
            seen ^ self.wheel.touch(index) ^ self.flow(index).map_or(0, Flow::touch)
        });
        std::hint::black_box(seen);
    }

    fn push_flow(&mut self, flow: Flow) -> u32 {
        self.open += 1;
        if let Some(at) = self.flows_free.pop() {
            if let Some(place) = self.flows.get_mut(at as usize) {
                *place = Some(flow);
            }
            return at;
        }
        self.flows.push(Some(flow));
        u32::try_from(self.flows.len() - 1).expect("bounded by the limit of connections")
    }

    /// Removes a connection with all that it holds.
    fn remove_flow(&mut self, index: u32) {
        self.wheel.clear(index);
        let Entry::Open(_, at) = self.table.remove(index) else {
            return;
        };
        let flow = self.flows.get_mut(at as usize).and_then(Option::take);
        if let Some(mut flow) = flow {
            flow.release(&mut self.context);
            self.flows_free.push(at);
            self.open -= 1;
        }
    }

    /// Queues a packet without a flow.
    fn push_control(&mut self, control: Control) {
        if self.control.len() >= CONTROL_QUEUE_MAX {
            self.context.counters.drop(DropReason::ControlFull);
            return;
        }
        self.control.push_back(control);
    }

    fn mark_dirty(&mut self, index: u32) {
        if let Some(place) = self.table.get_mut(index)
            && !place.dirty
        {
            place.dirty = true;
            self.dirty.push_back(index);
        }
    }

    /// After something happened to a flow: it may have to send, to be told of, and to be woken.
    fn after_call(&mut self, index: u32) {
        let Some(place) = self.table.get_mut(index) else {
            return;
        };
        let Entry::Open(_, at) = &place.entry else {
            return;
        };
        let Some(Some(flow)) = self.flows.get(*at as usize) else {
            return;
        };
        if flow.may_send() && !place.dirty {
            place.dirty = true;
            self.dirty.push_back(index);
        }
        if flow.news != 0 && !place.told {
            place.told = true;
            self.events.push_back(Queued::News(place.id(index)));
        }
        self.wheel.set_lazily(index, flow.deadline());
    }

    fn rearm(&mut self, index: u32) {
        if let Some(deadline) = self.flow(index).map(Flow::deadline) {
            self.wheel.set_lazily(index, deadline);
        }
    }

    /// Does what a segment or timer meant for the connection as a whole.
    fn conclude(&mut self, now: Instant, index: u32, after: After) {
        if after == After::Keep {
            self.after_call(index);
            return;
        }
        let Some(Entry::Open(key, _)) = self.table.get(index).map(|place| &place.entry) else {
            return;
        };
        let key = *key;
        let Some((flow, context)) = self.flow_mut(index) else {
            return;
        };
        let mut wait = None;
        match after {
            After::Keep => return,
            After::Broken(reason) => {
                // A client that was silent for too long may still be there.
                let reset = (reason != ResetReason::Peer).then(|| flow.reset(&key));
                flow.break_off(context, reason);
                if let Some(reset) = reset {
                    self.push_control(Control::Segment(reset));
                } else {
                    self.context.counters.resets_received += 1;
                }
            }
            After::Closed => flow.finish(context),
            After::TimeWait => {
                wait = Some(TimeWait::new(key, flow));
                flow.finish(context);
            }
        }
        // The client may use its port again before the caller has polled the end.
        self.table.unlink(index);
        self.wheel.clear(index);
        self.queue_event(index);
        if let Some(wait) = wait {
            self.push_control(Control::Segment(wait.answer()));
            self.begin_wait(now, wait);
        }
    }
}

// A worker owns its stack, and workers are started on threads of their own.
const _: fn() = || {
    fn movable<T: Send>() {}
    movable::<Stack>();
};
