//! One recorded machine, made again and told the same.
use super::{
    device,
    heard::{Heard, Listener, play},
};
use crate::drive::Subject;
use bytes::BytesMut;
use core::fmt;
use sansbox_core::Instant;
use sansbox_engine::{
    Association, Plan, Session,
    carrier::{self, Stream},
    ids::Slot,
    machine::{Action, Input, Outcome, Wanted},
    record::CloseReason,
};
use sansbox_flight::{
    Track,
    outputs::{Counts, TooFew},
    wire::{Answer, Begin, Content, Entry, MachineKind, put_action},
};
use std::sync::Arc;

/// What became of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that came out was the same.
    Identical(Replayed),
    /// All that came out was the same, until only sizes were recorded.
    IdenticalUntilCut(Replayed),
    /// The ring had dropped its beginning: there is nothing to begin with.
    Partial,
    /// Only times and sizes of it were recorded.
    NoContent,
    /// Something was different.
    Diverged(Divergence),
}

/// How much was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Inputs.
    pub inputs: u64,
    /// What came out of the machine.
    pub outputs: Counts,
    /// The digest of what came out.
    pub digest: [u8; 32],
}

/// The first difference between a recording and its replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The inputs before it.
    pub input: u64,
    /// When it was recorded.
    pub at: Instant,
    /// What it is.
    pub what: Difference,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The machine wants other things done than it wanted then, or does not want them yet.
    #[error("{recorded} actions were recorded, the replay has {replayed}: {shown}")]
    Actions {
        /// How many then.
        recorded: u64,
        /// How many now.
        replayed: u64,
        /// What they are now.
        shown: String,
    },
    /// As many actions and bytes, but not the same.
    #[error("actions or bytes differ from the recorded ones; the replay has {shown}")]
    Digest {
        /// The actions since the last time that both were known to be the same.
        shown: String,
    },
    /// Fewer bytes to send.
    #[error("slot {}: {source}", .slot.0)]
    Bytes {
        /// Where.
        slot: Slot,
        /// How many.
        source: TooFew,
    },
    /// A session took more of a stream than was there.
    #[error("stream {:#x}: {source}", .stream.0)]
    Stream {
        /// Which.
        stream: Stream,
        /// How many bytes.
        source: TooFew,
    },
    /// A session wrote to a stream that is over now.
    #[error("stream {:#x} is over, and was written to", .0.0)]
    StreamOver(Stream),
    /// A batch of frames is not whole, or longer than a carrier takes.
    #[error("a batch of {recorded} frames was recorded, {found} are there")]
    Batch {
        /// How many it had.
        recorded: u64,
        /// How many there are.
        found: u64,
    },
    /// Another end.
    #[error("it ended otherwise: recorded {recorded}, replayed {replayed}")]
    End {
        /// Then.
        recorded: Ending,
        /// Now.
        replayed: Ending,
    },
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub closed: Option<CloseReason>,
    /// Payload bytes from the client.
    pub bytes_up: u64,
    /// Payload bytes to the client.
    pub bytes_down: u64,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.closed.map_or("still running", CloseReason::reason);
        write!(
            f,
            "{reason}, {} bytes up, {} down",
            self.bytes_up, self.bytes_down
        )
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "behind input {} at {}: {}",
            self.input, self.at, self.what
        )
    }
}

/// One thing that happens in a replay.
#[derive(Clone, Debug)]
pub struct Event<'e> {
    /// When, on the clock of the recorded machines.
    pub at: Instant,
    /// Inputs so far; an input counts itself.
    pub input: u64,
    /// What.
    pub kind: EventKind<'e>,
}

/// What happens in a replay.
#[derive(Clone, Debug)]
pub enum EventKind<'e> {
    /// The machine is told something.
    Input(&'e Entry<'e>),
    /// The machine wants something done.
    Action(&'e Action),
    /// These bytes leave a slot's transmit pipe; the segments belong together.
    Sent(Slot, &'e [&'e [u8]]),
    /// The carrier of a device tells something.
    Told(&'e carrier::Event),
    /// A packet leaves for the device, without a header in front. A checksum may be left to the
    /// device.
    Packet(&'e [u8]),
    /// What one exchange had for a session; the segments belong together.
    Received(Stream, &'e [&'e [u8]]),
}

/// Replays one machine on `plan`, and tells `watch` of everything that happens.
pub fn replay(plan: &Arc<Plan>, track: &Track<'_>, watch: &mut dyn FnMut(Event<'_>)) -> Verdict {
    let Some((at, begin)) = &track.begin else {
        return Verdict::Partial;
    };
    if let MachineKind::Device(facts) = begin.kind {
        return device::replay(plan, (*at, begin, facts), &track.entries, watch);
    }
    let Some(machine) = machine(plan, begin, *at) else {
        return Verdict::NoContent;
    };
    let mut player = Player {
        machine,
        heard: Heard::new("action", *at, watch),
    };
    play(&mut player, &track.entries)
}

/// The recorded machine as it was in the beginning; `None` without content, and when the plan
/// has no such inbound. Not for carriers.
pub(super) fn machine(plan: &Arc<Plan>, begin: &Begin, at: Instant) -> Option<Box<dyn Subject>> {
    let Content { peer, seed, target } = begin.content.as_ref()?;
    let (peer, seed) = (*peer, *seed);
    plan.inbounds().get(usize::from(begin.inbound.0))?;
    let plan = Arc::clone(plan);
    let carried = |plan, wanted| -> Box<dyn Subject> {
        Box::new(Session::carried(
            plan,
            begin.inbound,
            peer,
            wanted,
            seed,
            at,
        ))
    };
    Some(match begin.kind {
        MachineKind::Session => Box::new(Session::new(plan, begin.inbound, peer, seed, at)),
        MachineKind::Association => Box::new(Association::new(plan, begin.inbound, peer, seed, at)),
        MachineKind::Carried => carried(plan, Wanted::Connection(target.clone()?)),
        MachineKind::CarriedDatagrams => carried(plan, Wanted::Datagrams),
        MachineKind::Device(_) => return None,
    })
}

