//! Where a connection goes: a domain name or an IP address, and a port.
use alloc::{boxed::Box, string::String};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// A domain name: 1 to 253 octets in labels of 1 to 63 letters, digits, `-` and `_`, as Go's
/// resolver accepts them (RFC 1035 2.3.1, with underscores). Kept as received, case included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

/// The bytes are no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDomain;

impl fmt::Display for BadDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a domain name")
    }
}

impl core::error::Error for BadDomain {}

impl Domain {
    /// Longest name in octets, without the final dot.
    pub const LEN_MAX: usize = 253;
    /// Longest label in octets.
    pub const LABEL_LEN_MAX: usize = 63;

    /// Checks and copies `name`. A final dot is accepted and kept.
    ///
    /// # Errors
    /// [`BadDomain`] when it breaks a rule of the type's description. A name of digits and dots
    /// alone is refused too: it is a mistyped address.
    pub fn parse(name: &[u8]) -> Result<Self, BadDomain> {
        let text = core::str::from_utf8(name).map_err(|_| BadDomain)?;
        let labels = text.strip_suffix('.').unwrap_or(text);
        if labels.is_empty() || labels.len() > Self::LEN_MAX {
            return Err(BadDomain);
        }
        let is_bad = |label: &str| {
            label.is_empty()
                || label.len() > Self::LABEL_LEN_MAX
                || label.starts_with('-')
                || label.ends_with('-')
                || !label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let has_letter = labels.bytes().any(|b| b != b'.' && !b.is_ascii_digit());
        if !has_letter || labels.split('.').any(is_bad) {
            return Err(BadDomain);
        }
        Ok(Self(text.into()))
    }

    /// The name as received.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case without its final dot, for matching.
    #[must_use]
    pub fn normalized(&self) -> String {
        self.0
            .strip_suffix('.')
            .unwrap_or(&self.0)
            .to_ascii_lowercase()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A name to be resolved by whoever dials.
    Domain(Domain),
}

impl Host {
    /// Reads `text` as an IP address (brackets allowed around IPv6), else as a domain name.
    ///
    /// # Errors
    /// [`BadDomain`] when it is neither.
    pub fn parse(text: &[u8]) -> Result<Self, BadDomain> {
        let bare = text
            .strip_prefix(b"[")
            .and_then(|t| t.strip_suffix(b"]"))
            .unwrap_or(text);
        match core::str::from_utf8(bare)
            .ok()
            .and_then(|t| t.parse::<IpAddr>().ok())
        {
            Some(ip) if ip.is_ipv6() || bare.len() == text.len() => Ok(Self::Ip(ip)),
            _ => Domain::parse(text).map(Self::Domain),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Domain(name) => name.fmt(f),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// TCP or UDP port.
    pub port: u16,
}

impl Target {
    /// A target from its parts.
    #[must_use]
    pub const fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// The socket address, when the host is an IP address.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Domain(_) => None,
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::new(Host::Ip(addr.ip()), addr.port())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket_addr() {
            Some(addr) => addr.fmt(f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn names_are_accepted_or_refused_as_go_does() {
        for good in [
            "a",
            "example.com",
            "Example.COM.",
            "_dmarc.x.y",
            "1a.2",
            "xn--p1ai",
        ] {
            assert!(Domain::parse(good.as_bytes()).is_ok(), "{good}");
        }
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "-a.b",
            "a-.b",
            "*.x",
            "256.1.1.1",
            "a b",
            "ä.de",
            &long_label,
            &long_name,
        ] {
            assert!(Domain::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_addresses_first() {
        assert_eq!(Host::parse(b"[::1]").unwrap().to_string(), "::1");
        assert_eq!(Host::parse(b"::1").unwrap().to_string(), "::1");
        assert_eq!(Host::parse(b"127.0.0.1").unwrap().to_string(), "127.0.0.1");
        assert!(Host::parse(b"[127.0.0.1]").is_err());
        assert!(matches!(Host::parse(b"a.b"), Ok(Host::Domain(_))));
    }

    #[test]
    fn targets_bracket_ipv6() {
        let t = Target::new(Host::parse(b"::1").unwrap(), 80);
        assert_eq!(t.to_string(), "[::1]:80");
    }
}
