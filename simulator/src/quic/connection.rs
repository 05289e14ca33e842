//! One QUIC connection and what is said over it.
use super::{
    deterministic::to_std,
    facts::note,
    talk::{Request, Talk},
};
use crate::{check::Invariant, host::Cx};
use bytes::Bytes;
use core::net::SocketAddr;
use quinn_proto as quic;
use std::collections::{BTreeMap, VecDeque};

/// Most bytes taken from a stream at once.
const READ_LEN_MAX: usize = usize::MAX;

/// How a connection stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Now {
    Alive,
    /// Nothing of it is left.
    Drained,
}

struct Stream {
    talk: Talk,
    /// Our direction was ended.
    is_finished: bool,
    /// And all of it arrived.
    is_acknowledged: bool,
}

/// A connection with its streams.
pub(super) struct Connection {
    pub(super) quic: quic::Connection,
    is_client: bool,
    /// Requests that wait for a stream.
    requests: VecDeque<Request>,
    /// Streams may be opened.
    is_open: bool,
    is_early: bool,
    is_closing: bool,
    streams: BTreeMap<quic::StreamId, Stream>,
    remote: SocketAddr,
}

impl Connection {
    pub(super) fn client(quic: quic::Connection, requests: Vec<Request>, is_early: bool) -> Self {
        let mut connection = Self::new(quic, true);
        connection.requests = requests.into();
        connection.is_early = is_early;
        connection.is_open = is_early;
        connection
    }

    pub(super) fn server(quic: quic::Connection) -> Self {
        Self::new(quic, false)
    }

    fn new(quic: quic::Connection, is_client: bool) -> Self {
        Self {
            remote: quic.remote_address(),
            quic,
            is_client,
            requests: VecDeque::new(),
            is_open: false,
            is_early: false,
            is_closing: false,
            streams: BTreeMap::new(),
        }
    }

    pub(super) fn handle(&mut self, event: quic::ConnectionEvent) {
        self.quic.handle_event(event);
    }

    pub(super) fn describe(&self) -> String {
        match self.streams.values().next() {
            Some(stream) => stream.talk.describe(),
            None => format!("{} requests not made", self.requests.len()),
        }
    }

    /// Handles all that happened, and says all that can be said.
    pub(super) fn run(
        &mut self,
        cx: &mut Cx<'_>,
        handle: quic::ConnectionHandle,
        endpoint: &mut quic::Endpoint,
    ) -> Now {
        self.open(cx);
        while let Some(event) = self.quic.poll() {
            self.event(cx, event);
        }
        if self.quic.remote_address() != self.remote {
            self.remote = self.quic.remote_address();
            note(|facts| facts.moved += 1);
        }
        if self.is_client && self.is_answered() {
            self.is_closing = true;
            let done = Bytes::from_static(b"done");
            self.quic.close(to_std(cx.now()), 0_u32.into(), done);
        }
        while let Some(event) = self.quic.poll_endpoint_events() {
            let is_drained = event.is_drained();
            if let Some(event) = endpoint.handle_event(handle, event) {
                self.quic.handle_event(event);
            }
            if is_drained {
                return Now::Drained;
            }
        }
        Now::Alive
    }

    /// All requests were made, and all that was to come has come.
    fn is_answered(&self) -> bool {
        let is_done = |stream: &Stream| stream.is_acknowledged && stream.talk.is_heard();
        self.is_open
            && !self.is_closing
            && self.requests.is_empty()
            && !self.quic.is_handshaking()
            && self.streams.values().all(is_done)
    }

