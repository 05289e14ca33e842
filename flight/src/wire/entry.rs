//! What a record says.
use super::{
    Cursor, Malformed, no, put_bytes, put_end, put_ip, put_number, put_refusal, put_socket_addr,
};
use bytes::BufMut;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{End, Refusal, Seed};
use sansbox_engine::{
    Peer,
    ids::{ActionId, InboundId, Slot},
    machine::{Action, Input, Outcome},
    record::CloseReason,
};
use std::borrow::Cow;

/// Bit of the kind: content follows. Without it a record holds sizes and numbers only.
const CONTENT: u8 = 0x80;

/// What is told of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// It was made.
    Begin(Begin),
    /// [`Input::Tick`].
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
    /// [`Input::Done`].
    Done(ActionId, Answer<'a>),
    /// [`Input::Relayed`].
    Relayed(Slot, u64),
    /// [`Input::Stop`].
    Stop,
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

/// Which kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineKind {
    /// [`Session`](sansbox_engine::Session).
    Session,
    /// [`Association`](sansbox_engine::Association).
    Association,
}

/// What a machine is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Which kind.
    pub kind: MachineKind,
    /// Where it came in.
    pub inbound: InboundId,
    /// Number of its log lines.
    pub log_id: u32,
    /// The rest.
    pub content: Option<Content>,
}

/// What only a recording with content holds of a machine's making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Both addresses.
    pub peer: Peer,
    /// Its randomness: key material.
    pub seed: Seed,
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// [`Outcome::Resolved`]: how many, and which.
    Resolved(u64, Option<Cow<'a, [IpAddr]>>),
    /// [`Outcome::Connected`].
    Connected(Option<SocketAddr>),
    /// [`Outcome::Bound`].
    Bound(Option<SocketAddr>),
    /// [`Outcome::Failed`].
    Failed(Refusal),
}

/// What a machine asked for, without names and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Action")]
pub enum Asked {
    Resolve(ActionId),
    Dial(ActionId, Slot),
    Bind(ActionId, Slot),
    Cancel(ActionId),
    Close(Slot, End),
    Passthrough(Slot, Slot),
}

impl Asked {
    /// What an action asks for; datagrams and log lines are nothing to wait for.
    #[must_use]
    pub const fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Resolve { id, .. } => Self::Resolve(*id),
            Action::Dial { id, slot, .. } => Self::Dial(*id, *slot),
            Action::Bind { id, slot, .. } => Self::Bind(*id, *slot),
            Action::Cancel(id) => Self::Cancel(*id),
            Action::Close(slot, end) => Self::Close(*slot, *end),
            Action::Passthrough(a, b) => Self::Passthrough(*a, *b),
            Action::Send { .. } | Action::Log(_) => return None,
        })
    }
}

impl<'a> Entry<'a> {
    /// What stands for an input; without `content`, its sizes only.
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
            Self::Begin(_)
            | Self::Tick
            | Self::Received { .. }
            | Self::Drained(..)
            | Self::Ended(..)
            | Self::Datagram { .. }
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
        matches!(self.kind() & !CONTENT, 2..=9)
    }

    /// Appends the kind.
    pub(super) fn emit_kind(&self, out: &mut impl BufMut) {
        out.put_u8(self.kind());
    }

    /// Appends what follows the kind.
    pub(super) fn emit(&self, out: &mut impl BufMut) {
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
            Self::Done(id, answer) => {
                put_number(out, id.0.into());
                answer.emit(out);
            }
            Self::Asked(asked) => asked.emit(out),
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
            value => return Err(no("kind of record", value)),
        })
    }
}

const fn flag(content: bool) -> u8 {
    if content { CONTENT } else { 0 }
}

fn slot(from: &mut Cursor<'_>) -> Result<Slot, Malformed> {
    from.number_as("slot").map(Slot)
}

fn action(from: &mut Cursor<'_>) -> Result<ActionId, Malformed> {
    from.number_as("action").map(ActionId)
}

