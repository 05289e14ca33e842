//! A machine and what its driver may do next. A machine trusts its driver to keep the contract;
//! here the driver is somebody else's C, so each input is checked before it is applied.
use crate::status::Status;
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{End, Instant, Refusal};
use sansbox_engine::{
    Association, Session,
    ids::{ActionId, Slot},
    machine::{Action, Input, Machine, Outcome},
    record::Record,
};
use std::collections::{BTreeMap, VecDeque};

/// Most actions that may wait to be polled before inputs are refused.
pub const ACTIONS_MAX: usize = 1024;
/// Longest datagram in bytes: what a UDP header can say.
pub const DATAGRAM_LEN_MAX: usize = 65_535;
/// Most addresses of one answer.
pub const ADDRESSES_MAX: usize = 256;

/// Either kind of machine.
#[derive(Debug)]
pub(crate) enum Kind {
    Session(Box<Session>),
    Association(Box<Association>),
}

impl Kind {
    fn machine(&self) -> &dyn Machine {
        match self {
            Self::Session(session) => &**session,
            Self::Association(association) => &**association,
        }
    }

    fn machine_mut(&mut self) -> &mut dyn Machine {
        match self {
            Self::Session(session) => &mut **session,
            Self::Association(association) => &mut **association,
        }
    }
}

/// What a slot can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Socket {
    Stream {
        ended: bool,
    },
    /// The bytes go past the machine.
    Relayed {
        ended: bool,
    },
    Udp,
    /// Reset; the machine has yet to close it.
    Dead,
}

/// An action that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Resolve,
    Dial(Slot),
    Bind(Slot),
}

/// A machine behind its checks.
#[derive(Debug)]
pub(crate) struct Driven {
    kind: Kind,
    now: Instant,
    sockets: BTreeMap<Slot, Socket>,
    asked: BTreeMap<ActionId, Asked>,
    /// Taken from the machine, not yet polled.
    actions: VecDeque<Action>,
}

impl Driven {
    /// Starts a machine that was made at `now`.
    pub(crate) fn new(kind: Kind, now: Instant) -> Self {
        let client = match kind {
            Kind::Session(_) => Socket::Stream { ended: false },
            Kind::Association(_) => Socket::Udp,
        };
        let mut driven = Self {
            kind,
            now,
            sockets: BTreeMap::from([(Slot::CLIENT, client)]),
            asked: BTreeMap::new(),
            actions: VecDeque::new(),
        };
        driven.apply(Input::Tick);
        driven
    }

    /// Time goes on; refuses to hear more from a driver that does not listen.
    fn at(&mut self, now: u64) -> Result<(), Status> {
        let now = Instant::from_nanos(now);
        if now < self.now {
            return Err(Status::BadTime);
        }
        if self.actions.len() >= ACTIONS_MAX {
            return Err(Status::BadOrder);
        }
        self.now = now;
        Ok(())
    }

    fn apply(&mut self, input: Input<'_>) {
        let machine = self.kind.machine_mut();
        machine.apply(self.now, input);
        while let Some(action) = machine.poll_action() {
            match &action {
                Action::Resolve { id, .. } => {
                    self.asked.insert(*id, Asked::Resolve);
                }
                Action::Dial { id, slot, .. } => {
                    self.asked.insert(*id, Asked::Dial(*slot));
                }
                Action::Bind { id, slot, .. } => {
                    self.asked.insert(*id, Asked::Bind(*slot));
                }
                Action::Cancel(id) => {
                    self.asked.remove(id);
                }
                Action::Close(slot, _) => {
                    self.sockets.remove(slot);
                }
                Action::Passthrough(a, b) => {
                    for slot in [a, b] {
                        let relayed = Socket::Relayed { ended: false };
                        self.sockets.insert(*slot, relayed);
                    }
                }
                // Plans with carriers are refused.
                Action::OpenStream { .. } | Action::Answer(_) | Action::DatagramError { .. } => {}
                Action::Send { .. } | Action::Log(_) => {}
            }
            self.actions.push_back(action);
        }
    }

    fn socket(&self, slot: Slot) -> Result<Socket, Status> {
        self.sockets.get(&slot).copied().ok_or(Status::BadSlot)
    }

    /// A stream slot whose bytes pass the machine.
    fn stream(&self, slot: Slot) -> Result<(), Status> {
        match self.socket(slot)? {
            Socket::Stream { .. } => Ok(()),
            Socket::Dead => Err(Status::BadOrder),
            Socket::Relayed { .. } | Socket::Udp => Err(Status::BadSlot),
        }
    }

    pub(crate) fn tick(&mut self, now: u64) -> Result<Status, Status> {
        self.at(now)?;
        self.apply(Input::Tick);
        Ok(Status::Ok)
    }

    pub(crate) fn stop(&mut self, now: u64) -> Result<Status, Status> {
        self.at(now)?;
        self.apply(Input::Stop);
        Ok(Status::Ok)
    }

    /// Takes what the slot has room for; returns how much that was.
    pub(crate) fn received(&mut self, now: u64, slot: u32, data: &[u8]) -> Result<usize, Status> {
        let slot = Slot(slot);
        self.stream(slot)?;
        if self.socket(slot)? == (Socket::Stream { ended: true }) {
            return Err(Status::BadOrder);
        }
        let room = self.room(slot.0)?;
        self.at(now)?;
        let fits = data.get(..data.len().min(room)).unwrap_or_default();
        if !fits.is_empty() {
            self.apply(Input::Received(slot, BytesMut::from(fits)));
        }
        Ok(fits.len())
    }

