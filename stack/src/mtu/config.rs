//! What is configured, under the names of Prism.
use super::{BadMtu, Budget};
use crate::config::{BATCH_SIZE, Handshake, TCP_RX_BUFFER_SIZE, TCP_TX_BUFFER_SIZE};
use core::net::Ipv4Addr;

/// Packets, and events, that may wait between the stack and who drives it
/// ([`crate::InterfaceConfig::queue_max`]).
pub const CHANNEL_SIZE: usize = 8192;
/// Transmit buffers that are kept for use again ([`crate::InterfaceConfig::pool_max`]).
pub const TX_POOL_MAX_SIZE: usize = 128;
/// The egress MTU that nobody configured. It is an MTU in spite of its name: the MSS that follows
/// is 1240 over IPv4 and 1220 over IPv6.
pub const DEFAULT_MSS_CLAMP: u16 = 1280;
/// Address of the TUN device, and source of what the stack itself has to say.
pub const TUN_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 11, 12, 1);

/// The configuration of a stack; [`crate::InterfaceConfig`] is made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrismConfig {
    /// MTU of the TUN device, 1280 to 65,535.
    pub tun_mtu: u16,
    /// Address of the TUN device.
    pub address: Ipv4Addr,
    /// MTU of the way to the Internet. May change at run time: [`crate::Interface::set_egress_mtu`].
    pub egress_mtu: u16,
    /// May change at run time: [`crate::Interface::set_handshake`].
    pub handshake_mode: Handshake,
    /// See [`TCP_RX_BUFFER_SIZE`].
    pub tcp_rx_buffer_size: u32,
    /// See [`TCP_TX_BUFFER_SIZE`].
    pub tcp_tx_buffer_size: u32,
    /// See [`BATCH_SIZE`].
    pub batch_size: usize,
    /// See [`CHANNEL_SIZE`].
    pub channel_size: usize,
    /// See [`TX_POOL_MAX_SIZE`].
    pub tx_pool_max_size: usize,
}

impl Default for PrismConfig {
    fn default() -> Self {
        Self {
            tun_mtu: u16::MAX,
            address: TUN_ADDRESS,
            egress_mtu: DEFAULT_MSS_CLAMP,
            handshake_mode: Handshake::default(),
            tcp_rx_buffer_size: TCP_RX_BUFFER_SIZE,
            tcp_tx_buffer_size: TCP_TX_BUFFER_SIZE,
            batch_size: BATCH_SIZE,
            channel_size: CHANNEL_SIZE,
            tx_pool_max_size: TX_POOL_MAX_SIZE,
        }
    }
}

impl PrismConfig {
    /// The budget of a tunnel that adds `overhead` bytes to each packet; see [`Budget::new`].
    ///
    /// # Errors
    /// [`BadMtu`].
    pub fn budget(&self, overhead: u16) -> Result<Budget, BadMtu> {
        Budget::new(self.tun_mtu, self.egress_mtu, overhead)
    }
}
