//! A profile as it is written, field by field; what it means is in [`super::settings`].
use super::{
    duration::Nanos,
    fields::{Field, Key, Object, Slot, Value, fields},
    keys::{PrivateKey, PublicKey, ServerPin},
};

/// What client and server share (`docs/protocols/paniq.md`, The profile). Nothing is checked beyond
/// its type and no default is filled in: a number or duration of zero, an empty text and `None` all
/// stand for "not given". [`Profile::client`] and [`Profile::server`] check it and fill in what is
/// missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// For people.
    pub name: String,
    /// Where the server is, `host:port`.
    pub proxy_addr: String,
    /// How long one attempt of the preamble may take.
    pub handshake_timeout: Nanos,
    /// How often the client tries the preamble.
    pub handshake_attempts: i64,
    /// Pause after each datagram of the preamble, in milliseconds.
    pub preamble_delay_ms: i64,
    /// Random part of that pause, in milliseconds.
    pub preamble_jitter_ms: i64,
    /// The QUIC connection.
    pub quic: Quic,
    /// What QUIC is hidden in, and how the server knows its clients.
    pub obfuscation: Obfuscation,
    /// Random bytes behind each QUIC packet.
    pub transport_padding: Padding,
    /// The key of the server's certificate, if clients are to take no other. No Go program has
    /// this field.
    pub server_pin: Option<ServerPin>,
    /// Whether streams of datagrams are asked for and served, which only sansbox does
    /// (`docs/protocols/paniq.md`, Datagrams).
    pub sansbox_udp: bool,
}

/// The QUIC connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quic {
    /// Largest UDP payload in bytes.
    pub max_packet_size: i64,
    /// Largest QUIC packet in bytes.
    pub max_payload: i64,
    /// Interval of keep-alives.
    pub keepalive: Nanos,
    /// After how long without a packet the connection is given up.
    pub idle_timeout: Nanos,
    /// Streams that the client may have open at once.
    pub max_streams: i64,
}

/// What QUIC is hidden in (`docs/protocols/paniq.md`, Frames), and how the server knows its clients
/// (Preamble).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obfuscation {
    /// Junk datagrams before the handshake.
    pub jc: i64,
    /// Least length of a junk datagram in bytes.
    pub jmin: i64,
    /// Greatest length of a junk datagram in bytes.
    pub jmax: i64,
    /// Random bytes before the header of Initiation, Response, CookieReply and Transport.
    pub s: [i64; 4],
    /// Ranges of the same four headers, such as `7` or `7-9`.
    pub h: [String; 4],
    /// Signature chains, such as `<b 0x16fe><t>`.
    pub i: [String; 5],
    /// The server's private key.
    pub server_private_key: Option<PrivateKey>,
    /// The server's public key.
    pub server_public_key: Option<PublicKey>,
    /// Whether the server looks into signatures, or at their lengths alone.
    pub signature_validate: Option<bool>,
    /// Whether a preamble needs a time.
    pub require_timestamp: Option<bool>,
    /// Whether the Initiation carries an encrypted time.
    pub encrypted_timestamp: Option<bool>,
    /// Whether the server insists on that.
    pub require_encrypted_timestamp: Option<bool>,
    /// Whether the server lets clients without any time in, for a while.
    pub legacy_mode_enabled: Option<bool>,
    /// Until when: `YYYY-MM-DD`, or RFC 3339.
    pub legacy_mode_sunset: String,
    /// Until when: days from the start of the server.
    pub legacy_mode_max_days: i64,
    /// Clock difference in seconds from which on the server logs it.
    pub skew_soft_seconds: i64,
    /// Greatest clock difference in seconds.
    pub skew_hard_seconds: i64,
    /// How long a preamble is remembered, in seconds.
    pub replay_window_seconds: i64,
    /// How many preambles are remembered.
    pub replay_cache_size: i64,
    /// Whether Transport frames carry a counter.
    pub transport_replay: bool,
    /// First counter that is refused.
    pub transport_replay_limit: u64,
    /// Datagrams of preambles per second and source address.
    pub rate_limit_pps: i64,
    /// How many of them may come at once.
    pub rate_limit_burst: i64,
}

/// Random bytes behind each QUIC packet (`docs/protocols/paniq.md`, Transport).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Padding {
    /// Least number of bytes.
    pub pad_min: Option<i64>,
    /// Greatest number of bytes.
    pub pad_max: Option<i64>,
    /// Least number of bytes in a burst.
    pub pad_burst_min: Option<i64>,
    /// Greatest number of bytes in a burst.
    pub pad_burst_max: Option<i64>,
    /// Probability that a packet is one of a burst.
    pub pad_burst_prob: Option<f64>,
}

/// Defaults of what may be absent, in the units of their fields.
pub(super) mod default {
    use crate::paniq::profile::Nanos;

