//! What can go wrong around a TUN device.
use core::net::IpAddr;
use ipnet::IpNet;
use sansbox_engine::carrier::tun::MTU_MIN;
use std::io;
use thiserror::Error;

/// Why a device, its addresses or its routes cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TunError {
    /// Only Linux opens devices.
    #[error("a tun device cannot be opened on this system; hand in an open one")]
    Unsupported,
    /// No device: mostly rights (`CAP_NET_ADMIN`), or its name is taken.
    #[error("cannot open tun device {name}: {source}")]
    Open {
        /// The configured name, or `tunN`.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The device is there, but cannot be set up.
    #[error("cannot set the {what} of the tun device: {source}")]
    Configure {
        /// What was to be set.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An address that the device cannot have.
    #[error("cannot give the tun device the address {address}: {source}")]
    Address {
        /// It.
        address: IpNet,
        /// What the system said.
        source: io::Error,
    },
    /// Routes and rules need an interface, and an adopted file names none.
    #[error("auto_route needs a tun device that was opened here, not handed in")]
    NoInterface,
    /// A key that says how a device is to be opened.
    #[error("{key} is for a tun device that is opened here, and this one was handed in: {advice}")]
    HandedIn {
        /// The key.
        key: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// An MTU that no device may have.
    #[error("the MTU of the tun device is {0} bytes, and less than {MTU_MIN} is too small")]
    MtuTooSmall(u16),
    /// A device that nothing is to be done with.
    #[error("a tun device was handed in for an inbound that is none, or that has one already")]
    Unwanted,
    /// Another process routes through that table.
    #[error(
        "routing table {table} has routes of interface {interface}: another tunnel is running, or \
         the table is used for something else; set iproute2_table_index and iproute2_rule_index"
    )]
    TableInUse {
        /// `iproute2_table_index`.
        table: u32,
        /// Index of the other interface.
        interface: u32,
    },
    /// The rules cannot be listed, so what a dead process left cannot be found.
    #[error("cannot list the kernel's {what}: {source}")]
    List {
        /// Rules, routes or links.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A route that the kernel does not take.
    #[error("cannot add the route {prefix} to table {table}: {source}")]
    Route {
        /// Its destination.
        prefix: IpNet,
        /// `iproute2_table_index`.
        table: u32,
        /// What the system said.
        source: io::Error,
    },
    /// A rule that the kernel does not take.
    #[error("cannot add the routing rule of priority {priority}: {source}")]
    Rule {
        /// Its priority.
        priority: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// The system lets this process have no socket for echo requests: there is neither a place for its
/// group in `net.ipv4.ping_group_range`, nor the privilege of raw sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "echo requests are not carried: the system lets this process have no socket for ICMP; set the \
     sysctl net.ipv4.ping_group_range to a range with its group, or give it CAP_NET_RAW"
)]
pub struct EchoForbiddenError;

/// A connection of this process would come back into its own device, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "this connection would leave from {local}, an address of the tun device, and come back into \
     it: set route.auto_detect_interface or route.default_interface, or bind_interface or \
     inet4_bind_address/inet6_bind_address of the outbound, or exclude the server in \
     route_exclude_address"
)]
pub struct ReentryError {
    /// The address that the socket got.
    pub local: IpAddr,
}
