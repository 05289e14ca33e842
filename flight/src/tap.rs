//! A machine whose inputs are written down before it sees them.
use crate::{
    file::Mode,
    whole::Whole,
    wire::{Asked, Begin, Content, Entry, MachineKind},
};
use sansbox_core::{Instant, Seed, Target};
use sansbox_engine::{
    Peer,
    drive::Recorded,
    ids::{InboundId, Slot},
    machine::{Action, Input, Machine, SlotPipes},
    record,
};

/// Where records go: the ring of a worker.
pub trait Tape {
    /// A number for a new machine, never given out before.
    fn next_number(&self) -> u64;

    /// Keeps a record.
    fn write(&self, at: Instant, number: u64, entry: &Entry<'_>);
}

/// What a machine was made from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Which kind.
    pub kind: MachineKind,
    /// Where it came in.
    pub inbound: InboundId,
    /// Both addresses, as they were given to the machine.
    pub peer: Peer,
    /// Its randomness.
    pub seed: Seed,
    /// What a carried session leads to.
    pub target: Option<Target>,
    /// When.
    pub now: Instant,
}

impl Origin {
    /// What stands for it in a recording.
    pub(crate) fn begin(self, log_id: u32, mode: Mode) -> Begin {
        let Self {
            kind,
            inbound,
            peer,
            seed,
            target,
            now: _,
        } = self;
        let content = Content { peer, seed, target };
        Begin {
            kind,
            inbound,
            log_id,
            content: mode.has_content().then_some(content),
        }
    }
}

/// A machine whose inputs are written down, and whose outputs are hashed where a replay can have
/// them.
#[derive(Debug)]
pub struct Tapped<M: Machine, T: Tape> {
    machine: M,
    tap: Tap<T>,
    record: fn(&M) -> &record::Record,
}

#[derive(Debug)]
struct Tap<T> {
    tape: T,
    number: u64,
    last: Instant,
    /// With content; `None`: sizes only.
    whole: Option<Box<Whole>>,
    /// Its end is written.
    is_over: bool,
    has_actions: bool,
}

impl<M: Machine, T: Tape> Tapped<M, T> {
    /// Wraps a machine that was just made from `origin`. `record` says where it keeps what it
    /// knows of itself.
    pub fn new(
        machine: M,
        record: fn(&M) -> &record::Record,
        tape: T,
        mode: Mode,
        origin: Origin,
    ) -> Self {
        let number = tape.next_number();
        let now = origin.now;
        let begin = origin.begin(record(&machine).id, mode);
        tape.write(now, number, &Entry::Begin(begin));
        let whole = Whole::of(mode);
        let tap = Tap {
            tape,
            number,
            last: now,
            whole,
            is_over: false,
            has_actions: true,
        };
        Self {
            machine,
            tap,
            record,
        }
    }

    /// The machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }
}

impl<T: Tape> Tap<T> {
    #[inline]
    fn input<M: Machine>(&mut self, machine: &M, now: Instant, input: &Input<'_>) {
        self.last = now;
        self.has_actions = true;
        if let Some(whole) = &mut self.whole
            && !follow(whole, machine, input)
        {
            self.whole = None;
            self.tape.write(now, self.number, &Entry::Cut);
        }
        let entry = Entry::of_input(input, self.whole.is_some());
        self.tape.write(now, self.number, &entry);
    }

    fn action(&mut self, action: &Action) {
        if let Some(whole) = &mut self.whole {
            whole.outputs.action(action);
            whole.is_changed = true;
        } else if let Some(asked) = Asked::of(action) {
            self.tape
                .write(self.last, self.number, &Entry::Asked(asked));
        }
    }

    /// Everything that the machine wanted is done.
    fn checkpoint(&mut self) {
        if let Some(entry) = self.whole.as_mut().and_then(|whole| whole.checkpoint()) {
            self.tape.write(self.last, self.number, &entry);
        }
    }

    fn end(&mut self, record: &record::Record) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        let entry = Entry::End {
            closed: record.closed,
            bytes_up: record.bytes_up,
            bytes_down: record.bytes_down,
            digest: self.whole.as_ref().map(|whole| whole.outputs.digest()),
        };
        self.tape.write(self.last, self.number, &entry);
        self.whole = None;
    }
}

/// Takes an input into account; false when its bytes are too many to be kept.
fn follow(whole: &mut Whole, machine: &impl Machine, input: &Input<'_>) -> bool {
    let bytes = match input {
        Input::Received(_, bytes) => bytes.len(),
        Input::Datagram { data, .. } => data.len(),
        Input::Drained(slot, n) => {
            // A driver never drains more than there is, and if it did the replay would say so.
            let pipes = machine.pipes(*slot);
            let drained = whole.outputs.drained(*slot, *n as u64, pipes);
            whole.is_changed |= drained.is_ok();
            0
        }
        Input::Tick
        | Input::Ended(..)
        | Input::DatagramError { .. }
        | Input::Done(..)
        | Input::Relayed(..)
        | Input::Stop => 0,
    };
    whole.spend(bytes)
}

impl<M: Machine, T: Tape> Machine for Tapped<M, T> {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        self.tap.input(&self.machine, now, &input);
        self.machine.apply(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.machine.poll_action();
        match &action {
            Some(action) => self.tap.action(action),
            None if self.tap.has_actions => {
                self.tap.has_actions = false;
                self.tap.checkpoint();
                if self.machine.is_finished() {
                    self.tap.end((self.record)(&self.machine));
                }
            }
            None => {}
        }
        action
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        self.machine.pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn is_finished(&self) -> bool {
        self.machine.is_finished()
    }
}

impl<M: Recorded, T: Tape> Recorded for Tapped<M, T> {
    fn record(&self) -> &record::Record {
        self.machine.record()
    }
}

impl<M: Machine, T: Tape> Drop for Tapped<M, T> {
    fn drop(&mut self) {
        self.tap.end((self.record)(&self.machine));
    }
}
