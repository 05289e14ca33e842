//! paniq between personas: what each of them does to the other, and what ours does instead.
//!
//! `sNN_` are the scenarios of `spec/paniq.md` section 11: each shows how the faulty side fails,
//! and that ours does not in the same world.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod codecs;
mod defects;
mod help;
mod matrix;
mod old_rust;
mod old_streams;
mod ours;
mod pictures;
mod weather;
