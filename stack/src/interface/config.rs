//! What an interface is made with.
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::config::{BATCH_SIZE, Config};
use crate::fragment;
use crate::icmp::EchoMode;
use crate::mtu::{
    CHANNEL_SIZE, Carrier, DEFAULT_MSS_CLAMP, PrismConfig, TUN_ADDRESS, TX_POOL_MAX_SIZE,
};
use crate::nat;

/// Bytes of packets made here that may wait for the device.
pub const QUEUE_BYTES_MAX: usize = 2 << 20;

/// What an [`super::Interface`] is made with.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// TCP, and the MTU of the device.
    pub stack: Config,
    /// UDP, and relayed echo requests.
    pub nat: nat::Config,
    /// Fragments of clients.
    pub fragments: fragment::Limits,
    /// What becomes of echo requests; answered here.
    pub echo: EchoMode,
    /// The device's address, and source of what the stack itself has to say; 10.11.12.1.
    pub gateway_v4: Ipv4Addr,
    /// The same for IPv6; none.
    pub gateway_v6: Option<Ipv6Addr>,
    /// MTU of the way to the Internet in bytes; 1280.
    pub egress_mtu: u16,
    /// By how much a client's packet grows on that way, in bytes; 0. See
    /// [`crate::mtu::Budget::new`].
    pub overhead: u16,
    /// How datagrams go on; [`Carrier::Fragmenting`], which is what a UDP socket of the kernel
    /// does: it cuts what is longer than the path takes, so only what no datagram can hold is
    /// refused. An upstream that finds out later says so with
    /// [`super::Interface::udp_error`].
    pub carrier: Carrier,
    /// Packets of a [`super::Interface::tx_batch`]; 64.
    pub batch_size: usize,
    /// Packets made here that may wait for the device, and events that may wait to be polled;
    /// 8192 of each.
    pub queue_max: usize,
    /// Bytes of those packets; 2 MiB.
    pub queue_bytes_max: usize,
    /// Buffers of 64 KiB for those packets that are kept for use again; 128.
    pub pool_max: usize,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            stack: Config::default(),
            nat: nat::Config::default(),
            fragments: fragment::Limits::default(),
            echo: EchoMode::Reply,
            gateway_v4: TUN_ADDRESS,
            gateway_v6: None,
            egress_mtu: DEFAULT_MSS_CLAMP,
            overhead: 0,
            carrier: Carrier::Fragmenting,
            batch_size: BATCH_SIZE,
            queue_max: CHANNEL_SIZE,
            queue_bytes_max: QUEUE_BYTES_MAX,
            pool_max: TX_POOL_MAX_SIZE,
        }
    }
}

impl From<PrismConfig> for InterfaceConfig {
    fn from(prism: PrismConfig) -> Self {
        Self {
            stack: Config {
                tun_mtu: prism.tun_mtu,
                handshake: prism.handshake_mode,
                window_max: prism.tcp_rx_buffer_size,
                send_max: prism.tcp_tx_buffer_size,
                ..Config::default()
            },
            gateway_v4: prism.address,
            egress_mtu: prism.egress_mtu,
            batch_size: prism.batch_size,
            queue_max: prism.channel_size,
            pool_max: prism.tx_pool_max_size,
            ..Self::default()
        }
    }
}
