//! A carrier that does what a test tells it, and drives that have turns when they are woken.
use crate::{
    START,
    fake::{Frames, LOCAL, Loop, Net, Wire},
};
use bytes::BytesMut;
use core::{net::IpAddr, net::SocketAddr, time::Duration};
use sansbox_core::{End, Instant, Pipe, Progress, Refusal, Seed, Target};
use sansbox_engine::{
    Peer, Plan, Session,
    carrier::{Carrier, Event, Path, Stream, StreamLimits, Transmit, tun::Device},
    config::{ReadOptions, Sources, read},
    drive::{Birth, CarrierDrive, Drive, Pool, Service, Turn},
    ids::InboundId,
    machine::{Undelivered, Wanted},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

/// The far end of a stream.
#[derive(Debug, Default)]
pub(crate) struct Far {
    /// Bytes that it still takes.
    pub(crate) room: usize,
    pub(crate) taken: Vec<u8>,
    pub(crate) taken_end: Option<End>,
    pub(crate) gives: VecDeque<u8>,
    pub(crate) gives_end: Option<End>,
    /// The session reads no more.
    pub(crate) is_unread: bool,
}

/// What a carrier was told, and what it is to do.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) events: VecDeque<Event>,
    pub(crate) streams: BTreeMap<Stream, Far>,
    pub(crate) opened: Vec<(Stream, Target)>,
    pub(crate) answered: Vec<(Stream, Result<SocketAddr, Refusal>)>,
    pub(crate) abandoned: Vec<Stream>,
    pub(crate) bound: Vec<(Path, Result<(), Refusal>)>,
    pub(crate) received: Vec<(Path, Vec<u8>)>,
    pub(crate) undelivered: Vec<(Path, SocketAddr, Undelivered)>,
    pub(crate) to_transmit: VecDeque<(Transmit, Vec<u8>)>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) is_closed: bool,
    /// What a stream may hold, if not 128 KiB.
    pub(crate) stream_limit: Option<usize>,
}

impl Script {
    /// A stream of which the far end takes everything.
    pub(crate) fn begin(&mut self, stream: Stream) -> &mut Far {
        let far = Far {
            room: usize::MAX,
            ..Far::default()
        };
        self.streams.entry(stream).or_insert(far)
    }

    /// The far end of a stream.
    pub(crate) fn far(&mut self, stream: Stream) -> &mut Far {
        self.streams.get_mut(&stream).unwrap()
    }
}

#[derive(Debug)]
struct Scripted(Rc<RefCell<Script>>);

impl Carrier for Scripted {
    fn set_wall_clock(&mut self, _: Instant, since_1970: Duration) {
        assert_eq!(since_1970, Duration::from_secs(1_750_000_000));
    }

    fn resolved(&mut self, _: Instant, _: Result<&[IpAddr], Refusal>) {}

    fn bound(&mut self, _: Instant, path: Path, result: Result<(), Refusal>) {
        self.0.borrow_mut().bound.push((path, result));
    }

    fn handle_datagram(&mut self, _: Instant, path: Path, _: SocketAddr, data: BytesMut) -> bool {
        self.0.borrow_mut().received.push((path, data.to_vec()));
        !data.is_empty()
    }

    fn undelivered(&mut self, _: Instant, path: Path, to: SocketAddr, error: Undelivered) {
        self.0.borrow_mut().undelivered.push((path, to, error));
    }

    fn poll_transmit(&mut self, _: Instant, _: usize, out: &mut BytesMut) -> Option<Transmit> {
        let (transmit, bytes) = self.0.borrow_mut().to_transmit.pop_front()?;
        out.clear();
        out.extend_from_slice(&bytes);
        Some(transmit)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.0.borrow_mut().events.pop_front()
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        self.0.borrow().deadline
    }

    fn handle_timeout(&mut self, _: Instant) {
        self.0.borrow_mut().deadline = None;
    }

    fn stream_limits(&self) -> StreamLimits {
        let limit = self.0.borrow().stream_limit.unwrap_or(128 * 1024);
        StreamLimits {
            received: limit,
            to_send: limit,
        }
    }

