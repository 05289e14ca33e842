//! The kernel's side of a TUN device: packets of a site become frames that a carrier reads, and
//! what it writes becomes packets of the site. With offload the kernel joins segments on the way
//! in, leaves checksums open, and cuts on the way out, as `virtio_net_hdr` says; what a carrier
//! writes is looked at as a wire would carry it.
mod kernel;
mod wire;

use crate::{check::Invariant, host::Cx, net::packet::Packet, rng::StreamId, transcript::Tag};
use core::{cell::RefCell, time::Duration};
use kernel::Kernel;
use sansbox_core::Instant;
use sansbox_engine::carrier::tun;
use std::{io::IoSlice, rc::Rc};

/// What a TUN device is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunSettings {
    /// Every frame has a `virtio_net_hdr`: segments are cut and joined, checksums left open.
    pub offload: bool,
    /// MTU in octets, where the configuration says nothing.
    pub mtu: u16,
    /// Packets that wait to be read; what comes then is lost (`txqueuelen`).
    pub queue_len: usize,
    /// How long packets wait until the process is told: what comes meanwhile is one batch.
    pub lag: Duration,
}

impl TunSettings {
    /// An ordinary device: offload, MTU 1500, 500 packets, batches of 20 microseconds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            offload: true,
            mtu: 1500,
            queue_len: 500,
            lag: Duration::from_micros(20),
        }
    }

    /// What the process is told of the device.
    pub(super) fn facts(&self, mtu: Option<u16>) -> tun::Device {
        tun::Device {
            mtu: mtu.unwrap_or(self.mtu),
            has_offload: self.offload,
        }
    }
}

impl Default for TunSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A handle of the device; all handles are of the same one.
#[derive(Clone, Debug)]
pub(super) struct Device(Rc<RefCell<Kernel>>);

impl Device {
    /// A device whose frames the drive `owner` reads.
    pub(super) fn new(
        settings: TunSettings,
        facts: tun::Device,
        owner: usize,
        numbers: StreamId,
    ) -> Self {
        let kernel = Kernel::new(settings, facts.mtu, owner, numbers);
        Self(Rc::new(RefCell::new(kernel)))
    }

    /// A packet of the site is to go out through the device.
    pub(super) fn take(&self, cx: &mut Cx<'_>, packet: &Packet) {
        let mut kernel = self.0.borrow_mut();
        let number = packet.id.0;
        if let Err(why) = kernel.take(cx, packet) {
            cx.note(Tag::PacketLost, number, format_args!("{why}"));
            cx.mark(why);
        }
    }

    /// When [`Self::poll`] has something to say.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.borrow().readable_at
    }

    /// Who is to be told that frames can be read.
    pub(super) fn poll(&self, now: Instant) -> Option<usize> {
        self.0.borrow_mut().poll(now)
    }

    /// One frame; its length.
    pub(super) fn read(&self, into: &mut [u8]) -> Option<usize> {
        let frame = self.0.borrow_mut().frames.pop_front()?;
        into.get_mut(..frame.len())?.copy_from_slice(&frame);
        Some(frame.len())
    }

    /// The process writes a frame.
    pub(super) fn write(&self, cx: &mut Cx<'_>, frame: &[IoSlice<'_>]) {
        let frame: Vec<u8> = frame.iter().flat_map(|slice| slice.iter().copied()).collect();
        if let Err(why) = self.0.borrow_mut().write(cx, &frame) {
            let head = frame.get(..80).unwrap_or(&frame);
            let what = format!("a frame of {} bytes: {why}; {head:02x?}", frame.len());
            cx.violate(Invariant::MatchesModel, what);
        }
    }

    /// Frames and packets that nobody read.
    pub(super) fn left(&self) -> usize {
        let kernel = self.0.borrow();
        kernel.frames.len() + kernel.packets.len()
    }
}
