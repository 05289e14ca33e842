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
}

impl Stream {
    /// Both directions are over, as far as this side can do something for it.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_sent && self.is_received
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
        if self.is_received {
            return progress;
        }
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
        let mut room = received.room();
        let mut end = End::Open;
        while room > 0 && end == End::Open {
            match chunks.next(room) {
                Ok(Some(chunk)) => {
                    room -= chunk.bytes.len();
                    arena.gather(&chunk.bytes, received);
                    progress = Progress::MADE;
                }
                Ok(None) => end = End::Fin,
                Err(quic::ReadError::Blocked) => break,
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
        if self.is_sent {
            return progress;
        }
        let mut stream = connection.send_stream(id);
        if !matches!(stream.stopped(), Ok(None)) {
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
