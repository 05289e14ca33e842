//! The network card of an end: one packet in, packets out.
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Instant;
use smoltcp::{
    iface::{Config, Interface},
    phy::{self, DeviceCapabilities, Medium},
    time,
    wire::{HardwareAddress, IpAddress, IpCidr},
};

/// IP packets between smoltcp and the world.
#[derive(Debug)]
pub(super) struct Device {
    /// Longest packet, in octets.
    mtu: usize,
    inbox: Option<Vec<u8>>,
    outbox: Vec<Vec<u8>>,
}

impl Device {
    pub(super) const fn new(mtu: usize) -> Self {
        Self {
            mtu,
            inbox: None,
            outbox: Vec::new(),
        }
    }

    pub(super) const fn mtu(&self) -> usize {
        self.mtu
    }

    /// The next packet that arrives.
    pub(super) fn put(&mut self, packet: Vec<u8>) {
        self.inbox = Some(packet);
    }

    /// What leaves, in order.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.outbox)
    }
}

pub(super) struct Received(Vec<u8>);

pub(super) struct Leaving<'a>(&'a mut Vec<Vec<u8>>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}

impl phy::Device for Device {
    type RxToken<'a> = Received;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _now: time::Instant) -> Option<(Received, Leaving<'_>)> {
        let packet = self.inbox.take()?;
        Some((Received(packet), Leaving(&mut self.outbox)))
    }

    fn transmit(&mut self, _now: time::Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = self.mtu;
        caps
    }
}

pub(super) fn micros(now: Instant) -> time::Instant {
    time::Instant::from_micros(i64::try_from(now.as_nanos() / 1000).unwrap_or(i64::MAX))
}

pub(super) fn span(time: Duration) -> time::Duration {
    time::Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// One interface for each end: its longest packet is what the way of this connection carries.
pub(super) fn interface(
    device: &mut Device,
    seed: u64,
    local: SocketAddr,
    now: Instant,
) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut iface = Interface::new(config, device, micros(now));
    iface.update_ip_addrs(|addresses| {
        // Everybody is a neighbour on a card without link layer.
        let own = IpCidr::new(IpAddress::from(local.ip()), 0);
        addresses.push(own).expect("there is room for one address");
    });
    iface
}
