//! What ends a SOCKS handshake, and how refusals read on the wire.
use super::wire::{Malformed, v4, v5};
use sansbox_core::{Blame, Closing, ProtocolError, Refusal};
use std::fmt;
use thiserror::Error;

/// Which message of the other end was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client's first message.
    Greeting,
    /// The client's user name and password, or the verdict on them.
    Auth,
    /// The client's request.
    Request,
    /// The server's choice of a method.
    MethodSelection,
    /// The server's verdict on user name and password.
    AuthStatus,
    /// The server's reply to the request.
    Reply,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "greeting",
            Self::Auth => "authentication",
            Self::Request => "request",
            Self::MethodSelection => "method selection",
            Self::AuthStatus => "authentication status",
            Self::Reply => "reply",
        })
    }
}

/// Why a [`Server`](super::Server) stopped. The answer that the protocol has for it, if any, goes
/// out by `poll_transmit`, and the end behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ServerError {
    /// The first octet is that of no SOCKS version: the client speaks something else.
    #[error("first octet {0:#04x} is no SOCKS version")]
    UnknownVersion(u8),
    /// The client's message is broken.
    #[error("malformed {phase}: {source}")]
    Malformed {
        /// Which message.
        phase: Phase,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The client offers no method that the server accepts (RFC 1928 section 3).
    #[error("no acceptable authentication method offered")]
    NoAcceptableMethod,
    /// SOCKS4 has no passwords and the server has users.
    #[error("SOCKS4 client on a server with users")]
    UsersRequired,
    /// BIND, or a command nobody knows.
    #[error("command {0} not supported")]
    UnsupportedCommand(u8),
    /// The name in the request is neither a domain nor an address.
    #[error("the requested name is no domain name")]
    BadDomain,
    /// The client finished in the middle of the handshake.
    #[error("connection ended before the {0} was complete")]
    UnexpectedEof(Phase),
    /// The client reset the connection before it was answered.
    #[error("connection reset during the {0}")]
    Reset(Phase),
    /// The handshake took too long.
    #[error("timed out waiting for the {0}")]
    TimedOut(Phase),
}

impl ServerError {
    /// The refusal to count this under.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::UnsupportedCommand(_) => Refusal::CommandUnsupported,
            Self::Malformed {
                source: Malformed::AddressType,
                ..
            } => Refusal::AddressUnsupported,
            Self::BadDomain => Refusal::HostUnreachable,
            Self::NoAcceptableMethod | Self::UsersRequired => Refusal::Policy,
            Self::TimedOut(_) => Refusal::TimedOut,
            Self::UnknownVersion(_)
            | Self::Malformed { .. }
            | Self::UnexpectedEof(_)
            | Self::Reset(_) => Refusal::General,
        }
    }
}

impl ProtocolError for ServerError {
    fn blame(&self) -> Blame {
        match self {
            Self::NoAcceptableMethod | Self::UsersRequired => Blame::Policy,
            Self::UnknownVersion(_)
            | Self::Malformed { .. }
            | Self::UnsupportedCommand(_)
            | Self::BadDomain
            | Self::UnexpectedEof(_)
            | Self::Reset(_)
            | Self::TimedOut(_) => Blame::Peer,
        }
    }

    fn closing(&self) -> Closing {
        match self {
            Self::Malformed { .. }
            | Self::NoAcceptableMethod
            | Self::UsersRequired
            | Self::UnsupportedCommand(_)
            | Self::BadDomain => Closing::Reply,
            Self::UnknownVersion(_) | Self::UnexpectedEof(_) | Self::TimedOut(_) => Closing::Fin,
            Self::Reset(_) => Closing::Reset,
        }
    }
}

/// Why a [`Client`](super::Client) cannot be made, or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// This version of SOCKS cannot name the target: SOCKS4 knows IPv4 alone, SOCKS4a also names.
    #[error("this SOCKS version cannot carry the target's address type")]
    AddressUnsupported,
    /// SOCKS4 has no UDP ASSOCIATE.
    #[error("this SOCKS version has no such command")]
    CommandUnsupported,
    /// A user name with a NUL cannot be a USERID.
    #[error("user name holds a NUL octet")]
    BadUserId,
    /// The proxy's message is broken.
    #[error("malformed {phase}: {source}")]
    Malformed {
        /// Which message.
        phase: Phase,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The proxy accepts none of the methods offered: it wants a login, or another one.
    #[error("proxy accepts none of the offered authentication methods")]
    NoAcceptableMethod,
    /// The proxy chose a method that was not offered.
    #[error("proxy chose method {0}, which was not offered")]
    UnofferedMethod(u8),
    /// The proxy refused user name and password.
    #[error("proxy refused the credentials")]
    AuthRefused,
    /// The proxy answered the request with this code of SOCKS4.
    #[error("proxy refused with SOCKS4 code {0:#04x}")]
    RefusedV4(u8),
    /// The proxy answered the request with this code of SOCKS5.
    #[error("proxy refused with SOCKS5 code {0}")]
    RefusedV5(u8),
    /// The proxy finished in the middle of the handshake.
    #[error("proxy closed before its {0} was complete")]
    UnexpectedEof(Phase),
    /// The proxy reset the connection during the handshake.
    #[error("proxy reset the connection before its {0}")]
    Reset(Phase),
    /// The proxy took too long.
    #[error("timed out waiting for the proxy's {0}")]
    TimedOut(Phase),
}

