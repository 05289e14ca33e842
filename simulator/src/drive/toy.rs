//! A small relay to prove the world with, and a way to break each rule with it.
use super::{Newcomer, Subject};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{End, Instant, Pipe, Refusal};
use sansbox_engine::{
    ids::{ActionId, InboundId, Slot},
    machine::{Action, Families, Input, Machine, Outcome, SlotPipes, Stage},
    record::{CloseReason, Record},
};
use std::{cell::RefCell, collections::VecDeque, rc::Rc};

pub(super) const IDLE: Duration = Duration::from_secs(300);
/// What the toy that tells names tells.
pub(super) const SECRET: &[u8] = b"hunter2";
const LIMIT: usize = 4096;
const UP: Slot = Slot(1);
const DIAL: ActionId = ActionId(0);

/// How a toy breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    Pipes,
    FlipsByte,
    WritesAfterFin,
    InventsFin,
    SwallowsFin,
    Hoards,
    LeavesDial,
    CancelsUnknown,
    ReusesSlot,
    NeverConnects,
    KeepsDeadline,
    ActsAgain,
    LeavesSlot,
    KeepsPipes,
    ClosesTwice,
    NoReason,
    InventsCause,
    PassesFull,
    TellsName,
    StaysBehind,
    MistakesReason,
    NeverEnds,
    Panics,
}

/// Dials a fixed target and relays.
pub(super) struct Toy {
    quirk: Quirk,
    to: SocketAddr,
    record: Record,
    client: [Pipe; 2],
    up: [Pipe; 2],
    actions: VecDeque<Action>,
    connected: bool,
    passing: bool,
    ended: [bool; 2],
    closed: bool,
    idle_at: Option<Instant>,
    ticks: u32,
    shared: Rc<RefCell<Vec<Shared>>>,
}

/// Something that toys share; one that stays behind holds it through itself.
#[derive(Clone, Default)]
pub(super) struct Shared(pub(super) Rc<RefCell<Vec<Self>>>);

fn pipes() -> [Pipe; 2] {
    [Pipe::new(LIMIT), Pipe::new(LIMIT)]
}

impl Toy {
    pub(super) fn new(quirk: Quirk, to: SocketAddr, newcomer: Newcomer) -> Self {
        let Newcomer {
            remote, seed, now, ..
        } = newcomer;
        let record = Record::new(InboundId(0), remote, seed, now);
        Self {
            quirk,
            to,
            record,
            client: pipes(),
            up: pipes(),
            actions: VecDeque::new(),
            connected: false,
            passing: false,
            ended: [false; 2],
            closed: false,
            idle_at: None,
            ticks: 0,
            shared: Rc::default(),
        }
    }

    pub(super) fn sharing(mut self, shared: &Shared) -> Self {
        self.shared = Rc::clone(&shared.0);
        self
    }

    fn tick(&mut self, now: Instant) {
        self.ticks += 1;
        if self.ticks == 1 {
            self.actions.push_back(Action::Log(Stage::Opened));
            if self.quirk == Quirk::NeverConnects {
                return;
            }
            let (id, slot, to) = (DIAL, UP, self.to);
            let outbound = sansbox_engine::ids::OutboundId(0);
            let dial = || Action::Dial {
                id,
                slot,
                to,
                outbound,
            };
            self.actions.push_back(dial());
            if self.quirk == Quirk::ReusesSlot {
                self.actions.push_back(dial());
            } else if self.quirk == Quirk::TellsName {
                let name = sansbox_core::Domain::parse(SECRET).unwrap();
                let (id, families) = (ActionId(1), Families::Any);
                self.actions
                    .push_back(Action::Resolve { id, name, families });
            } else if self.quirk == Quirk::StaysBehind {
                let own = Shared(Rc::clone(&self.shared));
                self.shared.borrow_mut().push(own);
            } else if self.quirk == Quirk::CancelsUnknown {
                self.actions.push_back(Action::Cancel(ActionId(9)));
            } else if self.quirk == Quirk::LeavesDial {
                self.close(CloseReason::Stopped, End::Fin);
            }
        } else if self.quirk == Quirk::ActsAgain {
            self.actions.push_back(Action::Resolve {
                id: ActionId(self.ticks),
                name: sansbox_core::Domain::parse(b"a.test").unwrap(),
                families: Families::Any,
            });
        }
        if self.idle_at.is_some_and(|at| at <= now) {
            if self.quirk == Quirk::NeverEnds {
                self.idle_at = Some(now + IDLE);
            } else if self.quirk != Quirk::KeepsDeadline {
                self.close(CloseReason::IdleTimeout, End::Reset);
            }
        }
    }

