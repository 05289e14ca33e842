//! The own fields of a `tun` inbound.
use core::{ops::RangeInclusive, time::Duration};
use ipnet::IpNet;
use sansbox_stack::{Handshake, icmp::EchoMode, nat::Filtering};

/// A TUN device, its routes, and how the packets that come out of it are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tun {
    /// `interface_name`; the first free `tunN` when absent.
    pub interface_name: Option<String>,
    /// `address`: the addresses of the device with their networks, at least one.
    pub address: Vec<IpNet>,
    /// `mtu` in bytes, 1280 to 65535; when absent 1500 where the device segments (TSO), 65535
    /// elsewhere.
    pub mtu: Option<u16>,
    /// `auto_route`: install routes and rules, and take them away at the end.
    pub auto_route: bool,
    /// `iproute2_table_index`: the routing table of `auto_route`.
    pub table: u32,
    /// `iproute2_rule_index`: priority of the first rule of `auto_route`.
    pub rule: u32,
    /// `strict_route`: what the device has no addresses for is unreachable.
    pub strict_route: bool,
    /// `route_address`: what `auto_route` takes in; empty: everything.
    pub route_address: Vec<IpNet>,
    /// `route_exclude_address`: what `auto_route` leaves out.
    pub route_exclude_address: Vec<IpNet>,
    /// `include_interface`: packets forwarded from these interfaces only; empty: from all.
    pub include_interface: Vec<String>,
    /// `exclude_interface`: but not from these.
    pub exclude_interface: Vec<String>,
    /// `include_uid` and `include_uid_range`: sockets of these users only; empty: of all.
    pub include_uid: Vec<RangeInclusive<u32>>,
    /// `exclude_uid` and `exclude_uid_range`: but not of these, which counts before the above.
    pub exclude_uid: Vec<RangeInclusive<u32>>,
    /// `udp_timeout`; by protocol when absent.
    pub udp_timeout: Option<Duration>,
    /// What sing-box has no key for.
    pub sansbox: TunExtras,
}

impl Tun {
    /// `iproute2_table_index` when absent, as in sing-box.
    pub const TABLE: u32 = 2022;
    /// `iproute2_rule_index` when absent, as in sing-box.
    pub const RULE: u32 = 9000;
    /// Largest `iproute2_rule_index`: the rules that follow it still come before that of the main
    /// table, 32766.
    pub const RULE_MAX: u32 = 32_700;

    /// A device with these addresses and nothing else configured.
    #[must_use]
    pub const fn new(address: Vec<IpNet>) -> Self {
        Self {
            interface_name: None,
            address,
            mtu: None,
            auto_route: false,
            table: Self::TABLE,
            rule: Self::RULE,
            strict_route: false,
            route_address: Vec::new(),
            route_exclude_address: Vec::new(),
            include_interface: Vec::new(),
            exclude_interface: Vec::new(),
            include_uid: Vec::new(),
            exclude_uid: Vec::new(),
            udp_timeout: None,
            sansbox: TunExtras::DEFAULT,
        }
    }
}

/// `sansbox` of a `tun` inbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunExtras {
    /// `egress_mtu` in bytes: MTU of the way to the Internet.
    pub egress_mtu: u16,
    /// `handshake_mode`: when a SYN is answered.
    pub handshake_mode: Handshake,
    /// `icmp_echo`: what becomes of echo requests.
    pub icmp_echo: EchoMode,
    /// `udp_filtering`: whose datagrams reach a client.
    pub udp_filtering: Filtering,
}

/// `egress_mtu` that is not said: Ethernet's. A narrower way says so when a datagram meets it. With
/// the 1280 of the stack's own default, quic-go would never get through.
const EGRESS_MTU: u16 = 1500;

impl TunExtras {
    /// What absent keys mean.
    pub const DEFAULT: Self = Self {
        egress_mtu: EGRESS_MTU,
        handshake_mode: Handshake::Fast,
        icmp_echo: EchoMode::Reply,
        udp_filtering: Filtering::EndpointIndependent,
    };
}

impl Default for TunExtras {
    fn default() -> Self {
        Self::DEFAULT
    }
}
