//! Forwards every connection to one target, to measure the runtime without any protocol.
//!
//! `cargo run --release -p sansbox-smol --example forward_smol -- TARGET [PORT [WORKERS]]`
#![expect(clippy::print_stdout, reason = "tells where it listens")]
use sansbox_smol as runtime;

#[path = "../../runtime/tests-common/common.rs"]
mod common;
#[path = "../../runtime/tests-common/forward.rs"]
mod forward;

fn main() {
    forward::main();
}
