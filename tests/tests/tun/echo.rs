//! Echo requests that are carried: what ping and traceroute see is the way beyond the device.
use crate::{
    net::{NETWORKS, Net, TARGETS},
    program::{Options, Tun, config, has_own_options, start},
    tools::{Said, run},
};
use sansbox_tests::{json, namespace::Namespace, peers::need};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Behind the server, on a wire of its own.
pub(crate) const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 129)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0x8000, 0, 0, 1)),
];
/// The server's other address there.
const NEAR: [&str; 2] = ["198.51.100.130/25", "2001:db8:2:0:8000::2/65"];
/// What the server is called on the way there.
const ROUTER: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];
/// What the device's other end is called.
const DEVICE: [&str; 2] = ["10.11.12.2", "fdfe:dcba:9876::2"];
/// MTU of the far wire.
const FAR_MTU: u16 = 1300;

fn options() -> Options {
    Options::with("icmp_echo", &json!("relay"))
}

/// A machine behind the server.
pub(crate) fn far(net: &Net) -> Option<Namespace> {
    let far = Namespace::new()?;
    net.server.cable("far", &far, "far");
    for (address, near) in FAR.iter().zip(NEAR) {
        let (ip, bits) = near.split_once('/').expect("a network");
        let flag = if address.is_ipv6() { " nodad" } else { "" };
        net.server.run(&format!("ip addr add {near} dev far{flag}"));
        far.run(&format!("ip addr add {address}/{bits} dev far{flag}"));
        far.run(&format!("ip route add default via {ip} dev far"));
    }
    for place in [&net.server, &far] {
        place.run(&format!("ip link set far mtu {FAR_MTU}"));
    }
    for address in FAR {
        // Until the server's search for its neighbour has an answer.
        net.server.run(&format!("ping -n -c 1 -w 10 {address}"));
    }
    Some(far)
}

/// Lets processes of every group have ICMP sockets for datagrams, or none.
fn allow(place: &Namespace, groups: &str) {
    place.enter(|| {
        let path = "/proc/sys/net/ipv4/ping_group_range";
        fs::write(path, groups).unwrap_or_else(|e| panic!("write {path}: {e}"));
    });
}

fn ping(tun: &Tun, ip: IpAddr, more: &str) -> Said {
    let program = need("ping").expect("looked for before");
    let arguments = format!("-n -c 3 -i 0.2 -W 1{more} {ip}");
    let patience = Duration::from_secs(30);
    run(&tun.net.client, &program, &arguments, patience)
}

fn assert_answered(tun: &Tun, ip: IpAddr, length: &str) {
    let said = ping(tun, ip, length);
    let is_whole = said.text.contains(", 0% packet loss");
    assert!(is_whole, "{}\n{}", said.text, tun.proxy.log());
}

/// Groups that may have sockets for datagrams, and none, with which root has raw ones.
const GROUPS: [&str; 2] = ["0 2147483647", "1 0"];

#[test]
fn the_true_answer_comes_back() {
    if need("ping").is_none() || !has_own_options() {
        return;
    }
    for groups in GROUPS {
        let Some(net) = Net::new() else { return };
        let Some(_far) = far(&net) else { return };
        net.server.run("ip route add unreachable 198.51.100.16/28");
        allow(&net.client, groups);
        let tun = Tun::on(net, &options());
        for ip in TARGETS {
            for length in ["", " -s 0", " -s 4000"] {
                assert_answered(&tun, ip, length);
            }
        }
        for ip in FAR {
            assert_answered(&tun, ip, "");
        }
        // The server has no such address: it says so itself.
        let nobody = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 17));
        let said = ping(&tun, nobody, "");
        let told = format!("From {} icmp_seq=3 Destination Host", ROUTER[0]);
        assert!(said.text.contains(&told), "{groups}: {}", said.text);
        for (ip, words) in FAR.iter().zip(["Time to live exceeded", "Hop limit"]) {
            let said = ping(&tun, *ip, " -t 2");
            let router = ROUTER[usize::from(ip.is_ipv6())];
            let is_told = |line: &str| {
                line.starts_with(&format!("From {router} icmp_seq=3")) && line.contains(words)
            };
            assert!(said.text.lines().any(is_told), "{groups}: {}", said.text);
        }
        for (ip, words) in FAR.iter().zip(["mtu = 1300", "mtu=1300"]) {
            let said = ping(&tun, *ip, " -M do -s 1400");
            let router = ROUTER[usize::from(ip.is_ipv6())];
            let is_told = |line: &str| {
                line.starts_with(&format!("From {router} icmp_seq=1")) && line.contains(words)
            };
            assert!(said.text.lines().any(is_told), "{groups}: {}", said.text);
        }
    }
}

#[test]
fn traceroute_shows_the_way() {
    let Some(program) = need("traceroute").filter(|_| has_own_options()) else {
        return;
    };
    let Some(net) = Net::new() else { return };
    let Some(_far) = far(&net) else { return };
    let tun = Tun::on(net, &options());
    for (family, ip) in FAR.iter().enumerate() {
        let arguments = format!("-n -q 1 -w 1 -m 6 -I {ip}");
        let patience = Duration::from_secs(30);
        let said = run(&tun.net.client, &program, &arguments, patience);
        let hops = said.text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.parse::<u8>().ok()?;
            words.next().map(str::to_owned)
        });
        let hops: Vec<_> = hops.collect();
        let expected = [DEVICE[family], ROUTER[family], &ip.to_string()];
        assert_eq!(hops, expected, "{}", said.text);
    }
}

#[test]
fn what_may_not_be_carried_is_told() {
    if need("ping").is_none() || !has_own_options() {
        return;
    }
    let Some(net) = Net::new() else { return };
    let mut config = config(&options());
    config["outbounds"]
        .as_array_mut()
        .expect("a list")
        .push(json!({
            "type": "socks", "tag": "proxy", "server": "192.0.2.2", "server_port": 1,
        }));
    config["route"]["rules"] = json!([
        { "ip_cidr": "198.51.100.1/32", "action": "reject" },
        { "ip_cidr": "198.51.100.2/32", "action": "reject", "method": "drop" },
        { "ip_cidr": "2001:db8:2::1/128", "outbound": "proxy" },
    ]);
    let proxy = start(&net, &config);
    net.route(&NETWORKS);
    let tun = Tun { proxy, net };
    for (ip, words) in TARGETS.iter().zip(["Packet filtered", "prohibited"]) {
        let said = ping(&tun, *ip, "");
        assert!(said.text.contains(words), "{}", said.text);
        assert!(said.text.contains("+3 errors"), "{}", said.text);
    }
    let said = ping(&tun, crate::net::OTHER4, "");
    assert!(said.text.contains(", 100% packet loss"), "{}", said.text);
    assert!(!said.text.contains("errors"), "{}", said.text);
}

/// A request that would leave into the device is not sent.
#[test]
fn requests_do_not_come_back_into_the_device() {
    if need("ping").is_none() || !has_own_options() {
        return;
    }
    let Some(net) = Net::new() else { return };
    let mut config = config(&options());
    config["outbounds"] = json!([{ "type": "direct", "tag": "direct" }]);
    let proxy = start(&net, &config);
    net.route(&NETWORKS);
    let tun = Tun { proxy, net };
    let before = tun.net.packets_into_device();
    for ip in TARGETS {
        let said = ping(&tun, ip, "");
        assert!(said.text.contains("+3 errors"), "{}", said.text);
    }
    let sent = tun.net.packets_into_device() - before;
    assert!((6..20).contains(&sent), "{sent} packets for 6 requests");
    assert!(tun.proxy.log().contains("come back into it"));
}