    pub(crate) fn drained(&mut self, now: u64, slot: u32, len: usize) -> Result<Status, Status> {
        let slot = Slot(slot);
        self.stream(slot)?;
        let pipes = self.kind.machine().pipes(slot).ok_or(Status::BadSlot)?;
        if len > pipes.tx.len() {
            return Err(Status::BadArgument);
        }
        self.at(now)?;
        self.apply(Input::Drained(slot, len));
        Ok(Status::Ok)
    }

    pub(crate) fn ended(&mut self, now: u64, slot: u32, end: End) -> Result<Status, Status> {
        let slot = Slot(slot);
        let next = match (self.socket(slot)?, end) {
            (Socket::Udp, _) => return Err(Status::BadSlot),
            (Socket::Dead, _)
            | (Socket::Stream { ended: true } | Socket::Relayed { ended: true }, End::Fin)
            | (_, End::Open) => return Err(Status::BadOrder),
            (_, End::Reset) => Socket::Dead,
            (Socket::Stream { .. }, End::Fin) => Socket::Stream { ended: true },
            (Socket::Relayed { .. }, End::Fin) => Socket::Relayed { ended: true },
        };
        self.at(now)?;
        self.sockets.insert(slot, next);
        self.apply(Input::Ended(slot, end));
        Ok(Status::Ok)
    }

    pub(crate) fn datagram(
        &mut self,
        now: u64,
        slot: u32,
        from: SocketAddr,
        data: &[u8],
    ) -> Result<Status, Status> {
        let slot = Slot(slot);
        if self.socket(slot)? != Socket::Udp {
            return Err(Status::BadSlot);
        }
        if data.len() > DATAGRAM_LEN_MAX {
            return Err(Status::BadArgument);
        }
        self.at(now)?;
        let data = BytesMut::from(data);
        self.apply(Input::Datagram { slot, from, data });
        Ok(Status::Ok)
    }

    pub(crate) fn relayed(&mut self, now: u64, slot: u32, bytes: u64) -> Result<Status, Status> {
        let slot = Slot(slot);
        if !matches!(self.socket(slot)?, Socket::Relayed { .. }) {
            return Err(Status::BadSlot);
        }
        let record = self.record();
        let so_far = record.bytes_up.max(record.bytes_down);
        so_far.checked_add(bytes).ok_or(Status::BadArgument)?;
        self.at(now)?;
        self.apply(Input::Relayed(slot, bytes));
        Ok(Status::Ok)
    }

    /// Whether an action waits for this kind of answer.
    fn answer(&self, id: ActionId, fits: impl Fn(Asked) -> bool) -> Result<Asked, Status> {
        let asked = self.asked.get(&id).copied().filter(|asked| fits(*asked));
        asked.ok_or(Status::BadOrder)
    }

    pub(crate) fn resolved(
        &mut self,
        now: u64,
        id: u32,
        addresses: &[IpAddr],
    ) -> Result<Status, Status> {
        let id = ActionId(id);
        if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
            return Err(Status::BadArgument);
        }
        self.answer(id, |asked| asked == Asked::Resolve)?;
        self.at(now)?;
        self.asked.remove(&id);
        self.apply(Input::Done(id, Outcome::Resolved(addresses)));
        Ok(Status::Ok)
    }

    pub(crate) fn connected(
        &mut self,
        now: u64,
        id: u32,
        local: SocketAddr,
    ) -> Result<Status, Status> {
        let id = ActionId(id);
        let asked = self.answer(id, |asked| asked != Asked::Resolve)?;
        self.at(now)?;
        self.asked.remove(&id);
        let outcome = match asked {
            Asked::Bind(slot) => {
                self.sockets.insert(slot, Socket::Udp);
                Outcome::Bound(local)
            }
            Asked::Dial(slot) => {
                let socket = Socket::Stream { ended: false };
                self.sockets.insert(slot, socket);
                Outcome::Connected(local)
            }
            Asked::Resolve => return Err(Status::BadOrder),
        };
        self.apply(Input::Done(id, outcome));
        Ok(Status::Ok)
    }

    pub(crate) fn failed(&mut self, now: u64, id: u32, why: Refusal) -> Result<Status, Status> {
        let id = ActionId(id);
        self.answer(id, |_| true)?;
        self.at(now)?;
        self.asked.remove(&id);
        self.apply(Input::Done(id, Outcome::Failed(why)));
        Ok(Status::Ok)
    }

    /// The next action; it stays until [`Driven::take_action`].
    pub(crate) fn next_action(&self) -> Option<&Action> {
        self.actions.front()
    }

    /// Takes what [`Driven::next_action`] showed.
    pub(crate) fn take_action(&mut self) {
        drop(self.actions.pop_front());
        if self.actions.is_empty() {
            // An idle machine owns no more than it needs.
            self.actions = VecDeque::new();
        }
    }

    /// Bytes that the machine wants to receive on a slot.
    pub(crate) fn room(&self, slot: u32) -> Result<usize, Status> {
        self.stream(Slot(slot))?;
        let pipes = self.kind.machine().pipes(Slot(slot));
        Ok(pipes.map_or(0, |pipes| pipes.rx.room()))
    }

    /// Shows the segments that wait to be sent on a slot, and the end behind them.
    pub(crate) fn peek(&self, slot: u32, mut show: impl FnMut(&[u8])) -> Result<End, Status> {
        self.stream(Slot(slot))?;
        let Some(pipes) = self.kind.machine().pipes(Slot(slot)) else {
            return Ok(End::Open);
        };
        pipes.tx.segments().for_each(&mut show);
        Ok(pipes.tx.end())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.kind.machine().poll_timeout()
    }

    pub(crate) fn record(&self) -> &Record {
        match &self.kind {
            Kind::Session(session) => session.record(),
            Kind::Association(association) => association.record(),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.actions.is_empty() && self.kind.machine().is_finished()
    }
}
