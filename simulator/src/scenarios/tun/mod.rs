//! Machines whose packets go into a TUN device, which a daemon serves by the engine's own loop.
//!
//! ```text
//!   machine ── device queue ── daemon ── the world: origins, a SOCKS server, a paniq server
//!   smoltcp                    tun in, any outbound
//! ```
pub(super) mod datagrams;
pub(super) mod ends;
pub(super) mod errors;
pub(super) mod junk;
mod lab;
pub(super) mod relay;
