//! What happens without files. By itself, because the limit is the process's.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use sansbox_tokio as runtime;

#[path = "../../runtime/tests-common/common.rs"]
mod common;
#[path = "../../runtime/tests-common/exhaustion.rs"]
mod exhaustion;
