//! TUN devices in network namespaces that the tests make, which takes root and `/dev/net/tun`.
#![cfg(target_os = "linux")]
mod device;
mod namespace;
mod routes;
