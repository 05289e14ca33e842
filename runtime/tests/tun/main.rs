//! TUN devices in network namespaces that the tests make, which takes root and `/dev/net/tun`.
#![cfg(target_os = "linux")]
#![expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
#![expect(
    clippy::print_stdout,
    reason = "a process says to another that it is ready"
)]
mod device;
#[path = "../../tests-common/isolated.rs"]
mod isolated;
mod namespace;
mod routes;
