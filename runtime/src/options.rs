//! What a caller may choose.
use sansbox_engine::ids::InboundId;
use std::{os::fd::OwnedFd, time::Duration};

/// How to run.
#[derive(Debug)]
pub struct Options {
    /// Threads, each with its own event loop; one for each usable CPU when absent. With more than
    /// one, each is pinned to its CPU and prefers the connections that arrive there.
    pub workers: Option<usize>,
    /// Most sessions and associations at a time; accepting pauses there. No limit when absent.
    pub max_connections: Option<usize>,
    /// Most UDP clients of one listener on one worker; datagrams of others are dropped.
    pub max_associations: usize,
    /// Give sockets whose peer is on this machine a cheap congestion controller: loopback has no
    /// congestion, and the controller costs more than the relay itself.
    pub loopback_congestion: bool,
    /// Most kernel pipes that bulk relays hold together; later ones copy.
    pub max_pipes: usize,
    /// Raise the soft limit of open files to the hard one.
    pub raise_file_limit: bool,
    /// Devices that are open already, each for a tun inbound; the others are opened.
    pub devices: Vec<DeviceFile>,
}

/// An open TUN device for a tun inbound: named, addressed and routed into by whoever opened it, so
/// that serving it needs no rights. One worker serves it.
///
/// Any file will do whose reads and writes are whole packets, such as a `SOCK_SEQPACKET` socket.
/// It is told not to block, which holds for all duplicates of it, and closed at the end. When the
/// other end is closed its connections end, an observer is told, and the rest goes on. Whether a
/// device that the system takes away is noticed depends on the executor: async-io does, tokio not.
#[derive(Debug)]
pub struct DeviceFile {
    /// Whose. It may have neither `auto_route` nor `interface_name`, nor another `mtu`; its
    /// `address` is to be that of the device.
    pub inbound: InboundId,
    /// The file.
    pub file: OwnedFd,
    /// Most bytes of a packet.
    pub mtu: u16,
    /// Every packet has a `virtio_net_hdr` of 10 bytes before it.
    pub has_header: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: None,
            max_connections: None,
            max_associations: 16_384,
            loopback_congestion: true,
            // 64 pipes of 1 MiB is what the kernel lets an unprivileged user have.
            max_pipes: 48,
            raise_file_limit: true,
            devices: Vec::new(),
        }
    }
}

/// How to stop. Listeners close at once in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// How long sessions may go on before they are told to stop.
    pub grace: Duration,
    /// After that, how long they may take to end before they are cut.
    pub deadline: Duration,
}
