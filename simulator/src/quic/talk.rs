//! What is said over one stream, of QUIC or of TLS: the client sends a line that names a flow
//! and asks for payload, then its own payload; the server answers with what was asked for. Both
//! payloads are flows of the world, so its invariants see every byte.
use crate::{
    check::{Invariant, payload},
    host::Cx,
};
use bytes::Bytes;

/// Bytes of payload made at once.
const CHUNK_LEN: u64 = 16 << 10;
/// Longest line of a request.
const LINE_LEN_MAX: usize = 128;

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names the flows `NAME/up` and `NAME/down`; unique in the world, and without spaces.
    pub name: String,
    /// Bytes that the client sends.
    pub up: u64,
    /// Bytes that the server answers with.
    pub down: u64,
}

impl Request {
    /// A request for `down` bytes that comes with `up` bytes.
    #[must_use]
    pub fn new(name: impl Into<String>, up: u64, down: u64) -> Self {
        let name = name.into();
        Self { name, up, down }
    }

    fn line(&self) -> String {
        format!("{} {}\n", self.name, self.down)
    }

    /// The server's reading of a line, without its end.
    fn parse(line: &[u8]) -> Option<Self> {
        let (name, down) = core::str::from_utf8(line).ok()?.split_once(' ')?;
        let down = down.parse().ok()?;
        Some(Self::new(name, 0, down))
    }
}

/// The direction that this end sends.
#[derive(Debug, Default)]
struct Outgoing {
    flow: String,
    /// Made and not yet taken by the transport.
    chunk: Bytes,
    /// Bytes of the request's line that are in front of `chunk`.
    line_left: usize,
    /// Payload bytes not yet in a chunk.
    unmade: u64,
    made: u64,
    is_known: bool,
}

/// The direction that this end receives.
#[derive(Debug, Default)]
struct Incoming {
    flow: String,
    line: Vec<u8>,
    is_known: bool,
    has_ended: bool,
}

/// One end of a stream.
#[derive(Debug)]
pub(crate) struct Talk {
    out: Outgoing,
    into: Incoming,
}

impl Talk {
    /// The client's end.
    pub(crate) fn ask(request: &Request) -> Self {
        let line = request.line();
        Self {
            out: Outgoing {
                flow: format!("{}/up", request.name),
                line_left: line.len(),
                chunk: Bytes::from(line),
                unmade: request.up,
                made: 0,
                is_known: true,
            },
            into: Incoming {
                flow: format!("{}/down", request.name),
                is_known: true,
                ..Incoming::default()
            },
        }
    }

    /// The server's end, which learns from the client what it is about.
    pub(crate) fn answer() -> Self {
        Self {
            out: Outgoing::default(),
            into: Incoming::default(),
        }
    }

    /// What goes out next; empty behind everything, or when it is not known yet.
    pub(crate) fn chunk(&mut self) -> &Bytes {
        let out = &mut self.out;
        if out.chunk.is_empty() && out.unmade > 0 {
            let len = out.unmade.min(CHUNK_LEN);
            out.chunk = payload(&out.flow, out.made, len as usize).into();
            out.made += len;
            out.unmade -= len;
        }
        &out.chunk
    }

    /// The transport took `n` bytes of [`Self::chunk`].
    pub(crate) fn taken(&mut self, cx: &mut Cx<'_>, n: usize) {
        let out = &mut self.out;
        let _ = out.chunk.split_to(n.min(out.chunk.len()));
        let line = n.min(out.line_left);
        out.line_left -= line;
        if n > line {
            cx.flows().sent(&out.flow, n - line);
        }
    }

    /// Everything was taken, so the direction can end.
    pub(crate) fn is_sent(&self) -> bool {
        self.out.is_known && self.out.unmade == 0 && self.out.chunk.is_empty()
    }

    /// The direction was ended.
    pub(crate) fn finished(&self, cx: &mut Cx<'_>) {
        cx.flows().fin_sent(&self.out.flow);
    }

    /// Bytes came in.
    pub(crate) fn receive(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) {
        let rest = if self.into.is_known {
            bytes
        } else {
            self.hear_line(cx, bytes)
        };
        if rest.is_empty() {
            return;
        }
        if let Err((invariant, what)) = cx.flows().delivered(&self.into.flow, rest) {
            cx.violate(invariant, what);
        }
    }

    /// Takes the request's line; returns what is behind it.
    fn hear_line<'a>(&mut self, cx: &mut Cx<'_>, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let rest = rest.get(1..).unwrap_or_default();
        self.into.line.extend_from_slice(part);
        if self.into.line.len() > LINE_LEN_MAX {
            cx.violate(Invariant::ScriptHolds, "a request's line without end");
        } else if end.is_some() {
            let Some(request) = Request::parse(&self.into.line) else {
                let line = self.into.line.escape_ascii().to_string();
                cx.violate(Invariant::ScriptHolds, format!("no request: {line}"));
                return &[];
            };
            self.into.flow = format!("{}/up", request.name);
            self.into.is_known = true;
            self.out.flow = format!("{}/down", request.name);
            self.out.unmade = request.down;
            self.out.is_known = true;
        }
        rest
    }

    /// The other end's direction is over.
    pub(crate) fn receive_fin(&mut self, cx: &mut Cx<'_>) {
        self.into.has_ended = true;
        if !self.into.is_known {
            cx.violate(
                Invariant::ScriptHolds,
                "the end of a stream before its request",
            );
        } else if let Err((invariant, what)) = cx.flows().fin_delivered(&self.into.flow) {
            cx.violate(invariant, what);
        }
    }

    /// The other end's direction has ended.
    pub(crate) const fn is_heard(&self) -> bool {
        self.into.has_ended
    }

    /// The stream broke.
    pub(crate) fn fail(&self, cx: &mut Cx<'_>) {
        for flow in [&self.out.flow, &self.into.flow] {
            if !flow.is_empty() {
                cx.flows().failed(flow);
            }
        }
    }

    /// How far it is, for those who wait.
    pub(crate) fn describe(&self) -> String {
        let Self { out, into } = self;
        format!(
            "{} at {}, heard all: {}",
            out.flow, out.made, into.has_ended
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_written_and_nothing_else_is() {
        let request = Request::new("c/0", 5, 1_048_576);
        let line = request.line();
        let heard = Request::parse(line.trim_end().as_bytes());
        assert_eq!(heard, Some(Request::new("c/0", 0, 1_048_576)));
        for wrong in ["", "c/0", "c/0 x", "c/0 -1", "c/0 1 2"] {
            assert_eq!(Request::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Request::parse(&[0xff, b' ', b'1']), None);
    }
}
