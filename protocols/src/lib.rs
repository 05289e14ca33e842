//! Proxy protocols as pure state machines: bytes and time in; bytes, events and deadlines out.
//!
//! One folder per protocol: `wire.rs` parses and emits and knows no state; `client.rs` and
//! `server.rs` hold the state and never index bytes.
//!
//! | module | protocol |
//! |---|---|
//! | [`http`] | HTTP/1.1 proxying (RFC 9110, RFC 9112): CONNECT both sides, forwarding on the server side |
//! | [`paniq`] | obfuscated QUIC tunnels of Bridgefall Paniq, both sides |
//! | [`socks`] | SOCKS4, SOCKS4a and SOCKS5 with UDP ASSOCIATE, both sides |

pub mod http;
pub mod paniq;
mod secret;
pub mod socks;

pub use secret::Secret;
