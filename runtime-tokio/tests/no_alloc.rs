//! No allocation in a steady relay. By itself, because it counts for the process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use sansbox_tokio as runtime;

/// tokio allocates nothing in its steady state either.
const EXECUTOR_IS_COUNTED: bool = true;

#[path = "../../runtime/tests-common/common.rs"]
mod common;
#[path = "../../runtime/tests-common/no_alloc.rs"]
mod no_alloc;
