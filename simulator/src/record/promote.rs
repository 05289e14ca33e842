//! One recorded machine as a file of its own: open, self-contained, to be kept as a test.
use super::{
    device::{self, Feed},
    plan,
    replay::{input, machine},
    tracks,
};
use crate::drive::Subject;
use core::time::Duration;
use sansbox_core::Instant;
use sansbox_engine::{Plan, carrier::tun, machine::Machine as _};
use sansbox_flight::{
    Origin, Preamble, Reason, Recording, Ring, Tape, Tapped, TappedDevice, Track, TrackId,
    file::{WriteError, write},
    ring::Limits,
    wire::{Begin, Content, Entry, MachineKind},
};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// Why a machine cannot be picked out of a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromoteError {
    /// It cannot be replayed.
    #[error(transparent)]
    Unplayable(#[from] super::Unplayable),
    /// There is no such machine.
    #[error("the recording has no connection {0}")]
    Missing(TrackId),
    /// The ring had dropped its beginning, or only its sizes were recorded.
    #[error("the beginning of connection {0} is not in the recording")]
    Partial(TrackId),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What it was told then does not fit what it does now.
    #[error("connection {0} sends less than it sent then: record it anew")]
    Outgrown(TrackId),
}

/// Everything is kept.
const LIMITS: Limits = Limits {
    bytes: usize::MAX,
    age: Duration::MAX,
};

/// One machine of a recording as a recording of its own, which everybody can read.
///
/// # Errors
/// When the machine is not wholly there.
pub fn promote(recording: &Recording, id: TrackId) -> Result<Vec<u8>, PromoteError> {
    plan(recording)?;
    let tracks = tracks(recording);
    let track = tracks.get(&id).ok_or(PromoteError::Missing(id))?;
    let (at, begin) = track.begin.as_ref().ok_or(PromoteError::Partial(id))?;
    let mut ring = Ring::new(id.worker, LIMITS);
    ring.write(*at, id.number, &Entry::Begin(begin.clone()));
    for (at, entry) in &track.entries {
        ring.write(*at, id.number, entry);
    }
    file_of(recording, ring)
}

fn file_of(recording: &Recording, ring: Ring) -> Result<Vec<u8>, PromoteError> {
    let preamble = Preamble {
        reason: Reason::Promoted,
        dropped: 0,
        ..recording.preamble.clone()
    };
    let snapshot = ring.snapshot(recording.preamble.now);
    Ok(write(recording.header.mode, &preamble, &[snapshot], None)?)
}

/// A ring that a replay writes to.
#[derive(Clone)]
pub(crate) struct Desk(pub(crate) Rc<RefCell<Ring>>);

impl Desk {
    pub(super) fn new(worker: u16) -> Self {
        Self(Rc::new(RefCell::new(Ring::new(worker, LIMITS))))
    }
}

impl Tape for Desk {
    fn next_number(&self) -> u64 {
        self.0.borrow_mut().next_number()
    }

    fn write(&self, at: Instant, number: u64, entry: &Entry<'_>) {
        self.0.borrow_mut().write(at, number, entry);
    }
}

/// The same recording with the digests of this build: for machines that were changed on purpose.
///
/// # Errors
/// When what was recorded does not fit the machines of this build any more.
pub fn bless(recording: &Recording) -> Result<Vec<u8>, PromoteError> {
    let plan = plan(recording)?;
    let desk = Desk::new(0);
    for (id, track) in tracks(recording) {
        let (at, begin) = track.begin.as_ref().ok_or(PromoteError::Partial(id))?;
        if let MachineKind::Device(facts) = begin.kind {
            let feed = device_of(&plan, (*at, begin, facts), &desk, recording);
            tell_device_again(feed.ok_or(PromoteError::Partial(id))?, id, &track)?;
            continue;
        }
        let machine = machine_of(&plan, begin, *at, &desk, recording);
        let mut machine = machine.ok_or(PromoteError::Partial(id))?;
        tell_again(&mut machine, id, &track)?;
    }
    let Ok(ring) = Rc::try_unwrap(desk.0).map(RefCell::into_inner) else {
        unreachable!("all machines are gone");
    };
    file_of(recording, ring)
}

type Again = Tapped<Box<dyn Subject>, Desk>;

fn machine_of(
    plan: &Arc<Plan>,
    begin: &Begin,
    now: Instant,
    desk: &Desk,
    recording: &Recording,
) -> Option<Again> {
    let subject = machine(plan, begin, now)?;
    let Content { peer, seed, target } = begin.content.clone()?;
    let origin = Origin {
        kind: begin.kind,
        inbound: begin.inbound,
        peer,
        seed,
        target,
        now,
    };
    Some(Tapped::new(
        subject,
        |subject| {
            let record = subject.record();
            record.expect("sessions and associations keep records")
        },
        desk.clone(),
        recording.header.mode,
        origin,
    ))
}

fn device_of(
    plan: &Arc<Plan>,
    (now, begin, facts): (Instant, &Begin, tun::Device),
    desk: &Desk,
    recording: &Recording,
) -> Option<Feed> {
    let machine = device::machine(plan, begin, facts, now)?;
    let seed = begin.content.as_ref()?.seed;
    let origin = Origin::of_device(begin.inbound, facts, seed, now);
    let mode = recording.header.mode;
    let tapped = TappedDevice::new(machine, desk.clone(), mode, origin);
    Some(Feed::new(Box::new(tapped)))
}

fn tell_device_again(mut feed: Feed, id: TrackId, track: &Track<'_>) -> Result<(), PromoteError> {
    for (at, entry) in &track.entries {
        if matches!(entry, Entry::Cut) {
            break;
        }
        let told = feed.tell(*at, entry, &mut |_| {});
        if !told.map_err(|_| PromoteError::Outgrown(id))? {
            break;
        }
    }
    Ok(())
}

fn tell_again(machine: &mut Again, id: TrackId, track: &Track<'_>) -> Result<(), PromoteError> {
    for (at, entry) in &track.entries {
        let Some(input) = input(entry) else {
            continue;
        };
        if let Entry::Drained(slot, n) = entry {
            let held = machine.pipes(*slot).map_or(0, |pipes| pipes.tx.len());
            if (held as u64) < *n {
                return Err(PromoteError::Outgrown(id));
            }
        }
        machine.apply(*at, input);
        while machine.poll_action().is_some() {}
    }
    Ok(())
}
