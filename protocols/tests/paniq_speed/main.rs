//! What tunnels cost: memory, allocations, and how well they fill a path. Nothing here is timed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod floor;
mod idle;
mod net;
#[path = "../paniq_tunnel/profile.rs"]
#[allow(dead_code, reason = "shared with the tests of tunnels")]
mod profile;
mod steady;
mod windows;

#[global_allocator]
static ALLOCATOR: sansbox_heap::Counting = sansbox_heap::Counting;
