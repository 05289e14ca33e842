//! The machines: a client, which has the TUN device, and a server behind a wire.
//!
//! What the server serves is on its loopback. The client has two ways there: through the device,
//! which is what its programs take, and over the wire, which is what sockets bound to it take.
use crate::tools::run;
use sansbox_tests::{
    namespace::Namespace,
    peers::need,
    process::{Process, START_TIMEOUT},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

/// Name of the wire to the server, at both its ends.
pub(crate) const WIRE: &str = "wire";
/// Name of the wire to the client's neighbour, at both its ends.
const HOME: &str = "home";

/// Where servers are.
pub(crate) const TARGET4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
/// As [`TARGET4`], for what needs two addresses.
pub(crate) const OTHER4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
/// Where servers are.
pub(crate) const TARGET6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1));
/// Both families.
pub(crate) const TARGETS: [IpAddr; 2] = [TARGET4, TARGET6];
/// What the server has, and answers for.
pub(crate) const NETWORKS: [&str; 2] = ["198.51.100.0/24", "2001:db8:2::/64"];

const CLIENT: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
const SERVER: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];

/// What a wire does to packets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    /// Nothing.
    Good,
    /// Loses 2 % of the frames, doubles 1 % and holds back 2 % so that others pass.
    Poor,
}

/// The machines.
pub(crate) struct Net {
    /// Has the device.
    pub(crate) client: Namespace,
    /// Has what is served.
    pub(crate) server: Namespace,
    _wire: Option<PoorWire>,
}

impl Net {
    /// Both over a good wire, or none after saying why the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        Self::over(Wire::Good)
    }

    /// Both over such a wire, or none after saying why the test is skipped.
    pub(crate) fn over(wire: Wire) -> Option<Self> {
        if !Path::new("/dev/net/tun").exists() {
            eprintln!("skipped: there is no /dev/net/tun");
            return None;
        }
        let (client, server) = (machine()?, machine()?);
        let wire = lay(wire, WIRE, &client, &server)?;
        for (place, addresses) in [(&client, CLIENT), (&server, SERVER)] {
            place.run(&format!("ip addr add {}/24 dev {WIRE}", addresses[0]));
            place.run(&format!("ip addr add {}/64 dev {WIRE} nodad", addresses[1]));
        }
        for address in [TARGET4, OTHER4, TARGET6] {
            server.run(&format!("ip addr add {address} dev lo"));
        }
        for (network, by) in NETWORKS.iter().zip(SERVER) {
            client.run(&format!(
                "ip route add {network} via {by} dev {WIRE} metric 2000"
            ));
        }
        Some(Self {
            client,
            server,
            _wire: wire,
        })
    }

    /// Sends the client's packets for these networks into the device.
    pub(crate) fn route(&self, networks: &[&str]) {
        for network in networks {
            self.client
                .run(&format!("ip route add {network} dev tun0 metric 10"));
        }
    }

    /// Makes the wire's packets no longer than `mtu` bytes.
    pub(crate) fn narrow(&self, mtu: u16) {
        for place in [&self.client, &self.server] {
            place.run(&format!("ip link set {WIRE} mtu {mtu}"));
        }
    }

    /// Machines over a good wire whose client has no other route to the server than its default
    /// routes.
    pub(crate) fn with_default_routes() -> Option<Self> {
        let net = Self::new()?;
        for (network, by) in NETWORKS.iter().zip(SERVER) {
            net.client
                .run(&format!("ip route del {network} dev {WIRE}"));
            net.client
                .run(&format!("ip route add default via {by} dev {WIRE}"));
        }
        Some(net)
    }

    /// Packets that were sent into the device until now.
    pub(crate) fn packets_into_device(&self) -> u64 {
        let ip = need("ip").expect("there are namespaces");
        let arguments = "-s -j link show tun0";
        let shown = run(&self.client, &ip, arguments, Duration::from_secs(10)).text;
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("ip writes JSON");
        let packets = &shown[0]["stats64"]["tx"]["packets"];
        packets.as_u64().expect("a number of packets")
    }
}

/// A machine whose only gateway is the client.
pub(crate) struct Neighbour {
    /// The machine.
    pub(crate) place: Namespace,
    _wire: Option<PoorWire>,
}

impl Neighbour {
    /// One behind such a wire, or none after saying why the test is skipped.
    pub(crate) fn new(net: &Net, wire: Wire) -> Option<Self> {
        let place = machine()?;
        let wire = lay(wire, HOME, &net.client, &place)?;
        for (at, addresses) in [
            (&net.client, ["203.0.113.1/24", "2001:db8:3::1/64"]),
            (&place, ["203.0.113.2/24", "2001:db8:3::2/64"]),
        ] {
            for address in addresses {
                let flag = if address.contains(':') { " nodad" } else { "" };
                at.run(&format!("ip addr add {address} dev {HOME}{flag}"));
            }
        }
        for by in ["203.0.113.1", "2001:db8:3::1"] {
            place.run(&format!("ip route add default via {by} dev {HOME}"));
        }
        Some(Self { place, _wire: wire })
    }
}

/// A namespace that forwards packets, wherever they come from.
fn machine() -> Option<Namespace> {
    let place = Namespace::new()?;
    place.enter(|| {
        for (name, value) in [
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/ip_local_port_range", "1024 65000"),
            // All that a test provokes is to be seen.
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv6/icmp/ratelimit", "0"),
        ] {
            let path = format!("/proc/sys/net/{name}");
            fs::write(&path, value).unwrap_or_else(|e| panic!("write {path}: {e}"));
        }
    });
    Some(place)
}

/// A machine in the middle of a wire.
struct PoorWire {
    _program: Process,
    _place: Namespace,
}

/// Joins two machines by a wire with the same name at both ends.
fn lay(wire: Wire, name: &str, one: &Namespace, other: &Namespace) -> Option<Option<PoorWire>> {
    if matches!(wire, Wire::Good) {
        one.cable(name, other, name);
        return Some(None);
    }
    let (program, ethtool) = (need("impair-peer")?, need("ethtool")?);
    let middle = Namespace::new()?;
    for (end, side) in [(one, "left"), (other, "right")] {
        middle.cable(side, end, name);
        middle.run(&format!("ip link set {side} promisc on"));
        // Whole frames with whole checksums, as on a real wire.
        let offloads = format!("-K {name} tx off tso off gso off");
        let done = run(end, &ethtool, &offloads, Duration::from_secs(10));
        assert!(done.success, "{}", done.text);
    }
    let mut command = middle.command(&program);
    command.args(["-left", "left", "-right", "right"]);
    command.args(["-loss", "2", "-duplicate", "1", "-reorder", "2"]);
    let mut program = Process::spawn("impair-peer", &mut command);
    program.wait_for_line("carrying", START_TIMEOUT);
    Some(Some(PoorWire {
        _program: program,
        _place: middle,
    }))
}
