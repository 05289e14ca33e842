//! The loop around one carrier.
use super::{
    Birth, CarrierBirth, Driver, Pool, SessionBirth, Sockets, Turn,
    echoes::Echoes,
    joint::{Desk, Shared},
    packets::{Packets, Written},
};
use crate::{
    Peer,
    carrier::{Carrier, Event, Note, Path, Stream, Whose, tun},
    config::model::LogLevel,
    machine::Wanted,
    timer::TimerKey,
};
use core::{fmt, net::SocketAddr, task::Poll, time::Duration};
use sansbox_core::{End, Instant};
use std::{collections::BTreeMap, rc::Rc};

/// Rounds of one turn before others get theirs.
const ROUNDS: usize = 32;
/// Datagrams that a carrier may write at once: with the largest that paniq allows they fill what
/// UDP can take in one system call.
const SEGMENTS_MAX: usize = 44;
/// How long what the wall clock says may be taken for true. Clocks are set, and a machine that
/// slept has lost time.
const WALL_CLOCK_AGE_MAX: Duration = Duration::from_secs(1);

/// Drives one carrier: its sockets, its streams to sessions, its deadlines.
pub struct CarrierDrive<K: Sockets> {
    machine: Box<dyn Carrier>,
    whose: Whose,
    /// Where the listener of an inbound is.
    local: SocketAddr,
    desk: Rc<Desk>,
    sockets: BTreeMap<Path, K::Datagrams>,
    packets: Option<Box<Packets<K>>>,
    /// The device is, and with it what there is to drive.
    is_gone: bool,
    echoes: Echoes<K>,
    streams: BTreeMap<Stream, Rc<Shared>>,
    lookup: Option<K::Lookup>,
    timer: Option<TimerKey>,
    number: usize,
    wall_clock_until: Instant,
}

impl<K: Sockets> fmt::Debug for CarrierDrive<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarrierDrive")
            .field("whose", &self.whose)
            .field("number", &self.number)
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}

impl<K: Sockets> CarrierDrive<K> {
    /// Drives the carrier of an outbound. The driver wakes it by `number`.
    pub fn client(
        machine: Box<dyn Carrier>,
        number: usize,
        birth: CarrierBirth,
        pool: &Pool,
    ) -> Self {
        let whose = Whose::Outbound(birth.outbound());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::new(machine, number, whose, nowhere, birth.into_desk(pool))
    }

    /// Drives the carrier of an inbound, which listens on `socket`, bound to `local`.
    pub fn server(
        machine: Box<dyn Carrier>,
        number: usize,
        inbound: crate::ids::InboundId,
        (socket, local): (K::Datagrams, SocketAddr),
        pool: &Pool,
    ) -> Self {
        let desk = Desk::new(Rc::clone(&pool.wakes));
        let mut drive = Self::new(machine, number, Whose::Inbound(inbound), local, desk);
        drive.sockets.insert(Path::LISTENER, socket);
        drive
    }

