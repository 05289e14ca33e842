//! What happened, told to a machine. After each call, poll its actions until there are none,
//! write what its slots have to send, and ask for its deadline.
#![expect(unsafe_code, reason = "names that C can call, and its pointers")]
use crate::{
    convert::{read_end, read_refusal},
    driven::ADDRESSES_MAX,
    memory::{Out, bytes, item, items},
    object::with_machine,
    status::{Status, guard},
    types::Address,
};
use core::net::SocketAddr;

/// The time is `now`; a deadline may have come. Harmless when none has.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_tick(machine: u64, now: u64) -> Status {
    guard(|| with_machine(machine, |driven| driven.tick(now)))
}

/// Somebody wants the machine to end: it resets what is open.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_stop(machine: u64, now: u64) -> Status {
    guard(|| with_machine(machine, |driven| driven.stop(now)))
}

/// `len` bytes came in on stream `slot`. The machine copies as many as it has room for and writes
/// that number to `*taken`; the caller keeps the rest for later.
///
/// # Safety
/// `data` is readable for `len` bytes, `taken` is writable; they do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_received(
    machine: u64,
    now: u64,
    slot: u32,
    data: *const u8,
    len: usize,
    taken: *mut usize,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(taken) }?;
        // SAFETY: as the caller promises.
        let data = unsafe { bytes(data, len) }?;
        to.set(with_machine(machine, |driven| {
            driven.received(now, slot, data)
        })?);
        Ok(Status::Ok)
    })
}

/// The socket of stream `slot` took the first `len` of the bytes that wait to be sent.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_drained(machine: u64, now: u64, slot: u32, len: usize) -> Status {
    guard(|| with_machine(machine, |driven| driven.drained(now, slot, len)))
}

/// The peer of stream `slot` ended its direction: SANSBOX_END_FIN behind the last byte, or
/// SANSBOX_END_RESET when the socket is dead both ways. A failed read or write is a reset.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_ended(machine: u64, now: u64, slot: u32, end: u32) -> Status {
    guard(|| {
        let end = read_end(end)?;
        with_machine(machine, |driven| driven.ended(now, slot, end))
    })
}

/// A datagram of at most SANSBOX_DATAGRAM_LEN_MAX bytes came in on UDP `slot`.
///
/// # Safety
/// `from` is readable, `data` is readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_datagram(
    machine: u64,
    now: u64,
    slot: u32,
    from: *const Address,
    data: *const u8,
    len: usize,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let from = unsafe { item(from) }?.read()?;
        // SAFETY: as the caller promises.
        let data = unsafe { bytes(data, len) }?;
        with_machine(machine, |driven| driven.datagram(now, slot, from, data))
    })
}

/// A SANSBOX_ACTION_KIND_RESOLVE found these addresses: at least one and at most
/// SANSBOX_ADDRESSES_MAX, in the resolver's order. Their ports are not looked at.
///
/// # Safety
/// `addresses` is readable for `count` addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_resolved(
    machine: u64,
    now: u64,
    id: u32,
    addresses: *const Address,
    count: usize,
) -> Status {
    guard(|| {
        if count == 0 || count > ADDRESSES_MAX {
            return Err(Status::BadArgument);
        }
        // SAFETY: as the caller promises.
        let addresses = unsafe { items(addresses, count) }?;
        let addresses = addresses.iter();
        let addresses: Result<Vec<_>, _> = addresses
            .map(|address| address.read().map(|address| address.ip()))
            .collect();
        let addresses = addresses?;
        with_machine(machine, |driven| driven.resolved(now, id, &addresses))
    })
}

/// A SANSBOX_ACTION_KIND_DIAL is connected, or a SANSBOX_ACTION_KIND_BIND bound: the slot lives.
/// `local` is the socket's own address.
///
/// # Safety
/// `local` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_machine_connected(
    machine: u64,
    now: u64,
    id: u32,
    local: *const Address,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let local: SocketAddr = unsafe { item(local) }?.read()?;
        with_machine(machine, |driven| driven.connected(now, id, local))
    })
}

/// A lookup, dial or bind failed; `why` is one of SANSBOX_REFUSAL_*.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_failed(machine: u64, now: u64, id: u32, why: u32) -> Status {
    guard(|| {
        let why = read_refusal(why)?;
        with_machine(machine, |driven| driven.failed(now, id, why))
    })
}

/// In passthrough, the caller moved `bytes` more bytes that came from `slot`. To be told at the
/// latest before a tick and before an end of that slot.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_machine_relayed(machine: u64, now: u64, slot: u32, bytes: u64) -> Status {
    guard(|| with_machine(machine, |driven| driven.relayed(now, slot, bytes)))
}
