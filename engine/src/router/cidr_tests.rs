use super::*;
use core::net::Ipv4Addr;
use proptest::prelude::*;

fn set(nets: &[&str]) -> CidrSet {
    let nets: Vec<IpNet> = nets.iter().map(|n| n.parse().unwrap()).collect();
    CidrSet::new(Some(&nets)).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn absent_and_empty_lists_are_no_condition() {
    assert!(CidrSet::new(None).is_none());
    assert!(CidrSet::new(Some(&[])).is_none());
}

#[test]
fn ends_of_prefixes() {
    for (net, inside, outside) in [
        (
            "10.1.2.3/8",
            &["10.0.0.0", "10.255.255.255"][..],
            &["9.255.255.255", "11.0.0.0"][..],
        ),
        (
            "0.0.0.0/0",
            &["0.0.0.0", "255.255.255.255"],
            &["::", "::ffff:1.2.3.4"],
        ),
        ("1.2.3.4/32", &["1.2.3.4"], &["1.2.3.3", "1.2.3.5"]),
        (
            "255.255.255.254/31",
            &["255.255.255.255"],
            &["255.255.255.253", "0.0.0.0"],
        ),
        (
            "::/0",
            &["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            &["1.2.3.4"],
        ),
        (
            "2001:db8::/64",
            &["2001:db8::ffff:0:0:0"],
            &["2001:db8:0:1::", "2001:db7::"],
        ),
        (
            "2001:db8::/65",
            &["2001:db8::7fff:0:0:0"],
            &["2001:db8::8000:0:0:0"],
        ),
        (
            "2001:db8::1/128",
            &["2001:db8::1"],
            &["2001:db8::", "2001:db8::2"],
        ),
        // Addresses come here unmapped, so a mapped prefix holds none of IPv4.
        ("::ffff:10.0.0.0/104", &["::ffff:10.0.0.1"], &["10.0.0.1"]),
    ] {
        let set = set(&[net]);
        for text in inside {
            assert!(set.contains(ip(text)), "{net} {text}");
        }
        for text in outside {
            assert!(!set.contains(ip(text)), "{net} {text}");
        }
    }
}

#[test]
fn prefixes_far_apart_and_close_together_share_a_set() {
    let set = set(&[
        "::1/128",
        "ff02::fb/128",
        "ff02::fc/128",
        "fd00::/8",
        "1.1.1.1/32",
    ]);
    for text in ["::1", "ff02::fb", "ff02::fc", "fdff::", "1.1.1.1"] {
        assert!(set.contains(ip(text)), "{text}");
    }
    for text in [
        "::", "::2", "ff02::fa", "ff02::fd", "ff03::fb", "fe00::", "1.1.1.2",
    ] {
        assert!(!set.contains(ip(text)), "{text}");
    }
}

#[test]
fn adjacent_and_nested_prefixes_merge() {
    let merged = set(&["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16", "10.0.0.0/9"]);
    assert_eq!(merged.v4.ranges.len(), 1);
    let all = set(&["128.0.0.0/1", "0.0.0.0/1", "255.255.255.255/32"]);
    assert_eq!(all.v4.ranges.len(), 1);
}

#[test]
fn private_addresses_are_those_of_sing_box() {
    for text in [
        "10.0.0.1",
        "172.16.0.9",
        "172.31.255.255",
        "192.168.1.5",
        "127.1.2.3",
        "169.254.1.1",
        "224.0.0.1",
        "239.1.2.3",
        "0.0.0.0",
        "::",
        "::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "ff02::1",
        "ff0e::1",
    ] {
        assert!(is_private(ip(text)), "{text}");
    }
    for text in [
        "1.1.1.1",
        "100.64.0.1",
        "172.32.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "203.0.113.7",
        "0.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "fec0::1",
        "2001:db8::1",
        "2002:a00:1::",
        "64:ff9b::a00:1",
        "100::1",
    ] {
        assert!(!is_private(ip(text)), "{text}");
    }
}

/// Addresses near a few anchors, so that prefixes and addresses meet often.
fn address() -> impl Strategy<Value = IpAddr> {
    let anchors = prop::sample::select(vec![
        "0.0.0.0",
        "10.0.0.0",
        "10.1.0.0",
        "255.255.255.0",
        "::",
        "2001:db8::",
        "2001:db8:0:1::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00",
    ]);
    (anchors, any::<u8>(), 0u32..14).prop_map(|(anchor, low, shift)| match ip(anchor) {
        IpAddr::V4(ip) => {
            Ipv4Addr::from_bits(ip.to_bits() ^ (u32::from(low) << (2 * shift).min(24))).into()
        }
        IpAddr::V6(ip) => {
            Ipv6Addr::from_bits(ip.to_bits() ^ (u128::from(low) << (9 * shift).min(120))).into()
        }
    })
}

proptest! {
    #[test]
    fn agrees_with_asking_each_prefix(
        nets in prop::collection::vec((address(), any::<u8>()), 1..60),
        addresses in prop::collection::vec(address(), 1..40),
    ) {
        let nets: Vec<IpNet> = nets
            .into_iter()
            .map(|(ip, len)| {
                let width = if ip.is_ipv4() { 32 } else { 128 };
                IpNet::new(ip, len % (width + 1)).unwrap()
            })
            .collect();
        let set = CidrSet::new(Some(&nets)).unwrap();
        let ends = nets.iter().flat_map(|n| [n.network(), n.broadcast()]);
        for address in addresses.into_iter().chain(ends) {
            let expected = nets.iter().any(|n| n.contains(&address));
            prop_assert_eq!(set.contains(address), expected, "{}", address);
        }
    }

    #[test]
    fn many_small_prefixes_are_each_found(seed in any::<u32>(), count in 1u32..3000) {
        let nets: Vec<IpNet> = (0..count)
            .map(|i| Ipv4Addr::from_bits(i.wrapping_mul(0x9e37_79b1).wrapping_add(seed)))
            .map(|ip| IpNet::new(ip.into(), 32).unwrap())
            .collect();
        let set = CidrSet::new(Some(&nets)).unwrap();
        for net in &nets {
            prop_assert!(set.contains(net.network()));
        }
    }
}
