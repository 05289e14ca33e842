//! What goes wrong: things done to the network and to hosts at a time, and the catalogue of
//! classes of faults that a swarm draws from.
mod apply;
mod boxes;
mod class;
pub(crate) mod host;
mod hosts;
mod links;
mod paths;
#[cfg(test)]
mod tests;

pub use class::{Draw, FaultClass, Kind};
pub use host::{Crash, HostFault};

use crate::{
    host::HostId,
    net::{SiteId, hop::HopFault},
};

/// Something done to the network or a host from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// To a hop.
    Hop {
        /// Of this site.
        site: SiteId,
        /// Which one, from 0, inside first.
        index: usize,
        /// What.
        fault: HopFault,
    },
    /// To a host.
    Host {
        /// Which one.
        host: HostId,
        /// What.
        fault: HostFault,
    },
}

/// All classes of faults, by kind.
pub fn all() -> impl Iterator<Item = &'static FaultClass> {
    [
        links::ALL,
        paths::WEATHER,
        paths::SHAPES,
        hosts::ALL,
        boxes::ALL,
    ]
    .into_iter()
    .flatten()
}

/// The class called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static FaultClass> {
    all().find(|class| class.name == name)
}
