//! What a server says of datagrams.
use crate::paniq::{
    obf::{FrameError, Kind},
    timestamp::BadTimestamp,
    transport::{OpenError, SealError},
};
use sansbox_core::{Blame, Closing, ProtocolError};
use std::ops::Range;
use thiserror::Error;

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Part of a preamble, or nothing: junk, or a signature.
    Junk {
        /// Does it fit a signature chain?
        is_signature: bool,
    },
    /// A Response was appended to `out`, for the datagram's source.
    Answered {
        /// Is the tunnel new? Not when the same Initiation was answered again.
        is_new: bool,
    },
    /// Where in the datagram a QUIC datagram is.
    Inner(Range<usize>),
}

/// Why a datagram was dropped. Nothing answers it, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Dropped {
    /// No octets.
    #[error("empty datagram")]
    Empty,
    /// The source sends too much.
    #[error("rate limit")]
    RateLimited,
    /// A frame that needs a tunnel, and there is none.
    #[error("{0:?} without a tunnel")]
    NoTunnel(Kind),
    /// In a tunnel.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Not the signature or Initiation that was due, where the order is exact.
    #[error("not what was due in the preamble")]
    OutOfSequence,
    /// An Initiation without the MAC of this server's key.
    #[error("MAC1 invalid")]
    Mac,
    /// An Initiation before all signatures, where nothing else authenticates.
    #[error("Initiation without its signatures")]
    NoSignatures,
    /// An encrypted timestamp that is not authentic.
    #[error("encrypted timestamp: {0}")]
    BadTimestamp(BadTimestamp),
    /// No timestamp where one is required.
    #[error("timestamp missing")]
    NoTimestamp,
    /// A timestamp outside of the window.
    #[error("timestamp too far from this server's clock")]
    Skew,
    /// A preamble that was accepted before.
    #[error("replayed preamble")]
    Replayed,
    /// The Response would be longer than all that came.
    #[error("less came than the answer has")]
    TooShortToAnswer,
}

impl ProtocolError for Dropped {
    fn blame(&self) -> Blame {
        match self {
            Self::RateLimited => Blame::Policy,
            Self::Empty
            | Self::NoTunnel(_)
            | Self::OutOfSequence
            | Self::Open(_)
            | Self::Mac
            | Self::NoSignatures
            | Self::BadTimestamp(_)
            | Self::NoTimestamp
            | Self::Skew
            | Self::Replayed
            | Self::TooShortToAnswer => Blame::Peer,
        }
    }

    fn closing(&self) -> Closing {
        Closing::Silent
    }
}

/// Why nothing can be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnknownPeer {
    /// It has no tunnel, or its tunnel was forgotten.
    #[error("no tunnel")]
    NoTunnel,
    /// The datagram cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What a datagram is in a tunnel that takes Transport frames alone.
pub(super) fn in_tunnel(frame: Result<(Kind, usize), FrameError>) -> OpenError {
    match frame {
        Ok((kind, _)) => OpenError::Unexpected(kind),
        Err(error) => OpenError::Frame(error),
    }
}
