//! What goes wrong: things done to the network and to hosts at a time.
use crate::net::{SiteId, hop::HopFault};

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
}
