//! TUN devices: opened, addressed, routed into, and read and written one packet at a time. Nothing
//! here waits: a [`Queue`] is a file for a [`Reactor`](crate::Reactor).
//!
//! | module | holds |
//! |---|---|
//! | `device` | [`Device`]: made from a configuration, or around a file that an embedder opened |
//! | `queue` | [`Queue`]: one packet per read, one packet per vectored write |
//! | `routes` | [`Routes`]: the rules and routes of `auto_route`, taken away when dropped |
//! | `plan`, `prefixes` | which rules and which prefixes: values, no system calls |
//! | `uplink` | [`default_interface`]: where packets leave that are not for the device |
//! | `netlink`, `messages`, `ethtool` | how the kernel is told |
//!
//! [`Device::open`], [`Routes`] and [`default_interface`] are for Linux, and say
//! [`TunError::Unsupported`] elsewhere. [`Device::adopt`] needs no more than a file, so it serves
//! Android as well; that, and every other system, is untested.
mod device;
mod error;
mod queue;

#[cfg(target_os = "linux")]
mod ethtool;
#[cfg(target_os = "linux")]
mod messages;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod prefixes;
#[cfg(target_os = "linux")]
mod routes;
#[cfg(target_os = "linux")]
mod uplink;

#[cfg(not(target_os = "linux"))]
mod elsewhere;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Routes, default_interface};
#[cfg(target_os = "linux")]
pub use {routes::Routes, uplink::default_interface};

pub use device::{Device, Opening};
pub use error::{EchoForbiddenError, ReentryError, TunError};
pub use queue::Queue;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number of it.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: core::net::IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}
