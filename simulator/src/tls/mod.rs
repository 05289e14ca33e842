//! TLS over the world's TCP: rustls as hosts, with the hooks of [`crate::quic::deterministic`].
mod host;
mod link;

pub use host::{Dial, TlsHost};
