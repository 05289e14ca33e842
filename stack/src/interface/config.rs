//! What an interface is made with.
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::config::Config;
use crate::icmp::EchoMode;
use crate::mtu::{DEFAULT_MSS_CLAMP, TUN_ADDRESS};
use crate::nat;

/// What an [`super::Interface`] is made with.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// TCP, and the MTU of the device.
    pub stack: Config,
    /// UDP.
    pub nat: nat::Config,
    /// What becomes of echo requests; answered here.
    pub echo: EchoMode,
    /// The device's address, and source of what the stack itself has to say; 10.11.12.1.
    pub gateway_v4: Ipv4Addr,
    /// The same for IPv6; none.
    pub gateway_v6: Option<Ipv6Addr>,
    /// MTU of the way to the Internet in bytes; 1280.
    pub egress_mtu: u16,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            stack: Config::default(),
            nat: nat::Config::default(),
            echo: EchoMode::Reply,
            gateway_v4: TUN_ADDRESS,
            gateway_v6: None,
            egress_mtu: DEFAULT_MSS_CLAMP,
        }
    }
}
