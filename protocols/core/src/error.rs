//! Whose fault an error is, how to close after it, and why a request was refused.
use core::fmt;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The other end broke the protocol.
    Peer,
    /// This end: a wrong configuration or a bug.
    Local,
    /// The network between, or a third party such as a target that refused.
    Path,
    /// Nobody: a rule said no.
    Policy,
}

/// How the connection is to be closed after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Send what is pending, which includes a refusal, then FIN.
    Reply,
    /// FIN at once.
    Fin,
    /// RST at once.
    Reset,
    /// Say nothing a prober could learn from: fall back or stay silent.
    Silent,
}

/// An error of a protocol machine.
pub trait ProtocolError: core::error::Error + 'static {
    /// Whose fault it is.
    fn blame(&self) -> Blame;
    /// How to close.
    fn closing(&self) -> Closing;
}

impl ProtocolError for core::convert::Infallible {
    fn blame(&self) -> Blame {
        match *self {}
    }

    fn closing(&self) -> Closing {
        match *self {}
    }
}

/// Why a request could not be carried out. Every inbound protocol turns it into its own words:
/// a SOCKS reply code, an HTTP status, a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The target answered with RST.
    ConnectionRefused,
    /// No route to the target's network.
    NetworkUnreachable,
    /// No route to the target, or it does not answer ARP.
    HostUnreachable,
    /// The name does not exist or has no usable address.
    NameNotFound,
    /// The resolver failed or took too long.
    ResolverFailed,
    /// Nobody answered in time.
    TimedOut,
    /// The packet's time to live ran out on the way.
    TtlExpired,
    /// A rule rejected it.
    Policy,
    /// A rule rejected it and wants silence.
    Dropped,
    /// The address is private, and the inbound's clients reach public ones alone.
    PrivateAddress,
    /// The command is not one this server or outbound carries out.
    CommandUnsupported,
    /// The address is of a kind that this server or outbound cannot reach.
    AddressUnsupported,
    /// The upstream proxy refused this end's credentials.
    UpstreamAuth,
    /// The upstream proxy broke its protocol.
    UpstreamProtocol,
    /// The connection would come back to the listener it came from.
    Loop,
    /// Out of files, memory or connections.
    Exhausted,
    /// Anything else.
    General,
    /// A firewall on this machine or on the way forbids it.
    Prohibited,
}

impl Refusal {
    /// Every refusal, in the order of counters and tables.
    pub const ALL: [Self; 18] = [
        Self::ConnectionRefused,
        Self::NetworkUnreachable,
        Self::HostUnreachable,
        Self::NameNotFound,
        Self::ResolverFailed,
        Self::TimedOut,
        Self::TtlExpired,
        Self::Policy,
        Self::Dropped,
        Self::PrivateAddress,
        Self::CommandUnsupported,
        Self::AddressUnsupported,
        Self::UpstreamAuth,
        Self::UpstreamProtocol,
        Self::Loop,
        Self::Exhausted,
        Self::General,
        Self::Prohibited,
    ];

    /// A short sentence for a person, without names or addresses.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ConnectionRefused => "connection refused by the target",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::NameNotFound => "no such host",
            Self::ResolverFailed => "name resolution failed",
            Self::TimedOut => "connection timed out",
            Self::TtlExpired => "TTL expired",
            Self::Policy => "rejected by a rule",
            Self::Dropped => "dropped by a rule",
            Self::PrivateAddress => "the address is private, and allow_private is off",
            Self::CommandUnsupported => "command not supported",
            Self::AddressUnsupported => "address type not supported",
            Self::UpstreamAuth => "upstream proxy refused the credentials",
            Self::UpstreamProtocol => "upstream proxy broke its protocol",
            Self::Loop => "the connection would come back to this listener",
            Self::Exhausted => "out of resources",
            Self::General => "general failure",
            Self::Prohibited => "prohibited by a firewall",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}
