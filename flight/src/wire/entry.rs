//! What a record says.
use super::{
    Answer, Asked, Begin, Cursor, DeviceEntry, Malformed, no,
    parts::{action, slot},
    put_bytes, put_end, put_number, put_refusal, put_socket_addr, undelivered,
};
use bytes::BufMut as _;
use core::net::SocketAddr;
use sansbox_core::End;
use sansbox_engine::{
    ids::{ActionId, Slot},
    machine::{Input, Undelivered},
    record::CloseReason,
};

/// Bit of the kind: content follows. Without it a record holds sizes and numbers only.
pub(super) const CONTENT: u8 = 0x80;

/// What is told of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// It was made.
    Begin(Begin),
    /// [`Input::Tick`]; of a carrier, that its deadlines are to be handled.
    Tick,
    /// [`Input::Received`].
    Received {
        /// Where.
        slot: Slot,
        /// How many bytes.
        len: u64,
        /// Which.
        bytes: Option<&'a [u8]>,
    },
    /// [`Input::Drained`].
    Drained(Slot, u64),
    /// [`Input::Ended`].
    Ended(Slot, End),
    /// [`Input::Datagram`].
    Datagram {
        /// Where.
        slot: Slot,
        /// How many bytes.
        len: u64,
        /// From whom, and which.
        content: Option<(SocketAddr, &'a [u8])>,
    },
    /// [`Input::DatagramError`]: where, and for which destination what.
    DatagramError(Slot, Option<(SocketAddr, Undelivered)>),
    /// [`Input::Done`].
    Done(ActionId, Answer<'a>),
    /// [`Input::Relayed`].
    Relayed(Slot, u64),
    /// [`Input::Stop`]; of a carrier, that it is to close.
    Stop,
    /// What only the carrier of a device is told.
    Device(DeviceEntry<'a>),
    /// It asked for something. Only where the actions cannot be had by a replay.
    Asked(Asked),
    /// All it wanted so far was done: how many actions since the last such record, and the first
    /// bytes of the digest of all outputs.
    Produced {
        /// Actions since.
        actions: u64,
        /// Front of [`Outputs::digest`](crate::Outputs::digest).
        digest: [u8; 8],
    },
    /// From here on only sizes are kept, so that a replay ends here.
    Cut,
    /// It is gone.
    End {
        /// Why; `None`: it was dropped before it had ended.
        closed: Option<CloseReason>,
        /// Payload bytes from the client.
        bytes_up: u64,
        /// Payload bytes to the client.
        bytes_down: u64,
        /// The digest of all outputs.
        digest: Option<[u8; 32]>,
    },
}

impl<'a> Entry<'a> {
    /// What stands for an input; without `content`, its sizes only.
    #[inline]
    #[must_use]
    pub fn of_input(input: &'a Input<'a>, content: bool) -> Self {
        match input {
            Input::Tick => Self::Tick,
            Input::Received(slot, bytes) => Self::Received {
                slot: *slot,
                len: bytes.len() as u64,
                bytes: content.then_some(bytes),
            },
            Input::Drained(slot, n) => Self::Drained(*slot, *n as u64),
            Input::Ended(slot, end) => Self::Ended(*slot, *end),
            Input::Datagram { slot, from, data } => Self::Datagram {
                slot: *slot,
                len: data.len() as u64,
                content: content.then_some((*from, data)),
            },
            Input::DatagramError { slot, to, error } => {
                Self::DatagramError(*slot, content.then_some((*to, *error)))
            }
            Input::Done(id, outcome) => Self::Done(*id, Answer::of(*outcome, content)),
            Input::Relayed(slot, n) => Self::Relayed(*slot, *n),
            Input::Stop => Self::Stop,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Begin(Begin { content, .. }) => 1 | flag(content.is_some()),
            Self::Tick => 2,
            Self::Received { bytes, .. } => 3 | flag(bytes.is_some()),
            Self::Drained(..) => 4,
            Self::Ended(..) => 5,
            Self::Datagram { content, .. } => 6 | flag(content.is_some()),
            Self::Done(_, answer) => 7 | flag(answer.has_content()),
            Self::Relayed(..) => 8,
            Self::Stop => 9,
            Self::Asked(_) => 10,
            Self::Produced { .. } => 11,
            Self::Cut => 12,
            Self::End { digest, .. } => 13 | flag(digest.is_some()),
            Self::DatagramError(_, content) => 24 | flag(content.is_some()),
            Self::Device(entry) => entry.kind(),
        }
    }

    /// Bytes of payload that it carries.
    #[must_use]
    pub const fn content_len(&self) -> usize {
        match self {
            Self::Received {
                bytes: Some(bytes), ..
            }
            | Self::Datagram {
                content: Some((_, bytes)),
                ..
            } => bytes.len(),
            Self::Device(entry) => entry.content_len(),
            Self::Begin(_)
            | Self::Tick
            | Self::Received { .. }
            | Self::Drained(..)
            | Self::Ended(..)
            | Self::Datagram { .. }
            | Self::DatagramError(..)
            | Self::Done(..)
            | Self::Relayed(..)
            | Self::Stop
            | Self::Asked(_)
            | Self::Produced { .. }
            | Self::Cut
            | Self::End { .. } => 0,
        }
    }

    /// Whether it is something that the machine was told.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        if let Self::Device(entry) = self {
            return entry.is_input();
        }
        matches!(self.kind() & !CONTENT, 2..=9 | 24)
    }

    /// Appends the kind.
    pub(super) fn emit_kind(&self, out: &mut Vec<u8>) {
        out.put_u8(self.kind());
    }

    /// Appends what follows the kind.
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Begin(begin) => begin.emit(out),
            Self::Tick | Self::Stop | Self::Cut => {}
            Self::Received { slot, len, bytes } => {
                put_number(out, slot.0.into());
                match bytes {
                    Some(bytes) => put_bytes(out, bytes),
                    None => put_number(out, *len),
                }
            }
            Self::Drained(slot, n) | Self::Relayed(slot, n) => {
                put_number(out, slot.0.into());
                put_number(out, *n);
            }
            Self::Ended(slot, end) => {
                put_number(out, slot.0.into());
                put_end(out, *end);
            }
            Self::Datagram { slot, len, content } => {
                put_number(out, slot.0.into());
                match content {
                    Some((from, bytes)) => {
                        put_socket_addr(out, *from);
                        put_bytes(out, bytes);
                    }
                    None => put_number(out, *len),
                }
            }
            Self::DatagramError(slot, content) => {
                put_number(out, slot.0.into());
                if let Some(content) = content {
                    undelivered::put(out, *content);
                }
            }
            Self::Done(id, answer) => {
                put_number(out, id.0.into());
                answer.emit(out);
            }
            Self::Asked(asked) => asked.emit(out),
            Self::Device(entry) => entry.emit(out),
            Self::Produced { actions, digest } => {
                put_number(out, *actions);
                out.put_slice(digest);
            }
            Self::End {
                closed,
                bytes_up,
                bytes_down,
                digest,
            } => {
                put_closed(out, *closed);
                put_number(out, *bytes_up);
                put_number(out, *bytes_down);
                if let Some(digest) = digest {
                    out.put_slice(digest);
                }
            }
        }
    }

    /// Parses what follows the kind.
    pub(super) fn parse(kind: u8, from: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let content = kind & CONTENT != 0;
        Ok(match kind & !CONTENT {
            1 => Self::Begin(Begin::parse(from, content)?),
            2 => Self::Tick,
            3 => {
                let (slot, len) = (slot(from)?, from.number("length")?);
                let bytes = if content {
                    Some(from.take(len, "bytes")?)
                } else {
                    None
                };
                Self::Received { slot, len, bytes }
            }
            4 => Self::Drained(slot(from)?, from.number("count")?),
            5 => Self::Ended(slot(from)?, from.end()?),
            6 => {
                let slot = slot(from)?;
                if content {
                    let (sender, data) = (from.socket_addr()?, from.bytes("datagram")?);
                    let len = data.len() as u64;
                    let content = Some((sender, data));
                    Self::Datagram { slot, len, content }
                } else {
                    let len = from.number("length")?;
                    let content = None;
                    Self::Datagram { slot, len, content }
                }
            }
            7 => Self::Done(action(from)?, Answer::parse(from, content)?),
            8 => Self::Relayed(slot(from)?, from.number("count")?),
            9 => Self::Stop,
            10 => Self::Asked(Asked::parse(from)?),
            11 => Self::Produced {
                actions: from.number("count of actions")?,
                digest: from.fixed("digest")?,
            },
            12 => Self::Cut,
            13 => Self::End {
                closed: closed(from)?,
                bytes_up: from.number("count")?,
                bytes_down: from.number("count")?,
                digest: if content {
                    Some(from.fixed("digest")?)
                } else {
                    None
                },
            },
            24 if content => Self::DatagramError(slot(from)?, Some(undelivered::parse(from)?)),
            24 => Self::DatagramError(slot(from)?, None),
            _ => Self::Device(DeviceEntry::parse(kind, from)?),
        })
    }
}

pub(super) const fn flag(content: bool) -> u8 {
    if content { CONTENT } else { 0 }
}

fn put_closed(out: &mut Vec<u8>, closed: Option<CloseReason>) {
    match closed.map(CloseReason::code) {
        None => out.put_u8(0),
        Some((code, None)) => {
            out.put_u8(1);
            out.put_u8(code);
        }
        Some((code, Some(refusal))) => {
            out.put_u8(2);
            out.put_u8(code);
            put_refusal(out, refusal);
        }
    }
}

fn closed(from: &mut Cursor<'_>) -> Result<Option<CloseReason>, Malformed> {
    let form = from.byte("close reason")?;
    if form == 0 {
        return Ok(None);
    }
    let code = from.byte("close reason")?;
    let refusal = match form {
        1 => None,
        2 => Some(from.refusal()?),
        value => return Err(no("close reason", value)),
    };
    let reason = CloseReason::from_code(code, refusal);
    reason.map(Some).ok_or_else(|| no("close reason", code))
}
