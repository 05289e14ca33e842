//! paniq between personas: what each of them does to the other, and what ours does instead.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod ours;
