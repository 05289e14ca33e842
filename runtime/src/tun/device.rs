//! A TUN device.
use super::{Interface, Queue, TunError};
use core::net::IpAddr;
use sansbox_engine::config::model::Tun;
use std::{io, os::fd::OwnedFd};
#[cfg(target_os = "linux")]
use {
    super::{
        ethtool::forbid_udp_segmentation,
        netlink::{Netlink, ROUTE},
    },
    std::os::fd::AsFd as _,
    tun_rs::{DeviceBuilder, SyncDevice},
};

/// MTU of a device that segments: the kernel hands over up to 64 KiB at once all the same.
#[cfg(target_os = "linux")]
const MTU_SEGMENTING: u16 = 1500;
/// MTU of a device that does not: the largest packet there is.
#[cfg(target_os = "linux")]
const MTU_PLAIN: u16 = u16::MAX;
/// Packets that the kernel keeps for a slow reader; its default of 500 loses too many.
#[cfg(target_os = "linux")]
const TRANSMIT_QUEUE: u32 = 1000;

/// How a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// How many queues, at least 1. The kernel keeps a flow in one queue.
    pub queues: usize,
    /// Packets have a `virtio_net_hdr`, and runs of TCP segments come and go as one packet.
    pub segmentation: bool,
    /// So do runs of datagrams (Linux 6.2). Off by default: Linux 7.0 to 7.1.4 break them.
    pub udp_segmentation: bool,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            queues: 1,
            segmentation: true,
            udp_segmentation: false,
        }
    }
}

/// An open device. It is gone when its queues are dropped.
#[derive(Debug)]
pub struct Device {
    interface: Option<Interface>,
    mtu: u16,
    has_header: bool,
    has_udp_segmentation: bool,
    addresses: Vec<IpAddr>,
    queues: Vec<Queue>,
}

impl Device {
    /// Makes a device: named, with its MTU and addresses, up. Needs `CAP_NET_ADMIN`. It belongs to
    /// the network namespace of this thread.
    ///
    /// Where the kernel refuses to segment, the device is without [`Self::has_header`].
    /// A moment may pass until packets to its IPv6 addresses are taken.
    ///
    /// # Errors
    /// What the kernel refuses; [`TunError::Unsupported`] on other systems than Linux.
    #[cfg(target_os = "linux")]
    pub fn open(config: &Tun, how: Opening) -> Result<Self, TunError> {
        let opened = |segmentation| build(config, how.queues > 1, segmentation);
        let (first, has_header) = match opened(how.segmentation) {
            Ok(device) => (device, how.segmentation),
            Err(e) if how.segmentation && e.kind() == io::ErrorKind::InvalidInput => {
                (opened(false).map_err(|e| unopened(config, e))?, false)
            }
            Err(e) => return Err(unopened(config, e)),
        };
        let configured = |what| move |source| TunError::Configure { what, source };
        let interface = Interface {
            index: first.if_index().map_err(configured("interface"))?,
            name: first.name().map_err(configured("interface"))?,
        };
        let mtu = config.mtu.unwrap_or(if has_header {
            MTU_SEGMENTING
        } else {
            MTU_PLAIN
        });
        first.set_mtu(mtu).map_err(configured("MTU"))?;
        let length = first.tx_queue_len().map_err(configured("queue length"))?;
        if length < TRANSMIT_QUEUE {
            let set = first.set_tx_queue_len(TRANSMIT_QUEUE);
            set.map_err(configured("queue length"))?;
        }
        address(config, interface.index)?;
        let mut queues = vec![queue(&first).map_err(configured("queues"))?];
        for _ in 1..how.queues {
            let another = first.try_clone().and_then(|device| queue(&device));
            queues.push(another.map_err(configured("queues"))?);
        }
        // After the last queue, since each turns it on again.
        let mut has_udp_segmentation = has_header && first.udp_gso();
        if has_udp_segmentation && !how.udp_segmentation {
            has_udp_segmentation = forbid_udp_segmentation(interface.index).is_err();
        }
        first.enabled(true).map_err(configured("state"))?;
        Ok(Self {
            interface: Some(interface),
            mtu,
            has_header,
            has_udp_segmentation,
            addresses: config.address.iter().map(ipnet::IpNet::addr).collect(),
            queues,
        })
    }

    /// Makes a device.
    ///
    /// # Errors
    /// Always [`TunError::Unsupported`].
    #[cfg(not(target_os = "linux"))]
    pub fn open(_: &Tun, _: Opening) -> Result<Self, TunError> {
        Err(TunError::Unsupported)
    }

    /// Takes a device that an embedder opened, named, addressed and routed into, so that this needs
    /// no rights: a file whose reads and writes are IP packets, with nothing before them but a
    /// `virtio_net_hdr` of 10 bytes if `has_header`. `addresses` are the device's.
    ///
    /// # Errors
    /// When the file cannot be told not to block.
    pub fn adopt(
        file: OwnedFd,
        mtu: u16,
        has_header: bool,
        addresses: Vec<IpAddr>,
    ) -> io::Result<Self> {
        Ok(Self {
            interface: None,
            mtu,
            has_header,
            // Unknown, so it may be.
            has_udp_segmentation: has_header,
            addresses,
            queues: vec![Queue::new(file)?],
        })
    }

    /// Its interface; `None` when it was adopted.
    #[must_use]
    pub const fn interface(&self) -> Option<&Interface> {
        self.interface.as_ref()
    }

    /// Its MTU in bytes.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Does every packet have a `virtio_net_hdr` of 10 bytes before it?
    #[must_use]
    pub const fn has_header(&self) -> bool {
        self.has_header
    }

    /// May that header say `VIRTIO_NET_HDR_GSO_UDP_L4`?
    #[must_use]
    pub const fn has_udp_segmentation(&self) -> bool {
        self.has_udp_segmentation
    }

    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Takes its queues out, to be waited for. The device lives as long as they do.
    #[must_use]
    pub fn take_queues(&mut self) -> Vec<Queue> {
        core::mem::take(&mut self.queues)
    }
}

#[cfg(target_os = "linux")]
fn build(config: &Tun, is_multiple: bool, segmentation: bool) -> io::Result<SyncDevice> {
    let mut builder = DeviceBuilder::new().enable(false).with(|builder| {
        builder.multi_queue(is_multiple).offload(segmentation);
    });
    if let Some(name) = &config.interface_name {
        builder = builder.name(name);
    }
    builder.build_sync()
}

#[cfg(target_os = "linux")]
fn unopened(config: &Tun, source: io::Error) -> TunError {
    let name = config.interface_name.clone();
    let name = name.unwrap_or_else(|| "tunN".to_owned());
    TunError::Open { name, source }
}

/// The queue of a handle, whose own file is closed with it.
#[cfg(target_os = "linux")]
fn queue(device: &SyncDevice) -> io::Result<Queue> {
    Queue::new(device.as_fd().try_clone_to_owned()?)
}

#[cfg(target_os = "linux")]
fn address(config: &Tun, interface: u32) -> Result<(), TunError> {
    let failed = |source| TunError::Configure {
        what: "addresses",
        source,
    };
    let mut netlink = Netlink::open(ROUTE).map_err(failed)?;
    // Without IPv6 there is none to forbid.
    let _unwanted_at_worst = netlink.forbid_link_local(interface);
    for address in &config.address {
        match netlink.add_address(*address, interface) {
            Ok(()) => {}
            // A device that outlives its processes has it already.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(TunError::Address {
                    address: *address,
                    source,
                });
            }
        }
    }
    Ok(())
}
