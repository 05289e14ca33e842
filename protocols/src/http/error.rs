//! Why an HTTP machine stopped.
use super::Malformed;
use sansbox_core::{Blame, Closing, ProtocolError, Refusal};

/// What was awaited when time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The first byte of the first request.
    FirstByte,
    /// The rest of a request head.
    RequestHead,
    /// The body of a refused request.
    RefusedBody,
    /// The answer to CONNECT.
    Connect,
}

/// Why an HTTP machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client sent what is no request, and was told so unless a response had begun.
    #[error("bad request: {0}")]
    BadRequest(Malformed),
    /// The connection ended inside a message.
    #[error("the connection ended inside a message")]
    Truncated,
    /// The client reset the connection during an exchange.
    #[error("the connection was reset")]
    Reset,
    /// The server's response broke off, or its chunked body is malformed; the client already had
    /// its head, so only closing can tell.
    #[error("the server's response broke off")]
    ResponseBroken(Option<Malformed>),
    /// The peer took too long.
    #[error("timed out in phase {phase:?}")]
    Timeout {
        /// What was awaited.
        phase: Phase,
    },
    /// The upstream proxy answered CONNECT with this status.
    #[error("the upstream proxy answered {status}")]
    Refused {
        /// The status, 300 to 999.
        status: u16,
    },
    /// The upstream proxy's answer is no HTTP.
    #[error("bad answer of the upstream proxy: {0}")]
    BadAnswer(Malformed),
    /// The upstream proxy closed the connection before it answered.
    #[error("the upstream proxy closed the connection")]
    NoAnswer,
}

impl Error {
    /// What the failure of a [`Client`](super::Client) means for the request it was to carry.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Refused { status } => match status {
                401 | 407 => Refusal::UpstreamAuth,
                403 => Refusal::Policy,
                405 | 501 => Refusal::CommandUnsupported,
                408 | 504 => Refusal::TimedOut,
                429 => Refusal::Exhausted,
                502 => Refusal::HostUnreachable,
                _ => Refusal::General,
            },
            Self::Timeout { .. } => Refusal::TimedOut,
            Self::BadRequest(_)
            | Self::Truncated
            | Self::Reset
            | Self::ResponseBroken(_)
            | Self::BadAnswer(_)
            | Self::NoAnswer => Refusal::UpstreamProtocol,
        }
    }
}

impl ProtocolError for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::ResponseBroken(_) => Blame::Path,
            Self::Refused { status: 401 | 407 } => Blame::Local,
            Self::Refused { .. } => Blame::Path,
            Self::BadRequest(_)
            | Self::Truncated
            | Self::Reset
            | Self::Timeout { .. }
            | Self::BadAnswer(_)
            | Self::NoAnswer => Blame::Peer,
        }
    }

    fn closing(&self) -> Closing {
        match self {
            Self::BadRequest(_)
            | Self::Truncated
            | Self::ResponseBroken(_)
            | Self::Timeout {
                phase: Phase::RequestHead | Phase::RefusedBody,
            } => Closing::Reply,
            Self::Reset => Closing::Reset,
            Self::Timeout {
                phase: Phase::FirstByte | Phase::Connect,
            }
            | Self::Refused { .. }
            | Self::BadAnswer(_)
            | Self::NoAnswer => Closing::Fin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_an_upstream_proxy_become_refusals() {
        let rows = [
            (407, Refusal::UpstreamAuth),
            (403, Refusal::Policy),
            (405, Refusal::CommandUnsupported),
            (429, Refusal::Exhausted),
            (502, Refusal::HostUnreachable),
            (503, Refusal::General),
            (504, Refusal::TimedOut),
            (301, Refusal::General),
        ];
        for (status, expected) in rows {
            assert_eq!(Error::Refused { status }.refusal(), expected, "{status}");
        }
    }
}
