//! Doing what a machine asks for.
use super::{
    Dialled, Drive, Driver, Pool, Recorded, Sockets, joint::Joint, link::Link, machine::Lookups,
    relay::Relay, slots::Socket, stream::Stream,
};
use crate::{
    ids::{ActionId, OutboundId, Slot},
    machine::{Action, Families, Input, Outcome, Undelivered},
    session::canonical,
};
use core::net::SocketAddr;
use sansbox_core::{Domain, End, Instant, Refusal};

impl<M: Recorded, K: Sockets> Drive<M, K> {
    pub(super) fn act(&mut self, driver: &mut impl Driver<K>, pool: &Pool, now: Instant) {
        let mut is_sending = false;
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Resolve { id, name, families } => {
                    self.resolve(driver, now, id, name, families);
                }
                Action::Dial {
                    id,
                    slot,
                    to,
                    outbound,
                } => {
                    pool.tally.dials.add(1);
                    self.dial(driver, now, (id, slot), to, outbound);
                }
                Action::OpenStream {
                    id,
                    slot,
                    outbound,
                    wanted,
                } => {
                    pool.tally.dials.add(1);
                    let joint = pool.open_stream(outbound, wanted, self.number());
                    self.slots
                        .insert(slot, Socket::Connecting(Link::Joint(joint), id));
                }
                Action::Answer(answer) => self.answer(answer),
                Action::Bind {
                    id,
                    slot,
                    local,
                    outbound,
                } => self.bind(driver, now, (id, slot), local, outbound),
                Action::Cancel(id) => self.cancel(driver, id),
                Action::Send { slot, to, data } => {
                    is_sending = true;
                    let pushed = pool.run.borrow_mut().push(slot, to, &data);
                    if !pushed {
                        self.send_run(driver, pool);
                        pool.run.borrow_mut().push(slot, to, &data);
                    }
                }
                Action::DatagramError { to, error } => self.tell(pool, to, error),
                Action::Close(slot, end) => {
                    self.send_run(driver, pool);
                    self.close(driver, pool, slot, end);
                }
                Action::Passthrough(a, b) => self.relay = Some(Relay::new(a, b)),
                Action::Log(stage) => driver.log(self.machine.record(), stage, now),
            }
        }
        if is_sending {
            self.send_run(driver, pool);
        }
    }

    fn resolve(
        &mut self,
        driver: &mut impl Driver<K>,
        now: Instant,
        id: ActionId,
        name: Domain,
        families: Families,
    ) {
        match driver.resolve(name, families) {
            Ok(lookup) => {
                let empty = || {
                    Box::new(Lookups {
                        running: Vec::new(),
                    })
                };
                let lookups = self.lookups.get_or_insert_with(empty);
                lookups.running.push((id, lookup));
            }
            Err(why) => self.fail(now, id, why),
        }
    }

    fn dial(
        &mut self,
        driver: &mut impl Driver<K>,
        now: Instant,
        (id, slot): (ActionId, Slot),
        to: SocketAddr,
        outbound: OutboundId,
    ) {
        match driver.dial(to, outbound) {
            Ok(Dialled::Connected(stream, local)) => {
                let link = Link::Socket(stream);
                self.slots.insert(slot, Socket::Connecting(link, id));
                self.connected(now, slot, id, Ok(local));
            }
            Ok(Dialled::Connecting(stream)) => {
                let link = Link::Socket(stream);
                self.slots.insert(slot, Socket::Connecting(link, id));
            }
            Err(why) => self.fail(now, id, why),
        }
    }

    /// A connection on its way is decided: connected from this address, or failed.
    pub(super) fn connected(
        &mut self,
        now: Instant,
        slot: Slot,
        id: ActionId,
        decided: Result<SocketAddr, Refusal>,
    ) {
        let Some(Socket::Connecting(stream, _)) = self.slots.remove(slot) else {
            return;
        };
        match decided {
            Ok(local) => {
                self.slots.insert(slot, Socket::Stream(Stream::new(stream)));
                let outcome = Outcome::Connected(canonical(local));
                self.machine.apply(now, Input::Done(id, outcome));
            }
            Err(why) => self.fail(now, id, why),
        }
    }

    fn bind(
        &mut self,
        driver: &mut impl Driver<K>,
        now: Instant,
        (id, slot): (ActionId, Slot),
        local: SocketAddr,
        outbound: Option<OutboundId>,
    ) {
        match driver.bind(local, outbound) {
            Ok((mut socket, local)) => {
                if outbound.is_some() && self.joint().is_some_and(Joint::takes_errors) {
                    driver.watch_errors(&mut socket);
                }
                self.slots.insert(slot, Socket::Datagrams(socket));
                let outcome = Outcome::Bound(canonical(local));
                self.machine.apply(now, Input::Done(id, outcome));
            }
            Err(why) => self.fail(now, id, why),
        }
    }

    /// Tells the carrier that offered the client's stream what became of it.
    fn answer(&mut self, answer: Result<SocketAddr, Refusal>) {
        if let Some(joint) = self.joint() {
            joint.answer(answer);
        }
    }

    /// Tells that carrier's client that a datagram of its did not arrive.
    fn tell(&mut self, pool: &Pool, to: SocketAddr, error: Undelivered) {
        if let Some(joint) = self.joint().filter(|joint| joint.takes_errors())
            && !joint.tell(to, error)
        {
            pool.tally.datagrams_dropped.add(1);
        }
    }

    /// The client's stream, where a carrier offered it.
    fn joint(&mut self) -> Option<&Joint> {
        match self.slots.get_mut(Slot::CLIENT)? {
            Socket::Stream(stream) => stream.link.joint(),
            Socket::Connecting(..) | Socket::Datagrams(_) | Socket::Dead => None,
        }
    }

    fn fail(&mut self, now: Instant, id: ActionId, why: Refusal) {
        let outcome = Outcome::Failed(why);
        self.machine.apply(now, Input::Done(id, outcome));
    }

    fn cancel(&mut self, driver: &mut impl Driver<K>, id: ActionId) {
        if let Some(Socket::Connecting(stream, _)) = self.slots.remove_connecting(id) {
            stream.close(driver, End::Fin);
        }
        if let Some(lookups) = &mut self.lookups {
            lookups.running.retain(|(asked, _)| *asked != id);
        }
    }

    fn close(&mut self, driver: &mut impl Driver<K>, pool: &Pool, slot: Slot, end: End) {
        if let Some(mut relay) = self.relay.take_if(|relay| relay.joins(slot)) {
            relay.release(driver, &pool.buffers);
        }
        match self.slots.remove(slot) {
            Some(Socket::Stream(stream)) => stream.link.close(driver, end),
            Some(Socket::Connecting(stream, _)) => stream.close(driver, end),
            Some(Socket::Datagrams(_) | Socket::Dead) | None => {}
        }
    }

    /// Sends the datagrams gathered so far.
    fn send_run(&mut self, driver: &mut impl Driver<K>, pool: &Pool) {
        let mut run = pool.run.borrow_mut();
        let Some(gathered) = run.gathered() else {
            return;
        };
        let lost = match self.slots.get_mut(gathered.slot) {
            Some(Socket::Datagrams(socket)) => {
                driver.send(socket, gathered.to, gathered.bytes, gathered.segment)
            }
            Some(Socket::Stream(_) | Socket::Connecting(..) | Socket::Dead) | None => 1,
        };
        run.clear();
        if lost > 0 {
            pool.tally.datagrams_dropped.add(lost);
        }
    }
}
