//! What every runtime must do, done by this one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use sansbox_smol as runtime;

#[path = "../../runtime/tests-common/carried.rs"]
mod carried;
#[path = "../../runtime/tests-common/common.rs"]
mod common;
#[path = "../../runtime/tests-common/embed.rs"]
mod embed;
#[path = "../../runtime/tests-common/isolated.rs"]
mod isolated;
#[path = "../../runtime/tests-common/plan.rs"]
mod plan;
#[path = "../../runtime/tests-common/relay.rs"]
mod relay;
#[path = "../../runtime/tests-common/tun.rs"]
mod tun;
#[path = "../../runtime/tests-common/tun_kernel.rs"]
mod tun_kernel;
#[path = "../../runtime/tests-common/udp.rs"]
mod udp;
#[path = "../../runtime/tests-common/wire.rs"]
mod wire;
