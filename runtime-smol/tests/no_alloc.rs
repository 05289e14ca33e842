//! No allocation in a steady relay. By itself, because it counts for the process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use sansbox_smol as runtime;

/// The reactor of smol allocates: a list of whom to wake, each time there is somebody.
const EXECUTOR_IS_COUNTED: bool = false;

#[path = "../../runtime/tests-common/common.rs"]
mod common;
#[path = "../../runtime/tests-common/no_alloc.rs"]
mod no_alloc;
