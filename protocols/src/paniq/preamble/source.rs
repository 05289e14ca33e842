//! Where datagrams come from, in as few octets as tell it: tables have one for each tunnel.
use std::net::SocketAddr;

/// An address and a port, and the scope of an address that has one. A mapped IPv4 address is the
/// IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    ip: [u8; 16],
    port: [u8; 2],
    scope: [u8; 4],
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        Self {
            ip: ip.octets(),
            port: address.port().to_be_bytes(),
            scope: scope.to_be_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_tells_sources_apart_is_there() {
        let different = [
            "192.0.2.1:9000",
            "192.0.2.1:9001",
            "192.0.2.2:9000",
            "[fe80::1]:9000",
            "[fe80::1%2]:9000",
            "[fe80::1%3]:9000",
        ];
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let sources = different.map(|text| Source::from(address(text)));
        for (nth, source) in sources.iter().enumerate() {
            assert!(!sources[nth + 1..].contains(source), "{}", different[nth]);
        }
        assert_eq!(sources[0], address("[::ffff:192.0.2.1]:9000").into());
        assert_eq!(size_of::<Source>(), 22);
    }
}
