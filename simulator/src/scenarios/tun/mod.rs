//! Machines whose packets go into a TUN device, which a daemon serves by the engine's own loop.
//!
//! ```text
//!   machine ── device queue ── daemon ── the world: origins, a SOCKS server, a paniq server
//!   smoltcp                    tun in, any outbound
//! ```
mod lab;
pub(super) mod datagrams;
pub(super) mod ends;
pub(super) mod junk;
pub(super) mod relay;
