//! TUN devices that a program has open.
#![expect(
    unsafe_code,
    reason = "names that C can call, and its pointers and files"
)]
use crate::{
    door::instance::begin,
    memory::{Out, Room, bytes, item, items},
    object,
    status::{Status, guard},
    types::{Device, DeviceSettings},
};
use core::ffi::{c_char, c_int};
use sansbox_engine::ids::InboundId;
use sansbox_tokio::DeviceFile;
use std::os::fd::{BorrowedFd, OwnedFd};

/// As `sansbox_start`, with `devices_len` TUN devices at `devices` for as many tun inbounds; the
/// library opens those of other tun inbounds itself, which needs rights. One of these needs none:
/// nothing is named, addressed or routed.
///
/// The descriptors stay the caller's: the library makes duplicates, and closes those when it
/// stops, or when it does not start. Close yours whenever you like; a device is gone when all are
/// closed. `O_NONBLOCK` is set, which duplicates share. A socket of type `SOCK_SEQPACKET` or
/// `SOCK_DGRAM` will do for a device.
///
/// SANSBOX_STATUS_BAD_ARGUMENT: a descriptor is not open, an index or a number is out of range.
/// SANSBOX_STATUS_START_FAILED: a device is not possible for its inbound; the text says why. When
/// the other end of a socket is closed later, its connections end, a log line says so, and the rest
/// goes on; stop when the system says that it takes a device away.
///
/// # Safety
/// As for `sansbox_start`; `devices` is readable for `devices_len` items.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_start_with_devices(
    json: *const c_char,
    json_len: usize,
    devices: *const Device,
    devices_len: usize,
    text: *mut c_char,
    text_len: usize,
    instance: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(instance) }?;
        // SAFETY: as the caller promises.
        let text = unsafe { Room::new(text.cast(), text_len) }?;
        // SAFETY: as the caller promises.
        let json = unsafe { bytes(json.cast(), json_len) }?;
        // SAFETY: as the caller promises.
        let devices = unsafe { items(devices, devices_len) }?;
        let files: Result<_, _> = devices.iter().map(duplicate).collect();
        begin(json, files?, &text, &to)
    })
}

/// How the device of the tun inbound with number `inbound` is served;
/// SANSBOX_STATUS_BAD_ARGUMENT when that is none.
///
/// # Safety
/// `settings` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_device(
    instance: u64,
    inbound: u32,
    settings: *mut DeviceSettings,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(settings) }?;
        to.set(object::instance(instance)?.device(number(inbound)?)?);
        Ok(Status::Ok)
    })
}

/// Serves the device of the tun inbound with number `inbound` in another way, a moment later.
/// Connections go on. SANSBOX_STATUS_BAD_ARGUMENT when it is none, or for settings that cannot be.
///
/// # Safety
/// `settings` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_set_device(
    instance: u64,
    inbound: u32,
    settings: *const DeviceSettings,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let settings = unsafe { item(settings) }?;
        object::instance(instance)?.set_device(number(inbound)?, settings)?;
        Ok(Status::Ok)
    })
}

fn number(inbound: u32) -> Result<InboundId, Status> {
    let number = u16::try_from(inbound).map_err(|_| Status::BadArgument)?;
    Ok(InboundId(number))
}

/// A device with a descriptor of our own.
fn duplicate(device: &Device) -> Result<DeviceFile, Status> {
    if device.reserved != 0 || device.has_header > 1 {
        return Err(Status::BadArgument);
    }
    Ok(DeviceFile {
        inbound: number(device.inbound)?,
        file: owned(device.fd)?,
        mtu: device.mtu,
        has_header: device.has_header == 1,
    })
}

fn owned(fd: c_int) -> Result<OwnedFd, Status> {
    if fd < 0 {
        return Err(Status::BadArgument);
    }
    // SAFETY: it is not -1. Should it not be open, all that is done with it is to ask the system
    // for a duplicate, which then fails; the caller's descriptor is never closed or written.
    let file = unsafe { BorrowedFd::borrow_raw(fd) };
    file.try_clone_to_owned().map_err(|_| Status::BadArgument)
}
