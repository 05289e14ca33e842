//! What every call answers with, and where panics end.
use std::{
    ffi::CStr,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How a call ended. Negative: nothing was changed by it, except where the text says otherwise.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// Done, and there is nothing to report: no action waits, no deadline is set.
    None = 1,
    /// A pointer that must not be null is null.
    NullPointer = -1,
    /// The handle was never given out, was freed, or is of another kind.
    BadHandle = -2,
    /// A number, constant, address or length is out of range.
    BadArgument = -3,
    /// Text is not UTF-8.
    BadUtf8 = -4,
    /// The configuration has errors; they were written to the text buffer.
    BadConfig = -5,
    /// This cannot come now: the action is not waiting for an answer (it may have been cancelled,
    /// then the socket is to be closed), the slot has ended already, or more than
    /// `SANSBOX_ACTIONS_MAX` actions wait to be polled.
    BadOrder = -6,
    /// The machine has no such slot, or the slot is not of the kind that the call is for. A slot
    /// may have been closed by an action that is not polled yet.
    BadSlot = -7,
    /// `now` is before an earlier `now` of the same machine.
    BadTime = -8,
    /// The buffer is too small; the length that is needed was written.
    NoSpace = -9,
    /// Too many handles.
    Limit = -10,
    /// A bug of this library was met. The object is of no use any more and should be freed; others
    /// go on.
    Panicked = -11,
    /// The system refused sockets or threads; why was written to the text buffer.
    StartFailed = -12,
}

/// Every status.
const ALL: [Status; 14] = [
    Status::Ok,
    Status::None,
    Status::NullPointer,
    Status::BadHandle,
    Status::BadArgument,
    Status::BadUtf8,
    Status::BadConfig,
    Status::BadOrder,
    Status::BadSlot,
    Status::BadTime,
    Status::NoSpace,
    Status::Limit,
    Status::Panicked,
    Status::StartFailed,
];

impl Status {
    const fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"done",
            Self::None => c"nothing to report",
            Self::NullPointer => c"null pointer",
            Self::BadHandle => c"no such handle",
            Self::BadArgument => c"argument out of range",
            Self::BadUtf8 => c"not UTF-8",
            Self::BadConfig => c"bad configuration",
            Self::BadOrder => c"cannot come now",
            Self::BadSlot => c"no such slot",
            Self::BadTime => c"time went backwards",
            Self::NoSpace => c"buffer too small",
            Self::Limit => c"too many handles",
            Self::Panicked => c"internal error",
            Self::StartFailed => c"cannot start",
        }
    }
}

/// A few words about a status number, whatever it is.
pub(crate) fn text_of(status: i32) -> &'static CStr {
    let found = ALL.iter().find(|known| **known as i32 == status);
    found.map_or(c"unknown status", |known| known.text())
}

/// Runs what a call does; a panic ends here. Where panics abort, they end the process instead and
/// do not cross either.
pub(crate) fn guard(call: impl FnOnce() -> Result<Status, Status>) -> Status {
    // What a panic leaves half done is behind a lock, which it poisons.
    let result = catch_unwind(AssertUnwindSafe(call));
    match result {
        Ok(Ok(status) | Err(status)) => status,
        Err(payload) => {
            // A payload whose destructor panics must not get out either.
            std::mem::forget(payload);
            Status::Panicked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_words_of_its_own() {
        for status in ALL {
            let same = ALL.iter().filter(|other| other.text() == status.text());
            assert_eq!(same.count(), 1, "{status:?}");
            assert_eq!(text_of(status as i32), status.text());
        }
        assert_eq!(text_of(77), c"unknown status");
    }

    #[test]
    fn a_panic_becomes_a_status() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let status = guard(|| panic!("on purpose"));
        std::panic::set_hook(quiet);
        assert_eq!(status, Status::Panicked);
        assert_eq!(guard(|| Err(Status::BadSlot)), Status::BadSlot);
    }
}
