//! paniq: QUIC tunnels whose datagrams look like nothing (Bridgefall Paniq,
//! `docs/protocols/paniq.md`).
//!
//! | part | holds |
//! |---|---|
//! | [`profile`] | the file that both ends share: JSON, CBOR, links, checks, new ones |
//! | [`obf`] | the framer: random prefixes, header ranges, junk, signature chains |
//! | [`preamble`] | what comes before QUIC: the client's attempts, the server's judgement |
//! | [`mac`], [`timestamp`] | what proves that an Initiation is fresh and from one who knows the server |
//! | [`transport`] | the envelope of one QUIC datagram |
//! | [`proxy`] | request and reply at the beginning of a stream |
//! | `tunnel` | client and server, with QUIC (feature `quic`) |
//! | [`Draws`] | where prefixes, headers, junk and padding come from |
//!
//! Both ends have the same profile. The client sends a preamble, the server answers with one
//! datagram, and from then on each QUIC datagram travels in one frame of its own. How
//! long those may be is [`transport::Budget`]; QUIC itself is in `tunnel`.
//!
//! # Example: a preamble, and one datagram behind it
//!
//! ```
//! use bytes::BytesMut;
//! use sansbox_core::{DatagramLayer as _, Instant, Seed};
//! use sansbox_protocols::paniq::{
//!     Draws,
//!     obf::{Framer, Kind, Params, Spec},
//!     preamble::{
//!         Client, ClientAuth, ClientConfig, ClientEvent, Rules, Server, ServerConfig, SourcePort,
//!         Taken, Window,
//!     },
//!     timestamp::{ServerKey, UnixTime},
//!     transport::{Budget, Codec, Counting, Envelope, Padding, Sizes},
//! };
//! use std::{net::SocketAddr, time::Duration};
//!
//! // What the profile says; both ends have it.
//! let spec = Spec { jc: 2, jmin: 50, jmax: 90, s: [20, 30, 0, 9], i: ["<t>", "", "", "", ""], ..Spec::default() };
//! let framer = Framer::new(Params::parse(&spec)?.into());
//! let padding = Padding::default();
//! let sizes = Sizes { prefix: framer.params().prefix_len(Kind::Transport), ..Sizes::default() };
//! let budget = Budget::new(&sizes, &padding)?;
//! let codec = Codec::new(framer.clone(), budget, padding, Counting::default());
//! let key = ServerKey::new([7; 32]);
//!
//! let (attempts, timeout, skew) = (3, Duration::from_secs(5), Duration::from_secs(30));
//! let config = ClientConfig {
//!     framer,
//!     auth: ClientAuth::EncryptedTimestamp(key.public()),
//!     attempts,
//!     timeout,
//!     delay: Duration::from_millis(5),
//!     jitter: Duration::from_millis(5),
//!     source_port: SourcePort::Fresh,
//! };
//! let mut now = Instant::ZERO;
//! let wall = UnixTime::from(Duration::from_secs(1_700_000_000));
//! let mut client = Client::new(now, config, Seed::from_u64(1))?;
//! let config = ServerConfig {
//!     codec: codec.clone(),
//!     key: Some(key),
//!     draws: Draws::new(Seed::from_u64(2)),
//!     encrypted_timestamp: true,
//!     require_encrypted_timestamp: true,
//!     require_timestamp: true,
//!     legacy_until: None,
//!     signature_validate: true,
//!     timestamp_window: Window { past: skew, future: skew },
//!     timeout,
//!     replays_max: 4096,
//!     rate_limit: None,
//! };
//! let mut server = Server::new(config, Rules::new(Window::new(skew, timeout, attempts)));
//!
//! let peer = SocketAddr::from(([192, 0, 2, 7], 40_000));
//! let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
//! while client.poll_event() != Some(ClientEvent::Ready) {
//!     now = client.poll_timeout().expect("there is more to do");
//!     if client.poll_transmit(now, wall, &mut up).is_some() {
//!         let taken = server.handle_datagram(now, wall, peer, &up.split(), &mut down)?;
//!         if taken == (Taken::Answered { is_new: true }) {
//!             client.handle_datagram(&down.split());
//!         }
//!     }
//! }
//! let mut tunnel = Envelope::new(codec, Draws::new(Seed::from_u64(3)));
//! tunnel.seal(now, b"a QUIC datagram", &mut up)?;
//! let Taken::Inner(inner) = server.handle_datagram(now, wall, peer, &up, &mut down)? else {
//!     panic!("the tunnel is open");
//! };
//! assert_eq!(&up[inner], b"a QUIC datagram");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
pub mod mac;
pub mod obf;
pub mod preamble;
pub mod profile;
pub mod proxy;
mod random;
pub mod timestamp;
pub mod transport;
#[cfg(feature = "quic")]
pub mod tunnel;

pub use random::Draws;
