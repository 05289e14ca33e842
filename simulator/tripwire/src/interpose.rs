//! The replaced functions.
#![expect(unsafe_code, reason = "replaces functions of the C library")]
use crate::Trip;
use core::{
    cell::{Cell, RefCell},
    ffi::{CStr, c_int, c_long, c_uint, c_void},
    mem::transmute,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use std::backtrace::Backtrace;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static TRIPS: RefCell<Vec<Trip>> = const { RefCell::new(Vec::new()) };
}

/// Calls of this thread are remembered from now on.
pub(crate) fn arm() {
    ARMED.set(true);
}

/// Ends it; returns what was remembered.
pub(crate) fn disarm() -> Vec<Trip> {
    ARMED.set(false);
    TRIPS.take()
}

fn trip(function: &'static str) {
    // A thread that ends has no variables left.
    let is_armed = ARMED.try_with(|armed| armed.replace(false));
    if is_armed != Ok(true) {
        return;
    }
    let stack = Backtrace::force_capture().to_string();
    TRIPS.with_borrow_mut(|trips| trips.push(Trip { function, stack }));
    ARMED.set(true);
}

/// The C library's own function, looked up once.
struct Original {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Original {
    const fn new(name: &'static CStr) -> Self {
        let found = AtomicPtr::new(ptr::null_mut());
        Self { name, found }
    }

    fn get(&self) -> *mut c_void {
        let known = self.found.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name ends in a zero byte.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        assert!(!found.is_null(), "the C library has {:?}", self.name);
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

type Getrandom = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> isize;
type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;
type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;

static GETRANDOM: Original = Original::new(c"getrandom");
static CLOCK_GETTIME: Original = Original::new(c"clock_gettime");
static SYSCALL: Original = Original::new(c"syscall");

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(bytes: *mut c_void, len: usize, flags: c_uint) -> isize {
    // Nothing is drawn by those who ask whether the call exists.
    if len > 0 {
        trip("getrandom");
    }
    // SAFETY: the C library's function has this type; the caller's arguments are passed on.
    unsafe { transmute::<*mut c_void, Getrandom>(GETRANDOM.get())(bytes, len, flags) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    trip("clock_gettime");
    // SAFETY: the C library's function has this type; the caller's arguments are passed on.
    unsafe { transmute::<*mut c_void, ClockGettime>(CLOCK_GETTIME.get())(clock, time) }
}

/// Calls without six arguments leave the last ones to chance; the kernel does not read them.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_getrandom && b > 0 {
        trip("syscall(SYS_getrandom)");
    } else if number == libc::SYS_clock_gettime {
        trip("syscall(SYS_clock_gettime)");
    }
    // SAFETY: the C library's function has this type; the caller's arguments are passed on.
    unsafe { transmute::<*mut c_void, Syscall>(SYSCALL.get())(number, a, b, c, d, e, f) }
}

/// Keeps the linker from leaving them out.
#[used]
static KEPT: (
    Getrandom,
    ClockGettime,
    unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long,
) = (getrandom, clock_gettime, syscall);