fn put_closed(out: &mut impl BufMut, closed: Option<CloseReason>) {
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

impl Begin {
    fn emit(&self, out: &mut impl BufMut) {
        out.put_u8(match self.kind {
            MachineKind::Session => 0,
            MachineKind::Association => 1,
        });
        put_number(out, self.inbound.0.into());
        out.put_u32_le(self.log_id);
        if let Some(Content { peer, seed }) = &self.content {
            put_socket_addr(out, peer.remote);
            put_socket_addr(out, peer.local);
            out.put_slice(&seed.bytes());
        }
    }

    fn parse(from: &mut Cursor<'_>, content: bool) -> Result<Self, Malformed> {
        let kind = match from.byte("kind of machine")? {
            0 => MachineKind::Session,
            1 => MachineKind::Association,
            value => return Err(no("kind of machine", value)),
        };
        let inbound = InboundId(from.number_as("inbound")?);
        let log_id = u32::from_le_bytes(from.fixed("log id")?);
        let content = if content {
            let (remote, local) = (from.socket_addr()?, from.socket_addr()?);
            let seed = Seed::new(from.fixed("seed")?);
            Some(Content {
                peer: Peer { remote, local },
                seed,
            })
        } else {
            None
        };
        Ok(Self {
            kind,
            inbound,
            log_id,
            content,
        })
    }
}

impl<'a> Answer<'a> {
    fn of(outcome: Outcome<'a>, content: bool) -> Self {
        match outcome {
            Outcome::Resolved(addresses) => Self::Resolved(
                addresses.len() as u64,
                content.then_some(Cow::Borrowed(addresses)),
            ),
            Outcome::Connected(local) => Self::Connected(content.then_some(local)),
            Outcome::Bound(local) => Self::Bound(content.then_some(local)),
            Outcome::Failed(why) => Self::Failed(why),
        }
    }

    const fn has_content(&self) -> bool {
        match self {
            Self::Resolved(_, addresses) => addresses.is_some(),
            Self::Connected(local) | Self::Bound(local) => local.is_some(),
            Self::Failed(_) => false,
        }
    }

    fn emit(&self, out: &mut impl BufMut) {
        match self {
            Self::Resolved(count, addresses) => {
                out.put_u8(0);
                put_number(out, *count);
                for ip in addresses.iter().flat_map(|list| list.iter()) {
                    put_ip(out, *ip);
                }
            }
            Self::Connected(local) | Self::Bound(local) => {
                out.put_u8(if matches!(self, Self::Connected(_)) {
                    1
                } else {
                    2
                });
                if let Some(local) = local {
                    put_socket_addr(out, *local);
                }
            }
            Self::Failed(why) => {
                out.put_u8(3);
                put_refusal(out, *why);
            }
        }
    }

    fn parse(from: &mut Cursor<'_>, content: bool) -> Result<Self, Malformed> {
        let local = |from: &mut Cursor<'_>| match content {
            true => from.socket_addr().map(Some),
            false => Ok(None),
        };
        Ok(match from.byte("outcome")? {
            0 => {
                let count = from.number("count of addresses")?;
                // Collected one by one: what is allocated is bounded by what is there.
                let ips = (0..count).map(|_| from.ip());
                let list = if content {
                    Some(Cow::Owned(ips.collect::<Result<Vec<_>, _>>()?))
                } else {
                    None
                };
                Self::Resolved(count, list)
            }
            1 => Self::Connected(local(from)?),
            2 => Self::Bound(local(from)?),
            3 if !content => Self::Failed(from.refusal()?),
            value => return Err(no("outcome", value)),
        })
    }
}

impl Asked {
    fn emit(self, out: &mut impl BufMut) {
        let (kind, numbers) = match self {
            Self::Resolve(id) => (0, [Some(id.0), None]),
            Self::Dial(id, slot) => (1, [Some(id.0), Some(slot.0)]),
            Self::Bind(id, slot) => (2, [Some(id.0), Some(slot.0)]),
            Self::Cancel(id) => (3, [Some(id.0), None]),
            Self::Close(slot, _) => (4, [Some(slot.0), None]),
            Self::Passthrough(a, b) => (5, [Some(a.0), Some(b.0)]),
        };
        out.put_u8(kind);
        for number in numbers.into_iter().flatten() {
            put_number(out, number.into());
        }
        if let Self::Close(_, end) = self {
            put_end(out, end);
        }
    }

    fn parse(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte("request")? {
            0 => Self::Resolve(action(from)?),
            1 => Self::Dial(action(from)?, slot(from)?),
            2 => Self::Bind(action(from)?, slot(from)?),
            3 => Self::Cancel(action(from)?),
            4 => Self::Close(slot(from)?, from.end()?),
            5 => Self::Passthrough(slot(from)?, slot(from)?),
            value => return Err(no("request", value)),
        })
    }
}
