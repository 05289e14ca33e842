//! HTTP/1.1 proxying: the proxy itself ([`Server`]) and a client that asks another proxy for a
//! tunnel ([`Client`]).
//!
//! | module | holds |
//! |---|---|
//! | [`wire`] | message heads, body framing, chunked coding, Basic credentials; no state of a connection |
//! | [`server`] | [`Server`]: CONNECT, absolute-form requests, keep-alive, pipelining, Upgrade |
//! | [`client`] | [`Client`]: CONNECT through another proxy |
//! | [`refusal`] | statuses and the text that tells a person what failed |
//!
//! # Decisions where the RFCs leave room
//!
//! * A head with a bare LF or CR, a folded line, white space before a colon, both
//!   `Content-Length` and `Transfer-Encoding`, or `Content-Length` more than once (equal values
//!   included) is refused, not repaired: 400 to a client, 502 for a server's answer.
//! * `Transfer-Encoding` is `chunked` alone. Other codings before `chunked` get 501, anything else
//!   400; in an HTTP/1.0 message it is always refused (RFC 9112 6.1).
//! * Options in `Connection` cannot remove fields that frame, route or authorize a message
//!   ([`wire::rewrite`]): such an option is ignored and the field is passed on.
//! * Chunked bodies are checked and passed on byte for byte, trailers included. For an HTTP/1.0
//!   client the coding is removed and the connection closed after the body.
//! * The connection to an HTTP/1.0 client always closes after one exchange (RFC 9112 9.3).
//! * `Upgrade: h2c` is removed: RFC 9113 deprecates it, and it would hide requests from the proxy.
//! * `Proxy-Authenticate` of an origin server is removed: it may not ask for proxy credentials.
//! * No `Via` is added (RFC 9110 7.6.3 asks for one): a proxy that serves its user does not
//!   announce that user to every server.
//! * A final response that starts before the request body is complete is passed on while the body
//!   still streams, with `Connection: close`, and the connection ends with it.

pub mod client;
pub mod error;
pub mod refusal;
pub mod server;
#[cfg(test)]
mod tests;
pub mod wire;

use core::time::Duration;

pub use client::{BadOption, Client, ClientEvent, ConnectOptions};
pub use error::{Error, Phase};
pub use refusal::Status;
pub use server::{Auth, Server, ServerEvent};
pub use wire::{Credentials, Malformed};

/// Longest message head in bytes, empty line included. A pipe that carries heads needs a limit of
/// at least this; a head that fills a smaller pipe is refused as too large.
pub const HEAD_LEN_MAX: usize = 32 * 1024;
/// Most header fields in one head.
pub const FIELDS_MAX: usize = 100;
/// Most options in the `Connection` fields of one head.
pub const CONNECTION_OPTIONS_MAX: usize = 64;
/// Most empty lines skipped before a request (RFC 9112 2.2).
pub const EMPTY_LINES_MAX: usize = 4;
/// Longest chunk extension in bytes, per chunk.
pub const CHUNK_EXTENSION_LEN_MAX: usize = 1024;
/// Longest trailer section in bytes.
pub const TRAILERS_LEN_MAX: usize = 8 * 1024;
/// Longest request body in bytes that is read and dropped to keep a connection after a refusal.
pub const SKIPPED_BODY_LEN_MAX: u64 = 64 * 1024;
/// How long a kept connection may wait for its next request.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long input is still read and dropped after the last reply, so that a reset does not
/// overtake the reply (RFC 9112 9.6).
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
