//! The loop around one machine. Small: an idle connection is little more than this.
use super::{
    Driver, Pool, Recorded, SessionBirth, Sockets,
    link::Link,
    relay::{Moved, Over, Relay},
    slots::{Slots, Socket},
    stream::{Stream, StreamIo},
};
use crate::{
    ids::{ActionId, Slot},
    machine::{Input, Outcome},
    timer::TimerKey,
};
use core::{fmt, task::Poll};
use sansbox_core::{End, Instant};

/// Rounds of one turn before others get theirs.
const ROUNDS: usize = 32;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The machine is finished: release the drive and drop it.
    Finished,
    /// Everything would block. The next turn is due when something that was polled no longer
    /// would, when the deadline comes, or when everything is to stop.
    Waiting,
    /// There is more to do, but others should have their turn first.
    Again,
}

/// Drives one machine: applies what its sockets do, does what it asks for.
pub struct Drive<M, K: Sockets> {
    pub(super) machine: Box<M>,
    pub(super) slots: Slots<K>,
    pub(super) relay: Option<Relay<K>>,
    /// Behind one pointer, because hardly any machine has one for long.
    pub(super) lookups: Option<Box<Lookups<K>>>,
    timer: Option<TimerKey>,
    number: usize,
    is_started: bool,
    is_stopped: bool,
}

/// Lookups that run, and who asked for them.
pub(super) struct Lookups<K: Sockets> {
    pub(super) running: Vec<(ActionId, K::Lookup)>,
}

impl<M, K: Sockets> fmt::Debug for Drive<M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<M: Recorded, K: Sockets> Drive<M, K> {
    /// Drives the machine of an accepted connection. The driver wakes it by `number`, which is
    /// what [`Timers`](super::Timers) says when a deadline has come.
    pub fn session(machine: M, number: usize, client: K::Stream) -> Self {
        let client = Stream::new(Link::Socket(client));
        Self::new(machine, number, Socket::Stream(client))
    }

    /// Drives the session of a stream that a carrier offers.
    pub fn carried(machine: M, number: usize, birth: SessionBirth) -> Self {
        birth.joint.join(number);
        let client = Stream::new(Link::Joint(birth.joint));
        Self::new(machine, number, Socket::Stream(client))
    }

    /// Drives the machine of one client of a UDP listener.
    pub fn association(machine: M, number: usize, client: K::Datagrams) -> Self {
        Self::new(machine, number, Socket::Datagrams(client))
    }

    fn new(machine: M, number: usize, client: Socket<K>) -> Self {
        Self {
            machine: Box::new(machine),
            slots: Slots::new(client),
            relay: None,
            lookups: None,
            timer: None,
            number,
            is_started: false,
            is_stopped: false,
        }
    }

