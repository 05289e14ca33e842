//! What records are made of: beginnings, answers, requests.
use super::{
    Cursor, Malformed, no, put_end, put_ip, put_number, put_refusal, put_socket_addr, put_target,
};
use bytes::BufMut as _;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{End, Refusal, Seed, Target};
use sansbox_engine::{
    Peer,
    carrier::tun::Device,
    ids::{ActionId, InboundId, Slot},
    machine::{Action, Outcome, Wanted},
};
use std::borrow::Cow;

/// Which kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineKind {
    /// [`Session`](sansbox_engine::Session).
    Session,
    /// [`Association`](sansbox_engine::Association).
    Association,
    /// [`Session::carried`](sansbox_engine::Session::carried).
    Carried,
    /// The same, for datagrams.
    CarriedDatagrams,
    /// [`tun::Client`](sansbox_engine::carrier::tun::Client), for a device that can do this.
    Device(Device),
}

impl MachineKind {
    /// The machine that serves a stream for what is `wanted`, and what it leads to: its
    /// [`Origin::target`](crate::Origin::target).
    #[must_use]
    pub fn carried(wanted: &Wanted) -> (Self, Option<Target>) {
        match wanted {
            Wanted::Connection(target) => (Self::Carried, Some(target.clone())),
            Wanted::Datagrams => (Self::CarriedDatagrams, None),
        }
    }

    fn emit(self, out: &mut Vec<u8>) {
        out.put_u8(match self {
            Self::Session => 0,
            Self::Association => 1,
            Self::Carried => 2,
            Self::CarriedDatagrams => 3,
            Self::Device(_) => 4,
        });
        if let Self::Device(Device { mtu, has_offload }) = self {
            put_number(out, mtu.into());
            out.put_u8(has_offload.into());
        }
    }

    fn parse(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte("kind of machine")? {
            0 => Self::Session,
            1 => Self::Association,
            2 => Self::Carried,
            3 => Self::CarriedDatagrams,
            4 => Self::Device(Device {
                mtu: from.number_as("MTU")?,
                has_offload: match from.byte("offload")? {
                    0 => false,
                    1 => true,
                    value => return Err(no("offload", value)),
                },
            }),
            value => return Err(no("kind of machine", value)),
        })
    }
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
    /// What a connection that is carried leads to; the others are told later.
    pub target: Option<Target>,
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
    OpenStream(ActionId, Slot),
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
            Action::OpenStream { id, slot, .. } => Self::OpenStream(*id, *slot),
            Action::Send { .. }
            | Action::DatagramError { .. }
            | Action::Log(_)
            | Action::Answer(_) => return None,
        })
    }
}

pub(super) fn slot(from: &mut Cursor<'_>) -> Result<Slot, Malformed> {
    from.number_as("slot").map(Slot)
}

pub(super) fn action(from: &mut Cursor<'_>) -> Result<ActionId, Malformed> {
    from.number_as("action").map(ActionId)
}

impl Begin {
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        self.kind.emit(out);
        put_number(out, self.inbound.0.into());
        out.put_u32_le(self.log_id);
        if let Some(Content { peer, seed, target }) = &self.content {
            put_socket_addr(out, peer.remote);
            put_socket_addr(out, peer.local);
            out.put_slice(&seed.bytes());
            if let Some(target) = target {
                put_target(out, target);
            }
        }
    }

    pub(super) fn parse(from: &mut Cursor<'_>, content: bool) -> Result<Self, Malformed> {
        let kind = MachineKind::parse(from)?;
        let inbound = InboundId(from.number_as("inbound")?);
        let log_id = u32::from_le_bytes(from.fixed("log id")?);
        let content = if content {
            let (remote, local) = (from.socket_addr()?, from.socket_addr()?);
            let seed = Seed::new(from.fixed("seed")?);
            let target = match kind {
                MachineKind::Carried => Some(from.target()?),
                MachineKind::Session
                | MachineKind::Association
                | MachineKind::CarriedDatagrams
                | MachineKind::Device(_) => None,
            };
            Some(Content {
                peer: Peer { remote, local },
                seed,
                target,
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
    pub(super) fn of(outcome: Outcome<'a>, content: bool) -> Self {
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

    pub(super) const fn has_content(&self) -> bool {
        match self {
            Self::Resolved(_, addresses) => addresses.is_some(),
            Self::Connected(local) | Self::Bound(local) => local.is_some(),
            Self::Failed(_) => false,
        }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
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

    pub(super) fn parse(from: &mut Cursor<'_>, content: bool) -> Result<Self, Malformed> {
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
    pub(super) fn emit(self, out: &mut Vec<u8>) {
        let (kind, numbers) = match self {
            Self::Resolve(id) => (0, [Some(id.0), None]),
            Self::Dial(id, slot) => (1, [Some(id.0), Some(slot.0)]),
            Self::Bind(id, slot) => (2, [Some(id.0), Some(slot.0)]),
            Self::Cancel(id) => (3, [Some(id.0), None]),
            Self::Close(slot, _) => (4, [Some(slot.0), None]),
            Self::Passthrough(a, b) => (5, [Some(a.0), Some(b.0)]),
            Self::OpenStream(id, slot) => (6, [Some(id.0), Some(slot.0)]),
        };
        out.put_u8(kind);
        for number in numbers.into_iter().flatten() {
            put_number(out, number.into());
        }
        if let Self::Close(_, end) = self {
            put_end(out, end);
        }
    }

    pub(super) fn parse(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte("request")? {
            0 => Self::Resolve(action(from)?),
            1 => Self::Dial(action(from)?, slot(from)?),
            2 => Self::Bind(action(from)?, slot(from)?),
            3 => Self::Cancel(action(from)?),
            4 => Self::Close(slot(from)?, from.end()?),
            5 => Self::Passthrough(slot(from)?, slot(from)?),
            6 => Self::OpenStream(action(from)?, slot(from)?),
            value => return Err(no("request", value)),
        })
    }
}
