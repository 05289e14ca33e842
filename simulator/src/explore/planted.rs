//! A small relay with bugs that only faults bring out, to prove that sweeps find bugs and that
//! what they find gets small. It looks a name up, dials what it finds, tries again, and relays.
use crate::drive::{Newcomer, Subject};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Domain, End, Instant, Pipe, Refusal};
use sansbox_engine::{
    ids::{ActionId, InboundId, OutboundId, Slot},
    machine::{Action, Families, Input, Machine, Outcome, SlotPipes, Stage},
    record::{CloseReason, Record},
};
use std::collections::VecDeque;

/// Bytes that a pipe holds.
const PIPE_LIMIT: usize = 4096;
/// Dials before it gives up.
const DIALS_MAX: u32 = 3;
/// How long it waits for a dial, and before the next one.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a relay may be silent.
const IDLE: Duration = Duration::from_secs(300);
/// How long a lookup may take.
const LOOKUP_TIME: Duration = Duration::from_secs(8);
/// Bytes that it keeps for another try.
const KEPT_LEN: usize = 512;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// When the upstream resets, it dials again and sends what it sent at first once more.
    Replays,
    /// A dial that fails after a lookup has failed is tried again in the past.
    Spins,
    /// A dial that takes too long is forgotten, not cancelled.
    Forgets,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Looking(ActionId),
    Dialing(ActionId, Slot),
    Resting,
    Relaying(Slot),
    Over,
}

/// The relay.
pub(crate) struct Planted {
    bug: Bug,
    name: Domain,
    port: u16,
    /// Where to go when the name is not found.
    fallback: SocketAddr,
    to: SocketAddr,
    phase: Phase,
    next_id: u32,
    dials: u32,
    lookup_failed: bool,
    kept: Vec<u8>,
    until: Option<Instant>,
    client: [Pipe; 2],
    up: [Pipe; 2],
    actions: VecDeque<Action>,
    record: Record,
}

fn pipes() -> [Pipe; 2] {
    [Pipe::new(PIPE_LIMIT), Pipe::new(PIPE_LIMIT)]
}

impl Planted {
    /// A relay to a name, or to `fallback` when that is not found.
    pub(crate) fn new(bug: Bug, name: Domain, fallback: SocketAddr, newcomer: Newcomer) -> Self {
        Self {
            bug,
            name,
            port: fallback.port(),
            fallback,
            to: fallback,
            phase: Phase::New,
            next_id: 0,
            dials: 0,
            lookup_failed: false,
            kept: Vec::new(),
            until: None,
            client: pipes(),
            up: pipes(),
            actions: VecDeque::new(),
            record: Record::new(InboundId(0), newcomer.remote, newcomer.seed, newcomer.now),
        }
    }

    const fn fresh(&mut self) -> ActionId {
        let id = ActionId(self.next_id);
        self.next_id += 1;
        id
    }

    fn dial(&mut self, now: Instant) {
        if self.dials == DIALS_MAX {
            return self.refuse(Refusal::TimedOut);
        }
        self.dials += 1;
        let id = self.fresh();
        let slot = Slot(self.dials);
        self.phase = Phase::Dialing(id, slot);
        self.until = Some(now + PATIENCE);
        self.actions.push_back(Action::Dial {
            id,
            slot,
            to: self.to,
            outbound: OutboundId(0),
        });
    }

    fn refuse(&mut self, why: Refusal) {
        self.actions.push_back(Action::Log(Stage::Refused(why)));
        self.close(CloseReason::Refused(why), End::Reset);
    }

    fn close(&mut self, why: CloseReason, how: End) {
        match self.phase {
            Phase::Over => return,
            Phase::Looking(id) | Phase::Dialing(id, _) => {
                self.actions.push_back(Action::Cancel(id));
            }
            Phase::Relaying(slot) => self.actions.push_back(Action::Close(slot, how)),
            Phase::New | Phase::Resting => {}
        }
        self.phase = Phase::Over;
        self.until = None;
        self.record.closed = Some(why);
        self.actions.push_back(Action::Close(Slot::CLIENT, how));
        self.actions.push_back(Action::Log(Stage::Closed));
    }

