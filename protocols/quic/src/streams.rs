//! One bidirectional stream of a connection and the pipes it is joined to.
use crate::arena::Arena;
use bytes::Bytes;
use quinn_proto as quic;
use sansbox_core::{End, Pipe, Progress};

/// Application error code of a stream that one side gave up; nothing else is told.
const GIVEN_UP: quic::VarInt = quic::VarInt::from_u32(0);

/// What is known of a stream besides what quinn-proto knows.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Taken from the pipe, and not yet from here.
    pending: Bytes,
    /// Nothing more will be sent: FIN or RESET_STREAM is on its way, or the peer wants no more.
    is_sent: bool,
    /// Nothing more will be received.
    is_received: bool,
    /// Something came that was not read: where nothing did, quinn-proto is not asked.
    is_readable: bool,
    /// The peer wants no more, and the pipe is not told yet.
    is_stopped: bool,
    /// What its owner calls it.
    label: Option<u64>,
}

impl Stream {
    /// One that the peer opened, with something in it.
    pub(crate) fn accepted() -> Self {
        Self {
            is_readable: true,
            ..Self::default()
        }
    }

    /// Its owner calls it so.
    pub(crate) const fn set_label(&mut self, label: u64) {
        self.label = Some(label);
    }

    /// What its owner calls it.
    pub(crate) const fn label(&self) -> Option<u64> {
        self.label
    }

    /// Something came: octets or an end.
    pub(crate) const fn note_readable(&mut self) {
        self.is_readable = true;
    }

    /// The peer wants no more.
    pub(crate) const fn note_stopped(&mut self) {
        self.is_stopped = true;
    }

    /// Both directions are over, as far as this side can do something for it.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_sent && self.is_received
    }

    /// May [`Stream::receive`] do anything?
    pub(crate) const fn has_to_receive(&self, received: &Pipe) -> bool {
        !self.is_received && (received.room() > 0 && self.is_readable || is_ended(received))
    }

    /// May [`Stream::send`] do anything?
    pub(crate) const fn has_to_send(&self, to_send: &Pipe) -> bool {
        let has_more = !to_send.is_empty() || is_ended(to_send);
        !self.is_sent && (has_more || !self.pending.is_empty() || self.is_stopped)
    }

    /// Moves what came to `received` while it has room, and its end behind it.
    pub(crate) fn receive(
        &mut self,
        connection: &mut quic::Connection,
        id: quic::StreamId,
        received: &mut Pipe,
        arena: &mut Arena,
    ) -> Progress {
        let mut progress = Progress::NONE;
        if received.end() != End::Open {
            // Whoever reads wants no more; the peer is told to stop.
            self.is_received = true;
            let _ = connection.recv_stream(id).stop(GIVEN_UP);
            return Progress::MADE;
        }
        let mut stream = connection.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(quic::ReadableError::ClosedStream | quic::ReadableError::IllegalOrderedRead) => {
                self.is_received = true;
                return received.reset();
            }
        };
        let (mut room, mut end) = (received.room(), End::Open);
        while room > 0 && end == End::Open {
            match chunks.next(room) {
                Ok(Some(chunk)) => {
                    room -= chunk.bytes.len();
                    arena.gather(&chunk.bytes, received);
                    progress = Progress::MADE;
                }
                Ok(None) => end = End::Fin,
                Err(quic::ReadError::Blocked) => {
                    self.is_readable = false;
                    break;
                }
                Err(quic::ReadError::Reset(_)) => end = End::Reset,
            }
        }
        arena.hand_over(received);
        self.is_received = end != End::Open;
        match end {
            End::Open => {}
            End::Fin => progress |= received.finish(),
            End::Reset => progress |= received.reset(),
        }
        // What is to be sent because of it is asked for in any case.
        let _ = chunks.finalize();
        progress
    }

    /// Takes from `to_send` what the peer and the send window have room for, and its end.
    pub(crate) fn send(
        &mut self,
        connection: &mut quic::Connection,
        id: quic::StreamId,
        to_send: &mut Pipe,
    ) -> Progress {
        let mut progress = Progress::NONE;
        let mut stream = connection.send_stream(id);
        if self.is_stopped {
            self.give_up();
            // Unless its end is told, the peer counts the stream as open (RFC 9000 section 3.5).
            let _ = stream.reset(GIVEN_UP);
            return to_send.reset();
        }
        loop {
            if to_send.end() == End::Reset {
                self.give_up();
                let _ = stream.reset(GIVEN_UP);
                return Progress::MADE;
            }
            if self.pending.is_empty()
                && let Some(segment) = to_send.take(usize::MAX)
            {
                self.pending = segment.freeze();
                progress = Progress::MADE;
            }
            if self.pending.is_empty() {
                break;
            }
            match stream.write_chunks(core::slice::from_mut(&mut self.pending)) {
                Ok(_) => progress = Progress::MADE,
                Err(quic::WriteError::Blocked) => return progress,
                Err(quic::WriteError::Stopped(_) | quic::WriteError::ClosedStream) => {
                    self.give_up();
                    let _ = stream.reset(GIVEN_UP);
                    return progress | to_send.reset();
                }
            }
        }
        if to_send.end() == End::Fin {
            self.is_sent = true;
            progress = Progress::MADE;
            if stream.finish().is_err() {
                let _ = stream.reset(GIVEN_UP);
                progress |= to_send.reset();
            }
        }
        progress
    }

    /// Ends both directions without a word of the pipes.
    pub(crate) fn abandon(&mut self, connection: &mut quic::Connection, id: quic::StreamId) {
        if !self.is_sent {
            self.give_up();
            let _ = connection.send_stream(id).reset(GIVEN_UP);
        }
        if !self.is_received {
            self.is_received = true;
            let _ = connection.recv_stream(id).stop(GIVEN_UP);
        }
    }

    fn give_up(&mut self) {
        self.is_sent = true;
        self.pending = Bytes::new();
    }
}

/// Nothing more goes into the pipe.
const fn is_ended(pipe: &Pipe) -> bool {
    !matches!(pipe.end(), End::Open)
}
