//! What can be wrong with a profile.
use crate::paniq::obf::ParamsProblem;
use std::fmt;
use thiserror::Error;

/// A field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct Problem {
    /// The field, such as `quic.max_payload`.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, reason: Reason) -> Self {
        let field = field.into();
        Self { field, reason }
    }
}

/// Everything that is wrong with a profile; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid profile: {}", Lines(.0))]
pub struct Invalid(pub Vec<Problem>);

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let between = if n == 0 { "" } else { "; " };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}

/// Why a field is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// It is not given and must be.
    #[error("required")]
    Required,
    /// It is no `host:port`.
    #[error("must be host:port")]
    Address,
    /// It is below zero.
    #[error("must not be negative")]
    Negative,
    /// It is more than can work.
    #[error("must be at most {0}")]
    AtMost(u64),
    /// It is below another field that is the lower end of its range.
    #[error("must be >= {0}")]
    Below(&'static str),
    /// It is no probability.
    #[error("must be between 0 and 1")]
    NoProbability,
    /// Bursts are asked for, without a length.
    #[error("must be > 0 when pad_burst_prob is > 0")]
    BurstWithoutLength,
    /// A padding of at least that length fits behind no full packet.
    #[error(
        "exceeds the headroom of {0} bytes: lower it, s4 or quic.max_payload, or raise \
         quic.max_packet_size"
    )]
    AboveHeadroom(usize),
    /// What is left for QUIC is less than QUIC needs.
    #[error("leaves less than the 1200 bytes that a QUIC packet needs")]
    BudgetTooSmall,
    /// QUIC needs more.
    #[error("must be >= 1200")]
    PayloadTooSmall,
    /// What is left for QUIC is less.
    #[error("exceeds what quic.max_packet_size leaves for a QUIC packet")]
    PayloadAboveBudget,
    /// A parameter of the framer.
    #[error(transparent)]
    Params(ParamsProblem),
    /// The datagram is longer than what a Go program of this `max_packet_size` receives.
    #[error("a datagram of {len} bytes: more than twice quic.max_packet_size is cut off")]
    DatagramTooLong {
        /// Its length.
        len: usize,
    },
    /// Nothing is obfuscated.
    #[error("required: give at least one of jc, s1-s4, h1-h4, i1-i5")]
    NoObfuscation,
    /// The private key of the server, in a client's profile.
    #[error("the server's private key has no place in a client's profile")]
    PrivateKeyAtClient,
    /// A key with which no handshake succeeds.
    #[error("a point of low order: no handshake succeeds with it")]
    LowOrderKey,
    /// The pin of another server.
    #[error(
        "not the pin of the server with this server_private_key (`sansbox paniq pin` tells it)"
    )]
    OtherPin,
    /// It needs the private key.
    #[error("needs server_private_key")]
    NeedsPrivateKey,
    /// It needs `signature_validate`.
    #[error("needs signature_validate: else no time is looked at")]
    NeedsValidation,
    /// It needs `<t>` in a signature, or encrypted times.
    #[error("needs <t> in a signature chain, or require_encrypted_timestamp")]
    NeedsTimestamp,
    /// It needs an end.
    #[error("needs legacy_mode_sunset or legacy_mode_max_days")]
    NeedsSunset,
    /// It is no date.
    #[error("must be YYYY-MM-DD, or a time of RFC 3339")]
    NoDate,
    /// The date is over.
    #[error("is over: turn legacy_mode_enabled off")]
    SunsetOver,
    /// Fewer than one preamble has datagrams, so none ever passes.
    #[error("{given} is less than the {needed} datagrams of one preamble")]
    BurstTooSmall {
        /// What holds, given or not.
        given: u64,
        /// Junk, signatures and the Initiation.
        needed: usize,
    },
    /// The pauses alone take longer than an attempt may.
    #[error("the pauses of a preamble take {pauses_ms} ms, longer than handshake_timeout")]
    PausesTooLong {
        /// What they take at least.
        pauses_ms: u64,
    },
}

impl Reason {
    /// `value` is outside 0 to `max`.
    pub(super) const fn outside(value: i64, max: u64) -> Self {
        match value < 0 {
            true => Self::Negative,
            false => Self::AtMost(max),
        }
    }
}

/// A field that works but is probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The field.
    pub field: String,
    /// What is odd about it.
    pub kind: WarningKind,
}

/// What is odd about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// Full packets get less padding.
    ClampedTo {
        /// What fits.
        headroom: usize,
    },
    /// It is not the public key of `server_private_key`: clients with it are turned away.
    OtherKey,
    /// A server has none: whoever knows the rest of the profile is let in.
    NoKey,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        match self.kind {
            WarningKind::ClampedTo { headroom } => {
                write!(f, "full packets have room for {headroom} bytes of padding")
            }
            WarningKind::OtherKey => f.write_str(
                "not the public key of server_private_key: clients with it are turned away",
            ),
            WarningKind::NoKey => f.write_str(
                "not given: nothing proves that a client knows the server (links and the profiles \
                 of clients never hold this key)",
            ),
        }
    }
}
