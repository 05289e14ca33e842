//! A whole proxy on threads of its own: listeners, dials, names and timers are the library's.
#![expect(unsafe_code, reason = "names that C can call, and its pointers")]
use crate::{
    instance::Instance,
    memory::{Out, Room, bytes},
    object::{self, Object},
    status::{Status, guard},
    types::{Bound, Stats},
};
use core::ffi::c_char;
use sansbox_tokio::DeviceFile;
use std::{sync::Arc, time::Duration};

/// Starts the proxy that `json_len` bytes of sing-box JSON at `json` describe, and returns once it
/// serves. `*instance` gets the handle, `text` what is wrong or should be changed, as for
/// `sansbox_plan_new`.
///
/// The threads block all signals. Nothing of the process is changed: no signal handler, no limit,
/// no working directory. `log.output` is refused: lines are handed out by `sansbox_log`. Not to be
/// used on both sides of a `fork`.
///
/// # Safety
/// `json` is readable for `json_len` bytes, `text` writable for `text_len`, `instance` writable;
/// none overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_start(
    json: *const c_char,
    json_len: usize,
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
        begin(json, Vec::new(), &text, &to)
    })
}

/// Starts it, with devices that are open already.
pub(super) fn begin(
    json: &[u8],
    devices: Vec<DeviceFile>,
    text: &Room,
    to: &Out<u64>,
) -> Result<Status, Status> {
    match Instance::start(json, devices) {
        Ok((instance, warnings)) => {
            text.write_text(&warnings);
            to.set(object::insert(Object::Instance(Arc::new(instance)))?);
            Ok(Status::Ok)
        }
        Err((status, errors)) => {
            text.write_text(&errors);
            Err(status)
        }
    }
}

/// Closes the listeners, lets connections go on for `grace_ms` milliseconds, tells the rest to
/// stop, and cuts what is left after `deadline_ms` more. Waits for all of that. The handle is bad
/// as soon as this begins. `stats` gets the last totals; it may be null.
///
/// # Safety
/// `stats` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_stop(
    instance: u64,
    grace_ms: u32,
    deadline_ms: u32,
    stats: *mut Stats,
) -> Status {
    guard(|| {
        let to = if stats.is_null() {
            None
        } else {
            // SAFETY: as the caller promises.
            Some(unsafe { Out::new(stats) }?)
        };
        let instance = object::take_instance(instance)?;
        let [grace, deadline] = [grace_ms, deadline_ms].map(u64::from);
        let last = instance.stop(
            Duration::from_millis(grace),
            Duration::from_millis(deadline),
        )?;
        if let Some(to) = to {
            to.set(last);
        }
        Ok(Status::Ok)
    })
}

/// Totals so far.
///
/// # Safety
/// `stats` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_stats(instance: u64, stats: *mut Stats) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(stats) }?;
        to.set(object::instance(instance)?.stats()?);
        Ok(Status::Ok)
    })
}

/// The address of the listener with number `index`, from 0; SANSBOX_STATUS_NONE behind the last.
///
/// # Safety
/// `bound` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_bound(instance: u64, index: u32, bound: *mut Bound) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(bound) }?;
        to.set(object::instance(instance)?.bound(index)?);
        Ok(Status::Ok)
    })
}

/// Takes the oldest log line, ending in a zero; SANSBOX_STATUS_NONE when there is none. `*len` gets
/// its length without the zero. When it does not fit it stays, and the status is
/// SANSBOX_STATUS_NO_SPACE. The last 1024 lines are kept, of the levels that `log.level` names;
/// with `log.timestamp` each begins with seconds since 1970.
///
/// # Safety
/// `text` is writable for `text_len` bytes, `len` is writable; they do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_log(
    instance: u64,
    text: *mut c_char,
    text_len: usize,
    len: *mut usize,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let room = unsafe { Room::new(text.cast(), text_len) }?;
        // SAFETY: as the caller promises.
        let len = unsafe { Out::new(len) }?;
        let instance = object::instance(instance)?;
        let taken = instance.lines().take(|line| {
            len.set(line.len());
            if line.len() >= room.len() {
                return (Status::NoSpace, false);
            }
            room.write_text(line);
            (Status::Ok, true)
        });
        Ok(taken.unwrap_or(Status::None))
    })
}