/// The input that an entry stands for; `None` when it is none, or has no content.
pub(super) fn input<'e>(entry: &'e Entry<'_>) -> Option<Input<'e>> {
    Some(match entry {
        Entry::Tick => Input::Tick,
        Entry::Received { slot, bytes, .. } => Input::Received(*slot, BytesMut::from((*bytes)?)),
        Entry::Drained(slot, n) => Input::Drained(*slot, usize::try_from(*n).ok()?),
        Entry::Ended(slot, end) => Input::Ended(*slot, *end),
        Entry::Datagram { slot, content, .. } => {
            let (from, data) = (*content)?;
            Input::Datagram {
                slot: *slot,
                from,
                data: BytesMut::from(data),
            }
        }
        Entry::DatagramError(slot, content) => {
            let (slot, (to, error)) = (*slot, (*content)?);
            Input::DatagramError { slot, to, error }
        }
        Entry::Done(id, answer) => Input::Done(
            *id,
            match answer {
                Answer::Resolved(_, addresses) => Outcome::Resolved(addresses.as_deref()?),
                Answer::Connected(local) => Outcome::Connected((*local)?),
                Answer::Bound(local) => Outcome::Bound((*local)?),
                Answer::Failed(why) => Outcome::Failed(*why),
            },
        ),
        Entry::Relayed(slot, n) => Input::Relayed(*slot, *n),
        Entry::Stop => Input::Stop,
        Entry::Begin(_)
        | Entry::Device(_)
        | Entry::Asked(_)
        | Entry::Produced { .. }
        | Entry::Cut
        | Entry::End { .. } => return None,
    })
}

struct Player<'w> {
    machine: Box<dyn Subject>,
    heard: Heard<'w>,
}

impl<'w> Listener<'w> for Player<'w> {
    fn heard(&mut self) -> &mut Heard<'w> {
        &mut self.heard
    }

    fn step(&mut self, entry: &Entry<'_>, _: bool) -> Result<bool, Difference> {
        match entry {
            Entry::Produced { actions, digest } => self.heard.compare(*actions, *digest, false)?,
            Entry::Cut => return Ok(false),
            Entry::End {
                closed,
                bytes_up,
                bytes_down,
                digest,
            } => {
                let recorded = Ending {
                    closed: *closed,
                    bytes_up: *bytes_up,
                    bytes_down: *bytes_down,
                };
                let record = self.machine.record();
                let replayed = record.map_or(recorded, |record| Ending {
                    closed: record.closed,
                    bytes_up: record.bytes_up,
                    bytes_down: record.bytes_down,
                });
                self.heard.compare_end(recorded, replayed, *digest)?;
            }
            // Without content there is nothing to say of a machine that is made.
            Entry::Begin(_) | Entry::Device(_) | Entry::Asked(_) => {}
            Entry::Tick
            | Entry::Received { .. }
            | Entry::Drained(..)
            | Entry::Ended(..)
            | Entry::Datagram { .. }
            | Entry::DatagramError(..)
            | Entry::Done(..)
            | Entry::Relayed(..)
            | Entry::Stop => {
                let Some(input) = input(entry) else {
                    return Ok(false);
                };
                self.tell(entry, input)?;
            }
        }
        Ok(true)
    }
}

impl Player<'_> {
    fn tell(&mut self, entry: &Entry<'_>, input: Input<'_>) -> Result<(), Difference> {
        self.heard.inputs += 1;
        self.heard.show(EventKind::Input(entry));
        if let Input::Drained(slot, n) = input {
            self.drain(slot, n)?;
        }
        self.machine.apply(self.heard.at, input);
        while let Some(action) = self.machine.poll_action() {
            self.heard.show(EventKind::Action(&action));
            let mut encoded = Vec::new();
            put_action(&mut encoded, &action);
            self.heard.told(encoded, name(&action));
        }
        Ok(())
    }

    fn drain(&mut self, slot: Slot, n: usize) -> Result<(), Difference> {
        let pipes = self.machine.pipes(slot);
        let drained = self.heard.outputs.drained(slot, n as u64, pipes);
        drained.map_err(|source| Difference::Bytes { slot, source })?;
        let mut left = n;
        let mut sent = Vec::new();
        for segment in pipes.iter().flat_map(|pipes| pipes.tx.segments()) {
            let front = segment.get(..left).unwrap_or(segment);
            left -= front.len();
            sent.push(front);
        }
        self.heard.show(EventKind::Sent(slot, &sent));
        Ok(())
    }
}

/// An action as text, without payload.
pub(super) fn name(action: &Action) -> String {
    match action {
        Action::Send { slot, to, data } => format!("Send({slot:?}, {to}, {} bytes)", data.len()),
        Action::Resolve { .. }
        | Action::Dial { .. }
        | Action::Bind { .. }
        | Action::OpenStream { .. }
        | Action::Answer(_)
        | Action::DatagramError { .. }
        | Action::Cancel(_)
        | Action::Close(..)
        | Action::Passthrough(..)
        | Action::Log(_) => format!("{action:?}"),
    }
}
