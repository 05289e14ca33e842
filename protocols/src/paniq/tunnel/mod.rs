//! The tunnel itself: QUIC inside envelopes, behind a preamble, and one target for each stream
//! (`docs/protocols/paniq.md`, QUIC and TLS, Streams).
//!
//! | part | holds |
//! |---|---|
//! | [`Client`] | a carrier to one server: streams to targets, over one connection at a time |
//! | [`Server`] | all tunnels of one socket, and what their streams ask for |
//! | [`ClientConfig::from_profile`], [`ServerConfig::from_profile`] | what both need to know |
//! | [`certificate_key`] | the key of a server's certificate, which clients may pin |
//! | [`Settings`] | what QUIC and TLS are told |
//!
//! Owners call `poll_event`, `exchange` for each stream that has something to do, and
//! `poll_transmit`, until none of them has more; then they wait for a datagram or `poll_timeout`.
//! Nothing is said of ECN, in either direction: the Go programs have none.
mod batch;
mod client;
mod early;
mod pin;
mod profile;
mod server;
mod settings;

use std::time::Duration;

/// How long QUIC's handshake may take, as with the Go programs.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub use client::{Client, ClientConfig, Event as ClientEvent, Failure, Path, Stream};
pub use pin::certificate_key;
pub use profile::{DIAL_TIMEOUT_DEFAULT, WAITING_MAX_DEFAULT};
pub use sansbox_quic::{Identity, Outgoing, Pin};
pub use server::{Event as ServerEvent, Limits, Server, ServerConfig, Stream as ServerStream};
pub use settings::{
    ALPN, IDLE_TIMEOUT_DEFAULT, KEEPALIVE_DEFAULT, STREAMS_MAX_DEFAULT, Settings, SettingsError,
};