    fn tick(&mut self, now: Instant) {
        if self.phase == Phase::New {
            self.actions.push_back(Action::Log(Stage::Opened));
            let id = self.fresh();
            self.phase = Phase::Looking(id);
            self.until = Some(now + LOOKUP_TIME);
            let name = self.name.clone();
            let families = Families::Any;
            self.actions
                .push_back(Action::Resolve { id, name, families });
            return;
        }
        if self.until.is_none_or(|until| until > now) {
            return;
        }
        match self.phase {
            Phase::Looking(id) => {
                self.actions.push_back(Action::Cancel(id));
                self.phase = Phase::Resting;
                self.dial(now);
            }
            Phase::Dialing(id, _) => {
                if self.bug != Bug::Forgets {
                    self.actions.push_back(Action::Cancel(id));
                }
                self.phase = Phase::Resting;
                self.dial(now);
            }
            Phase::Resting if self.bug == Bug::Spins && self.lookup_failed => {}
            Phase::Resting => self.dial(now),
            Phase::Relaying(_) => self.close(CloseReason::IdleTimeout, End::Reset),
            Phase::New | Phase::Over => {}
        }
    }

    fn done(&mut self, now: Instant, id: ActionId, outcome: Outcome<'_>) {
        match (self.phase, outcome) {
            (Phase::Looking(_), Outcome::Resolved(addresses)) => {
                let first = addresses.first().copied();
                let at = |ip| SocketAddr::new(ip, self.port);
                self.to = first.map_or(self.fallback, at);
                self.dial(now);
            }
            (Phase::Looking(_), Outcome::Failed(_)) => {
                self.lookup_failed = true;
                self.dial(now);
            }
            (Phase::Dialing(of, slot), Outcome::Connected(_)) if of == id => {
                self.phase = Phase::Relaying(slot);
                self.until = Some(now + IDLE);
                self.up = pipes();
                self.up[1].push_slice(&self.kept);
                self.actions.push_back(Action::Log(Stage::Connected));
            }
            (Phase::Dialing(of, _), Outcome::Failed(_)) if of == id => {
                self.phase = Phase::Resting;
                self.until = Some(now + PATIENCE);
            }
            _ => {}
        }
    }

    fn ended(&mut self, now: Instant, slot: Slot, end: End) {
        if end == End::Fin {
            let pipes = if slot == Slot::CLIENT {
                &mut self.client
            } else {
                &mut self.up
            };
            let _ = pipes[0].finish();
        } else if slot == Slot::CLIENT {
            self.close(CloseReason::ClientReset, End::Reset);
        } else if self.bug == Bug::Replays && self.record.bytes_down == 0 {
            self.actions.push_back(Action::Close(slot, End::Reset));
            self.phase = Phase::Resting;
            self.dial(now);
        } else {
            self.close(CloseReason::UpstreamReset, End::Reset);
        }
    }

    fn pump(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Relaying(_)) {
            return;
        }
        let ([client_rx, client_tx], [up_rx, up_tx]) = (&mut self.client, &mut self.up);
        let room = KEPT_LEN - self.kept.len();
        if self.bug == Bug::Replays && room > 0 {
            let first = client_rx.first();
            self.kept
                .extend_from_slice(first.get(..room).unwrap_or(first));
        }
        let moved = client_rx.transfer(up_tx) | up_rx.transfer(client_tx);
        if moved == sansbox_core::Progress::MADE {
            self.until = Some(now + IDLE);
        }
        if self.client[1].is_eof() && self.up[1].is_eof() {
            self.close(CloseReason::Completed, End::Fin);
        }
    }
}

impl Machine for Planted {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Tick => self.tick(now),
            Input::Received(Slot::CLIENT, bytes) => {
                self.record.bytes_up += bytes.len() as u64;
                self.client[0].push(bytes);
            }
            Input::Received(_, bytes) => {
                self.record.bytes_down += bytes.len() as u64;
                self.up[0].push(bytes);
            }
            Input::Drained(Slot::CLIENT, n) => {
                self.client[1].skip(n);
            }
            Input::Drained(_, n) => {
                self.up[1].skip(n);
            }
            Input::Ended(slot, end) => self.ended(now, slot, end),
            Input::Done(id, outcome) => self.done(now, id, outcome),
            Input::Stop => self.close(CloseReason::Stopped, End::Reset),
            Input::Datagram { .. } | Input::DatagramError { .. } | Input::Relayed(..) => {}
        }
        self.pump(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        let [rx, tx] = match self.phase {
            Phase::Over => return None,
            Phase::Relaying(up) if up == slot => &self.up,
            Phase::New
            | Phase::Looking(_)
            | Phase::Dialing(..)
            | Phase::Resting
            | Phase::Relaying(_) => match slot {
                Slot::CLIENT => &self.client,
                _ => return None,
            },
        };
        Some(SlotPipes { rx, tx })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.actions.is_empty()
    }
}

impl Subject for Planted {
    fn record(&self) -> Option<&Record> {
        Some(&self.record)
    }
}