    pub(in crate::paniq::profile) const HANDSHAKE_TIMEOUT: Nanos = Nanos::from_secs(5);
    pub(in crate::paniq::profile) const HANDSHAKE_ATTEMPTS: i64 = 3;
    pub(in crate::paniq::profile) const MAX_PACKET_SIZE: i64 = 1350;
    pub(in crate::paniq::profile) const KEEPALIVE: Nanos = Nanos::from_secs(20);
    pub(in crate::paniq::profile) const IDLE_TIMEOUT: Nanos = Nanos::from_secs(120);
    pub(in crate::paniq::profile) const MAX_STREAMS: i64 = 256;
}

// Number in CBOR, name in JSON (both as the Go programs have them), kind, place. `Count` and
// `Duration` stand for their default when they are zero or negative. What the Go programs do not
// have is numbered from 1000 on, where they leave it unread.
fields! { Profile:
    1 "name" Text(name);
    2 "proxy_addr" Text(proxy_addr);
    3 "handshake_timeout" Duration[default::HANDSHAKE_TIMEOUT](handshake_timeout);
    4 "handshake_attempts" Count[default::HANDSHAKE_ATTEMPTS](handshake_attempts);
    5 "preamble_delay_ms" Count[0](preamble_delay_ms);
    6 "preamble_jitter_ms" Count[0](preamble_jitter_ms);
    7 "quic" Object(quic);
    8 "obfuscation" Object(obfuscation);
    9 "transport_padding" Object(transport_padding);
    1000 "server_pin" ServerPin(server_pin);
    1001 "sansbox_udp" Bool(sansbox_udp);
}

fields! { Quic:
    1 "max_packet_size" Count[default::MAX_PACKET_SIZE](max_packet_size);
    2 "max_payload" Count[0](max_payload);
    3 "keepalive" Duration[default::KEEPALIVE](keepalive);
    4 "idle_timeout" Duration[default::IDLE_TIMEOUT](idle_timeout);
    5 "max_streams" Count[default::MAX_STREAMS](max_streams);
}

fields! { Obfuscation:
    1 "jc" Int(jc);
    2 "jmin" Int(jmin);
    3 "jmax" Int(jmax);
    4 "s1" Int(s[0]);
    5 "s2" Int(s[1]);
    6 "s3" Int(s[2]);
    7 "s4" Int(s[3]);
    8 "h1" Text(h[0]);
    9 "h2" Text(h[1]);
    10 "h3" Text(h[2]);
    11 "h4" Text(h[3]);
    12 "i1" Text(i[0]);
    13 "i2" Text(i[1]);
    14 "i3" Text(i[2]);
    15 "i4" Text(i[3]);
    16 "i5" Text(i[4]);
    17 "server_private_key" PrivateKey(server_private_key);
    18 "server_public_key" PublicKey(server_public_key);
    19 "signature_validate" MaybeBool(signature_validate);
    20 "require_timestamp" MaybeBool(require_timestamp);
    21 "encrypted_timestamp" MaybeBool(encrypted_timestamp);
    22 "require_encrypted_timestamp" MaybeBool(require_encrypted_timestamp);
    23 "legacy_mode_enabled" MaybeBool(legacy_mode_enabled);
    24 "legacy_mode_sunset" Text(legacy_mode_sunset);
    25 "legacy_mode_max_days" Count[0](legacy_mode_max_days);
    26 "skew_soft_seconds" Count[0](skew_soft_seconds);
    27 "skew_hard_seconds" Count[0](skew_hard_seconds);
    28 "replay_window_seconds" Count[0](replay_window_seconds);
    29 "replay_cache_size" Count[0](replay_cache_size);
    30 "transport_replay" Bool(transport_replay);
    31 "transport_replay_limit" Unsigned(transport_replay_limit);
    32 "rate_limit_pps" Count[0](rate_limit_pps);
    33 "rate_limit_burst" Count[0](rate_limit_burst);
}

fields! { Padding:
    1 "pad_min" MaybeInt(pad_min);
    2 "pad_max" MaybeInt(pad_max);
    3 "pad_burst_min" MaybeInt(pad_burst_min);
    4 "pad_burst_max" MaybeInt(pad_burst_max);
    5 "pad_burst_prob" MaybeFloat(pad_burst_prob);
}

impl Profile {
    /// What a client needs of it: without the private key, whose public one is filled in when it
    /// is not there, and without what only a server reads.
    #[must_use]
    pub fn for_clients(&self) -> Self {
        let mut profile = self.clone();
        let from = &self.obfuscation;
        let private = from.server_private_key.as_ref();
        profile.obfuscation = Obfuscation {
            server_private_key: None,
            server_public_key: from
                .server_public_key
                .clone()
                .or_else(|| private.map(PrivateKey::public)),
            signature_validate: None,
            require_timestamp: None,
            require_encrypted_timestamp: None,
            legacy_mode_enabled: None,
            legacy_mode_sunset: String::new(),
            legacy_mode_max_days: 0,
            skew_soft_seconds: 0,
            skew_hard_seconds: 0,
            replay_window_seconds: 0,
            replay_cache_size: 0,
            rate_limit_pps: 0,
            rate_limit_burst: 0,
            ..from.clone()
        };
        profile
    }
}
