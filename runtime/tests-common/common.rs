//! A toy service for the tests: each session dials one target and relays, each association
//! forwards datagrams to it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "each test binary uses a part of it"
)]
use crate::runtime::{
    InboundSockets, Network, Observer, Options, Recorded, Running, Runtime, RuntimeEvent, Service,
    StartError,
};
use bytes::BytesMut;
use sansbox_core::{Domain, End, Instant, Pipe, Refusal, Seed, Target};
use sansbox_engine::{
    Peer,
    carrier::{Carrier, Note, Whose},
    config::model::{Dial, Listen},
    ids::{ActionId, InboundId, OutboundId, Slot},
    machine::{Action, Families, Input, Machine, Outcome, SlotPipes, Stage, Wanted},
    record::{CloseReason, Record},
};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

pub const UPSTREAM: Slot = Slot(1);
const PIPE: usize = 64 * 1024;

/// What a session does once its target is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Moves bytes from pipe to pipe.
    Pipes,
    /// Hands the connections over.
    Passthrough,
    /// Resolves `localhost` first, then as [`Mode::Passthrough`].
    Resolve,
    /// As [`Mode::Passthrough`], through a stream of [`Toy::carrier`].
    Carried,
}

#[derive(Debug)]
pub struct Toy {
    pub mode: Mode,
    pub target: SocketAddr,
    /// The dial is cancelled after this and the client refused.
    pub dial_budget: Duration,
    /// Ends a session in passthrough or an association; counted from the last byte.
    pub idle: Duration,
    pub ignores_stop: bool,
    /// A session panics when it receives these bytes by themselves.
    pub panics_at: Option<&'static [u8]>,
    pub listens: Vec<InboundSockets>,
    pub dial: Dial,
    /// Makes the carrier of the outbound.
    pub carrier: Option<fn() -> Box<dyn Carrier>>,
}

impl Toy {
    pub fn new(mode: Mode, target: SocketAddr) -> Self {
        Self {
            mode,
            target,
            dial_budget: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            ignores_stop: false,
            panics_at: None,
            listens: vec![InboundSockets {
                inbound: InboundId(0),
                listen: Listen::default(),
                tcp: true,
                udp: false,
                carrier: false,
            }],
            dial: Dial::default(),
            carrier: None,
        }
    }
}

impl Service for Toy {
    type Session = Session;
    type Association = Association;

    fn inbounds(&self) -> Vec<InboundSockets> {
        self.listens.clone()
    }

    fn dial(&self, _: OutboundId) -> Option<&Dial> {
        Some(&self.dial)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Session {
        Session {
            toy: Arc::clone(self),
            record: record(inbound, peer, seed, now),
            actions: VecDeque::new(),
            sides: Some(Box::new([Side::default(), Side::default()])),
            deadline: None,
            state: State::Fresh,
            fins: 0,
        }
    }

    fn carrier(
        self: &Arc<Self>,
        _: Whose,
        _: Seed,
        _: Instant,
        _: Duration,
    ) -> Option<Box<dyn Carrier>> {
        self.carrier.map(|make| make())
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Association {
        Association {
            toy: Arc::clone(self),
            record: record(inbound, peer, seed, now),
            actions: VecDeque::new(),
            waiting: Vec::new(),
            is_bound: false,
            deadline: now + self.idle,
            is_finished: false,
        }
    }
}

fn record(inbound: InboundId, peer: Peer, seed: Seed, opened: Instant) -> Record {
    let mut record = Record::new(inbound, peer.remote, seed, opened);
    record.outbound = Some(OutboundId(0));
    record
}

#[derive(Debug)]
struct Side {
    rx: Pipe,
    tx: Pipe,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            rx: Pipe::new(PIPE),
            tx: Pipe::new(PIPE),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Resolving,
    Dialling,
    Pipes,
    Passthrough,
    Closed,
}

const RESOLVE: ActionId = ActionId(1);
const DIAL: ActionId = ActionId(2);
const BIND: ActionId = ActionId(3);

pub struct Session {
    toy: Arc<Toy>,
    record: Record,
    actions: VecDeque<Action>,
    sides: Option<Box<[Side; 2]>>,
    deadline: Option<Instant>,
    state: State,
    fins: usize,
}

impl Recorded for Session {
    fn record(&self) -> &Record {
        &self.record
    }
}

impl Session {
    fn begin(&mut self, now: Instant) {
        self.actions.push_back(Action::Log(Stage::Opened));
        self.deadline = Some(now + self.toy.dial_budget);
        if self.toy.mode == Mode::Resolve {
            self.state = State::Resolving;
            self.actions.push_back(Action::Resolve {
                id: RESOLVE,
                name: Domain::parse(b"localhost").expect("a name"),
                families: Families::V4,
            });
        } else {
            self.dial();
        }
    }

    fn dial(&mut self) {
        self.state = State::Dialling;
        let to = self.toy.target;
        self.record.target = Some(Target::from(to));
        let (id, slot, outbound) = (DIAL, UPSTREAM, OutboundId(0));
        self.actions.push_back(if self.toy.mode == Mode::Carried {
            Action::OpenStream {
                id,
                slot,
                outbound,
                wanted: Wanted::Connection(to.into()),
            }
        } else {
            Action::Dial {
                id,
                slot,
                to,
                outbound,
            }
        });
    }

    fn done(&mut self, now: Instant, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Resolved(addresses) => {
                assert!(!addresses.is_empty());
                self.dial();
            }
            Outcome::Connected(_) => {
                self.actions.push_back(Action::Log(Stage::Connected));
                self.deadline = Some(now + self.toy.idle);
                if self.toy.mode == Mode::Pipes {
                    self.state = State::Pipes;
                    self.pump(now);
                } else {
                    self.state = State::Passthrough;
                    let sides = self.sides.take().expect("pipes until now");
                    assert!(sides.iter().all(|s| s.rx.is_empty() && s.tx.is_empty()));
                    self.actions
                        .push_back(Action::Passthrough(Slot::CLIENT, UPSTREAM));
                }
            }
            Outcome::Failed(why) => {
                self.actions.push_back(Action::Log(Stage::Refused(why)));
                self.close(CloseReason::Refused(why), End::Reset);
            }
            Outcome::Bound(_) => unreachable!("sessions bind nothing"),
        }
    }

    fn side(&mut self, slot: Slot) -> Option<&mut Side> {
        self.sides.as_mut()?.get_mut(slot.0 as usize)
    }

    /// Moves what can be moved from side to side.
    fn pump(&mut self, now: Instant) {
        if self.state != State::Pipes {
            return;
        }
        let Some(sides) = &mut self.sides else {
            return;
        };
        let [a, b] = &mut **sides;
        let _ = a.rx.transfer(&mut b.tx);
        let _ = b.rx.transfer(&mut a.tx);
        self.deadline = Some(now + self.toy.idle);
        if a.tx.is_eof() && b.tx.is_eof() {
            self.fins += 1;
        }
    }

    fn close(&mut self, why: CloseReason, end: End) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        self.record.closed = Some(why);
        self.deadline = None;
        self.sides = None;
        self.actions.push_back(Action::Close(UPSTREAM, end));
        self.actions.push_back(Action::Close(Slot::CLIENT, end));
        self.actions.push_back(Action::Log(Stage::Closed));
    }

