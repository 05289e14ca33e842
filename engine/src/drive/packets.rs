//! A device's frames, between a driver and a carrier.
use super::{Driver, Sockets};
use crate::carrier::{
    Carrier,
    tun::{Device, FRAME_LEN_MAX, prefix},
};
use bytes::{Bytes, BytesMut};
use core::task::Poll;
use sansbox_core::Instant;
use sansbox_stack::{TxBatch, TxPacket, batch::PAYLOAD_PIECES_MAX, config::BATCH_SIZE};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

/// Bytes of a run that frames are read into: several of the longest, so that few are split.
const RUN_LEN: usize = 4 * FRAME_LEN_MAX;
/// Runs kept to be used again once nobody holds a part of them.
const RUNS_KEPT: usize = 4;
/// Bytes of frames read before the machine gets them: more would only wait for sessions to write
/// them.
const READ_MAX: usize = 256 * 1024;

/// One device, or one of its queues, and what its frames are read into and written from.
pub(super) struct Packets<K: Sockets> {
    device: K::Device,
    has_header: bool,
    frames: Vec<BytesMut>,
    runs: Runs,
    out: TxBatch,
}

impl<K: Sockets> Packets<K> {
    pub(super) fn new(device: K::Device, facts: Device) -> Self {
        Self {
            device,
            has_header: facts.has_offload,
            frames: Vec::with_capacity(BATCH_SIZE),
            runs: Runs::default(),
            out: TxBatch::default(),
        }
    }

    /// Gives the machine what the device has. False: nothing.
    ///
    /// # Errors
    /// When the device is gone.
    pub(super) fn receive(
        &mut self,
        driver: &mut impl Driver<K>,
        machine: &mut dyn Carrier,
        now: Instant,
    ) -> io::Result<bool> {
        let (mut read, mut end) = (0, Ok(()));
        while self.frames.len() < BATCH_SIZE && read < READ_MAX {
            let run = self.runs.room();
            match driver.poll_read_frame(&mut self.device, run) {
                Poll::Pending => break,
                Poll::Ready(Ok(n)) if n > 0 => {
                    read += n;
                    self.frames.push(run.split_to(n.min(run.len())));
                }
                // No frame is empty: this is the other end of a socket, closed.
                Poll::Ready(Ok(_)) => {
                    end = Err(io::ErrorKind::UnexpectedEof.into());
                    break;
                }
                Poll::Ready(Err(e)) => {
                    end = Err(e);
                    break;
                }
            }
        }
        let is_news = !self.frames.is_empty();
        if is_news {
            machine.handle_packets(now, &mut self.frames);
            self.frames.clear();
        }
        end.map(|()| is_news)
    }

    /// Writes some of what the machine has for the device, and tells how many packets were lost.
    ///
    /// A kernel answers each packet while it is written, and what does not fit its queue is gone:
    /// thousands of small packets, written before one is read, lose the acknowledgements of most.
    /// So as many are written as are read by then.
    pub(super) fn transmit(
        &mut self,
        driver: &mut impl Driver<K>,
        machine: &mut dyn Carrier,
        now: Instant,
    ) -> Written {
        let (mut lost, mut written) = (machine.take_lost(), 0);
        while written < BATCH_SIZE {
            if !machine.poll_packets(now, &mut self.out) {
                return Written { lost, is_all: true };
            }
            for packet in self.out.packets() {
                lost += u64::from(!write(driver, &mut self.device, self.has_header, packet));
            }
            written += self.out.packets().len();
            self.out.clear();
        }
        Written {
            lost,
            is_all: false,
        }
    }
}

/// What became of packets for a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) lost: u64,
    /// The machine has no more.
    pub(super) is_all: bool,
}

/// Writes one packet. False: it was lost.
fn write<K: Sockets>(
    driver: &mut impl Driver<K>,
    device: &mut K::Device,
    has_header: bool,
    packet: &TxPacket,
) -> bool {
    let prefix = prefix(packet);
    let mut slices = [IoSlice::new(&[]); PAYLOAD_PIECES_MAX + 2];
    let first = has_header.then_some(&prefix[..]);
    let all = first
        .into_iter()
        .chain([packet.header()])
        .chain(packet.payload().iter().map(Bytes::as_ref));
    let mut n = 0;
    for (slice, bytes) in slices.iter_mut().zip(all) {
        *slice = IoSlice::new(bytes);
        n += 1;
    }
    let frame = slices.get(..n).unwrap_or(&slices);
    driver.write_frame(device, frame).is_ok()
}

/// Runs of bytes that frames are read into. A frame shares its run, which is used again when all
/// its frames are gone.
#[derive(Debug, Default)]
struct Runs {
    current: BytesMut,
    used: VecDeque<BytesMut>,
}

impl Runs {
    /// At least [`FRAME_LEN_MAX`] bytes to read into.
    fn room(&mut self) -> &mut BytesMut {
        if self.current.len() < FRAME_LEN_MAX {
            let mut next = self.next();
            next.resize(RUN_LEN, 0);
            let mut spent = core::mem::replace(&mut self.current, next);
            spent.clear();
            if spent.capacity() > 0 && self.used.len() < RUNS_KEPT {
                self.used.push_back(spent);
            }
        }
        &mut self.current
    }

    /// A run that nobody holds a part of: the one used last, which the caches still have.
    fn next(&mut self) -> BytesMut {
        let free = self
            .used
            .iter_mut()
            .rposition(|run| run.try_reclaim(RUN_LEN));
        free.and_then(|at| self.used.remove(at))
            .unwrap_or_else(|| BytesMut::with_capacity(RUN_LEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_used_again_once_its_frames_are_gone() {
        let mut runs = Runs::default();
        let first = runs.room().as_ptr();
        let mut frames = Vec::new();
        for _ in 0..4 {
            let room = runs.room();
            assert!(room.len() >= FRAME_LEN_MAX);
            frames.push(room.split_to(FRAME_LEN_MAX));
        }
        let other = runs.room().as_ptr();
        assert_ne!(other, first, "the first is held by frames");
        frames.clear();
        while runs.room().as_ptr() != first {
            runs.room().split_to(FRAME_LEN_MAX).clear();
            assert!(runs.used.len() <= RUNS_KEPT);
        }
    }
}
