//! The future that drives one machine. Small: an idle connection is little more than this.
use crate::{
    dial,
    passthrough::{Over, Relay},
    resolve::{Answer, LOOKUPS_MAX, lookup},
    service::{Recorded, Service},
    slots::{Slots, Socket, close, poll_connected},
    stream_io::StreamIo,
    udp::UdpEndpoint,
    worker::Worker,
};
use core::net::SocketAddr;
use sansbox_core::{Domain, End, Instant, Refusal};
use sansbox_engine::{
    ids::{ActionId, OutboundId, Slot},
    machine::{Action, Families, Input, Outcome},
    session::canonical,
    timer::TimerKey,
};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::task::{JoinHandle, coop::unconstrained};

/// Rounds of one wake-up before others get their turn.
const ROUNDS: usize = 32;

/// Drives one machine: applies what its sockets do, does what it asks for.
pub(crate) struct Drive<S: Service, M: Recorded> {
    machine: Box<M>,
    worker: Rc<Worker<S>>,
    slots: Slots,
    relay: Option<Relay>,
    lookups: Vec<(ActionId, JoinHandle<Answer>)>,
    timer: Option<TimerKey>,
    /// In the worker's list of who can be woken.
    number: usize,
    is_started: bool,
    is_stopped: bool,
}

impl<S: Service, M: Recorded> Drop for Drive<S, M> {
    fn drop(&mut self) {
        if let Some(relay) = &mut self.relay {
            relay.release(&self.worker.stores);
        }
        for (_, answer) in &self.lookups {
            answer.abort();
        }
        self.worker.lookups_ended(self.lookups.len());
        self.worker.timers.disarm(&mut self.timer);
        self.worker.leave(self.number);
    }
}

impl<S: Service, M: Recorded> Future for Drive<S, M> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = this.worker.shared.clock.now();
        this.begin(cx, now);
        for _ in 0..ROUNDS {
            this.act(now);
            if this.machine.is_finished() {
                return Poll::Ready(());
            }
            if !this.exchange(cx, now) {
                this.rearm();
                return Poll::Pending;
            }
        }
        this.rearm();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Service, M: Recorded + 'static> Drive<S, M> {
    /// Drives `machine` on this worker until it is finished.
    pub(crate) fn spawn(worker: &Rc<Worker<S>>, machine: M, slots: Slots) {
        let drive = Self {
            machine: Box::new(machine),
            worker: Rc::clone(worker),
            slots,
            relay: None,
            lookups: Vec::new(),
            timer: None,
            number: worker.enter(),
            is_started: false,
            is_stopped: false,
        };
        // Rounds and turns bound what one wake-up does; tokio's own budget would cut a turn short,
        // and allocates when it does.
        drop(tokio::task::spawn_local(unconstrained(drive)));
    }
}

impl<S: Service, M: Recorded> Drive<S, M> {
    /// Time and requests from outside.
    fn begin(&mut self, cx: &Context<'_>, now: Instant) {
        if !self.is_started {
            self.is_started = true;
            self.worker.register(self.number, cx.waker());
            self.machine.apply(now, Input::Tick);
        }
        if self.worker.is_stopping() && !self.is_stopped {
            self.is_stopped = true;
            self.report_moved(now);
            self.machine.apply(now, Input::Stop);
        }
        if self.timer.is_some_and(|timer| timer.at() <= now) {
            self.worker.timers.disarm(&mut self.timer);
            if self.machine.poll_timeout().is_some_and(|at| at <= now) {
                self.report_moved(now);
                self.machine.apply(now, Input::Tick);
            }
        }
    }

