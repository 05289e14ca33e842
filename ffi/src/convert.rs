//! The engine's words in those of the C interface, and back.
use crate::{
    status::Status,
    types::{
        Action, ActionKind, CloseKind, EndKind, FamiliesKind, NO_OUTBOUND, Record, RefusalKind,
        StageKind, zero_ended,
    },
};
use sansbox_core::{End, Refusal};
use sansbox_engine::{
    machine::{self, Families, Stage},
    record::{self, CloseReason, Drops},
};

impl From<End> for EndKind {
    fn from(end: End) -> Self {
        match end {
            End::Open => Self::Open,
            End::Fin => Self::Fin,
            End::Reset => Self::Reset,
        }
    }
}

/// An end that a peer can make.
pub(crate) const fn read_end(end: u32) -> Result<End, Status> {
    match end {
        1 => Ok(End::Fin),
        2 => Ok(End::Reset),
        _ => Err(Status::BadArgument),
    }
}

impl From<Refusal> for RefusalKind {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::ConnectionRefused => Self::ConnectionRefused,
            Refusal::NetworkUnreachable => Self::NetworkUnreachable,
            Refusal::HostUnreachable => Self::HostUnreachable,
            Refusal::NameNotFound => Self::NameNotFound,
            Refusal::ResolverFailed => Self::ResolverFailed,
            Refusal::TimedOut => Self::TimedOut,
            Refusal::TtlExpired => Self::TtlExpired,
            Refusal::Policy => Self::Policy,
            Refusal::Dropped => Self::Dropped,
            Refusal::PrivateAddress => Self::PrivateAddress,
            Refusal::CommandUnsupported => Self::CommandUnsupported,
            Refusal::AddressUnsupported => Self::AddressUnsupported,
            Refusal::UpstreamAuth => Self::UpstreamAuth,
            Refusal::UpstreamProtocol => Self::UpstreamProtocol,
            Refusal::Loop => Self::Loop,
            Refusal::Exhausted => Self::Exhausted,
            Refusal::Prohibited => Self::Prohibited,
            // Refusals that are newer than this interface among them.
            Refusal::General | _ => Self::General,
        }
    }
}

/// A refusal that the caller names.
pub(crate) fn read_refusal(number: u32) -> Result<Refusal, Status> {
    let mut all = Refusal::ALL.into_iter();
    all.find(|why| RefusalKind::from(*why) as u32 == number)
        .ok_or(Status::BadArgument)
}

fn stage(stage: Stage) -> (StageKind, RefusalKind) {
    let kind = match stage {
        Stage::Opened => StageKind::Opened,
        Stage::AuthFailed => StageKind::AuthFailed,
        Stage::Routed => StageKind::Routed,
        Stage::Refused(why) => return (StageKind::Refused, why.into()),
        Stage::Connected => StageKind::Connected,
        Stage::Closed => StageKind::Closed,
    };
    (kind, RefusalKind::None)
}

fn close_reason(reason: Option<CloseReason>) -> (CloseKind, RefusalKind) {
    let Some(reason) = reason else {
        return (CloseKind::None, RefusalKind::None);
    };
    let kind = match reason {
        CloseReason::Completed => CloseKind::Completed,
        CloseReason::ClientLeft => CloseKind::ClientLeft,
        CloseReason::ClientReset => CloseKind::ClientReset,
        CloseReason::UpstreamReset => CloseKind::UpstreamReset,
        CloseReason::HandshakeTimeout => CloseKind::HandshakeTimeout,
        CloseReason::ClientProtocol => CloseKind::ClientProtocol,
        CloseReason::AuthFailed => CloseKind::AuthFailed,
        CloseReason::PublicSource => CloseKind::PublicSource,
        CloseReason::Refused(why) => return (CloseKind::Refused, why.into()),
        CloseReason::IdleTimeout => CloseKind::IdleTimeout,
        CloseReason::Stopped => CloseKind::Stopped,
        _ => CloseKind::Other,
    };
    (kind, RefusalKind::None)
}

impl From<&record::Record> for Record {
    fn from(record: &record::Record) -> Self {
        let (closed, refusal) = close_reason(record.closed);
        Self {
            bytes_up: record.bytes_up,
            bytes_down: record.bytes_down,
            dropped: record.drops.as_deref().map_or(0, Drops::total),
            opened: record.opened.as_nanos(),
            id: record.id,
            outbound: record.outbound.map_or(NO_OUTBOUND, |id| id.0.into()),
            rule: record.rule.map_or(-1, i32::from),
            closed,
            refusal,
            finished: 0,
        }
    }
}

impl Action {
    /// An action without its datagram. `None`: a name that is no name, which no machine asks for.
    pub(crate) fn new(action: &machine::Action) -> Option<Self> {
        let mut to = Self::default();
        match action {
            machine::Action::Resolve { id, name, families } => {
                to.kind = ActionKind::Resolve;
                to.id = id.0;
                to.name = zero_ended(name.as_str())?;
                to.families = match families {
                    Families::Any => FamiliesKind::Any,
                    Families::V4 => FamiliesKind::V4,
                    Families::V6 => FamiliesKind::V6,
                };
            }
            machine::Action::Dial {
                id,
                slot,
                to: address,
                outbound,
            } => {
                to.kind = ActionKind::Dial;
                (to.id, to.slot) = (id.0, slot.0);
                to.address = (*address).into();
                to.outbound = outbound.0.into();
            }
            machine::Action::Bind {
                id,
                slot,
                local,
                outbound,
            } => {
                to.kind = ActionKind::Bind;
                (to.id, to.slot) = (id.0, slot.0);
                to.address = (*local).into();
                to.outbound = outbound.map_or(NO_OUTBOUND, |id| id.0.into());
            }
            machine::Action::Cancel(id) => {
                to.kind = ActionKind::Cancel;
                to.id = id.0;
            }
            machine::Action::Send {
                slot,
                to: address,
                data,
            } => {
                to.kind = ActionKind::Send;
                to.slot = slot.0;
                to.address = (*address).into();
                to.data_len = u32::try_from(data.len()).ok()?;
            }
            machine::Action::Close(slot, end) => {
                to.kind = ActionKind::Close;
                to.slot = slot.0;
                to.end = (*end).into();
            }
            machine::Action::Passthrough(a, b) => {
                to.kind = ActionKind::Passthrough;
                (to.slot, to.other) = (a.0, b.0);
            }
            // Plans with carriers are refused.
            machine::Action::OpenStream { .. }
            | machine::Action::Answer(_)
            | machine::Action::DatagramError { .. } => return None,
            machine::Action::Log(reached) => {
                to.kind = ActionKind::Log;
                (to.stage, to.refusal) = stage(*reached);
            }
        }
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_go_there_and_back() {
        for why in Refusal::ALL {
            let kind = RefusalKind::from(why);
            assert_ne!(kind, RefusalKind::None);
            assert_eq!(read_refusal(kind as u32), Ok(why));
        }
        for wrong in [0, 19, u32::MAX] {
            assert_eq!(read_refusal(wrong), Err(Status::BadArgument));
        }
    }
}