    fn close(&mut self, why: CloseReason, end: End) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.idle_at = None;
        self.record.closed = (self.quirk != Quirk::NoReason).then_some(why);
        if self.connected && self.quirk != Quirk::LeavesSlot {
            self.actions.push_back(Action::Close(UP, end));
        }
        self.actions.push_back(Action::Close(Slot::CLIENT, end));
        self.actions.push_back(Action::Log(Stage::Closed));
        if self.quirk == Quirk::ClosesTwice {
            self.actions.push_back(Action::Log(Stage::Closed));
        }
    }

    fn pipes_of(&mut self, slot: Slot) -> &mut [Pipe; 2] {
        if slot == UP {
            &mut self.up
        } else {
            &mut self.client
        }
    }

    fn ended(&mut self, slot: Slot, end: End) {
        let index = usize::from(slot == UP);
        if end == End::Reset {
            let why = [CloseReason::ClientReset, CloseReason::UpstreamReset][index];
            return self.close(why, End::Reset);
        }
        self.ended[index] = true;
        if !self.passing {
            let _ = self.pipes_of(slot)[0].finish();
        }
        if self.passing && self.ended == [true; 2] {
            self.close(CloseReason::Completed, End::Fin);
        }
    }

    fn done(&mut self, now: Instant, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Connected(_) => {
                self.connected = true;
                self.idle_at = Some(now + IDLE);
                self.actions.push_back(Action::Log(Stage::Connected));
            }
            Outcome::Failed(refusal) => {
                let invented = Refusal::HostUnreachable;
                let why = if self.quirk == Quirk::InventsCause {
                    invented
                } else {
                    refusal
                };
                self.actions.push_back(Action::Log(Stage::Refused(why)));
                self.close(CloseReason::Refused(why), End::Reset);
            }
            Outcome::Resolved(_) | Outcome::Bound(_) => {}
        }
    }

    /// Moves bytes between the slots.
    fn pump(&mut self) {
        if !self.connected || self.passing || self.closed {
            return;
        }
        let ([client_rx, client_tx], [up_rx, up_tx]) = (&mut self.client, &mut self.up);
        if self.quirk == Quirk::PassesFull && !client_rx.is_empty() {
            self.actions
                .push_back(Action::Passthrough(Slot::CLIENT, UP));
            return;
        }
        if self.quirk == Quirk::FlipsByte && client_rx.len() > 100 {
            let mut bytes = client_rx.take(usize::MAX).unwrap();
            bytes[0] ^= 1;
            up_tx.push(bytes);
        }
        if matches!(self.quirk, Quirk::Hoards | Quirk::SwallowsFin) {
            while let Some(bytes) = client_rx.take(usize::MAX) {
                up_tx.push(bytes);
            }
        } else {
            let _ = client_rx.transfer(up_tx);
        }
        let _ = up_rx.transfer(client_tx);
        if self.quirk == Quirk::InventsFin && self.record.bytes_up > 100 {
            let _ = up_tx.finish();
        }
        let all_empty = self.client.iter().chain(&self.up).all(|p| p.is_empty());
        let any_end = self
            .client
            .iter()
            .chain(&self.up)
            .any(|p| p.end() != End::Open);
        let is_over = self.client[1].is_eof() && self.up[1].is_eof();
        if is_over && self.quirk == Quirk::MistakesReason {
            self.close(CloseReason::Stopped, End::Fin);
        } else if is_over && self.quirk != Quirk::NeverEnds {
            self.close(CloseReason::Completed, End::Fin);
        } else if all_empty && !any_end && self.quirk == Quirk::None {
            self.passing = true;
            self.actions
                .push_back(Action::Passthrough(Slot::CLIENT, UP));
        }
    }
}

impl Machine for Toy {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Tick => self.tick(now),
            Input::Received(slot, bytes) => {
                assert!(self.quirk != Quirk::Panics, "this toy breaks");
                if slot == UP {
                    self.record.bytes_down += bytes.len() as u64;
                } else {
                    self.record.bytes_up += bytes.len() as u64;
                }
                self.pipes_of(slot)[0].push(bytes);
                if self.quirk == Quirk::WritesAfterFin && self.client[1].is_eof() {
                    self.client[1] = Pipe::new(LIMIT);
                    self.client[1].push_slice(b"more");
                }
            }
            Input::Drained(slot, n) => {
                self.pipes_of(slot)[1].skip(n);
            }
            Input::Ended(slot, end) => self.ended(slot, end),
            Input::Datagram { .. } | Input::DatagramError { .. } => {}
            Input::Done(_, outcome) => self.done(now, outcome),
            Input::Relayed(slot, n) if slot == UP => self.record.bytes_down += n,
            Input::Relayed(_, n) => self.record.bytes_up += n,
            Input::Stop => self.close(CloseReason::Stopped, End::Reset),
        }
        self.pump();
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        let [rx, tx] = match slot {
            Slot::CLIENT => &self.client,
            _ => &self.up,
        };
        let is_live = slot == Slot::CLIENT || self.connected;
        let keeps = self.quirk == Quirk::KeepsPipes;
        (is_live && !self.passing && (keeps || !self.closed)).then_some(SlotPipes { rx, tx })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.idle_at
    }

    fn is_finished(&self) -> bool {
        self.closed && self.actions.is_empty()
    }
}

impl Subject for Toy {
    fn record(&self) -> Option<&Record> {
        Some(&self.record)
    }
}
