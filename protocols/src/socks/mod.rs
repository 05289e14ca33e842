//! SOCKS4, SOCKS4a and SOCKS5, both sides, as machines on byte pipes.
//!
//! | part | holds |
//! |---|---|
//! | [`wire`] | the messages as bytes: requests, replies, the UDP header |
//! | [`Server`] | one accepted connection of any version; asks its owner by [`ServerEvent`] |
//! | [`Client`] | one connection through a proxy; reports by [`ClientEvent`] |
//! | [`Secret`](crate::Secret), [`Credentials`] | names and passwords that are wiped and never printed |
//! | [`ServerError`], [`ClientError`] | why a handshake failed, and in which [`Phase`] |
//!
//! Sources: RFC 1928, RFC 1929, Ying-Da Lee's notes on SOCKS4 and SOCKS4a. CONNECT and UDP
//! ASSOCIATE are carried out; BIND is refused by the machine, as is GSSAPI.
//!
//! Longest messages are constants of their types; the longest of all is [`MESSAGE_LEN_MAX`], so a
//! handshake keeps no more than that, and needs an inbound `wire` pipe whose limit is no less.
//!
//! # Example: a server and a client, joined by two pipes
//!
//! ```
//! use sansbox_core::{Instant, Pipe, Progress, StreamProtocol, Target};
//! use sansbox_protocols::socks::{Auth, Client, Command, Server, ServerEvent, Version};
//! use std::{net::SocketAddr, time::Duration};
//!
//! let (now, timeout) = (Instant::ZERO, Duration::from_secs(10));
//! let target = Target::from(SocketAddr::from(([192, 0, 2, 1], 80)));
//! let mut server = Server::new(now, Auth::None, timeout);
//! let mut client = Client::new(now, Version::V5, None, Command::Connect, target.clone(), timeout)?;
//!
//! // What the client's program wrote, the two directions of the wire, and what comes out.
//! let [mut app, mut up, mut down, mut served] = [(); 4].map(|()| Pipe::new(4096));
//! let [mut answer, mut received] = [(); 2].map(|()| Pipe::new(4096));
//! app.push_slice(b"hello");
//! loop {
//!     let mut progress = client.poll_transmit(now, &mut app, &mut up)?;
//!     progress |= server.handle_input(now, &mut up, &mut served)?;
//!     if let Some(ServerEvent::Request { target: asked, .. }) = server.poll_event() {
//!         assert_eq!(asked, target);
//!         server.accept(SocketAddr::from(([192, 0, 2, 9], 4000))); // as if the dial succeeded
//!         progress = Progress::MADE;
//!     }
//!     progress |= server.poll_transmit(now, &mut answer, &mut down)?;
//!     progress |= client.handle_input(now, &mut down, &mut received)?;
//!     if progress == Progress::NONE {
//!         break;
//!     }
//! }
//! assert!(server.is_transparent() && client.is_transparent());
//! assert_eq!(served.front(5), Some(&b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod client;
mod credentials;
mod error;
mod pipes;
mod server;
#[cfg(test)]
mod tests;
pub mod wire;

pub use client::{Client, ClientEvent, Version};
pub use credentials::{Credentials, CredentialsTooLong};
pub use error::{ClientError, Phase, ServerError, reply_code_v4, reply_code_v5};
pub use server::{Auth, Server, ServerEvent};

/// Longest message of any version in octets: a SOCKS4a request with a long USERID and a long name.
/// The limit of a machine's inbound `wire` pipe must be at least this.
pub const MESSAGE_LEN_MAX: usize = wire::v4::Request::LEN_MAX;

// No other message is longer.
const _: () = assert!(wire::v5::AuthRequest::LEN_MAX <= MESSAGE_LEN_MAX);
const _: () = assert!(wire::v5::Greeting::LEN_MAX <= MESSAGE_LEN_MAX);
const _: () = assert!(wire::v5::Request::LEN_MAX <= MESSAGE_LEN_MAX);
const _: () = assert!(wire::v5::Reply::LEN_MAX <= MESSAGE_LEN_MAX);

/// What a client asks a server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// A connection to the target.
    Connect,
    /// A relay for datagrams (SOCKS5). It lives as long as the control connection, which carries
    /// nothing after the reply: bytes on it are dropped as they come, and its end goes to `app`.
    UdpAssociate,
}
