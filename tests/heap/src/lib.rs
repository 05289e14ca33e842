//! Counts what a thread takes from the heap. A test or benchmark makes [`Counting`] its allocator
//! and compares two looks at [`heap`]:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: sansbox_heap::Counting = sansbox_heap::Counting;
//!
//! let before = sansbox_heap::heap();
//! let kept = vec![0_u8; 1000];
//! let taken = sansbox_heap::heap().since(before);
//! assert_eq!((taken.allocations, taken.bytes), (1, 1000));
//! drop(kept);
//! ```
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

/// What a thread took from the heap so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// How often it asked: for memory, or for more of what it had.
    pub allocations: u64,
    /// Bytes that it took and did not give back, as they were asked for. What other threads took
    /// and this one gave back counts against it.
    pub bytes: i64,
}

impl Heap {
    /// The difference to an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations.wrapping_sub(earlier.allocations),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
        }
    }
}

/// What this thread took so far; nothing unless [`Counting`] is the program's allocator.
#[must_use]
pub fn heap() -> Heap {
    Heap {
        allocations: ALLOCATIONS.get(),
        bytes: BYTES.get(),
    }
}

/// The system's allocator, which counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// `taken` bytes came, `given` went. Nothing is counted while a thread ends.
fn count(allocations: u64, taken: usize, given: usize) {
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get().wrapping_add(allocations)));
    let change = signed(taken).wrapping_sub(signed(given));
    let _ = BYTES.try_with(|n| n.set(n.get().wrapping_add(change)));
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}
