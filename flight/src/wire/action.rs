//! Actions as bytes, to be hashed: one way only, and the same in every build and on every target.
use super::{
    put_bytes, put_end, put_number, put_refusal, put_socket_addr, put_target, undelivered,
};
use bytes::BufMut as _;
use core::net::SocketAddr;
use sansbox_core::Refusal;
use sansbox_engine::{
    ids::{ActionId, OutboundId, Slot},
    machine::{Action, Families, Stage, Wanted},
};

/// Appends what stands for an action.
pub fn put_action(out: &mut Vec<u8>, action: &Action) {
    match action {
        Action::Resolve { id, name, families } => {
            out.put_u8(1);
            put_id(out, *id);
            put_bytes(out, name.as_str().as_bytes());
            put_families(out, *families);
        }
        Action::Dial {
            id,
            slot,
            to,
            outbound,
        } => {
            out.put_u8(2);
            put_names(out, *id, *slot);
            put_socket_addr(out, *to);
            put_outbound(out, Some(*outbound));
        }
        Action::Bind {
            id,
            slot,
            local,
            outbound,
        } => {
            out.put_u8(3);
            put_names(out, *id, *slot);
            put_socket_addr(out, *local);
            put_outbound(out, *outbound);
        }
        Action::Cancel(id) => {
            out.put_u8(4);
            put_id(out, *id);
        }
        Action::Send { slot, to, data } => {
            out.put_u8(5);
            put_slot(out, *slot);
            put_socket_addr(out, *to);
            put_bytes(out, data);
        }
        Action::Close(slot, end) => {
            out.put_u8(6);
            put_slot(out, *slot);
            put_end(out, *end);
        }
        Action::Passthrough(a, b) => {
            out.put_u8(7);
            put_slot(out, *a);
            put_slot(out, *b);
        }
        Action::Log(stage) => {
            out.put_u8(8);
            put_stage(out, *stage);
        }
        Action::OpenStream {
            id,
            slot,
            outbound,
            wanted,
        } => {
            put_open_stream(out, (*id, *slot), *outbound, wanted);
        }
        Action::Answer(answer) => {
            out.put_u8(10);
            put_answer(out, answer);
        }
        Action::DatagramError { to, error } => {
            out.put_u8(12);
            undelivered::put(out, (*to, *error));
        }
    }
}

fn put_open_stream(
    out: &mut Vec<u8>,
    (id, slot): (ActionId, Slot),
    outbound: OutboundId,
    wanted: &Wanted,
) {
    out.put_u8(match wanted {
        Wanted::Connection(_) => 9,
        Wanted::Datagrams => 11,
    });
    put_names(out, id, slot);
    put_outbound(out, Some(outbound));
    if let Wanted::Connection(target) = wanted {
        put_target(out, target);
    }
}

fn put_id(out: &mut Vec<u8>, id: ActionId) {
    put_number(out, id.0.into());
}

fn put_names(out: &mut Vec<u8>, id: ActionId, slot: Slot) {
    put_id(out, id);
    put_slot(out, slot);
}

fn put_slot(out: &mut Vec<u8>, slot: Slot) {
    put_number(out, slot.0.into());
}

fn put_outbound(out: &mut Vec<u8>, outbound: Option<OutboundId>) {
    put_number(out, outbound.map_or(0, |id| u64::from(id.0) + 1));
}

fn put_answer(out: &mut Vec<u8>, answer: &Result<SocketAddr, Refusal>) {
    match answer {
        Ok(bound) => {
            out.put_u8(0);
            put_socket_addr(out, *bound);
        }
        Err(why) => {
            out.put_u8(1);
            put_refusal(out, *why);
        }
    }
}

pub(super) fn put_families(out: &mut Vec<u8>, families: Families) {
    out.put_u8(match families {
        Families::Any => 0,
        Families::V4 => 4,
        Families::V6 => 6,
    });
}

fn put_stage(out: &mut Vec<u8>, stage: Stage) {
    match stage {
        Stage::Opened => out.put_u8(0),
        Stage::AuthFailed => out.put_u8(1),
        Stage::Routed => out.put_u8(2),
        Stage::Refused(why) => {
            out.put_u8(3);
            put_refusal(out, why);
        }
        Stage::Connected => out.put_u8(4),
        Stage::Closed => out.put_u8(5),
    }
}
