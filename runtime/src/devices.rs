//! TUN devices of inbounds: opened once, a queue for each worker.
use sansbox_engine::{carrier::tun, ids::InboundId};
use std::os::fd::OwnedFd;

/// The queue that one worker serves.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) inbound: InboundId,
    pub(crate) fd: OwnedFd,
    pub(crate) facts: tun::Device,
}
