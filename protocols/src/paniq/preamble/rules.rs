//! What a server is told, and where it decides otherwise than the Go programs.
use super::limiter::RateLimit;
use crate::paniq::{random::Draws, timestamp::ServerKey, transport::Codec};
use std::time::Duration;

/// How far a preamble's own time may be from the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How old it may be.
    pub past: Duration,
    /// How far ahead.
    pub future: Duration,
}

impl Window {
    /// What a correct client never leaves: clocks that differ by `skew_hard`, and an Initiation
    /// that a Go client made before its first attempt and still sends in its last.
    #[must_use]
    pub fn new(skew_hard: Duration, timeout: Duration, attempts: u32) -> Self {
        Self {
            past: skew_hard.saturating_add(timeout.saturating_mul(attempts)),
            future: skew_hard,
        }
    }

    /// Is `made_at` in the window around `now`, both in Unix seconds? The bounds are.
    #[must_use]
    pub const fn contains(&self, made_at: u64, now: u64) -> bool {
        if made_at <= now {
            now - made_at <= self.past.as_secs()
        } else {
            made_at - now <= self.future.as_secs()
        }
    }
}

/// What a profile says to a server about preambles.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How tunnels are framed, which includes how preambles are.
    pub codec: Codec,
    /// The server's key; without one nothing is authenticated.
    pub key: Option<ServerKey>,
    /// Where prefixes and padding come from.
    pub draws: Draws,
    /// `encrypted_timestamp`: are they read? Needs a key.
    pub encrypted_timestamp: bool,
    /// `require_encrypted_timestamp`: is a preamble without refused?
    pub require_encrypted_timestamp: bool,
    /// `require_timestamp`: is a preamble refused that has neither an encrypted timestamp nor a
    /// `<t>`?
    pub require_timestamp: bool,
    /// `legacy_mode_*`: until when, in Unix seconds, `require_timestamp` is not enforced.
    /// `u64::MAX` for no end; `None` when it is enforced.
    pub legacy_until: Option<u64>,
    /// `signature_validate`: are signatures judged by more than their length? Without it no `<t>`
    /// is read.
    pub signature_validate: bool,
    /// How far the time of a `<t>` may be away: `skew_hard_seconds` both ways.
    pub timestamp_window: Window,
    /// `handshake_timeout`: a source that was silent for longer begins anew.
    pub timeout: Duration,
    /// `replay_cache_size`: how many accepted preambles are remembered.
    pub replays_max: usize,
    /// `rate_limit_*`.
    pub rate_limit: Option<RateLimit>,
}

/// In which order a preamble must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// In any: junk is not counted, and an Initiation that authenticates itself needs nothing
    /// before it. A datagram that is dropped leaves what came before as it is.
    Any,
    /// As it is sent: so much junk, each signature, the Initiation. Whatever else comes in between,
    /// or is dropped, and the source begins anew. This is what the Go server does.
    Exact,
}

/// Which preambles with a `<t>` are remembered, so that they are not taken twice. Encrypted
/// timestamps have nothing to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Those whose time is in the window still.
    ByTime,
    /// Those that came last, whatever their time; two of one second without a key look alike. All
    /// are forgotten when none came for so long. This is what the Go server does
    /// (`spec/paniq.md` 2.4 and 10.12).
    Recent {
        /// Twice its `replay_window_seconds`.
        forgets_after: Duration,
    },
}

/// Where a server may decide otherwise than the Go programs. `Default` is ours; nothing of it can
/// be told by a correct client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// In which order a preamble must come. Go: [`Sequence::Exact`].
    pub sequence: Sequence,
    /// How far the time of an encrypted timestamp may be away, and whether a preamble is taken only
    /// once. Go: `None`, a recorded preamble is as good as a new one.
    pub encrypted_window: Option<Window>,
    /// Which preambles with a `<t>` are remembered. Go: [`Memory::Recent`].
    pub memory: Memory,
    /// Must a source have more left than a datagram costs, and is its account full again after a
    /// second of silence, whatever the rate? Go: yes (2.4).
    pub strict_limit: bool,
    /// Does a tunnel's source get an answer again, to the same Initiation or to a new one? Go: no,
    /// a lost Response is lost for good.
    pub rearms: bool,
    /// Is a source sent no more octets than came from it? Not enforced beyond what a profile's
    /// shortest preamble has, which must be answered. Go: no.
    pub bounded_answers: bool,
    /// Sources whose preamble is not complete. Go: no bound.
    pub half_open_max: usize,
    /// Sources with a tunnel. Go: no bound.
    pub ready_max: usize,
    /// A tunnel whose source was silent for so long is forgotten. Go: never.
    pub idle: Duration,
    /// Sources whose rate is known.
    pub limited_max: usize,
}

impl Rules {
    /// Ours, for a profile's clock skew and its client's patience.
    #[must_use]
    pub const fn new(window: Window) -> Self {
        Self {
            sequence: Sequence::Any,
            encrypted_window: Some(window),
            memory: Memory::ByTime,
            strict_limit: false,
            rearms: true,
            bounded_answers: true,
            half_open_max: 4096,
            ready_max: 65_536,
            // QUIC between Go peers is dead after 120 s.
            idle: Duration::from_secs(150),
            limited_max: 16_384,
        }
    }

    /// Those of the Go server.
    #[must_use]
    pub const fn go() -> Self {
        Self {
            sequence: Sequence::Exact,
            encrypted_window: None,
            memory: Memory::Recent {
                forgets_after: Duration::from_secs(60),
            },
            strict_limit: true,
            rearms: false,
            bounded_answers: false,
            half_open_max: usize::MAX,
            ready_max: usize::MAX,
            idle: Duration::MAX,
            limited_max: usize::MAX,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Window {
            past: Duration::from_secs(45),
            future: Duration::from_secs(30),
        })
    }
}
