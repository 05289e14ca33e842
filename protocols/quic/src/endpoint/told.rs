//! What quinn-proto tells of a connection, in the words of an endpoint.
use super::{Connection, ConnectionId, Event, Lost, StreamId};
use crate::streams::Stream;
use quinn_proto as quic;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// By how much more streams a peer may have when it has half of those that it may have.
const STREAMS_GROWTH: u64 = 4;

impl Connection {
    /// Allows more streams, up to `max`, when half of those that are allowed are open.
    pub(super) fn allow_streams(&mut self, max: u32) {
        let allowed = self.quic.max_concurrent_streams(quic::Dir::Bi);
        let max = u64::from(max);
        if allowed < max && self.streams.len() as u64 >= allowed.div_ceil(2) {
            let more = max.min(allowed.saturating_mul(STREAMS_GROWTH));
            let more = quic::VarInt::from_u64(more).unwrap_or(quic::VarInt::MAX);
            self.quic.set_max_concurrent_streams(quic::Dir::Bi, more);
        }
    }

    /// Forgets a stream, and with the last one their table: an emptied one keeps its memory.
    pub(super) fn forget(&mut self, stream: quic::StreamId) -> Option<Stream> {
        let state = self.streams.remove(&stream);
        if self.streams.is_empty() {
            self.streams = FxHashMap::default();
        }
        state
    }

    /// The connection is lost: those with a label are told of it.
    pub(super) fn lose_streams(&mut self, events: &mut VecDeque<Event>) {
        let streams = core::mem::take(&mut self.streams).into_iter();
        let mut streams: Vec<_> = streams.collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        let labels = streams.iter().filter_map(|(_, state)| state.label());
        events.extend(labels.map(Event::LabelReady));
    }

    /// The event that the connection is lost.
    pub(super) fn lost(&self, id: ConnectionId, why: Lost) -> Event {
        let peer = self.is_connected.then(|| self.quic.remote_address());
        Event::Lost(id, peer, why)
    }

    /// Turns what quinn-proto tells into events.
    pub(super) fn tell(
        &mut self,
        id: ConnectionId,
        event: quic::Event,
        events: &mut VecDeque<Event>,
    ) {
        use quic::StreamEvent::{Available, Finished, Opened, Readable, Stopped, Writable};
        let of = |stream| StreamId {
            connection: id,
            id: stream,
        };
        match event {
            quic::Event::HandshakeDataReady
            | quic::Event::DatagramReceived
            | quic::Event::DatagramsUnblocked
            | quic::Event::Stream(Finished { .. }) => {}
            quic::Event::Connected => {
                self.is_connected = true;
                events.push_back(Event::Connected(id));
            }
            quic::Event::ConnectionLost { reason } => {
                if !self.is_lost {
                    self.is_lost = true;
                    self.lose_streams(events);
                    events.push_back(self.lost(id, reason.into()));
                }
            }
            quic::Event::Stream(Opened { dir }) => {
                while let Some(stream) = self.quic.streams().accept(dir) {
                    self.streams.insert(stream, Stream::accepted());
                    events.push_back(Event::Opened(of(stream)));
                }
            }
            quic::Event::Stream(
                what @ (Readable { id: stream }
                | Writable { id: stream }
                | Stopped { id: stream, .. }),
            ) => {
                if let Some(state) = self.streams.get_mut(&stream) {
                    match what {
                        Readable { .. } => state.note_readable(),
                        Stopped { .. } => state.note_stopped(),
                        Opened { .. } | Writable { .. } | Finished { .. } | Available { .. } => {}
                    }
                    events.push_back(match state.label() {
                        Some(label) => Event::LabelReady(label),
                        None => Event::Ready(of(stream)),
                    });
                }
            }
            quic::Event::Stream(Available { .. }) => events.push_back(Event::Available(id)),
        }
    }
}