    fn event(&mut self, cx: &mut Cx<'_>, event: quic::Event) {
        use quic::StreamEvent::{Available, Finished, Opened, Readable, Stopped, Writable};
        match event {
            quic::Event::HandshakeDataReady
            | quic::Event::DatagramReceived
            | quic::Event::DatagramsUnblocked => {}
            quic::Event::Connected => self.connected(cx),
            quic::Event::ConnectionLost { reason } => self.lost(cx, &reason),
            quic::Event::Stream(Opened { dir }) => {
                while let Some(id) = self.quic.streams().accept(dir) {
                    self.add(id, Talk::answer());
                    self.read(cx, id);
                    self.write(cx, id);
                }
            }
            quic::Event::Stream(Readable { id }) => {
                self.read(cx, id);
                // A server hears what it is to say.
                self.write(cx, id);
            }
            quic::Event::Stream(Writable { id }) => self.write(cx, id),
            quic::Event::Stream(Finished { id }) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.is_acknowledged = true;
                }
            }
            quic::Event::Stream(Stopped { id, .. }) => {
                cx.violate(Invariant::ScriptHolds, format!("{id} was stopped"));
            }
            quic::Event::Stream(Available { .. }) => self.open(cx),
        }
    }

    fn connected(&mut self, cx: &mut Cx<'_>) {
        let is_accepted = self.quic.accepted_0rtt();
        note(|facts| {
            facts.connected += 1;
            facts.early += u64::from(is_accepted);
        });
        if self.is_client && self.is_early && !is_accepted {
            cx.violate(Invariant::ScriptHolds, "early data was not accepted");
        }
        self.is_open = true;
        self.open(cx);
    }

    fn lost(&self, cx: &mut Cx<'_>, reason: &quic::ConnectionError) {
        let is_planned = match reason {
            quic::ConnectionError::ApplicationClosed(close) => close.error_code == 0_u32.into(),
            // The peer's close is sent once, and may be lost.
            quic::ConnectionError::TimedOut => true,
            quic::ConnectionError::VersionMismatch
            | quic::ConnectionError::TransportError(_)
            | quic::ConnectionError::ConnectionClosed(_)
            | quic::ConnectionError::Reset
            | quic::ConnectionError::LocallyClosed
            | quic::ConnectionError::CidsExhausted => false,
        };
        let is_complete = |stream: &Stream| stream.is_finished && stream.talk.is_heard();
        if !is_planned || !self.streams.values().all(is_complete) {
            for stream in self.streams.values() {
                stream.talk.fail(cx);
            }
            let what = format!("connection to {} lost: {reason}", self.remote);
            cx.violate(Invariant::ScriptHolds, what);
        }
    }

    fn add(&mut self, id: quic::StreamId, talk: Talk) {
        let stream = Stream {
            talk,
            is_finished: false,
            is_acknowledged: false,
        };
        self.streams.insert(id, stream);
    }

    /// Makes requests while the peer allows streams.
    fn open(&mut self, cx: &mut Cx<'_>) {
        while self.is_open && !self.requests.is_empty() {
            let Some(id) = self.quic.streams().open(quic::Dir::Bi) else {
                return;
            };
            if let Some(request) = self.requests.pop_front() {
                self.add(id, Talk::ask(&request));
                self.write(cx, id);
            }
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>, id: quic::StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let mut receive = self.quic.recv_stream(id);
        let Ok(mut chunks) = receive.read(true) else {
            return;
        };
        loop {
            match chunks.next(READ_LEN_MAX) {
                Ok(Some(chunk)) => stream.talk.receive(cx, &chunk.bytes),
                Ok(None) => {
                    stream.talk.receive_fin(cx);
                    break;
                }
                Err(quic::ReadError::Blocked) => break,
                Err(quic::ReadError::Reset(code)) => {
                    cx.violate(Invariant::ScriptHolds, format!("{id} was reset: {code}"));
                    break;
                }
            }
        }
        // Whatever has to be sent now is sent at the end of the turn anyway.
        let _ = chunks.finalize();
    }

    fn write(&mut self, cx: &mut Cx<'_>, id: quic::StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.is_finished {
            return;
        }
        let mut send = self.quic.send_stream(id);
        while !stream.talk.chunk().is_empty() {
            match send.write_chunks(&mut [stream.talk.chunk().clone()]) {
                Ok(written) => stream.talk.taken(cx, written.bytes),
                Err(quic::WriteError::Blocked) => return,
                Err(why) => {
                    cx.violate(Invariant::ScriptHolds, format!("write to {id}: {why}"));
                    return;
                }
            }
        }
        if stream.talk.is_sent() {
            stream.is_finished = true;
            stream.talk.finished(cx);
            if let Err(why) = send.finish() {
                cx.violate(Invariant::ScriptHolds, format!("finish {id}: {why}"));
            }
        }
    }
}