impl ClientError {
    /// What an inbound is to tell its client.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::AddressUnsupported => Refusal::AddressUnsupported,
            Self::CommandUnsupported => Refusal::CommandUnsupported,
            Self::BadUserId | Self::NoAcceptableMethod | Self::AuthRefused => Refusal::UpstreamAuth,
            Self::RefusedV4(code) => refusal_of_v4(*code),
            Self::RefusedV5(code) => refusal_of_v5(*code),
            Self::Malformed { .. }
            | Self::UnofferedMethod(_)
            | Self::UnexpectedEof(_)
            | Self::Reset(_) => Refusal::UpstreamProtocol,
            Self::TimedOut(_) => Refusal::TimedOut,
        }
    }
}

impl ProtocolError for ClientError {
    fn blame(&self) -> Blame {
        match self {
            Self::AddressUnsupported | Self::CommandUnsupported | Self::BadUserId => Blame::Local,
            Self::NoAcceptableMethod | Self::AuthRefused => Blame::Local,
            Self::RefusedV4(_) | Self::RefusedV5(_) => Blame::Path,
            Self::Malformed { .. }
            | Self::UnofferedMethod(_)
            | Self::UnexpectedEof(_)
            | Self::Reset(_)
            | Self::TimedOut(_) => Blame::Peer,
        }
    }

    fn closing(&self) -> Closing {
        match self {
            Self::Reset(_) => Closing::Reset,
            Self::AddressUnsupported
            | Self::CommandUnsupported
            | Self::BadUserId
            | Self::Malformed { .. }
            | Self::NoAcceptableMethod
            | Self::UnofferedMethod(_)
            | Self::AuthRefused
            | Self::RefusedV4(_)
            | Self::RefusedV5(_)
            | Self::UnexpectedEof(_)
            | Self::TimedOut(_) => Closing::Fin,
        }
    }
}

/// REP for a refusal (RFC 1928 section 6); `None` where silence is wanted.
#[must_use]
pub const fn reply_code_v5(why: Refusal) -> Option<u8> {
    use v5::code;
    Some(match why {
        Refusal::Dropped => return None,
        Refusal::ConnectionRefused => code::CONNECTION_REFUSED,
        Refusal::NetworkUnreachable => code::NETWORK_UNREACHABLE,
        Refusal::HostUnreachable
        | Refusal::NameNotFound
        | Refusal::ResolverFailed
        | Refusal::TimedOut => code::HOST_UNREACHABLE,
        Refusal::TtlExpired => code::TTL_EXPIRED,
        Refusal::Policy | Refusal::PrivateAddress | Refusal::Prohibited => code::NOT_ALLOWED,
        Refusal::CommandUnsupported => code::COMMAND_UNSUPPORTED,
        Refusal::AddressUnsupported => code::ADDRESS_UNSUPPORTED,
        Refusal::UpstreamAuth
        | Refusal::UpstreamProtocol
        | Refusal::Exhausted
        | Refusal::General
        | _ => code::GENERAL_FAILURE,
    })
}

/// CD for a refusal in SOCKS4, which knows one; `None` where silence is wanted.
#[must_use]
pub const fn reply_code_v4(why: Refusal) -> Option<u8> {
    if matches!(why, Refusal::Dropped) {
        return None;
    }
    Some(v4::code::REJECTED)
}

const fn refusal_of_v5(code: u8) -> Refusal {
    match code {
        v5::code::NOT_ALLOWED => Refusal::Policy,
        v5::code::NETWORK_UNREACHABLE => Refusal::NetworkUnreachable,
        v5::code::HOST_UNREACHABLE => Refusal::HostUnreachable,
        v5::code::CONNECTION_REFUSED => Refusal::ConnectionRefused,
        v5::code::TTL_EXPIRED => Refusal::TtlExpired,
        v5::code::COMMAND_UNSUPPORTED => Refusal::CommandUnsupported,
        v5::code::ADDRESS_UNSUPPORTED => Refusal::AddressUnsupported,
        _ => Refusal::General,
    }
}

const fn refusal_of_v4(code: u8) -> Refusal {
    match code {
        v4::code::NO_IDENTD | v4::code::USER_ID => Refusal::UpstreamAuth,
        _ => Refusal::General,
    }
}
