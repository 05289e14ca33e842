//! One TLS connection over a TCP socket.
use crate::{
    check::Invariant,
    host::{Cx, Read, SocketId},
    quic::{note, talk::Talk},
};
use bytes::{Buf as _, BufMut as _, BytesMut};
use rustls::HandshakeKind;
use std::io::{ErrorKind, Read as _, Write as _};

/// Most bytes read from the kernel at once: less than a record, so that records are cut.
const READ_LEN_MAX: usize = 8 << 10;

/// How a connection stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Now {
    Alive,
    /// The socket is closed.
    Over,
}

/// Where our direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Open,
    /// The TLS alert that ends it was made.
    Closing,
    /// And so was the FIN.
    Closed,
}

/// A connection, its socket, and what is said.
pub(super) struct Link {
    socket: SocketId,
    tls: rustls::Connection,
    talk: Talk,
    ours: Ours,
    is_connected: bool,
    /// The socket's FIN was read.
    saw_fin: bool,
    /// Records the kernel has not taken yet.
    wire: BytesMut,
    buffer: Box<[u8]>,
}

impl Link {
    pub(super) fn new(socket: SocketId, tls: rustls::Connection, talk: Talk) -> Self {
        Self {
            socket,
            tls,
            talk,
            ours: Ours::Open,
            is_connected: false,
            saw_fin: false,
            wire: BytesMut::new(),
            buffer: vec![0; READ_LEN_MAX].into(),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("{}, ours {:?}", self.talk.describe(), self.ours)
    }

    /// Reads and writes all that can be.
    pub(super) fn run(&mut self, cx: &mut Cx<'_>) -> Now {
        let outcome = self.read(cx).and_then(|()| self.write(cx));
        if let Err(why) = outcome {
            self.talk.fail(cx);
            cx.violate(
                Invariant::ScriptHolds,
                format!("{why}; {}", self.describe()),
            );
            cx.abort(self.socket);
            return Now::Over;
        }
        if self.ours == Ours::Closed && self.talk.is_heard() && self.saw_fin {
            cx.close(self.socket);
            return Now::Over;
        }
        Now::Alive
    }

    fn read(&mut self, cx: &mut Cx<'_>) -> Result<(), String> {
        while !self.saw_fin {
            match cx.read(self.socket, READ_LEN_MAX) {
                Read::Bytes(bytes) => self.hear(cx, bytes)?,
                Read::Fin => self.saw_fin = true,
                Read::Reset => return Err("reset".into()),
                Read::WouldBlock => return Ok(()),
            }
        }
        if self.talk.is_heard() {
            Ok(())
        } else {
            Err("FIN before the alert that ends the session".into())
        }
    }

    /// Takes in records, or parts of them.
    fn hear(&mut self, cx: &mut Cx<'_>, mut bytes: BytesMut) -> Result<(), String> {
        while !bytes.is_empty() {
            let mut rest = &bytes[..];
            let taken = self.tls.read_tls(&mut rest).map_err(|e| e.to_string())?;
            bytes.advance(taken);
            self.tls.process_new_packets().map_err(|e| e.to_string())?;
            if !self.is_connected && !self.tls.is_handshaking() {
                self.is_connected = true;
                let is_client = matches!(self.tls, rustls::Connection::Client(_));
                let is_resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
                note(|facts| {
                    facts.connected += 1;
                    facts.resumed += u64::from(is_client && is_resumed);
                });
            }
            self.receive(cx)?;
        }
        Ok(())
    }

    fn receive(&mut self, cx: &mut Cx<'_>) -> Result<(), String> {
        loop {
            match self.tls.reader().read(&mut self.buffer) {
                Ok(0) => {
                    if !self.talk.is_heard() {
                        self.talk.receive_fin(cx);
                    }
                    return Ok(());
                }
                Ok(n) => self
                    .talk
                    .receive(cx, self.buffer.get(..n).unwrap_or_default()),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(why) => return Err(why.to_string()),
            }
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>) -> Result<(), String> {
        loop {
            self.say(cx)?;
            while self.tls.wants_write() {
                self.tls
                    .write_tls(&mut (&mut self.wire).writer())
                    .map_err(|e| e.to_string())?;
            }
            if self.wire.is_empty() {
                break;
            }
            let taken = cx.write(self.socket, &self.wire).map_err(|_| "reset")?;
            self.wire.advance(taken);
            if !self.wire.is_empty() {
                return Ok(());
            }
        }
        if self.ours == Ours::Closing {
            self.ours = Ours::Closed;
            cx.shutdown(self.socket);
        }
        Ok(())
    }

    /// Encrypts what there is to say, as far as the session buffers it.
    fn say(&mut self, cx: &mut Cx<'_>) -> Result<(), String> {
        while !self.talk.chunk().is_empty() {
            let chunk = self.talk.chunk();
            let taken = self.tls.writer().write(chunk).map_err(|e| e.to_string())?;
            if taken == 0 {
                return Ok(());
            }
            self.talk.taken(cx, taken);
        }
        if self.ours == Ours::Open && self.talk.is_sent() && self.is_connected {
            self.ours = Ours::Closing;
            self.talk.finished(cx);
            self.tls.send_close_notify();
        }
        Ok(())
    }
}
