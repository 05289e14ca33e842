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

    /// What a datagram to `port` with `payload` is: STUN (RFC 8489 section 5) and DTLS (RFC 9147
    /// section 4) show what they are on any port.
    #[must_use]
    pub fn of_datagram(port: u16, payload: &[u8]) -> Self {
        const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
        let first = payload.first().copied().unwrap_or_default();
        if first < 4 && payload.get(4..8) == Some(&MAGIC_COOKIE) {
            return Self::Stun;
        }
        if matches!(first, 20..=26) && matches!(payload.get(1..3), Some([0xfe, 0xfd | 0xff])) {
            return Self::Dtls;
        }
        Self::of_port(port)
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
