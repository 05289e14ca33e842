//! What quinn-proto tells of a connection, in the words of an endpoint.
use super::{Connection, ConnectionId, Event, StreamId};
use crate::streams::Stream;
use quinn_proto as quic;
use std::collections::VecDeque;

impl Connection {
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
            quic::Event::Connected => events.push_back(Event::Connected(id)),
            quic::Event::ConnectionLost { reason } => {
                if !self.is_lost {
                    self.is_lost = true;
                    self.streams.clear();
                    events.push_back(Event::Lost(id, reason.into()));
                }
            }
            quic::Event::Stream(Opened { dir }) => {
                while let Some(stream) = self.quic.streams().accept(dir) {
                    self.streams.insert(stream, Stream::default());
                    events.push_back(Event::Opened(of(stream)));
                }
            }
            quic::Event::Stream(
                Readable { id: stream } | Writable { id: stream } | Stopped { id: stream, .. },
            ) => {
                if self.streams.contains_key(&stream) {
                    events.push_back(Event::Ready(of(stream)));
                }
            }
            quic::Event::Stream(Available { .. }) => events.push_back(Event::Available(id)),
        }
    }
}
