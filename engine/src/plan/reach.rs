//! Which addresses may be dialled for clients from elsewhere.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses may be dialled for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    #[default]
    All,
    /// Those of the internet alone: none of this machine, of its networks, or of several machines.
    Public,
}

impl Reach {
    /// Whether this address may be dialled.
    #[must_use]
    pub fn admits(self, ip: IpAddr) -> bool {
        self == Self::All || is_of_the_internet(ip)
    }
}

fn is_of_the_internet(ip: IpAddr) -> bool {
    let is_one = is_public(ip) && !ip.is_unspecified() && !ip.is_multicast();
    is_one
        && match ip.to_canonical() {
            IpAddr::V4(ip) => !ip.is_broadcast() && ip.octets().first() != Some(&0),
            IpAddr::V6(ip) => {
                embedded(ip).is_none_or(|ip| is_of_the_internet(ip.into())) && !is_site_local(ip)
            }
        }
}

/// The IPv4 address that a translator, a relay or an old stack takes from an IPv6 address
/// (RFC 6052 section 2.1, RFC 3056 section 2, RFC 4291 section 2.5.5.1).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d] = match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            [a, b, c, d]
        }
        _ => return None,
    };
    Some(Ipv4Addr::new(a, b, c, d))
}

/// Private addresses of old (RFC 3879), and those of a network's own translator (RFC 8215).
const fn is_site_local(ip: Ipv6Addr) -> bool {
    let [first, second, third, ..] = ip.segments();
    first & 0xffc0 == 0xfec0 || matches!([first, second, third], [0x64, 0xff9b, 1])
}

/// Whether an address is neither loopback, private, link-local nor a private network's own
/// (RFC 1918, 3927, 4193, 4291, 6598).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets().first() == Some(&100) && (ip.to_bits() >> 22) & 3 == 1;
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared)
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(text: &str) -> bool {
        let ip = text.parse().expect("an address");
        assert!(Reach::All.admits(ip), "{text}");
        Reach::Public.admits(ip)
    }

    #[test]
    fn the_internet_is_admitted() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "223.255.255.254",
            "::ffff:8.8.8.8",
            "2606:4700::1111",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(admits(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_machine_of_the_internet_is_not() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!admits(text), "{text}");
        }
    }
}
