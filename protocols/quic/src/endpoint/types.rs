//! What an endpoint tells, and the names it gives.
#[cfg(doc)]
use super::Endpoint;
use core::{fmt, net::SocketAddr};
use quinn_proto as quic;

/// Names a connection of an endpoint, and is never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// Names a stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Whose stream it is.
    pub connection: ConnectionId,
    pub(super) id: quic::StreamId,
}

/// What happened to connections and streams.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client begins a connection.
    Incoming(ConnectionId),
    /// The handshake is complete.
    Connected(ConnectionId),
    /// The connection is gone, and its streams with it. If its handshake was complete, its peer was
    /// at this address.
    Lost(ConnectionId, Option<SocketAddr>, Lost),
    /// The peer opened a stream.
    Opened(StreamId),
    /// [`Endpoint::exchange`] has something to do for this stream.
    Ready(StreamId),
    /// The same for a stream with [this label](Endpoint::set_label). Of those of a lost connection
    /// it is told once more before [`Event::Lost`].
    LabelReady(u64),
    /// [`Endpoint::open`] may succeed where it did not.
    Available(ConnectionId),
    /// The connection was lost, and nothing is sent any more to its peer, which was there.
    Forgotten(ConnectionId, SocketAddr),
}

/// Why a connection is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// Nothing came for the idle timeout, or no answer to the handshake.
    TimedOut,
    /// The peer's application closed it, with this code.
    Closed(u64),
    /// The peer does not know it (any more).
    Reset,
    /// This side closed it.
    Locally,
    /// The server has another key than the one pinned here.
    WrongKey,
    /// One of the two sides found a fault; the text says which, and quotes no payload.
    Failed(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed(code) => write!(f, "closed by the peer with code {code}"),
            Self::Reset => f.write_str("reset by the peer"),
            Self::Locally => f.write_str("closed"),
            Self::WrongKey => f.write_str("the server's key is not the pinned one"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Lost {}

/// The alert `access_denied` (RFC 8446 section 6.2), with which a certificate is refused that is
/// good but for its key.
const WRONG_KEY: u8 = 49;

impl From<quic::ConnectionError> for Lost {
    fn from(error: quic::ConnectionError) -> Self {
        match error {
            quic::ConnectionError::TimedOut => Self::TimedOut,
            quic::ConnectionError::ApplicationClosed(close) => {
                Self::Closed(close.error_code.into_inner())
            }
            quic::ConnectionError::Reset => Self::Reset,
            quic::ConnectionError::LocallyClosed => Self::Locally,
            // Errors of the transport are found by this side, and nothing else leads to this alert.
            quic::ConnectionError::TransportError(error)
                if error.code == quic::TransportErrorCode::crypto(WRONG_KEY) =>
            {
                Self::WrongKey
            }
            error @ (quic::ConnectionError::VersionMismatch
            | quic::ConnectionError::TransportError(_)
            | quic::ConnectionError::ConnectionClosed(_)
            | quic::ConnectionError::CidsExhausted) => Self::Failed(error.to_string()),
        }
    }
}

/// How the next datagrams are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: SocketAddr,
    /// The two ECN bits.
    pub ecn: u8,
    /// Bytes of all but the last datagram.
    pub segment: usize,
}
