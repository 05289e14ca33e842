//! What a profile means to a client and to a server, with all defaults filled in.
use super::{
    keys::{PrivateKey, PublicKey},
    padding::PaddingPolicy,
    problem::Warning,
    sizes::Sizes,
};
use crate::paniq::obf::Params;
use sansbox_core::Target;
use std::time::Duration;

/// Settings, and what is odd about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<S> {
    /// The settings.
    pub settings: S,
    /// What works but is probably not meant.
    pub warnings: Vec<Warning>,
}

/// What both ends read.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// The framer's parameters.
    pub params: Params,
    /// How long one attempt of the preamble may take, and at the server, after how long without a
    /// datagram an unfinished one is forgotten.
    pub handshake_timeout: Duration,
    /// How large packets are.
    pub sizes: Sizes,
    /// Interval of QUIC keep-alives.
    pub keepalive: Duration,
    /// After how long without a packet the QUIC connection is given up.
    pub idle_timeout: Duration,
    /// Streams that the client may have open at once.
    pub max_streams: u32,
    /// Random bytes behind QUIC packets.
    pub padding: PaddingPolicy,
    /// The first counter that is refused, if Transport frames carry one; zero stands for the end
    /// of the counter's range.
    pub replay_limit: Option<u64>,
}

/// What a client reads.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSettings {
    /// What the server reads as well.
    pub shared: Shared,
    /// Where the server is.
    pub server: Target,
    /// The server's key; without one the preamble proves nothing.
    pub server_key: Option<PublicKey>,
    /// Whether the Initiation carries an encrypted time; only with a key.
    pub encrypted_timestamp: bool,
    /// How often the preamble is tried.
    pub attempts: u32,
    /// Pause after each datagram of the preamble but the last.
    pub delay: Duration,
    /// Random part of that pause, from zero to just below this.
    pub jitter: Duration,
}

/// What a server reads.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// What the client reads as well.
    pub shared: Shared,
    /// The server's key; without one anybody who knows the headers is let in.
    pub private_key: Option<PrivateKey>,
    /// Whether signatures are looked into.
    pub signature_validate: bool,
    /// Whether a preamble needs a time, encrypted or not.
    pub require_timestamp: bool,
    /// Whether encrypted times are read; only with a key.
    pub encrypted_timestamp: bool,
    /// Whether a preamble needs one.
    pub require_encrypted_timestamp: bool,
    /// Until when preambles without a time are let in all the same, in Unix seconds.
    pub legacy_until: Option<i64>,
    /// Clock difference from which on it is logged.
    pub skew_soft: Duration,
    /// Greatest clock difference.
    pub skew_hard: Duration,
    /// How long a preamble is remembered.
    pub replay_window: Duration,
    /// How many preambles are remembered.
    pub replay_cache_len: u32,
    /// Limit per source address, if any.
    pub rate_limit: Option<RateLimit>,
}

/// How many datagrams of preambles a source address may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Per second, on average; at least 1.
    pub per_second: u32,
    /// At once; a whole preamble fits.
    pub burst: u32,
}