    fn open(&mut self, _: Instant, wanted: Wanted) -> Stream {
        let Wanted::Connection(target) = wanted else {
            unreachable!("no test asks for datagrams");
        };
        let mut script = self.0.borrow_mut();
        let stream = Stream(script.opened.len() as u64);
        script.opened.push((stream, target));
        script.begin(stream);
        stream
    }

    fn answer(&mut self, _: Instant, stream: Stream, answer: Result<SocketAddr, Refusal>) {
        self.0.borrow_mut().answered.push((stream, answer));
    }

    fn exchange(
        &mut self,
        _: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let mut script = self.0.borrow_mut();
        let Some(far) = script.streams.get_mut(&stream) else {
            return Progress::NONE;
        };
        while let Some(bytes) = to_send.take(far.room.min(10_000)).filter(|b| !b.is_empty()) {
            far.room -= bytes.len();
            far.taken.extend_from_slice(&bytes);
        }
        if to_send.is_empty() && to_send.end() != End::Open {
            far.taken_end = Some(to_send.end());
        }
        far.is_unread |= received.end() == End::Reset;
        while received.end() == End::Open && received.room() > 0 && !far.gives.is_empty() {
            let n = far.gives.len().min(received.room()).min(10_000);
            let bytes: Vec<u8> = far.gives.drain(..n).collect();
            received.push_slice(&bytes);
        }
        match far.gives_end.filter(|_| far.gives.is_empty()) {
            Some(End::Fin) if received.end() == End::Open => received.finish(),
            Some(End::Reset) => received.reset() | to_send.reset(),
            _ => Progress::NONE,
        }
    }

    fn is_open(&self, stream: Stream) -> bool {
        let script = self.0.borrow();
        let far = script.streams.get(&stream);
        far.is_some_and(|far| {
            let is_received = far.is_unread || far.gives_end.is_some() && far.gives.is_empty();
            far.taken_end.is_none() || !is_received
        })
    }

    fn abandon(&mut self, _: Instant, stream: Stream) {
        let mut script = self.0.borrow_mut();
        script.abandoned.push(stream);
        script.streams.remove(&stream);
    }

    fn close(&mut self, _: Instant) {
        self.0.borrow_mut().is_closed = true;
    }
}

enum Either {
    Session(Drive<Session, Net>),
    Carrier(CarrierDrive<Net>),
}

/// An event loop: a drive has a turn when it is new, when another one wakes it, or when the test
/// says so, and never else.
pub(crate) struct Hub {
    pub(crate) driver: Loop,
    pub(crate) pool: Pool,
    pub(crate) plan: Arc<Plan>,
    pub(crate) now: Instant,
    drives: BTreeMap<usize, Either>,
    made: usize,
    /// The script of each carrier that was made.
    pub(crate) scripts: Vec<Rc<RefCell<Script>>>,
    /// Births are dropped.
    pub(crate) is_barren: bool,
    /// Turns since the start.
    pub(crate) turns: usize,
}

impl Hub {
    pub(crate) fn new(config: &str) -> Self {
        let sources = Sources::single("config.json", config);
        let (config, _) = read(&sources, &ReadOptions::default()).unwrap();
        Self {
            driver: Loop::default(),
            pool: Pool::default(),
            plan: Arc::new(Plan::build(&config).unwrap()),
            now: START,
            drives: BTreeMap::new(),
            made: 0,
            scripts: Vec::new(),
            is_barren: false,
            turns: 0,
        }
    }

    fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// A client of the first inbound, and its number.
    pub(crate) fn client(&mut self) -> (usize, Rc<RefCell<Wire>>) {
        let (number, client) = (self.number(), Wire::connected());
        let peer = Peer {
            remote: crate::fake::CLIENT,
            local: LOCAL,
        };
        let seed = Seed::from_u64(1);
        let machine = self.plan.session(InboundId(0), peer, seed, self.now);
        let drive = Drive::session(machine, number, Rc::clone(&client));
        self.drives.insert(number, Either::Session(drive));
        self.turn(number);
        (number, client)
    }

    /// The carrier of the first inbound, and its number.
    pub(crate) fn server(&mut self) -> usize {
        let (number, machine) = (self.number(), self.new_script());
        let socket = (Rc::default(), LOCAL);
        let drive = CarrierDrive::server(machine, number, InboundId(0), socket, &self.pool);
        self.drives.insert(number, Either::Carrier(drive));
        self.turn(number);
        number
    }

