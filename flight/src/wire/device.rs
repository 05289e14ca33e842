//! Records of the carrier of a TUN device.
use super::{
    Cursor, Malformed,
    entry::{CONTENT, flag},
    no, put_bytes, put_end, put_number, put_refusal, put_socket_addr, undelivered,
};
use bytes::BufMut as _;
use core::net::SocketAddr;
use sansbox_core::{End, Refusal};
use sansbox_engine::{carrier::Stream, machine::Undelivered};

/// A direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To the session.
    Received,
    /// To the carrier.
    ToSend,
}

/// What is told of the carrier of a device, or of one of its queues.
///
/// What a call brings is in records of its own before that of the call: each is bounded by one
/// packet or one segment, and none is a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEntry<'a> {
    /// A frame as the device gave it, with its `virtio_net_hdr` where it has one. Only with
    /// content, and of the batch whose record comes next.
    Frame(&'a [u8]),
    /// [`Carrier::handle_packets`](sansbox_engine::carrier::Carrier::handle_packets).
    Batch {
        /// How many frames.
        frames: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// [`Carrier::poll_packets`](sansbox_engine::carrier::Carrier::poll_packets): what is sent
    /// depends on when it is asked for. Only with content.
    Polled,
    /// Packets left. Only where they cannot be had by a replay.
    Sent {
        /// How many.
        packets: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// [`Carrier::answer`](sansbox_engine::carrier::Carrier::answer); an address is content.
    Answered(Stream, Result<Option<SocketAddr>, Refusal>),
    /// [`Carrier::abandon`](sansbox_engine::carrier::Carrier::abandon).
    Abandoned(Stream),
    /// The session took so many bytes since the last exchange of the stream.
    Taken(Stream, u64),
    /// The session wrote a segment since the last exchange of the stream. Only with content.
    Written(Stream, &'a [u8]),
    /// The session ended a direction since the last exchange of the stream.
    Ended(Stream, Way, End),
    /// [`Carrier::exchange`](sansbox_engine::carrier::Carrier::exchange).
    Exchanged(Stream),
    /// [`Carrier::datagram_error`](sansbox_engine::carrier::Carrier::datagram_error): for which
    /// destination what.
    DatagramError(Stream, Option<(SocketAddr, Undelivered)>),
}

impl<'a> DeviceEntry<'a> {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Frame(_) => 14 | CONTENT,
            Self::Batch { .. } => 15,
            Self::Polled => 16,
            Self::Sent { .. } => 17,
            Self::Answered(_, answer) => 18 | flag(matches!(answer, Ok(Some(_)))),
            Self::Abandoned(_) => 19,
            Self::Taken(..) => 20,
            Self::Written(..) => 21 | CONTENT,
            Self::Ended(..) => 22,
            Self::Exchanged(_) => 23,
            Self::DatagramError(_, content) => 25 | flag(content.is_some()),
        }
    }

    pub(super) const fn content_len(&self) -> usize {
        match self {
            Self::Frame(bytes) | Self::Written(_, bytes) => bytes.len(),
            Self::Batch { .. }
            | Self::Polled
            | Self::Sent { .. }
            | Self::Answered(..)
            | Self::Abandoned(_)
            | Self::Taken(..)
            | Self::Ended(..)
            | Self::Exchanged(_)
            | Self::DatagramError(..) => 0,
        }
    }

    /// Whether it is a call, and not a part of one or what came of it.
    pub(super) const fn is_input(&self) -> bool {
        match self {
            Self::Batch { .. }
            | Self::Polled
            | Self::Answered(..)
            | Self::Abandoned(_)
            | Self::Exchanged(_)
            | Self::DatagramError(..) => true,
            Self::Frame(_)
            | Self::Sent { .. }
            | Self::Taken(..)
            | Self::Written(..)
            | Self::Ended(..) => false,
        }
    }

    /// Appends what follows the kind.
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Frame(bytes) => put_bytes(out, bytes),
            Self::Batch {
                frames: count,
                bytes,
            }
            | Self::Sent {
                packets: count,
                bytes,
            } => {
                put_number(out, *count);
                put_number(out, *bytes);
            }
            Self::Polled => {}
            Self::Answered(stream, answer) => {
                put_number(out, stream.0);
                match answer {
                    Ok(Some(bound)) => put_socket_addr(out, *bound),
                    Ok(None) => out.put_u8(0),
                    Err(why) => {
                        out.put_u8(1);
                        put_refusal(out, *why);
                    }
                }
            }
            Self::DatagramError(stream, content) => {
                put_number(out, stream.0);
                if let Some(content) = content {
                    undelivered::put(out, *content);
                }
            }
            Self::Abandoned(stream) | Self::Exchanged(stream) => put_number(out, stream.0),
            Self::Taken(stream, n) => {
                put_number(out, stream.0);
                put_number(out, *n);
            }
            Self::Written(stream, bytes) => {
                put_number(out, stream.0);
                put_bytes(out, bytes);
            }
            Self::Ended(stream, way, end) => {
                put_number(out, stream.0);
                out.put_u8(match way {
                    Way::Received => 0,
                    Way::ToSend => 1,
                });
                put_end(out, *end);
            }
        }
    }

    /// Parses what follows the kind.
    pub(super) fn parse(kind: u8, from: &mut Cursor<'a>) -> Result<Self, Malformed> {
        const FRAME: u8 = 14 | CONTENT;
        const ANSWERED: u8 = 18 | CONTENT;
        const WRITTEN: u8 = 21 | CONTENT;
        const ERROR: u8 = 25 | CONTENT;
        Ok(match kind {
            FRAME => Self::Frame(from.bytes("frame")?),
            15 => Self::Batch {
                frames: from.number("count of frames")?,
                bytes: from.number("count")?,
            },
            16 => Self::Polled,
            17 => Self::Sent {
                packets: from.number("count of packets")?,
                bytes: from.number("count")?,
            },
            18 => {
                let stream = stream(from)?;
                let answer = match from.byte("answer")? {
                    0 => Ok(None),
                    1 => Err(from.refusal()?),
                    value => return Err(no("answer", value)),
                };
                Self::Answered(stream, answer)
            }
            ANSWERED => Self::Answered(stream(from)?, Ok(Some(from.socket_addr()?))),
            19 => Self::Abandoned(stream(from)?),
            20 => Self::Taken(stream(from)?, from.number("count")?),
            WRITTEN => Self::Written(stream(from)?, from.bytes("segment")?),
            22 => {
                let stream = stream(from)?;
                let way = match from.byte("direction")? {
                    0 => Way::Received,
                    1 => Way::ToSend,
                    value => return Err(no("direction", value)),
                };
                Self::Ended(stream, way, from.end()?)
            }
            23 => Self::Exchanged(stream(from)?),
            25 => Self::DatagramError(stream(from)?, None),
            ERROR => Self::DatagramError(stream(from)?, Some(undelivered::parse(from)?)),
            value => return Err(no("kind of record", value)),
        })
    }
}

fn stream(from: &mut Cursor<'_>) -> Result<Stream, Malformed> {
    from.number("stream").map(Stream)
}
