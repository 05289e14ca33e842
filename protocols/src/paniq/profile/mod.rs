//! Profiles: what client and server share (`docs/protocols/paniq.md`).
//!
//! | part | holds |
//! |---|---|
//! | [`Profile`] | a profile as it is written: [`Profile::from_json`], [`Profile::to_json`], [`Profile::from_cbor`], [`Profile::to_cbor`], [`Profile::from_link`], [`Profile::to_link`]; [`Profile::from_file`] takes any of them |
//! | [`Profile::client`], [`Profile::server`] | what it means to either side, checked, with the defaults filled in |
//! | [`NewProfile`] | a profile drawn at random |
//! | [`PrivateKey`], [`PublicKey`] | the server's keys, which are wiped and never printed |
//! | [`ServerPin`] | the digest of the key of its certificate |
//!
//! # Example: from a new profile to a link, and back
//!
//! ```
//! use sansbox_core::Seed;
//! use sansbox_protocols::paniq::profile::{NewProfile, Profile};
//!
//! let drawn = NewProfile {
//!     name: "home",
//!     proxy_addr: "192.0.2.1:9000",
//!     mtu: 1420,
//! };
//! let profile = drawn.draw(Seed::new([7; 32]))?; // in production: from the system's randomness
//! let server = profile.server(1_800_000_000)?;
//! let link = profile.to_link()?;
//! let client = Profile::from_link(&link)?.client()?;
//! assert_eq!(client.settings.shared, server.settings.shared);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod any;
mod cbor;
mod check;
mod create;
mod duration;
mod fields;
mod json;
mod keys;
mod link;
mod model;
mod padding;
mod problem;
mod settings;
#[cfg(test)]
mod tests;

pub use any::ReadError;
pub use cbor::{CborError, CborReason, EncodeError};
pub use create::{BadMtu, MTU_MAX, MTU_MIN, NewProfile};
pub use duration::{BadDuration, Nanos};
pub use json::{JsonError, JsonReason, UNKNOWN_KEYS_MAX, UnknownKey};
pub use keys::{BadKey, PrivateKey, PublicKey, ServerPin};
pub use link::{LinkError, SCHEME};
pub use model::{Obfuscation, Padding, Profile, Quic};
pub use problem::{Invalid, Problem, Reason, Warning, WarningKind};
pub use settings::{Checked, ClientSettings, ServerSettings, Shared};
