//! Every scenario is recorded and replayed, and every way in which a replay can differ is planted.
mod carried;
mod device;
mod service;

use super::{promote::Desk, *};
use crate::{
    drive::{Newcomer, Subject},
    scenario,
    world::Setup,
};
use core::ptr;
use sansbox_core::Instant;
use sansbox_engine::{
    Peer,
    carrier::Carrier,
    ids::{InboundId, Slot},
    machine::{Action, Input, Machine, SlotPipes},
    record::Record,
};
use sansbox_flight::{
    KeyPair, Origin, Preamble, Reason, Tapped, TappedDevice,
    file::{Configuration, Key, write},
    ring::Snapshot,
    wire::{Entry, MachineKind},
};
pub(crate) use service::taped;
use std::cell::RefCell;

/// What `socks5_connects` runs on.
const PLAIN: &[u8] = br#"{
    "inbounds": [{"type": "socks", "tag": "socks", "listen": "10.0.0.2", "listen_port": 1080}],
    "outbounds": [{"type": "direct", "tag": "direct"}]
}"#;

thread_local! {
    /// What the machines of this thread are recorded to, one desk for each plan.
    static DESKS: RefCell<Option<Desks>> = const { RefCell::new(None) };
}

struct Desks {
    mode: Mode,
    desks: Vec<(Arc<Plan>, Desk)>,
}

/// A machine of a scenario, recorded where a test wants that.
pub(crate) enum Maybe<M: Machine> {
    Bare(M),
    Taped(Box<Tapped<M, Desk>>),
}

/// Makes room for the machines of a plan. What holds the plan is there before they are.
pub(crate) fn expect(plan: &Arc<Plan>) {
    DESKS.with_borrow_mut(|desks| {
        if let Some(Desks { desks, .. }) = desks {
            let worker = u16::try_from(desks.len()).expect("few plans");
            desks.push((Arc::clone(plan), Desk::new(worker)));
        }
    });
}

/// Puts a tape on a machine that was just made.
pub(crate) fn tape<M: Subject>(
    machine: M,
    plan: &Arc<Plan>,
    kind: MachineKind,
    inbound: InboundId,
    new: Newcomer,
) -> Maybe<M> {
    let Newcomer {
        remote,
        local,
        seed,
        now,
    } = new;
    let origin = Origin {
        kind,
        inbound,
        peer: Peer { remote, local },
        seed,
        target: None,
        now,
    };
    tape_of(machine, plan, origin)
}

/// The same for a machine of any origin.
pub(crate) fn tape_of<M: Subject>(machine: M, plan: &Arc<Plan>, origin: Origin) -> Maybe<M> {
    let Some((mode, desk)) = desk_of(plan) else {
        return Maybe::Bare(machine);
    };
    let taped = Tapped::new(
        machine,
        |machine| machine.record().expect("it keeps a record"),
        desk,
        mode,
        origin,
    );
    Maybe::Taped(Box::new(taped))
}

/// The same for the carrier of a device.
pub(crate) fn tape_of_device(
    machine: Box<dyn Carrier>,
    plan: &Arc<Plan>,
    origin: Origin,
) -> Box<dyn Carrier> {
    match desk_of(plan) {
        Some((mode, desk)) => Box::new(TappedDevice::new(machine, desk, mode, origin)),
        None => machine,
    }
}

/// Where the machines of a plan are recorded to, and how much of them.
fn desk_of(plan: &Arc<Plan>) -> Option<(Mode, Desk)> {
    DESKS.with_borrow(|desks| {
        let Desks { mode, desks } = desks.as_ref()?;
        let found = desks.iter().find(|(of, _)| ptr::eq(&**of, &**plan));
        let (_, desk) = found.expect("plans are expected before their machines come");
        Some((*mode, desk.clone()))
    })
}

impl<M: Machine> Maybe<M> {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Bare(machine) => machine,
            Self::Taped(taped) => &mut **taped,
        }
    }

    fn shared(&self) -> &dyn Machine {
        match self {
            Self::Bare(machine) => machine,
            Self::Taped(taped) => &**taped,
        }
    }
}

impl<M: Machine> Machine for Maybe<M> {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        self.machine().apply(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.machine().poll_action()
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        self.shared().pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shared().poll_timeout()
    }

