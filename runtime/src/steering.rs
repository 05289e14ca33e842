//! The queues of one device, of which each worker has one: what comes out of the wrong one is handed
//! to the worker that serves it.
use crate::shared::lock;
use core::task::{Context, Poll, Waker};
use sansbox_engine::carrier::tun;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Frames that may wait for another worker; later ones are lost, as in a full queue of the kernel.
const WAITING_MAX: usize = 512;

/// Frames for one worker that came out of other queues.
#[derive(Debug, Default)]
struct Mailbox {
    frames: VecDeque<Box<[u8]>>,
    waker: Option<Waker>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It is for this worker.
    No,
    /// Another worker has it.
    Yes,
    /// Too many wait for the other worker.
    Lost,
}

/// The place of one queue among those of its device.
#[derive(Debug)]
pub(crate) struct Steering {
    mailboxes: Arc<[Mutex<Mailbox>]>,
    own: usize,
    has_header: bool,
}

impl Steering {
    /// One for each of `queues`.
    pub(crate) fn of(queues: usize, has_header: bool) -> impl Iterator<Item = Self> {
        let mailboxes: Arc<[_]> = (0..queues).map(|_| Mutex::default()).collect();
        (0..queues).map(move |own| Self {
            mailboxes: Arc::clone(&mailboxes),
            own,
            has_header,
        })
    }

    /// A frame that came out of another queue; its length.
    pub(crate) fn poll_receive(&self, cx: &Context<'_>, into: &mut [u8]) -> Poll<usize> {
        let Some(mailbox) = self.mailboxes.get(self.own).filter(|_| self.is_shared()) else {
            return Poll::Pending;
        };
        let mut mailbox = lock(mailbox);
        let Some(frame) = mailbox.frames.pop_front() else {
            match &mut mailbox.waker {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        let n = frame.len().min(into.len());
        if let (Some(into), Some(frame)) = (into.get_mut(..n), frame.get(..n)) {
            into.copy_from_slice(frame);
        }
        Poll::Ready(n)
    }

    /// Hands a frame that came out of this queue to the worker that serves it.
    pub(crate) fn pass_on(&self, frame: &[u8]) -> Passed {
        let owner = match self.is_shared() {
            true => tun::owner(frame, self.has_header, self.mailboxes.len()),
            false => None,
        };
        let Some(owner) = owner.filter(|owner| *owner != self.own) else {
            return Passed::No;
        };
        let mut passed = Passed::Lost;
        if let Some(mailbox) = self.mailboxes.get(owner) {
            let mut mailbox = lock(mailbox);
            if mailbox.frames.len() < WAITING_MAX {
                mailbox.frames.push_back(frame.into());
                passed = Passed::Yes;
            }
            let waker = mailbox.waker.take();
            drop(mailbox);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        passed
    }

    fn is_shared(&self) -> bool {
        self.mailboxes.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(source: u8) -> [u8; 28] {
        let mut packet = [0; 28];
        (packet[0], packet[9], packet[15]) = (0x45, 17, source);
        packet
    }

    #[test]
    fn datagrams_reach_the_worker_of_their_source() {
        let queues: Vec<Steering> = Steering::of(2, false).collect();
        let cx = Context::from_waker(Waker::noop());
        let mut into = [0; 100];
        for source in [1, 2] {
            let packet = datagram(source);
            let passed: Vec<Passed> = queues.iter().map(|queue| queue.pass_on(&packet)).collect();
            assert!(passed.contains(&Passed::No) && passed.contains(&Passed::Yes));
            for (queue, passed) in queues.iter().zip(passed) {
                let received = queue.poll_receive(&cx, &mut into);
                let expected = match passed {
                    Passed::No => Poll::Ready(28),
                    Passed::Yes | Passed::Lost => Poll::Pending,
                };
                assert_eq!(received, expected);
            }
        }
        let passes = |queue: &&Steering| queue.pass_on(&datagram(1)) == Passed::Yes;
        let foreign = queues.iter().find(passes).expect("one of two");
        let lost = (0..2 * WAITING_MAX).filter(|_| foreign.pass_on(&datagram(1)) == Passed::Lost);
        assert_eq!(lost.count(), WAITING_MAX + 1, "one was there before");
        let owner = queues.iter().find(|queue| queue.own != foreign.own);
        let owner = owner.expect("the other");
        let waiting = core::iter::from_fn(|| match owner.poll_receive(&cx, &mut into) {
            Poll::Ready(n) => Some(n),
            Poll::Pending => None,
        });
        assert_eq!(waiting.count(), WAITING_MAX);
    }

    #[test]
    fn a_single_queue_keeps_everything() {
        let queue = Steering::of(1, false).next().expect("one");
        assert_eq!(queue.pass_on(&datagram(1)), Passed::No);
    }
}
