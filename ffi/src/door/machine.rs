//! Machines: one for each accepted connection, or for each client of a UDP listener. Made, asked
//! what they want, and freed; `feed` tells them what happened.
#![expect(unsafe_code, reason = "names that C can call, and its pointers")]
use crate::{
    driven::{Driven, Kind},
    memory::{Out, Room, bytes, item},
    object::{self, Object, with_machine},
    plan,
    status::{Status, guard},
    types::{Action, Address, EndKind, Record},
};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Association, Peer, Plan, Session, config::model::Networks, ids::InboundId, machine,
};
use std::sync::{Arc, Mutex};

/// Bytes of a seed.
pub const SEED_SIZE: usize = 32;

/// What both kinds of machines are made from.
struct Birth {
    plan: Arc<Plan>,
    inbound: InboundId,
    peer: Peer,
    seed: Seed,
    now: Instant,
}

/// # Safety
/// `remote` and `local` are null or readable, `seed` is null or readable for [`SEED_SIZE`] bytes.
unsafe fn birth(
    plan: u64,
    inbound: u32,
    (remote, local): (*const Address, *const Address),
    seed: *const u8,
    now: u64,
) -> Result<Birth, Status> {
    let plan = object::plan(plan)?;
    // SAFETY: as the caller promises.
    let remote = unsafe { item(remote) }?;
    // SAFETY: as the caller promises.
    let local = unsafe { item(local) }?;
    // SAFETY: as the caller promises.
    let bytes = unsafe { bytes(seed, SEED_SIZE) }?;
    let seed = <[u8; SEED_SIZE]>::try_from(bytes).map_err(|_| Status::BadArgument)?;
    let peer = Peer {
        remote: remote.read()?,
        local: local.read()?,
    };
    Ok(Birth {
        inbound: plan::inbound_id(&plan, inbound)?,
        plan,
        peer,
        seed: Seed::new(seed),
        now: Instant::from_nanos(now),
    })
}

impl Birth {
    fn listens(&self, wants: impl Fn(Networks) -> bool) -> Result<(), Status> {
        let networks = self.plan.inbound(self.inbound).listeners();
        wants(networks).then_some(()).ok_or(Status::BadArgument)
    }
}

fn insert(kind: Kind, now: Instant) -> Result<u64, Status> {
    let driven = Driven::new(kind, now);
    object::insert(Object::Machine(Arc::new(Mutex::new(driven))))
}

/// A machine for a connection that TCP inbound `inbound` accepted from `remote` on `local`. The
/// connection is slot 0.
///
/// `seed` points to SANSBOX_SEED_SIZE random bytes of its own: the same seed and inputs give the
/// same outputs, and secrets may depend on it. `now` is nanoseconds on a clock that never goes
/// back, and counts from wherever the caller likes.
///
/// # Safety
/// `remote` and `local` are readable, `seed` is readable for SANSBOX_SEED_SIZE bytes, `machine` is
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_session_new(
    plan: u64,
    inbound: u32,
    remote: *const Address,
    local: *const Address,
    seed: *const u8,
    now: u64,
    machine: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(machine) }?;
        // SAFETY: as the caller promises.
        let birth = unsafe { birth(plan, inbound, (remote, local), seed, now) }?;
        birth.listens(|networks| networks.tcp)?;
        let now = birth.now;
        let session = Session::new(birth.plan, birth.inbound, birth.peer, birth.seed, now);
        to.set(insert(Kind::Session(Box::new(session)), now)?);
        Ok(Status::Ok)
    })
}

/// A machine for the client `remote` of UDP inbound `inbound`. The listening socket is slot 0;
/// hand this client's datagrams to `sansbox_machine_datagram`, the first one included.
///
/// # Safety
/// As for `sansbox_session_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_association_new(
    plan: u64,
    inbound: u32,
    remote: *const Address,
    local: *const Address,
    seed: *const u8,
    now: u64,
    machine: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(machine) }?;
        // SAFETY: as the caller promises.
        let birth = unsafe { birth(plan, inbound, (remote, local), seed, now) }?;
        birth.listens(|networks| networks.udp)?;
        let now = birth.now;
        let made = Association::new(birth.plan, birth.inbound, birth.peer, birth.seed, now);
        to.set(insert(Kind::Association(Box::new(made)), now)?);
        Ok(Status::Ok)
    })
}