    fn is_finished(&self) -> bool {
        self.shared().is_finished()
    }
}

impl<M: Subject> Subject for Maybe<M> {
    fn record(&self) -> Option<&Record> {
        match self {
            Self::Bare(machine) => machine.record(),
            Self::Taped(taped) => taped.machine().record(),
        }
    }
}

/// The recordings of a scenario, one for each plan in it.
pub(super) fn recorded(name: &str, seed: u64, mode: Mode) -> Vec<(Arc<Plan>, Snapshot)> {
    let desks = Vec::new();
    DESKS.set(Some(Desks { mode, desks }));
    let scenario = scenario::find(name).expect("a scenario");
    let setup = Setup {
        seed,
        ..Setup::default()
    };
    let report = scenario.run(setup);
    assert_eq!(report.outcome, Ok(()), "{name}");
    let desks = DESKS.take().expect("it was set").desks;
    let desks = desks.into_iter();
    desks
        .map(|(plan, desk)| (plan, desk.0.borrow().snapshot(report.virtual_time)))
        .collect()
}

pub(super) fn recording(mode: Mode, snapshot: Snapshot) -> Recording {
    let preamble = Preamble {
        reason: Reason::Signal,
        unix_nanos: 0,
        now: Instant::ZERO,
        dropped: 0,
        configuration: mode.has_content().then(|| Configuration {
            text: PLAIN.to_vec(),
        }),
    };
    let pair = KeyPair::from_random(&[1; 32]);
    let key = Key {
        public: &pair.public,
        random: [2; 32],
    };
    let bytes = write(mode, &preamble, &[snapshot], Some(key)).expect("a file");
    Recording::read(&bytes, Some(&pair.private)).expect("the same file")
}

#[derive(Debug, Default)]
struct Tally {
    identical: u64,
    cut: u64,
    inputs: u64,
    bytes: u64,
}

fn replay_all(plan: &Arc<Plan>, recording: &Recording, tally: &mut Tally, name: &str) {
    for (id, track) in tracks(recording) {
        let verdict = replay(plan, &track, &mut |_| {});
        let replayed = match &verdict {
            Verdict::Identical(replayed) => {
                tally.identical += 1;
                replayed
            }
            Verdict::IdenticalUntilCut(replayed) => {
                tally.cut += 1;
                replayed
            }
            Verdict::Partial | Verdict::NoContent | Verdict::Diverged(_) => {
                panic!("{name}, connection {id}: {verdict:?}")
            }
        };
        tally.inputs += replayed.inputs;
        tally.bytes += replayed.outputs.bytes;
    }
}

#[test]
fn every_scenario_replays_bit_for_bit() {
    let mut tally = Tally::default();
    for scenario in scenario::all() {
        for (plan, snapshot) in recorded(scenario.name, 1, Mode::Full) {
            let recording = recording(Mode::Full, snapshot);
            replay_all(&plan, &recording, &mut tally, scenario.name);
        }
    }
    assert!(tally.identical > 50 && tally.cut == 0, "{tally:?}");
    assert!(tally.inputs > 1000 && tally.bytes > 10_000, "{tally:?}");
}

#[test]
fn heads_replay_until_they_are_cut() {
    let mut tally = Tally::default();
    for scenario in scenario::all() {
        for (plan, snapshot) in recorded(scenario.name, 2, Mode::Head) {
            let recording = recording(Mode::Head, snapshot);
            replay_all(&plan, &recording, &mut tally, scenario.name);
        }
    }
    assert!(tally.identical > 50 && tally.cut > 0, "{tally:?}");
}

#[test]
fn shapes_hold_the_same_machines_and_replay_nothing() {
    for (plan, snapshot) in recorded("socks5_connects", 1, Mode::Shape) {
        let recording = recording(Mode::Shape, snapshot);
        assert_eq!(super::plan(&recording).map(drop), Err(Unplayable::Shape));
        let tracks = tracks(&recording);
        assert!(!tracks.is_empty());
        for track in tracks.values() {
            let verdict = replay(&plan, track, &mut |_| {});
            assert_eq!(verdict, Verdict::NoContent);
            assert!(
                track
                    .entries
                    .iter()
                    .any(|(_, e)| matches!(e, Entry::Asked(_)))
            );
        }
    }
}