    fn rearm(&mut self) {
        let want = self.machine.poll_timeout();
        self.worker.timers.rearm(&mut self.timer, want, self.number);
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

    /// Does what the machine asks for.
    fn act(&mut self, now: Instant) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Resolve { id, name, families } => self.resolve(now, id, name, families),
                Action::Dial {
                    id,
                    slot,
                    to,
                    outbound,
                } => self.dial(now, id, slot, to, outbound),
                Action::Bind {
                    id,
                    slot,
                    local,
                    outbound,
                } => self.bind(now, id, slot, local, outbound),
                Action::Cancel(id) => self.cancel(id),
                Action::Send { slot, to, data } => {
                    let pushed = self.worker.datagrams.run.borrow_mut().push(slot, to, &data);
                    if !pushed {
                        self.send_run();
                        self.worker.datagrams.run.borrow_mut().push(slot, to, &data);
                    }
                }
                Action::Close(slot, end) => {
                    self.send_run();
                    self.close(slot, end);
                }
                Action::Passthrough(a, b) => self.relay = Some(Relay::new(a, b)),
                Action::Log(stage) => {
                    let (worker, record) = (&self.worker, self.machine.record());
                    worker.tally.count(record, stage);
                    worker.shared.observer.session(record, stage, now);
                }
            }
        }
        self.send_run();
    }

    fn resolve(&mut self, now: Instant, id: ActionId, name: Domain, families: Families) {
        if self.worker.lookups_running() >= LOOKUPS_MAX {
            let outcome = Outcome::Failed(Refusal::ResolverFailed);
            return self.machine.apply(now, Input::Done(id, outcome));
        }
        self.worker.lookup_began();
        self.lookups.push((id, lookup(name, families)));
    }

    fn dial(
        &mut self,
        now: Instant,
        id: ActionId,
        slot: Slot,
        to: SocketAddr,
        outbound: OutboundId,
    ) {
        let shared = &self.worker.shared;
        self.worker.tally.dials.add(1);
        let connecting = match shared.service.dial(outbound) {
            Some(options) => dial::connect(to, options, shared.cheap_controller),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        match connecting {
            Ok(tcp) => {
                let local = dial::is_connected(&tcp, to).then(|| tcp.local_addr());
                self.slots.insert(slot, Socket::Connecting(tcp, id));
                if let Some(local) = local {
                    self.connected(now, slot, id, local);
                }
            }
            Err(e) => self.fail(now, id, &e),
        }
    }

    fn bind(
        &mut self,
        now: Instant,
        id: ActionId,
        slot: Slot,
        local: SocketAddr,
        outbound: Option<OutboundId>,
    ) {
        let options = outbound.and_then(|o| self.worker.shared.service.dial(o));
        let fragment = options.and_then(|o| o.udp_fragment);
        let bound =
            dial::bind(local, options).and_then(|socket| UdpEndpoint::new(socket, fragment));
        match bound {
            Ok(endpoint) => {
                let outcome = Outcome::Bound(endpoint.local());
                self.slots.insert(slot, Socket::Udp(Box::new(endpoint)));
                self.machine.apply(now, Input::Done(id, outcome));
            }
            Err(e) => self.fail(now, id, &e),
        }
    }

    fn fail(&mut self, now: Instant, id: ActionId, error: &io::Error) {
        let outcome = Outcome::Failed(dial::refusal(error));
        self.machine.apply(now, Input::Done(id, outcome));
    }

    fn cancel(&mut self, id: ActionId) {
        drop(self.slots.remove_connecting(id));
        if let Some(at) = self.lookups.iter().position(|(asked, _)| *asked == id) {
            let (_, answer) = self.lookups.swap_remove(at);
            answer.abort();
            self.worker.lookups_ended(1);
        }
    }

    fn close(&mut self, slot: Slot, end: End) {
        if let Some(mut relay) = self.relay.take_if(|relay| relay.joins(slot)) {
            relay.release(&self.worker.stores);
        }
        if let Some(socket) = self.slots.remove(slot) {
            close(socket, end);
        }
    }

    /// Sends the datagrams gathered so far.
    fn send_run(&mut self) {
        let mut run = self.worker.datagrams.run.borrow_mut();
        let Some(slot) = run.slot() else {
            return;
        };
        let lost = match self.slots.get_mut(slot) {
            Some(Socket::Udp(endpoint)) => run.send(endpoint, None),
            Some(Socket::Face(face)) => run.send(&face.endpoint, face.local),
            Some(Socket::Stream(_) | Socket::Connecting(..) | Socket::Dead) | None => {
                run.clear();
                1
            }
        };
        self.worker.tally.datagrams_dropped.add(lost);
    }

    /// Gives every socket a chance; true when the machine learnt something.
    fn exchange(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut is_news = false;
        if !self.lookups.is_empty() {
            is_news |= self.poll_lookups(cx, now);
        }
        let mut n = 0;
        while let Some(slot) = self.slots.nth(n) {
            is_news |= self.poll_slot(cx, now, slot);
            n += 1;
        }
        is_news | self.poll_relay(cx, now)
    }

    fn poll_lookups(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut is_news = false;
        let machine = &mut self.machine;
        let before = self.lookups.len();
        self.lookups.retain_mut(|(id, answer)| {
            let Poll::Ready(answer) = Pin::new(answer).poll(cx) else {
                return true;
            };
            let outcome = match &answer {
                Ok(Ok(addresses)) => Outcome::Resolved(addresses),
                Ok(Err(why)) => Outcome::Failed(*why),
                Err(_) => Outcome::Failed(Refusal::ResolverFailed),
            };
            machine.apply(now, Input::Done(*id, outcome));
            is_news = true;
            false
        });
        self.worker.lookups_ended(before - self.lookups.len());
        if self.lookups.is_empty() {
            self.lookups = Vec::new();
        }
        is_news
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>, now: Instant, slot: Slot) -> bool {
        if self.relay.as_ref().is_some_and(|relay| relay.joins(slot)) {
            return false;
        }
        let Some(socket) = self.slots.get_mut(slot) else {
            return false;
        };
        let machine = &mut *self.machine;
        match socket {
            Socket::Stream(stream) => {
                let buffers = &self.worker.stores.buffers;
                let mut io = StreamIo {
                    machine,
                    slot,
                    stream,
                    now,
                };
                let moved = io
                    .write(cx)
                    .and_then(|wrote| Ok(wrote | io.read(cx, buffers)?));
                moved.unwrap_or_else(|_| {
                    *socket = Socket::Dead;
                    machine.apply(now, Input::Ended(slot, End::Reset));
                    true
                })
            }
            Socket::Connecting(tcp, id) => {
                let id = *id;
                let Poll::Ready(decided) = poll_connected(tcp, cx) else {
                    return false;
                };
                self.connected(now, slot, id, decided);
                true
            }
            Socket::Udp(endpoint) => {
                let mut batch = self.worker.datagrams.batch.borrow_mut();
                match endpoint.poll_receive(cx, &mut batch) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(())) => {}
                    // Something that an earlier datagram met; asking again clears it.
                    Poll::Ready(Err(_)) => return true,
                }
                for (from, _, data) in batch.datagrams() {
                    machine.apply(now, Input::Datagram { slot, from, data });
                }
                true
            }
            Socket::Face(face) => {
                let from = face.client;
                let mut is_news = false;
                while let Some(data) = face.receive(cx.waker()) {
                    machine.apply(now, Input::Datagram { slot, from, data });
                    is_news = true;
                }
                is_news
            }
            Socket::Dead => false,
        }
    }

    /// A connection on its way is decided: connected from this address, or failed.
    fn connected(
        &mut self,
        now: Instant,
        slot: Slot,
        id: ActionId,
        decided: io::Result<SocketAddr>,
    ) {
        let Some(Socket::Connecting(tcp, _)) = self.slots.remove(slot) else {
            return;
        };
        match decided {
            Ok(local) => {
                self.slots.insert(slot, Socket::Stream(tcp.into()));
                let outcome = Outcome::Connected(canonical(local));
                self.machine.apply(now, Input::Done(id, outcome));
            }
            Err(e) => self.fail(now, id, &e),
        }
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(relay) = &mut self.relay else {
            return false;
        };
        let (a, b) = (relay.up.from, relay.up.to);
        let Some((first, second)) = self.slots.pair_mut(a, b) else {
            return false;
        };
        let (stores, tally) = (&self.worker.stores, &self.worker.tally);
        let ends_known = [first.ended, second.ended];
        let mut overs = [None; 2];
        if !relay.up.is_over() {
            overs[0] = ready(relay.up.poll(cx, first, second, stores, tally));
        }
        if !relay.down.is_over() {
            overs[1] = ready(relay.down.poll(cx, second, first, stores, tally));
        }
        if overs == [None; 2] {
            return false;
        }
        self.report_moved(now);
        let ends = overs.into_iter().zip([a, b]).zip(ends_known);
        let mut is_news = false;
        for ((over, from), was_known) in ends {
            let input = match over {
                None => continue,
                // The machine was told of this end before it handed the connection over.
                Some(Over::Forwarded) if was_known => continue,
                Some(Over::Forwarded) => Input::Ended(from, End::Fin),
                Some(Over::Reset(slot)) => {
                    if let Some(mut relay) = self.relay.take() {
                        relay.release(&self.worker.stores);
                    }
                    if let Some(socket) = self.slots.get_mut(slot) {
                        *socket = Socket::Dead;
                    }
                    Input::Ended(slot, End::Reset)
                }
            };
            self.machine.apply(now, input);
            is_news = true;
            if self.relay.is_none() {
                break;
            }
        }
        is_news
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
