//! What a profile means to a client and to a server, with all defaults filled in.
use super::{
    keys::{PrivateKey, PublicKey, ServerPin},
    problem::Warning,
};
use crate::paniq::{
    Draws,
    obf::{Framer, Params},
    preamble::{ClientAuth, ClientConfig, RateLimit, ServerConfig, SourcePort, Window},
    timestamp::ServerKey,
    transport::{Budget, Codec, Counting, Padding},
};
use sansbox_core::Target;
use std::{sync::Arc, time::Duration};

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
    pub params: Arc<Params>,
    /// How long one attempt of the preamble may take, and at the server, after how long without a
    /// datagram an unfinished one is forgotten.
    pub handshake_timeout: Duration,
    /// How long packets are; says as well whether they carry counters.
    pub budget: Budget,
    /// Random bytes behind QUIC packets.
    pub padding: Padding,
    /// Which counters are taken, if there are any.
    pub counting: Counting,
    /// Interval of QUIC keep-alives.
    pub keepalive: Duration,
    /// After how long without a packet the QUIC connection is given up.
    pub idle_timeout: Duration,
    /// Streams that the client may have open at once.
    pub max_streams: u32,
    /// Whether there are streams of datagrams.
    pub has_datagrams: bool,
}

impl Shared {
    /// How tunnels are framed.
    #[must_use]
    pub fn codec(&self) -> Codec {
        let framer = Framer::new(Arc::clone(&self.params));
        Codec::new(framer, self.budget, self.padding, self.counting)
    }
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
    /// The key of the server's certificate; without one any certificate is taken, as by Go.
    pub pin: Option<ServerPin>,
    /// Whether the Initiation carries an encrypted time; only with a key.
    pub encrypted_timestamp: bool,
    /// How often the preamble is tried.
    pub attempts: u32,
    /// Pause after each datagram of the preamble but the last.
    pub delay: Duration,
    /// Random part of that pause, from zero to just below this.
    pub jitter: Duration,
}

impl ClientSettings {
    /// What the preamble needs to know.
    #[must_use]
    pub fn preamble(&self, source_port: SourcePort) -> ClientConfig {
        let auth = match &self.server_key {
            None => ClientAuth::Keyless,
            Some(key) if self.encrypted_timestamp => {
                ClientAuth::EncryptedTimestamp(*key.as_bytes())
            }
            Some(key) => ClientAuth::Mac(*key.as_bytes()),
        };
        ClientConfig {
            framer: Framer::new(Arc::clone(&self.shared.params)),
            auth,
            attempts: self.attempts,
            timeout: self.shared.handshake_timeout,
            delay: self.delay,
            jitter: self.jitter,
            source_port,
        }
    }
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
    pub legacy_until: Option<u64>,
    /// Clock difference from which on it is logged.
    pub skew_soft: Duration,
    /// Greatest clock difference.
    pub skew_hard: Duration,
    /// How long the Go programs remember a preamble at least.
    pub replay_window: Duration,
    /// How many preambles are remembered.
    pub replays_max: usize,
    /// How often a client tries the preamble, each time with the Initiation that it made first.
    pub attempts: u32,
    /// Limit per source address, if any.
    pub rate_limit: Option<RateLimit>,
}

impl ServerSettings {
    /// What the judge of preambles needs to know.
    #[must_use]
    pub fn preamble(&self, draws: Draws) -> ServerConfig {
        let key = self.private_key.as_ref();
        ServerConfig {
            codec: self.shared.codec(),
            key: key.map(|key| ServerKey::new(*key.as_bytes())),
            draws,
            encrypted_timestamp: self.encrypted_timestamp,
            require_encrypted_timestamp: self.require_encrypted_timestamp,
            require_timestamp: self.require_timestamp,
            legacy_until: self.legacy_until,
            signature_validate: self.signature_validate,
            timestamp_window: Window {
                past: self.skew_hard,
                future: self.skew_hard,
            },
            timeout: self.shared.handshake_timeout,
            replays_max: self.replays_max,
            rate_limit: self.rate_limit,
        }
    }
}