    fn ended(&mut self, now: Instant, slot: Slot, end: End) {
        if end == End::Reset {
            let why = if slot == Slot::CLIENT {
                CloseReason::ClientReset
            } else {
                CloseReason::UpstreamReset
            };
            return self.close(why, End::Reset);
        }
        match self.side(slot) {
            Some(side) => {
                let _ = side.rx.finish();
                self.pump(now);
            }
            None => self.fins += 1,
        }
    }
}

impl Machine for Session {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        if self.state == State::Closed {
            return;
        }
        match input {
            Input::Tick if self.state == State::Fresh => self.begin(now),
            Input::Tick => {
                if self.deadline.is_some_and(|at| at <= now) {
                    if self.state == State::Dialling {
                        self.actions.push_back(Action::Cancel(DIAL));
                        self.close(CloseReason::Refused(Refusal::TimedOut), End::Reset);
                    } else {
                        self.close(CloseReason::IdleTimeout, End::Fin);
                    }
                }
            }
            Input::Received(slot, bytes) => {
                let is_fatal = self.toy.panics_at.is_some_and(|at| at == &bytes[..]);
                assert!(!is_fatal, "this is a test of panics");
                let side = self.side(slot).expect("pipes");
                assert!(side.rx.room() > 0, "bytes without room");
                side.rx.push(bytes);
                self.pump(now);
            }
            Input::Drained(slot, n) => {
                let side = self.side(slot).expect("pipes");
                assert_eq!(side.tx.skip(n), n);
                self.pump(now);
            }
            Input::Ended(slot, end) => self.ended(now, slot, end),
            Input::Done(_, outcome) => self.done(now, outcome),
            Input::Relayed(slot, n) => {
                assert_eq!(self.state, State::Passthrough);
                self.deadline = Some(now + self.toy.idle);
                if slot == Slot::CLIENT {
                    self.record.bytes_up += n;
                } else {
                    self.record.bytes_down += n;
                }
            }
            Input::Stop if self.toy.ignores_stop => {}
            Input::Stop => self.close(CloseReason::Stopped, End::Fin),
            Input::Datagram { .. } | Input::DatagramError { .. } => unreachable!("no UDP slots"),
        }
        let both = match self.state {
            State::Passthrough => self.fins == 2,
            State::Pipes => self.fins > 0,
            State::Fresh | State::Resolving | State::Dialling | State::Closed => false,
        };
        if both {
            self.close(CloseReason::Completed, End::Fin);
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // An idle machine holds no queue.
            self.actions = VecDeque::new();
        }
        action
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        let side = self.sides.as_ref()?.get(slot.0 as usize)?;
        // Nothing is read before there is somewhere to put it.
        (self.state == State::Pipes).then_some(SlotPipes {
            rx: &side.rx,
            tx: &side.tx,
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Fresh {
            return None;
        }
        self.deadline
    }

    fn is_finished(&self) -> bool {
        self.state == State::Closed && self.actions.is_empty()
    }
}

pub struct Association {
    toy: Arc<Toy>,
    record: Record,
    actions: VecDeque<Action>,
    waiting: Vec<BytesMut>,
    is_bound: bool,
    deadline: Instant,
    is_finished: bool,
}

impl Recorded for Association {
    fn record(&self) -> &Record {
        &self.record
    }
}

impl Association {
    fn send_waiting(&mut self) {
        for data in self.waiting.drain(..) {
            self.actions.push_back(Action::Send {
                slot: UPSTREAM,
                to: self.toy.target,
                data,
            });
        }
    }
}

impl Machine for Association {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { slot, data, .. } if slot == Slot::CLIENT => {
                self.deadline = now + self.toy.idle;
                if self.record.target.is_none() {
                    self.record.target = Some(Target::from(self.toy.target));
                    let any = if self.toy.target.is_ipv4() {
                        "0.0.0.0:0"
                    } else {
                        "[::]:0"
                    };
                    self.actions.push_back(Action::Bind {
                        id: BIND,
                        slot: UPSTREAM,
                        local: any.parse().expect("an address"),
                        outbound: Some(OutboundId(0)),
                    });
                }
                self.waiting.push(data);
                if self.is_bound {
                    self.send_waiting();
                }
            }
            Input::Datagram { from, data, .. } => {
                assert_eq!(from, self.toy.target);
                self.deadline = now + self.toy.idle;
                self.actions.push_back(Action::Send {
                    slot: Slot::CLIENT,
                    to: self.record.peer,
                    data,
                });
            }
            Input::Done(_, Outcome::Bound(_)) => {
                self.is_bound = true;
                self.send_waiting();
            }
            Input::Tick if self.deadline > now => {}
            Input::Tick | Input::Stop | Input::Done(..) => {
                self.actions.push_back(Action::Close(UPSTREAM, End::Fin));
                self.actions
                    .push_back(Action::Close(Slot::CLIENT, End::Fin));
                self.is_finished = true;
            }
            Input::DatagramError { .. } => unreachable!("nobody could be told"),
            Input::Received(..) | Input::Drained(..) | Input::Ended(..) | Input::Relayed(..) => {
                unreachable!("no stream slots")
            }
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn pipes(&self, _: Slot) -> Option<SlotPipes<'_>> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_finished).then_some(self.deadline)
    }

