//! The preamble: junk, signatures and one Initiation, answered by one Response
//! (`docs/protocols/paniq.md`, Preamble).
//!
//! | part | holds |
//! |---|---|
//! | [`Client`] | sends preambles until one is answered |
//! | [`Server`] | judges preambles of every source, keeps the tunnels that came of them |
//! | [`Rules`] | where a server decides otherwise than the Go programs |
mod client;
mod initiation;
mod limiter;
mod outcome;
mod replay;
mod rules;
mod server;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use client::{
    ATTEMPTS_DEFAULT, Client, ClientConfig, ClientError, ClientEvent, Heard, SourcePort,
    TIMEOUT_DEFAULT,
};
pub use initiation::ClientAuth;
pub use limiter::RateLimit;
pub use outcome::{Dropped, Taken, UnknownPeer};
pub use replay::legacy_key;
pub use rules::{Memory, Rules, Sequence, ServerConfig, Window};
pub use server::Server;
