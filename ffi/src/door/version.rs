//! The version of the interface, and words about a status, and how many handles there are.
#![expect(unsafe_code, reason = "names that C can call")]
use crate::{
    memory::Out,
    object,
    status::{Status, guard, text_of},
};
use core::ffi::c_char;

/// Version of this interface. A program that was built with another first digit group (the number
/// divided by 1000) than `sansbox_abi_version` returns must not go on: layouts or meanings differ.
/// Within one, functions and constants are only added.
pub const ABI_VERSION: u32 = 1001;

/// Version of the library's interface; compare with `SANSBOX_ABI_VERSION`.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_abi_version() -> u32 {
    ABI_VERSION
}

/// A few words about a status, for any number. The text is constant and never freed.
#[unsafe(no_mangle)]
pub extern "C" fn sansbox_status_text(status: i32) -> *const c_char {
    text_of(status).as_ptr()
}

/// How many handles this process has not freed. For tests: a handle that is forgotten is no leak
/// that a leak checker could see, because the table still knows it. Looks at all of them.
///
/// # Safety
/// `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sansbox_handle_count(count: *mut usize) -> Status {
    guard(|| {
        // SAFETY: as the caller promises.
        let to = unsafe { Out::new(count) }?;
        to.set(object::count());
        Ok(Status::Ok)
    })
}
