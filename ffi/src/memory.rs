//! The caller's memory. All that reads or writes through a pointer is in this file.
#![expect(unsafe_code, reason = "the caller's memory is only known by pointers")]
use crate::status::Status;

/// The caller's bytes: `len` of them at `at`, which may be null when there are none.
///
/// # Safety
/// Unless `at` is null, `len` bytes at `at` are initialized, stay readable for `'a` and are
/// written by nobody for as long.
pub(crate) unsafe fn bytes<'a>(at: *const u8, len: usize) -> Result<&'a [u8], Status> {
    // SAFETY: the same promise, and bytes are always aligned.
    unsafe { items(at, len) }
}

/// The caller's array: `len` items at `at`, which may be null when there are none.
///
/// # Safety
/// As for [`bytes`], and the bytes there are valid items.
pub(crate) unsafe fn items<'a, T>(at: *const T, len: usize) -> Result<&'a [T], Status> {
    if len == 0 {
        return Ok(&[]);
    }
    if at.is_null() {
        return Err(Status::NullPointer);
    }
    let size = len.checked_mul(size_of::<T>());
    if !at.is_aligned() || size.is_none_or(|size| isize::try_from(size).is_err()) {
        return Err(Status::BadArgument);
    }
    // SAFETY: not null, aligned, no larger than an allocation can be, and the caller promises the
    // rest.
    Ok(unsafe { std::slice::from_raw_parts(at, len) })
}

/// One item of the caller's.
///
/// # Safety
/// Unless `at` is null, a valid item stands there and is written by nobody during the call.
pub(crate) unsafe fn item<T: Copy>(at: *const T) -> Result<T, Status> {
    // SAFETY: the same promise for one item.
    let one = unsafe { items(at, 1) }?;
    one.first().copied().ok_or(Status::NullPointer)
}

/// Where the caller wants one result.
#[derive(Debug)]
pub(crate) struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    /// A place that must be there.
    ///
    /// # Safety
    /// Unless `at` is null, a `T` may be written there for as long as this lives.
    pub(crate) unsafe fn new(at: *mut T) -> Result<Self, Status> {
        if at.is_null() {
            return Err(Status::NullPointer);
        }
        if !at.is_aligned() {
            return Err(Status::BadArgument);
        }
        Ok(Self(at))
    }

    /// Writes the result.
    pub(crate) fn set(&self, value: T) {
        // SAFETY: not null, aligned, and writable as promised to `new`.
        unsafe { self.0.write(value) }
    }
}

/// Where the caller wants bytes: room for `len` at `at`.
#[derive(Debug)]
pub(crate) struct Room {
    at: *mut u8,
    len: usize,
}

impl Room {
    /// `at` may be null when `len` is 0.
    ///
    /// # Safety
    /// Unless `at` is null, `len` bytes may be written there for as long as this lives.
    pub(crate) unsafe fn new(at: *mut u8, len: usize) -> Result<Self, Status> {
        if at.is_null() && len > 0 {
            return Err(Status::NullPointer);
        }
        if isize::try_from(len).is_err() {
            return Err(Status::BadArgument);
        }
        Ok(Self { at, len })
    }

    /// How many bytes fit.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Copies as much of `bytes` as fits behind the first `offset` bytes; returns how much.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.len.saturating_sub(offset));
        if len == 0 {
            return 0;
        }
        // SAFETY: `offset` is less than the length promised to `new`, or `len` would be 0.
        let to = unsafe { self.at.add(offset) };
        // SAFETY: `len` bytes at `to` are within the room promised to `new`. `bytes` is our own
        // memory, so the two do not overlap.
        unsafe { bytes.as_ptr().copy_to_nonoverlapping(to, len) };
        len
    }

    /// Writes text, cut at the end of a character where it does not fit, and always a final zero
    /// when there is room for anything.
    pub(crate) fn write_text(&self, text: &str) {
        let Some(most) = self.len.checked_sub(1) else {
            return;
        };
        let cut = text.floor_char_boundary(most);
        let (fits, _) = text.split_at(cut);
        let written = self.write(0, fits.as_bytes());
        self.write(written, &[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    #[test]
    fn bad_pointers_are_told_from_good_ones() {
        // SAFETY: null is allowed, and the other pointers are good.
        unsafe {
            assert_eq!(bytes(ptr::null(), 0), Ok(&[][..]));
            assert_eq!(bytes(ptr::null(), 1), Err(Status::NullPointer));
            let huge = usize::MAX / 2 + 1;
            assert_eq!(bytes([1].as_ptr(), huge), Err(Status::BadArgument));
            let words = [1_u32, 2];
            let odd = words.as_ptr().wrapping_byte_add(1);
            assert_eq!(items(odd, 1), Err(Status::BadArgument));
            assert_eq!(items(words.as_ptr(), usize::MAX), Err(Status::BadArgument));
            assert_eq!(item(words.as_ptr()), Ok(1));
            assert_eq!(item(ptr::null::<u32>()), Err(Status::NullPointer));
            assert!(Out::new(ptr::null_mut::<u32>()).is_err());
            assert!(Out::new(odd.cast_mut()).is_err());
            assert!(Room::new(ptr::null_mut(), 1).is_err());
        }
    }

    #[test]
    fn text_is_cut_between_characters_and_ends_in_zero() {
        for (len, expected) in [
            (0, &[7, 7, 7, 7, 7][..]),
            (1, &[0, 7, 7, 7, 7]),
            (3, &[b'a', 0, 7, 7, 7]),
            (5, &[b'a', 0xC3, 0xA4, b'b', 0]),
        ] {
            let mut memory = [7; 5];
            // SAFETY: `len` is at most the length of the array.
            let room = unsafe { Room::new(memory.as_mut_ptr(), len) }.unwrap();
            room.write_text("aäbc");
            assert_eq!(memory, expected, "{len}");
        }
    }
}
