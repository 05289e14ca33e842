//! TCP connections of a device, and what their streams have to do.
use super::{super::Event, super::Stream, frame::Batch};
use bytes::{Bytes, BytesMut};
use sansbox_core::{End, Instant, Pipe, Progress, Refusal};
use sansbox_stack::{Event as News, FlowId, Piece, Stack};
use std::collections::{BTreeSet, VecDeque};

/// Bytes that go to the stack as one chunk.
const CHUNK: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
struct Flow {
    id: FlowId,
    /// The session said that the target is connected.
    is_connected: bool,
    /// The client broke it off: both directions are to be reset.
    is_broken: bool,
    /// The client sends no more.
    has_ended: bool,
    /// Our FIN was asked for.
    is_shut: bool,
    /// Bytes in the stream that the stack still counts as the client's.
    taken: usize,
    /// What the stack had no room for.
    waiting: Option<Bytes>,
}

/// All connections, by the index of their handle.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: Vec<Option<Flow>>,
    /// Streams whose connections ended in order, and that were not told yet: the place of such a
    /// connection may have a new one.
    ended: BTreeSet<Stream>,
}

const fn stream_of(id: FlowId) -> Stream {
    Stream(id.to_bits())
}

const fn place_of(stream: Stream) -> usize {
    (stream.0 & 0xffff_ffff) as usize
}

impl Flows {
    /// A connection is offered; its stream.
    pub(super) fn begin(&mut self, id: FlowId) -> Stream {
        let stream = stream_of(id);
        let place = place_of(stream);
        if self.flows.len() <= place {
            self.flows.resize_with(place + 1, || None);
        }
        if let Some(flow) = self.flows.get_mut(place) {
            *flow = Some(Flow {
                id,
                is_connected: false,
                is_broken: false,
                has_ended: false,
                is_shut: false,
                taken: 0,
                waiting: None,
            });
        }
        stream
    }

    fn get(&mut self, stream: Stream) -> Option<&mut Flow> {
        let flow = self.flows.get_mut(place_of(stream))?.as_mut()?;
        (stream_of(flow.id) == stream).then_some(flow)
    }

    fn remove(&mut self, stream: Stream) -> Option<Flow> {
        self.get(stream)?;
        self.flows.get_mut(place_of(stream))?.take()
    }

    pub(super) fn is_open(&self, stream: Stream) -> bool {
        let flow = self.flows.get(place_of(stream));
        let flow = flow.and_then(Option::as_ref);
        let is_alive = flow.is_some_and(|flow| stream_of(flow.id) == stream);
        is_alive || self.ended.contains(&stream)
    }

    /// News of the stack, but for a new connection.
    pub(super) fn follow(&mut self, news: News, events: &mut VecDeque<Event>) {
        match news {
            News::Open { .. } => {}
            News::Data(id) | News::Writable(id) => {
                let stream = stream_of(id);
                if self.get(stream).is_some_and(|flow| flow.is_connected) {
                    events.push_back(Event::Ready(stream));
                }
            }
            News::Fin(id) => {
                let stream = stream_of(id);
                if let Some(flow) = self.get(stream) {
                    flow.has_ended = true;
                    if flow.is_connected {
                        events.push_back(Event::Ready(stream));
                    }
                }
            }
            News::Reset(id, _) | News::Cancelled(id, _) => self.lose(stream_of(id), events),
            News::Closed(id) => {
                let stream = stream_of(id);
                if self.remove(stream).is_some() {
                    self.ended.insert(stream);
                    events.push_back(Event::Ready(stream));
                }
            }
        }
    }

    /// The client broke a connection off.
    fn lose(&mut self, stream: Stream, events: &mut VecDeque<Event>) {
        let Some(flow) = self.get(stream) else {
            return;
        };
        if flow.is_connected {
            flow.is_broken = true;
            events.push_back(Event::Ready(stream));
        } else {
            self.remove(stream);
            events.push_back(Event::Cancelled(stream));
        }
    }