/// Frees a machine, finished or not. Its sockets are the caller's to close.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_free(machine: u64) -> Status {
    guard(|| object::free_machine(machine))
}

/// The next thing to do, in order; SANSBOX_STATUS_NONE when there is nothing. Call it after every
/// input until it returns that.
///
/// `data` gets the datagram of a SANSBOX_ACTION_KIND_SEND. When `data_len` is too small for it,
/// the status is SANSBOX_STATUS_NO_SPACE, `action->data_len` says what is needed, and the action
/// stays. SANSBOX_DATAGRAM_LEN_MAX bytes are always enough; null and 0 are for machines that send
/// no datagrams.
///
/// # Safety
/// `action` is writable, `data` is writable for `data_len` bytes; they do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_poll_action(
    machine: u64,
    action: *mut Action,
    data: *mut u8,
    data_len: usize,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(action) }?;
        // SAFETY: as the caller promises.
        let room = unsafe { Room::new(data, data_len) }?;
        with_machine(machine, |driven| {
            let Some(next) = driven.next_action() else {
                return Ok(Status::None);
            };
            to.set(Action::new(next).ok_or(Status::Panicked)?);
            if let machine::Action::Send { data, .. } = next {
                if data.len() > room.len() {
                    return Err(Status::NoSpace);
                }
                room.write(0, data);
            }
            driven.take_action();
            Ok(Status::Ok)
        })
    })
}

/// How many bytes stream `slot` may receive now. Do not read from the socket while it is 0.
///
/// # Safety
/// `room` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_room(machine: u64, slot: u32, room: *mut usize) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(room) }?;
        to.set(with_machine(machine, |driven| driven.room(slot))?);
        Ok(Status::Ok)
    })
}

/// Copies up to `data_len` bytes of what waits to be sent on stream `slot`. They stay until
/// `sansbox_machine_drained`. `*len` gets how many were copied, `*waiting` how many wait. `*end`
/// gets SANSBOX_END_FIN when nothing will follow them: once all are sent, shut down the
/// socket for writing.
///
/// # Safety
/// `data` is writable for `data_len` bytes, the others are writable; none overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_peek(
    machine: u64,
    slot: u32,
    data: *mut u8,
    data_len: usize,
    len: *mut usize,
    waiting: *mut usize,
    end: *mut EndKind,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let room = unsafe { Room::new(data, data_len) }?;
        // SAFETY: as the caller promises.
        let len = unsafe { Out::new(len) }?;
        // SAFETY: as the caller promises.
        let waiting = unsafe { Out::new(waiting) }?;
        // SAFETY: as the caller promises.
        let end = unsafe { Out::new(end) }?;
        let (mut copied, mut all) = (0, 0);
        let found = with_machine(machine, |driven| {
            driven.peek(slot, |segment| {
                // What did not fit has filled the room, so that nothing is left out in between.
                copied += room.write(copied, segment);
                all += segment.len();
            })
        })?;
        len.set(copied);
        waiting.set(all);
        end.set(found.into());
        Ok(Status::Ok)
    })
}

/// When to call `sansbox_machine_tick` next, on the clock of `now`; SANSBOX_STATUS_NONE when no
/// deadline is set. Ask again after every input.
///
/// # Safety
/// `at` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_deadline(machine: u64, at: *mut u64) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(at) }?;
        match with_machine(machine, |driven| Ok(driven.deadline()))? {
            Some(deadline) => {
                to.set(deadline.as_nanos());
                Ok(Status::Ok)
            }
            None => Ok(Status::None),
        }
    })
}

/// What is known of a machine, and whether it is finished.
///
/// # Safety
/// `record` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_record(machine: u64, record: *mut Record) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(record) }?;
        to.set(with_machine(machine, |driven| {
            let finished = u32::from(driven.is_finished());
            Ok(Record {
                finished,
                ..driven.record().into()
            })
        })?);
        Ok(Status::Ok)
    })
}