/// A recording with one entry changed by `plant`, which says whether it did.
fn planted(plant: impl Fn(&mut Entry<'_>) -> bool) -> Verdict {
    let (plan, snapshot) = recorded("socks5_connects", 1, Mode::Full).remove(0);
    let recording = recording(Mode::Full, snapshot);
    let mut tracks = tracks(&recording);
    let mut is_planted = false;
    let mut track = tracks.pop_first().expect("a connection").1;
    for (_, entry) in &mut track.entries {
        is_planted = is_planted || plant(entry);
    }
    assert!(is_planted);
    replay(&plan, &track, &mut |_| {})
}

fn difference(verdict: Verdict) -> Difference {
    let Verdict::Diverged(divergence) = verdict else {
        panic!("no difference: {verdict:?}");
    };
    assert!(divergence.to_string().starts_with("behind input "));
    divergence.what
}

#[test]
fn every_difference_is_found() {
    let fewer = planted(|entry| {
        let Entry::Produced { actions, .. } = entry else {
            return false;
        };
        *actions += 1;
        true
    });
    assert!(matches!(difference(fewer), Difference::Actions { .. }));
    let other = planted(|entry| {
        let Entry::Produced { digest, .. } = entry else {
            return false;
        };
        digest[0] ^= 1;
        true
    });
    assert!(matches!(difference(other), Difference::Digest { .. }));
    let more = planted(|entry| {
        let Entry::Drained(_, n) = entry else {
            return false;
        };
        *n += 1;
        true
    });
    assert!(matches!(difference(more), Difference::Bytes { .. }));
    let ended = planted(|entry| {
        let Entry::End { bytes_up, .. } = entry else {
            return false;
        };
        *bytes_up += 1;
        true
    });
    assert!(matches!(difference(ended), Difference::End { .. }));
    let told = planted(|entry| {
        let Entry::Received { bytes, len, .. } = entry else {
            return false;
        };
        (*bytes, *len) = (Some(&b"\x09"[..]), 1);
        true
    });
    difference(told);
}

#[test]
fn a_beginning_that_was_dropped_is_said() {
    let (plan, snapshot) = recorded("socks5_connects", 1, Mode::Full).remove(0);
    let recording = recording(Mode::Full, snapshot);
    let mut track = tracks(&recording).pop_first().expect("a connection").1;
    track.begin = None;
    assert_eq!(replay(&plan, &track, &mut |_| {}), Verdict::Partial);
}

#[test]
fn another_build_is_named() {
    let (_, snapshot) = recorded("socks5_connects", 1, Mode::Full).remove(0);
    let mut recording = recording(Mode::Full, snapshot);
    assert_eq!(check_build(&recording), Ok(()));
    recording.header.build.machines = "other".to_owned();
    recording.header.build.commit = "c0ffee".to_owned();
    let error = check_build(&recording)
        .expect_err("another build")
        .to_string();
    assert!(error.contains("commit c0ffee, machines other"), "{error}");
}

#[test]
fn one_connection_is_promoted_and_blessed() {
    let (plan, snapshot) = recorded("socks5_connects", 1, Mode::Full).remove(0);
    let whole = recording(Mode::Full, snapshot);
    let id = *tracks(&whole).keys().last().expect("a connection");
    let file = promote(&whole, id).expect("a file");
    let promoted = Recording::read(&file, None).expect("an open recording");
    assert_eq!(promoted.preamble.reason, Reason::Promoted);
    let mut tally = Tally::default();
    replay_all(&plan, &promoted, &mut tally, "promoted");
    assert_eq!(tally.identical, 1);
    let blessed = bless(&promoted).expect("it fits");
    let blessed = Recording::read(&blessed, None).expect("an open recording");
    let verdict = |recording: &Recording| {
        let mut tracks = tracks(recording);
        let (_, track) = tracks.pop_first().expect("a connection");
        replay(&plan, &track, &mut |_| {})
    };
    assert_eq!(verdict(&blessed), verdict(&promoted), "nothing was changed");
    let missing = TrackId {
        worker: 9,
        number: 9,
    };
    assert_eq!(
        promote(&whole, missing),
        Err(PromoteError::Missing(missing))
    );
}
