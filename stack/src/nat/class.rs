//! How long a mapping may be idle.
use core::time::Duration;

/// UDP in general: what RFC 4787 REQ-5 recommends.
pub const UDP_IDLE: Duration = Duration::from_secs(300);
/// DNS. A well-known port, for which REQ-5 allows less than two minutes.
pub const DNS_IDLE: Duration = Duration::from_secs(10);
/// NTP. A well-known port as well.
pub const NTP_IDLE: Duration = Duration::from_secs(10);
/// QUIC on port 443. A well-known port as well.
pub const QUIC_IDLE: Duration = Duration::from_secs(30);
/// STUN and DTLS: what REQ-5 has as least. Browsers refresh every 15 s or less often.
pub const REALTIME_IDLE: Duration = Duration::from_secs(120);
/// Echo queries (RFC 5508 REQ-2).
pub const ECHO_IDLE: Duration = Duration::from_secs(60);

/// What a mapping is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Any other UDP.
    Udp,
    /// DNS over UDP.
    Dns,
    /// NTP.
    Ntp,
    /// QUIC.
    Quic,
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// ICMP echo; the port of the client is the query's identifier.
    Echo,
}

impl Class {
    /// What a datagram to `port` is, unless somebody looked into it.
    #[must_use]
    pub const fn of_port(port: u16) -> Self {
        match port {
            53 => Self::Dns,
            123 => Self::Ntp,
            443 => Self::Quic,
            3478 => Self::Stun,
            _ => Self::Udp,
        }
    }

    /// How long the mapping lives after such a datagram; `udp_timeout` is what was configured.
    #[must_use]
    pub fn idle(self, udp_timeout: Option<Duration>) -> Duration {
        let own = match self {
            Self::Udp => UDP_IDLE,
            Self::Dns => DNS_IDLE,
            Self::Ntp => NTP_IDLE,
            Self::Quic => QUIC_IDLE,
            Self::Stun | Self::Dtls => REALTIME_IDLE,
            Self::Echo => return ECHO_IDLE,
        };
        udp_timeout.unwrap_or(own)
    }
}