    /// Drives the carrier of an inbound that serves a device, or one of its queues, which can do
    /// what `facts` say.
    pub fn device(
        machine: Box<dyn Carrier>,
        number: usize,
        inbound: crate::ids::InboundId,
        (device, facts): (K::Device, tun::Device),
        pool: &Pool,
    ) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let desk = Desk::new(Rc::clone(&pool.wakes));
        let mut drive = Self::new(machine, number, Whose::Inbound(inbound), nowhere, desk);
        drive.desk.take_errors();
        drive.packets = Some(Box::new(Packets::new(device, facts)));
        drive
    }

    fn new(
        machine: Box<dyn Carrier>,
        number: usize,
        whose: Whose,
        local: SocketAddr,
        desk: Rc<Desk>,
    ) -> Self {
        desk.staff(number);
        Self {
            machine,
            whose,
            local,
            desk,
            sockets: BTreeMap::new(),
            packets: None,
            is_gone: false,
            echoes: Echoes::default(),
            streams: BTreeMap::new(),
            lookup: None,
            timer: None,
            number,
            wall_clock_until: Instant::ZERO,
        }
    }

    /// The number it was given.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The carrier that it drives.
    #[must_use]
    pub fn carrier(&self) -> &dyn Carrier {
        &*self.machine
    }

    /// Does all there is to do now.
    pub fn turn(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> Turn {
        self.desk.begin_turn();
        if self.timer.is_some_and(|timer| timer.at() <= now) {
            pool.timers.disarm(&mut self.timer);
        }
        if now >= self.wall_clock_until {
            self.machine.set_wall_clock(now, driver.wall_clock());
            self.wall_clock_until = now + WALL_CLOCK_AGE_MAX;
        }
        let mut turn = Turn::Again;
        for _ in 0..ROUNDS {
            let mut is_news = self.take_openings(now);
            is_news |= self.take_touched(now);
            is_news |= self.take_errors(now);
            is_news |= self.poll_lookup(driver, now);
            is_news |= self.receive(driver, pool, now);
            if self.is_gone {
                return Turn::Finished;
            }
            is_news |= self.follow(driver, pool, now);
            is_news |= !self.transmit(driver, pool, now);
            if self.machine.poll_timeout(now).is_some_and(|at| at <= now) {
                self.machine.handle_timeout(now);
                is_news = true;
            }
            if !is_news {
                turn = Turn::Waiting;
                break;
            }
        }
        let want = self.machine.poll_timeout(now);
        pool.timers.rearm(&mut self.timer, want, self.number);
        turn
    }

    /// Has a device served in another way from the next packet on.
    pub fn set_device(&mut self, now: Instant, settings: &tun::Settings) {
        self.machine.set_device(now, settings);
    }

    /// Tells the other ends that this one is gone. It must not be turned again.
    pub fn stop(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) {
        self.machine.close(now);
        while !self.transmit(driver, pool, now) {}
    }

    /// Gives back what is armed, and loses all streams. To be called before a drive is dropped; it
    /// must not be turned again.
    pub fn release(&mut self, pool: &Pool) {
        pool.timers.disarm(&mut self.timer);
        if let Whose::Outbound(outbound) = self.whose {
            pool.forget_desk(outbound);
        }
        self.desk.close();
        for shared in core::mem::take(&mut self.streams).into_values() {
            shared.lose();
        }
    }

    /// Streams that sessions ask for.
    fn take_openings(&mut self, now: Instant) -> bool {
        let mut is_news = false;
        while let Some((shared, wanted)) = self.desk.next_opening() {
            if shared.is_session_gone() {
                self.desk.pop_opening();
                continue;
            }
            is_news = true;
            let stream = self.machine.open(now, wanted);
            self.desk.pop_opening();
            shared.begin(stream, self.machine.stream_limits());
            self.streams.insert(stream, shared);
        }
        is_news
    }

    /// Streams that sessions did something to.
    fn take_touched(&mut self, now: Instant) -> bool {
        let mut is_news = false;
        while let Some(shared) = self.desk.pop_touched() {
            is_news = true;
            let Some(stream) = shared.stream() else {
                continue;
            };
            if let Some(answer) = shared.take_answer() {
                self.machine.answer(now, stream, answer);
                if answer.is_err() {
                    // What is left of it is between the machine and the client.
                    self.streams.remove(&stream);
                }
            }
            if shared.is_cancelled() {
                self.machine.abandon(now, stream);
            }
            self.exchange(now, stream);
        }
        is_news
    }

    /// Datagrams of clients that did not arrive.
    fn take_errors(&mut self, now: Instant) -> bool {
        let mut is_news = false;
        while let Some((stream, to, error)) = self.desk.pop_error() {
            is_news = true;
            self.machine.datagram_error(now, stream, to, error);
        }
        is_news
    }

    /// Moves octets between a stream and its session.
    fn exchange(&mut self, now: Instant, stream: Stream) {
        let Some(shared) = self.streams.get(&stream) else {
            return;
        };
        let (mut received, mut to_send) =
            (shared.received.borrow_mut(), shared.to_send.borrow_mut());
        let (had, had_end) = (received.len(), received.end());
        let was_full = to_send.room() == 0;
        let _ = self
            .machine
            .exchange(now, stream, &mut received, &mut to_send);
        let has_come = received.len() > had || received.end() != had_end;
        let has_room = was_full && to_send.room() > 0;
        let is_dead = to_send.end() == End::Reset;
        drop((received, to_send));
        if has_come || has_room || is_dead {
            shared.wake_session();
        }
        if !self.machine.is_open(stream) {
            self.streams.remove(&stream);
        }
    }

    fn poll_lookup(&mut self, driver: &mut impl Driver<K>, now: Instant) -> bool {
        let Some(lookup) = &mut self.lookup else {
            return false;
        };
        let Poll::Ready(answer) = driver.poll_lookup(lookup) else {
            return false;
        };
        self.lookup = None;
        let answer = answer.as_deref().map_err(|why| *why);
        self.machine.resolved(now, answer);
        true
    }

    fn receive(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> bool {
        let (machine, mut is_news, mut strange) = (&mut self.machine, false, 0);
        let has_errors = matches!(self.whose, Whose::Outbound(_));
        for (path, socket) in &mut self.sockets {
            if has_errors {
                // First: who receives may be told of an error as well, without what it is.
                let told = driver.poll_errors(socket, |to, error| {
                    machine.undelivered(now, *path, to, error);
                });
                is_news |= told.is_ready();
            }
            let received = driver.poll_receive(socket, |from, data| {
                strange += u64::from(!machine.handle_datagram(now, *path, from, data));
            });
            is_news |= received.is_ready();
        }
        if strange > 0 {
            pool.tally.datagrams_dropped.add(strange);
        }
        is_news |= self.echoes.receive(driver, &mut *self.machine, now);
        let Some(packets) = &mut self.packets else {
            return is_news;
        };
        match packets.receive(driver, &mut *self.machine, now) {
            Ok(is_some) => is_news | is_some,
            Err(why) => {
                let note = Note {
                    level: LogLevel::Error,
                    peer: None,
                    text: format!("the device is gone: {why}"),
                };
                driver.note(self.whose, &note, now);
                self.is_gone = true;
                is_news
            }
        }
    }

    /// Sends what the machine has. False: a device gets the rest after what it has was read, or a
    /// socket has something to say of what it could not send.
    fn transmit(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> bool {
        let mut out = pool.transmit.borrow_mut();
        let mut is_all_sent = true;
        while let Some(transmit) = self.machine.poll_transmit(now, SEGMENTS_MAX, &mut out) {
            let lost = match self.sockets.get_mut(&transmit.path) {
                Some(socket) => driver.send(socket, transmit.to, &out, transmit.segment),
                None => 1,
            };
            if lost > 0 {
                pool.tally.datagrams_dropped.add(lost);
                is_all_sent = false;
            }
        }
        let Some(packets) = &mut self.packets else {
            return is_all_sent;
        };
        let Written { lost, is_all } = packets.transmit(driver, &mut *self.machine, now);
        if lost > 0 {
            pool.tally.datagrams_dropped.add(lost);
        }
        is_all
    }

    /// Does what the machine asks for.
    fn follow(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> bool {
        let mut is_news = false;
        while let Some(event) = self.machine.poll_event() {
            is_news = true;
            match event {
                Event::Resolve(name, families) => match driver.resolve(name, families) {
                    Ok(lookup) => self.lookup = Some(lookup),
                    Err(why) => self.machine.resolved(now, Err(why)),
                },
                Event::Bind(path, local) => self.bind(driver, now, path, local),
                Event::Unbind(path) => {
                    self.sockets.remove(&path);
                    self.echoes.unbind(path);
                }
                Event::BindEcho(path, to, outbound) => {
                    let bound = self.echoes.bind(driver, path, to, outbound);
                    self.machine.bound(now, path, bound);
                }
                Event::Echo(path, request) => {
                    if let Some(answer) = self.echoes.send(driver, path, &request) {
                        self.machine.handle_echo(now, path, answer);
                    }
                }
                Event::Connected(stream, bound) => {
                    if let Some(shared) = self.streams.get(&stream) {
                        shared.decide_for_session(Ok(bound));
                    }
                }
                Event::Refused(stream, why) => {
                    if let Some(shared) = self.streams.remove(&stream) {
                        shared.decide_for_session(Err(why));
                    }
                }
                Event::Request(stream, peer, wanted) => self.offer(pool, stream, peer, wanted),
                Event::Cancelled(stream) => {
                    if let Some(shared) = self.streams.remove(&stream) {
                        shared.lose();
                    }
                }
                Event::Ready(stream) => self.exchange(now, stream),
                Event::Log(note) => driver.note(self.whose, &note, now),
            }
        }
        is_news
    }

    fn bind(&mut self, driver: &mut impl Driver<K>, now: Instant, path: Path, local: SocketAddr) {
        let outbound = match self.whose {
            Whose::Outbound(outbound) => Some(outbound),
            Whose::Inbound(_) => None,
        };
        // The new one first: then it has another port for sure.
        let bound = driver.bind(local, outbound);
        let result = bound.map(|(mut socket, _)| {
            driver.watch_errors(&mut socket);
            self.sockets.insert(path, socket);
        });
        self.machine.bound(now, path, result);
    }

    /// Asks for a session that serves a client's stream.
    fn offer(&mut self, pool: &Pool, stream: Stream, remote: SocketAddr, wanted: Wanted) {
        let Whose::Inbound(inbound) = self.whose else {
            return;
        };
        let limits = self.machine.stream_limits();
        let shared = Shared::offered(&self.desk, stream, limits);
        self.streams.insert(stream, Rc::clone(&shared));
        let peer = Peer {
            remote,
            local: self.local,
        };
        let birth = SessionBirth::new(shared, inbound, peer, wanted);
        pool.bear(Birth::Session(birth));
    }
}
