//! Sets of addresses as prefixes.
use ipnet::IpNet;

/// What is in `of` and in no prefix of `without`, as the shortest sorted list of prefixes.
pub(super) fn subtract(of: &[IpNet], without: &[IpNet]) -> Vec<IpNet> {
    let mut left = IpNet::aggregate(&of.to_vec());
    for hole in without {
        left = left
            .into_iter()
            .flat_map(|net| around(net, *hole))
            .collect();
    }
    let mut left = IpNet::aggregate(&left);
    left.sort();
    left
}

/// What is left of `net` without `hole`: at most one prefix of each length between theirs.
fn around(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    // Prefixes of different families contain nothing of each other.
    if hole.contains(&net) {
        return Vec::new();
    }
    if !net.contains(&hole) {
        return vec![net];
    }
    let mut left = Vec::new();
    let mut rest = net;
    while rest.prefix_len() < hole.prefix_len() {
        let Ok(halves) = rest.subnets(rest.prefix_len() + 1) else {
            break;
        };
        for half in halves {
            if half.contains(&hole) {
                rest = half;
            } else {
                left.push(half);
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        let parsed = list.iter().map(|net| net.parse().expect("a prefix"));
        parsed.collect()
    }

    #[test]
    fn a_private_network_leaves_eight_prefixes() {
        assert_eq!(
            subtract(&nets(&["0.0.0.0/0"]), &nets(&["10.0.0.0/8"])),
            nets(&[
                "0.0.0.0/5",
                "8.0.0.0/7",
                "11.0.0.0/8",
                "12.0.0.0/6",
                "16.0.0.0/4",
                "32.0.0.0/3",
                "64.0.0.0/2",
                "128.0.0.0/1"
            ])
        );
        assert_eq!(
            subtract(&nets(&["::/0"]), &nets(&["fc00::/7"])),
            nets(&[
                "::/1", "8000::/2", "c000::/3", "e000::/4", "f000::/5", "f800::/6", "fe00::/7"
            ])
        );
    }

    #[test]
    fn the_list_is_minimal_and_knows_families() {
        let of = nets(&["1.0.0.0/9", "1.128.0.0/9", "1.2.3.0/24", "fd00::/8"]);
        let all = nets(&["1.0.0.0/8", "fd00::/8"]);
        assert_eq!(subtract(&of, &[]), all);
        assert_eq!(
            subtract(&of, &nets(&["9.0.0.0/8", "::/0"])),
            nets(&["1.0.0.0/8"])
        );
        assert_eq!(subtract(&of, &nets(&["0.0.0.0/0", "fd00::/8"])), []);
        // Halves that were cut apart grow together again.
        let halves = nets(&["1.0.0.0/10", "1.64.0.0/10"]);
        assert_eq!(subtract(&of, &halves), nets(&["1.128.0.0/9", "fd00::/8"]));
        let one = subtract(&nets(&["10.0.0.0/30"]), &nets(&["10.0.0.2/32"]));
        assert_eq!(one, nets(&["10.0.0.0/31", "10.0.0.3/32"]));
    }

    #[test]
    fn every_address_is_where_it_belongs() {
        let of = nets(&["10.1.0.0/24", "10.1.2.0/23"]);
        let without = nets(&["10.1.0.16/28", "10.1.2.129/32", "10.1.3.0/25"]);
        let left = subtract(&of, &without);
        for low in 0..=u16::MAX >> 5 {
            let [c, d] = low.to_be_bytes();
            let address = IpAddr::from([10, 1, c, d]);
            let holds = |nets: &[IpNet]| nets.iter().filter(|net| net.contains(&address)).count();
            let expected = usize::from(holds(&of) > 0 && holds(&without) == 0);
            assert_eq!(holds(&left), expected, "{address}");
        }
    }
}