    pub(super) fn answer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        stream: Stream,
        answer: Result<(), Refusal>,
    ) {
        match answer {
            Ok(()) => {
                if let Some(flow) = self.get(stream) {
                    flow.is_connected = true;
                    stack.accept(now, flow.id);
                }
            }
            Err(why) => {
                if let Some(flow) = self.remove(stream) {
                    stack.reject(flow.id, why.into());
                }
            }
        }
    }

    pub(super) fn abandon(&mut self, stack: &mut Stack, stream: Stream) {
        self.ended.remove(&stream);
        if let Some(flow) = self.remove(stream) {
            stack.abort(flow.id);
        }
    }

    pub(super) fn abandon_all(&mut self, stack: &mut Stack) {
        for flow in self.flows.drain(..).flatten() {
            stack.abort(flow.id);
        }
        self.ended.clear();
    }

    pub(super) fn exchange(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        batch: &mut Batch,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        if self.ended.remove(&stream) {
            // All that the client sent was taken, and then its FIN came; ours was sent before.
            return received.finish();
        }
        let Some(flow) = self.get(stream).filter(|flow| !flow.is_broken) else {
            self.remove(stream);
            return over(received, to_send);
        };
        if !flow.is_connected {
            return Progress::NONE;
        }
        if to_send.end() == End::Reset {
            self.abandon(stack, stream);
            return over(received, to_send);
        }
        let progress = flow.up(now, stack, batch, received);
        progress | flow.down(now, stack, to_send)
    }
}

/// What is left of a stream whose connection is gone: a FIN that came stays one.
fn over(received: &mut Pipe, to_send: &mut Pipe) -> Progress {
    let mut progress = to_send.reset();
    if received.end() == End::Open {
        progress |= received.reset();
    }
    progress
}

impl Flow {
    /// Moves what the client sent into the stream.
    fn up(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        batch: &mut Batch,
        received: &mut Pipe,
    ) -> Progress {
        let mut progress = Progress::NONE;
        let done = self.taken.saturating_sub(received.len());
        if done > 0 {
            self.taken -= done;
            stack.consumed(now, self.id, done);
        }
        if received.end() == End::Open {
            let moved = move_pieces(stack, self.id, batch, received);
            if moved > 0 {
                self.taken += moved;
                stack.take(self.id, moved);
                progress = Progress::MADE;
            }
            if self.has_ended {
                progress |= received.finish();
            }
        } else {
            // Nobody reads any more.
            let left: usize = stack.pieces(self.id).map(|piece| piece_len(&piece)).sum();
            stack.consumed(now, self.id, left);
        }
        progress
    }

    /// Moves what the session has for the client to the stack.
    fn down(&mut self, now: Instant, stack: &mut Stack, to_send: &mut Pipe) -> Progress {
        let mut progress = Progress::NONE;
        loop {
            let next = self.waiting.take();
            let Some(chunk) = next.or_else(|| to_send.take(CHUNK).map(BytesMut::freeze)) else {
                break;
            };
            if let Err(chunk) = stack.write(self.id, chunk) {
                self.waiting = Some(chunk);
                return progress;
            }
            progress = Progress::MADE;
        }
        if to_send.end() == End::Fin && !self.is_shut {
            self.is_shut = true;
            stack.shutdown(now, self.id);
            progress = Progress::MADE;
        }
        progress
    }
}

fn piece_len(piece: &Piece<'_>) -> usize {
    match piece {
        Piece::Packet(data) => data.len() as usize,
        Piece::Stored(bytes) => bytes.len(),
    }
}

/// Moves all pieces of a connection into a pipe, and says how many bytes they were. They may be
/// more than the pipe asks for, but never more than the client's window.
fn move_pieces(stack: &Stack, id: FlowId, batch: &mut Batch, received: &mut Pipe) -> usize {
    let before = received.len();
    let mut short = BytesMut::new();
    for piece in stack.pieces(id) {
        let bytes = match piece {
            Piece::Packet(data) => {
                if let Some(packet) = batch.take(data) {
                    received.push(core::mem::take(&mut short));
                    received.push(packet);
                    continue;
                }
                batch.bytes(data)
            }
            Piece::Stored(bytes) => bytes,
        };
        short.extend_from_slice(bytes);
    }
    received.push(short);
    received.len() - before
}