    fn is_finished(&self) -> bool {
        self.is_finished && self.actions.is_empty()
    }
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct Notes {
    pub closed: Mutex<Vec<Record>>,
    pub events: Mutex<Vec<String>>,
}

impl Notes {
    /// Waits for `n` sessions to end and returns their records.
    pub fn wait_closed(&self, n: usize) -> Vec<Record> {
        wait_for("sessions to end", || self.closed.lock().unwrap().len() >= n);
        self.closed.lock().unwrap().clone()
    }

    /// Events whose text contains `part`.
    pub fn count(&self, part: &str) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| event.contains(part)).count()
    }
}

impl Observer for Notes {
    fn session(&self, record: &Record, stage: Stage, _: Instant) {
        if stage == Stage::Closed {
            self.closed.lock().unwrap().push(record.clone());
        }
    }

    fn carrier(&self, whose: Whose, note: &Note, _: Instant) {
        let text = format!("{whose:?}: {}", note.text);
        self.events.lock().unwrap().push(text);
    }

    fn runtime(&self, event: &RuntimeEvent<'_>) {
        self.events.lock().unwrap().push(format!("{event:?}"));
    }
}

/// A running toy.
pub struct World {
    pub running: Running,
    pub notes: Arc<Notes>,
}

impl World {
    pub fn try_start(toy: Toy, options: Options) -> Result<Self, StartError> {
        let notes = Arc::new(Notes::default());
        let observer = Arc::clone(&notes);
        let running = Runtime::start(Arc::new(toy), options, observer)?;
        Ok(Self { running, notes })
    }

    pub fn start(toy: Toy) -> Self {
        let options = Options {
            workers: Some(2),
            ..Options::default()
        };
        Self::try_start(toy, options).expect("started")
    }

    pub fn address(&self, network: Network) -> SocketAddr {
        let mut bound = self.running.bound().iter();
        bound
            .find(|bound| bound.network == network)
            .expect("bound")
            .address
    }

    pub fn tcp(&self) -> SocketAddr {
        self.address(Network::Tcp)
    }
}

/// Waits until `done`, at most 20 seconds.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "waited too long for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Endless bytes that differ at every place, and their check.
#[derive(Clone, Debug)]
pub struct Pattern(u64);

impl Pattern {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }

    pub fn check(&mut self, bytes: &[u8]) {
        let mut expected = vec![0; bytes.len()];
        self.fill(&mut expected);
        assert!(expected == bytes, "bytes were changed on the way");
    }
}
