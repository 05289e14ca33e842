//! Plans: what a configuration decides, compiled once.
#![expect(unsafe_code, reason = "names that C can call, and its pointers")]
use crate::{
    memory::{Out, Room, bytes},
    object::{self, Object},
    plan,
    status::{Status, guard},
    types::{Inbound, Outbound},
};
use core::ffi::c_char;
use std::sync::Arc;

/// Reads `json_len` bytes of sing-box JSON at `json` and compiles them. `*plan` gets the handle.
/// `log` and `sansbox` of the configuration concern a process and are not part of a plan. Files that
/// it names (`profile_path`) are read now, relative to the working directory.
///
/// `text` gets, ending in a zero and cut to `text_len` bytes, what is wrong with the configuration
/// (SANSBOX_STATUS_BAD_CONFIG, SANSBOX_STATUS_BAD_UTF8) or what should be changed in it; it may be
/// null when `text_len` is 0. Machines keep their plan, so it can be freed before them.
///
/// # Safety
/// `json` is readable for `json_len` bytes, `text` writable for `text_len`, `plan` writable; none
/// overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_plan_new(
    json: *const c_char,
    json_len: usize,
    text: *mut c_char,
    text_len: usize,
    plan: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises for `plan`.
        let to = unsafe { Out::new(plan) }?;
        // SAFETY: as the caller promises for `text`.
        let text = unsafe { Room::new(text.cast(), text_len) }?;
        // SAFETY: as the caller promises for `json`.
        let json = unsafe { bytes(json.cast(), json_len) }?;
        match plan::build(json) {
            Ok((_, plan, warnings)) => {
                text.write_text(&warnings);
                to.set(object::insert(Object::Plan(Arc::new(plan)))?);
                Ok(Status::Ok)
            }
            Err((status, errors)) => {
                text.write_text(&errors);
                Err(status)
            }
        }
    })
}

/// Frees a plan's handle. Machines that were made with it go on.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_plan_free(plan: u64) -> Status {
    guard(|| object::free_plan(plan))
}

/// How many inbounds and outbounds a plan has. Their numbers begin at 0.
///
/// # Safety
/// `inbounds` and `outbounds` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_plan_counts(
    plan: u64,
    inbounds: *mut u32,
    outbounds: *mut u32,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let inbounds = unsafe { Out::new(inbounds) }?;
        // SAFETY: as the caller promises.
        let outbounds = unsafe { Out::new(outbounds) }?;
        let plan = object::plan(plan)?;
        // A plan has at most 65,535 of each.
        inbounds.set(plan.inbounds().len() as u32);
        outbounds.set(plan.outbounds().len() as u32);
        Ok(Status::Ok)
    })
}

/// Where and how an inbound listens.
///
/// # Safety
/// `inbound` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_plan_inbound(
    plan: u64,
    index: u32,
    inbound: *mut Inbound,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(inbound) }?;
        to.set(plan::inbound(&*object::plan(plan)?, index)?);
        Ok(Status::Ok)
    })
}

/// How the sockets of an outbound are to be opened. A loop that cannot do what stands there
/// answers a dial with `sansbox_machine_failed` rather than leave it out.
///
/// # Safety
/// `outbound` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_plan_outbound(
    plan: u64,
    index: u32,
    outbound: *mut Outbound,
) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(outbound) }?;
        to.set(plan::outbound(&*object::plan(plan)?, index)?);
        Ok(Status::Ok)
    })
}