    /// The device of the first inbound: its number, and its frames.
    pub(crate) fn device(&mut self) -> (usize, Rc<RefCell<Frames>>) {
        let facts = Device {
            mtu: 1500,
            has_offload: false,
        };
        let (number, inbound) = (self.number(), InboundId(0));
        let machine = self
            .plan
            .device(inbound, facts, Seed::from_u64(1), self.now)
            .unwrap();
        let frames = Rc::new(RefCell::new(Frames::default()));
        let held = (Rc::clone(&frames), facts);
        let drive = CarrierDrive::device(machine, number, inbound, held, &self.pool);
        self.drives.insert(number, Either::Carrier(drive));
        self.turn(number);
        (number, frames)
    }

    fn new_script(&mut self) -> Box<dyn Carrier> {
        let script = Rc::<RefCell<Script>>::default();
        self.scripts.push(Rc::clone(&script));
        Box::new(Scripted(script))
    }

    /// A turn for one, and for everybody whom it wakes.
    pub(crate) fn turn(&mut self, number: usize) {
        let mut woken = VecDeque::from([number]);
        while let Some(number) = woken.pop_front() {
            self.turns += 1;
            assert!(self.turns < 100_000, "they wake each other for ever");
            let (driver, pool, now) = (&mut self.driver, &self.pool, self.now);
            let turn = match self.drives.get_mut(&number) {
                Some(Either::Session(drive)) => drive.turn(driver, pool, now),
                Some(Either::Carrier(drive)) => drive.turn(driver, pool, now),
                None => continue,
            };
            match turn {
                Turn::Waiting => {}
                Turn::Again => woken.push_back(number),
                Turn::Finished => self.drop(number),
            }
            while let Some(birth) = self.pool.pop_birth() {
                woken.extend(self.bear(birth));
            }
            while let Some(number) = self.pool.pop_woken() {
                woken.push_back(number);
            }
        }
    }

    fn bear(&mut self, birth: Birth) -> Option<usize> {
        if self.is_barren {
            return None;
        }
        let number = self.number();
        let drive = match birth {
            Birth::Carrier(birth) => {
                let machine = self.new_script();
                Either::Carrier(CarrierDrive::client(machine, number, birth, &self.pool))
            }
            Birth::Session(birth) => {
                let (seed, wanted) = (Seed::from_u64(2), birth.wanted.clone());
                let machine = (self.plan)
                    .carried(birth.inbound, birth.peer, wanted, seed, self.now)
                    .unwrap();
                Either::Session(Drive::carried(machine, number, birth))
            }
        };
        self.drives.insert(number, drive);
        Some(number)
    }

    /// Releases a drive and drops it.
    pub(crate) fn drop(&mut self, number: usize) {
        let drive = self.drives.remove(&number).unwrap();
        match drive {
            Either::Session(mut drive) => drive.release(&mut self.driver, &self.pool),
            Either::Carrier(mut drive) => drive.release(&self.pool),
        }
    }

    /// Has a carrier say that this is the end.
    pub(crate) fn stop(&mut self, number: usize) {
        let Some(Either::Carrier(drive)) = self.drives.get_mut(&number) else {
            panic!("no carrier");
        };
        drive.stop(&mut self.driver, &self.pool, self.now);
    }

    /// Does a drive still run?
    pub(crate) fn has(&self, number: usize) -> bool {
        self.drives.contains_key(&number)
    }

    /// Streams that the drive of a carrier knows.
    pub(crate) fn streams_of(&self, number: usize) -> usize {
        let Some(Either::Carrier(drive)) = self.drives.get(&number) else {
            panic!("no carrier");
        };
        let shown = format!("{drive:?}");
        let (_, streams) = shown.split_once("streams: ").unwrap();
        let digits: String = streams.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    /// The script of the carrier that was made last.
    pub(crate) fn script(&self) -> std::cell::RefMut<'_, Script> {
        self.scripts.last().unwrap().borrow_mut()
    }

    /// Something happens in the carrier of a number, which has a turn then.
    pub(crate) fn happens(&mut self, carrier: usize, event: Event) {
        self.script().events.push_back(event);
        self.turn(carrier);
    }
}