    /// The number it was given.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// It had its first turn.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.is_started
    }

    /// Does all there is to do now. The first turn starts the machine.
    pub fn turn(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> Turn {
        self.begin(pool, now);
        let mut turn = Turn::Again;
        for _ in 0..ROUNDS {
            self.act(driver, pool, now);
            if self.machine.is_finished() {
                return Turn::Finished;
            }
            let news = self.exchange(driver, pool, now);
            if !news.is_news {
                if !news.is_more {
                    turn = Turn::Waiting;
                }
                break;
            }
        }
        self.shut_unclosed(driver);
        let want = self.machine.poll_timeout();
        pool.timers.rearm(&mut self.timer, want, self.number);
        turn
    }

    /// Gives back what is leased and armed. To be called before a drive is dropped, finished or
    /// not; it must not be turned again.
    pub fn release(&mut self, driver: &mut impl Driver<K>, pool: &Pool) {
        if let Some(mut relay) = self.relay.take() {
            relay.release(driver, &pool.buffers);
        }
        self.lookups = None;
        pool.timers.disarm(&mut self.timer);
        // Empty, unless the machine panicked: nobody else may send what it gathered.
        pool.run.borrow_mut().clear();
    }

    /// Time and requests from outside.
    fn begin(&mut self, pool: &Pool, now: Instant) {
        if !self.is_started {
            self.is_started = true;
            self.machine.apply(now, Input::Tick);
        }
        if pool.is_stopping() && !self.is_stopped {
            self.is_stopped = true;
            self.report_moved(now);
            self.machine.apply(now, Input::Stop);
        }
        if self.timer.is_some_and(|timer| timer.at() <= now) {
            pool.timers.disarm(&mut self.timer);
            if self.machine.poll_timeout().is_some_and(|at| at <= now) {
                self.report_moved(now);
                self.machine.apply(now, Input::Tick);
            }
        }
    }

    /// Tells the machine what the relay moved.
    fn report_moved(&mut self, now: Instant) {
        if let Some(relay) = &mut self.relay {
            for direction in [&mut relay.up, &mut relay.down] {
                let moved = direction.take_moved();
                if moved > 0 {
                    let input = Input::Relayed(direction.from, moved);
                    self.machine.apply(now, input);
                }
            }
        }
    }

    /// Gives every socket a chance.
    fn exchange(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> News {
        let mut is_news = false;
        if self.lookups.is_some() {
            is_news |= self.poll_lookups(driver, now);
        }
        // Mostly the relay's two are all there are, and it serves them itself.
        if self.relay.is_none() || self.slots.are_many() {
            let mut n = 0;
            while let Some(slot) = self.slots.nth(n) {
                is_news |= self.poll_slot(driver, pool, now, slot);
                n += 1;
            }
        }
        let mut news = self.poll_relay(driver, pool, now);
        news.is_news |= is_news;
        news
    }

    fn poll_lookups(&mut self, driver: &mut impl Driver<K>, now: Instant) -> bool {
        let Some(lookups) = &mut self.lookups else {
            return false;
        };
        let machine = &mut self.machine;
        let before = lookups.running.len();
        lookups.running.retain_mut(|(id, lookup)| {
            let Poll::Ready(answer) = driver.poll_lookup(lookup) else {
                return true;
            };
            let outcome = match &answer {
                Ok(addresses) => Outcome::Resolved(addresses),
                Err(why) => Outcome::Failed(*why),
            };
            machine.apply(now, Input::Done(*id, outcome));
            false
        });
        let is_news = lookups.running.len() < before;
        if lookups.running.is_empty() {
            self.lookups = None;
        }
        is_news
    }

    fn poll_slot<D: Driver<K>>(
        &mut self,
        driver: &mut D,
        pool: &Pool,
        now: Instant,
        slot: Slot,
    ) -> bool {
        if self.relay.as_ref().is_some_and(|relay| relay.joins(slot)) {
            return false;
        }
        let Some(socket) = self.slots.get_mut(slot) else {
            return false;
        };
        let machine = &mut *self.machine;
        match socket {
            Socket::Stream(stream) => {
                let mut io = StreamIo::<M, K, D> {
                    machine,
                    driver,
                    slot,
                    stream,
                    now,
                };
                let wrote = io.write();
                let moved = wrote.and_then(|wrote| Ok(wrote | io.read(&pool.buffers)?));
                moved.unwrap_or_else(|_| {
                    *socket = Socket::Dead;
                    machine.apply(now, Input::Ended(slot, End::Reset));
                    true
                })
            }
            Socket::Connecting(stream, id) => {
                let id = *id;
                let Poll::Ready(decided) = stream.poll_decided(driver) else {
                    return false;
                };
                self.connected(now, slot, id, decided);
                true
            }
            Socket::Datagrams(socket) => {
                // First: who receives may be told of an error as well, without what it is.
                let errors = driver.poll_errors(socket, |to, error| {
                    machine.apply(now, Input::DatagramError { slot, to, error });
                });
                let received = driver.poll_receive(socket, |from, data| {
                    machine.apply(now, Input::Datagram { slot, from, data });
                });
                errors.is_ready() | received.is_ready()
            }
            Socket::Dead => false,
        }
    }

    fn poll_relay(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) -> News {
        let mut news = News::default();
        let Some(relay) = &mut self.relay else {
            return news;
        };
        let (a, b) = (relay.up.from, relay.up.to);
        let Some((first, second)) = self.slots.pair_mut(a, b) else {
            return news;
        };
        let ends_known = [first.ended, second.ended];
        let mut moved = [Moved::Everything; 2];
        if !relay.up.is_over() {
            let is_last = relay.down.is_over();
            moved[0] = relay.up.turn(driver, pool, first, second, is_last);
        }
        if !relay.down.is_over() {
            let is_last = relay.up.is_over();
            moved[1] = relay.down.turn(driver, pool, second, first, is_last);
        }
        news.is_more = moved.contains(&Moved::Enough);
        if moved.iter().any(|m| matches!(m, Moved::Over(_))) {
            self.report_moved(now);
        }
        for ((moved, from), was_known) in moved.into_iter().zip([a, b]).zip(ends_known) {
            let (slot, end) = match moved {
                Moved::Everything | Moved::Enough => continue,
                // The machine was told of this end before it handed the connection over.
                Moved::Over(Over::Forwarded) if was_known => continue,
                Moved::Over(Over::Forwarded) => (from, End::Fin),
                Moved::Over(Over::Reset(slot)) => (slot, End::Reset),
            };
            news.is_news = true;
            if end == End::Reset {
                self.bury(driver, pool, slot);
            }
            self.machine.apply(now, Input::Ended(slot, end));
            if self.relay.is_none() {
                break;
            }
        }
        news
    }

    /// The relay is over and its machine, told of it, has not closed the connections: then the last
    /// FIN goes by itself.
    fn shut_unclosed(&mut self, driver: &mut impl Driver<K>) {
        let over = |relay: &&Relay<K>| relay.up.is_over() && relay.down.is_over();
        let Some(relay) = self.relay.as_ref().filter(over) else {
            return;
        };
        if let Some((first, second)) = self.slots.pair_mut(relay.up.from, relay.up.to) {
            for stream in [first, second] {
                // Who is dead by now has no use for it.
                let _gone = stream.shut(driver);
            }
        }
    }

    /// A relayed connection died.
    fn bury(&mut self, driver: &mut impl Driver<K>, pool: &Pool, slot: Slot) {
        if let Some(mut relay) = self.relay.take() {
            relay.release(driver, &pool.buffers);
        }
        if let Some(socket) = self.slots.get_mut(slot) {
            *socket = Socket::Dead;
        }
    }
}

/// What a round brought.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    /// The machine learnt something.
    is_news: bool,
    /// A relay has more to move.
    is_more: bool,
}
