//! What the sessions of one worker share, and what the worker polls for each of them.
use crate::{
    acceptor::Acceptor,
    devices::Queue,
    errors::{ErrorBuffer, Watch},
    net::{Datagrams, DeviceQueue, Net, Turn},
    observer::RuntimeEvent,
    pipes::KernelPipes,
    reactor::{Io as _, Reactor, Sleep as _},
    reception::Reception,
    resolve::Resolver,
    shared::{Shared, Totals, wall_clock},
    tun::ReentryError,
    udp::{Batch, UdpEndpoint},
};
use core::{
    cell::{Cell, OnceCell, RefCell},
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    carrier::{Carrier, Whose, tun},
    drive::{self, Birth, CarrierDrive, Drive, Pool, Recorded, Service, SessionBirth},
    ids::InboundId,
    machine::Wanted,
};
use slab::Slab;
use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

/// The carrier of a device.
struct Device {
    number: usize,
    inbound: InboundId,
    /// What it has not taken over yet.
    settings: Option<tun::Settings>,
}

/// What the sessions of one worker share.
pub(crate) struct Local<S: Service, R: Reactor> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) pool: Pool,
    pub(crate) pipes: KernelPipes,
    pub(crate) batch: RefCell<Batch>,
    pub(crate) error_buffer: RefCell<ErrorBuffer>,
    /// Sockets whose errors clients of a device are told of, and those of tunnels.
    pub(crate) errors: OnceCell<Rc<Watch<R>>>,
    pub(crate) resolver: Resolver,
    /// Who can be woken: sessions by number.
    sessions: RefCell<Slab<Waker>>,
    /// Listeners are woken to close.
    listeners: RefCell<Vec<Waker>>,
    is_closing: Cell<bool>,
    /// Carriers among the sessions.
    carriers: Cell<usize>,
    /// Those of devices.
    devices: RefCell<Vec<Device>>,
    /// Version of the settings that they have.
    tuned: Cell<u64>,
    is_carriers_end: Cell<bool>,
    /// The deadline that the alarm waits for, and how to wake it.
    alarm_at: Cell<Option<Instant>>,
    alarm: RefCell<Option<Waker>>,
    /// What was spawned and is not polled yet.
    newborn: RefCell<VecDeque<Task<S, R>>>,
    seed: Seed,
    seeds_given: Cell<u64>,
}

impl<S: Service, R: Reactor> Local<S, R> {
    pub(crate) fn new(
        shared: Arc<Shared<S>>,
        totals: Arc<Totals>,
        number: usize,
        pipes: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            seed: shared.seed.derive_nth("worker", number as u64),
            shared,
            pool: Pool::new(Arc::clone(&totals.tally)),
            totals,
            pipes: KernelPipes::new(pipes),
            batch: RefCell::default(),
            error_buffer: RefCell::default(),
            errors: OnceCell::new(),
            resolver: Resolver::default(),
            sessions: RefCell::default(),
            listeners: RefCell::default(),
            is_closing: Cell::new(false),
            carriers: Cell::new(0),
            devices: RefCell::default(),
            tuned: Cell::new(0),
            is_carriers_end: Cell::new(false),
            alarm_at: Cell::new(None),
            alarm: RefCell::default(),
            newborn: RefCell::default(),
            seeds_given: Cell::new(0),
        })
    }

    /// A seed for the next session.
    pub(crate) fn seed(&self) -> Seed {
        let n = self.seeds_given.get();
        self.seeds_given.set(n + 1);
        self.seed.derive_nth("session", n)
    }

    /// A session begins; returns its number.
    pub(crate) fn enter(&self) -> usize {
        let mut sessions = self.sessions.borrow_mut();
        sessions.insert(Waker::noop().clone())
    }

    /// A session ended.
    pub(crate) fn leave(&self, number: usize) {
        self.sessions.borrow_mut().try_remove(number);
        self.pool.tally.ended.add(1);
        self.shared.admission.leave();
    }

    /// Sessions that run.
    pub(crate) fn live(&self) -> usize {
        self.sessions.borrow().len() - self.carriers.get()
    }

    /// Wakes whoever another one's turn had something for. True when there was somebody.
    pub(crate) fn wake_woken(&self) -> bool {
        let mut is_woken = false;
        while let Some(number) = self.pool.pop_woken() {
            if let Some(waker) = self.sessions.borrow().get(number) {
                waker.wake_by_ref();
                is_woken = true;
            }
        }
        is_woken
    }

    /// Makes the drives that others ask for.
    pub(crate) fn bear(self: &Rc<Self>) {
        while let Some(birth) = self.pool.pop_birth() {
            match birth {
                Birth::Carrier(birth) => {
                    let whose = Whose::Outbound(birth.outbound());
                    if let Some(machine) = self.make_carrier(whose) {
                        let _is_watched = self.watch_errors();
                        let number = self.enter_carrier();
                        let drive = CarrierDrive::client(machine, number, birth, &self.pool);
                        self.spawn(Work::Carrier(Box::new(drive)));
                    }
                }
                Birth::Session(birth) => self.bear_session(birth),
            }
        }
    }

    fn bear_session(self: &Rc<Self>, birth: SessionBirth) {
        // A TCP connection may well come from the same port.
        let is_udp = birth.wanted == Wanted::Datagrams;
        if is_udp && self.shared.uplink.is_own(birth.peer.remote) {
            let local = birth.peer.remote.ip();
            if self.shared.uplink.is_news(local) {
                let observer = &self.shared.observer;
                observer.runtime(&RuntimeEvent::Reentry(ReentryError { local }));
            }
            return;
        }
        // Dropped, it is refused.
        if self.is_closing.get() || !self.shared.admission.places.try_take() {
            return;
        }
        self.pool.tally.accepted.add(1);
        let number = self.enter();
        let (seed, now) = (self.seed(), self.shared.clock.now());
        let service = &self.shared.service;
        let wanted = birth.wanted.clone();
        match service.carried(birth.inbound, birth.peer, wanted, seed, now) {
            Some(machine) => self.spawn(Work::Session(Drive::carried(machine, number, birth))),
            None => self.leave(number),
        }
    }

    /// The carrier of an inbound has its socket.
    pub(crate) fn serve_carrier(self: &Rc<Self>, inbound: InboundId, endpoint: UdpEndpoint<R>) {
        let Some(machine) = self.make_carrier(Whose::Inbound(inbound)) else {
            return;
        };
        let number = self.enter_carrier();
        let at = endpoint.local();
        let socket = (Box::new(Datagrams::Own(endpoint)), at);
        let drive = CarrierDrive::server(machine, number, inbound, socket, &self.pool);
        self.spawn(Work::Carrier(Box::new(drive)));
    }

    /// A queue of the device of an inbound is open.
    pub(crate) fn serve_device(self: &Rc<Self>, queue: Queue) -> io::Result<()> {
        let Queue {
            inbound,
            fd,
            facts,
            steering,
        } = queue;
        let (seed, now) = (self.seed(), self.shared.clock.now());
        let service = &self.shared.service;
        let machine = service.device(inbound, facts, seed, now);
        let machine = machine.ok_or(io::ErrorKind::Unsupported)?;
        let device = DeviceQueue {
            io: R::Io::new(fd, true)?,
            steering,
        };
        self.watch_errors()?;
        let device = (device, facts);
        let number = self.enter_carrier();
        self.devices.borrow_mut().push(Device {
            number,
            inbound,
            settings: None,
        });
        let drive = CarrierDrive::device(machine, number, inbound, device, &self.pool);
        self.spawn(Work::Carrier(Box::new(drive)));
        Ok(())
    }

    /// From now on sockets can be watched for errors. A tunnel works without, and waits in vain.
    fn watch_errors(self: &Rc<Self>) -> io::Result<()> {
        if let Some(first) = Watch::begin(&self.errors)? {
            self.spawn(Work::Errors(first));
        }
        Ok(())
    }

    fn make_carrier(&self, whose: Whose) -> Option<Box<dyn Carrier>> {
        let (seed, now) = (self.seed(), self.shared.clock.now());
        let service = &self.shared.service;
        service.carrier(whose, seed, now, wall_clock())
    }

    fn enter_carrier(&self) -> usize {
        self.carriers.set(self.carriers.get() + 1);
        self.enter()
    }

    fn leave_carrier(&self, number: usize) {
        let mut devices = self.devices.borrow_mut();
        devices.retain(|device| device.number != number);
        self.carriers.set(self.carriers.get() - 1);
        self.sessions.borrow_mut().try_remove(number);
    }

    /// Has every carrier tell its peers that this is the end.
    pub(crate) fn stop_carriers(&self) {
        self.is_carriers_end.set(true);
        for (_, waker) in &*self.sessions.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Takes settings over that were changed since. True when there are any.
    pub(crate) fn retune(&self) -> bool {
        let tuning = &self.shared.tuning;
        let version = tuning.version();
        if self.tuned.replace(version) == version {
            return false;
        }
        let sessions = self.sessions.borrow();
        for device in &mut *self.devices.borrow_mut() {
            device.settings = tuning.get(device.inbound);
            if let Some(waker) = sessions.get(device.number) {
                waker.wake_by_ref();
            }
        }
        true
    }

    /// Settings for the device that a carrier serves.
    fn take_settings(&self, number: usize) -> Option<tun::Settings> {
        let mut devices = self.devices.borrow_mut();
        let mut devices = devices.iter_mut();
        devices
            .find(|device| device.number == number)?
            .settings
            .take()
    }

    /// Wakes the alarm when a deadline comes before what it waits for. True when it was woken.
    pub(crate) fn check_alarm(&self) -> bool {
        let is_late = match (self.pool.timers.next(), self.alarm_at.get()) {
            (Some(next), Some(at)) => next < at,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_late && let Some(alarm) = &*self.alarm.borrow() {
            alarm.wake_by_ref();
        }
        is_late
    }

    /// Wakes every session whose deadline has come, and waits for the next. Never done.
    fn poll_alarm(&self, cx: &mut Context<'_>, sleep: &mut R::Sleep) -> Poll<()> {
        let (timers, clock) = (&self.pool.timers, self.shared.clock);
        self.alarm
            .borrow_mut()
            .get_or_insert_with(|| cx.waker().clone());
        loop {
            let now = clock.now();
            let sessions = self.sessions.borrow();
            while let Some(number) = timers.pop_due(now) {
                if let Some(waker) = sessions.get(number) {
                    waker.wake_by_ref();
                }
            }
            let next = timers.next();
            self.alarm_at.set(next);
            match next {
                Some(next) if sleep.poll_until(cx, clock.at(next)).is_ready() => {}
                Some(_) | None => return Poll::Pending,
            }
        }
    }

    /// Tells every session to stop.
    pub(crate) fn stop_sessions(&self) {
        self.pool.stop();
        for (_, waker) in &*self.sessions.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Closes the listeners.
    pub(crate) fn close_listeners(&self) {
        self.is_closing.set(true);
        self.listeners.take().into_iter().for_each(Waker::wake);
    }

    /// Has something polled from now on.
    pub(crate) fn spawn(self: &Rc<Self>, work: Work<S, R>) {
        self.newborn.borrow_mut().push_back(Task {
            work,
            local: Rc::clone(self),
        });
    }

    /// What was spawned since the last call.
    pub(crate) fn next_newborn(&self) -> Option<Task<S, R>> {
        self.newborn.borrow_mut().pop_front()
    }

    /// Drops what was spawned: it holds what holds it.
    pub(crate) fn forget_newborn(&self) {
        while let Some(newborn) = self.next_newborn() {
            drop(newborn);
        }
    }

    /// Something was spawned since.
    pub(crate) fn has_newborn(&self) -> bool {
        !self.newborn.borrow().is_empty()
    }

    /// A listener wants to know when it is to close.
    pub(crate) fn register_listener(&self, waker: &Waker) {
        self.listeners.borrow_mut().push(waker.clone());
    }

    fn register(&self, number: usize, waker: &Waker) {
        if let Some(known) = self.sessions.borrow_mut().get_mut(number) {
            // Cloned only when it wakes another one.
            known.clone_from(waker);
        }
    }
}

/// What a worker does.
pub(crate) enum Work<S: Service, R: Reactor> {
    Session(Drive<S::Session, Net<R>>),
    Association(Drive<S::Association, Net<R>>),
    Carrier(Box<CarrierDrive<Net<R>>>),
    Acceptor(Box<Acceptor<R>>),
    Reception(Box<Reception<R>>),
    /// Wakes the sessions whose deadline has come.
    Alarm(Box<R::Sleep>),
    /// Wakes the sessions whose datagrams did not arrive.
    Errors(Rc<Watch<R>>),
}

/// One of the things that a worker polls. Small: every idle connection has one.
pub(crate) struct Task<S: Service, R: Reactor> {
    work: Work<S, R>,
    local: Rc<Local<S, R>>,
}

impl<S: Service, R: Reactor> Unpin for Task<S, R> {}

impl<S: Service, R: Reactor> Future for Task<S, R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { work, local } = self.get_mut();
        match work {
            Work::Session(drive) => turn(drive, local, cx),
            Work::Association(drive) => turn(drive, local, cx),
            Work::Carrier(drive) => turn_carrier(drive, local, cx),
            Work::Acceptor(_) | Work::Reception(_) if local.is_closing.get() => Poll::Ready(()),
            Work::Acceptor(acceptor) => acceptor.poll(cx, local),
            Work::Reception(reception) => reception.poll(cx, local),
            Work::Alarm(sleep) => local.poll_alarm(cx, sleep),
            // Without it errors are not told, and all else goes on.
            Work::Errors(watch) => watch.poll(cx).map(drop),
        }
    }
}

impl<S: Service, R: Reactor> Drop for Task<S, R> {
    fn drop(&mut self) {
        match &mut self.work {
            Work::Session(drive) => release(drive, &self.local),
            Work::Association(drive) => release(drive, &self.local),
            Work::Carrier(drive) => {
                drive.release(&self.local.pool);
                self.local.leave_carrier(drive.number());
            }
            Work::Acceptor(_) | Work::Reception(_) | Work::Alarm(_) | Work::Errors(_) => {}
        }
    }
}

fn turn<S: Service, R: Reactor, M: Recorded>(
    drive: &mut Drive<M, Net<R>>,
    local: &Local<S, R>,
    cx: &Context<'_>,
) -> Poll<()> {
    let waker = cx.waker();
    if !drive.is_started() {
        local.register(drive.number(), waker);
    }
    let mut driver = Turn {
        waker,
        worker: local,
    };
    let now = local.shared.clock.now();
    // A machine that panics takes its own connections with it and no others. All that it shares
    // with them is put right when its drive is released.
    let turn = catch_unwind(AssertUnwindSafe(|| {
        drive.turn(&mut driver, &local.pool, now)
    }));
    ended(turn, waker)
}

fn turn_carrier<S: Service, R: Reactor>(
    drive: &mut CarrierDrive<Net<R>>,
    local: &Local<S, R>,
    cx: &Context<'_>,
) -> Poll<()> {
    let waker = cx.waker();
    local.register(drive.number(), waker);
    let mut driver = Turn {
        waker,
        worker: local,
    };
    let now = local.shared.clock.now();
    // As with sessions: a carrier that panics takes its streams with it and nothing else.
    let turn = catch_unwind(AssertUnwindSafe(|| {
        if local.is_carriers_end.get() {
            drive.stop(&mut driver, &local.pool, now);
            return drive::Turn::Finished;
        }
        if let Some(settings) = local.take_settings(drive.number()) {
            drive.set_device(now, &settings);
        }
        drive.turn(&mut driver, &local.pool, now)
    }));
    ended(turn, waker)
}

/// What a future says after a turn.
fn ended(turn: std::thread::Result<drive::Turn>, waker: &Waker) -> Poll<()> {
    match turn {
        Ok(drive::Turn::Finished) | Err(_) => Poll::Ready(()),
        Ok(drive::Turn::Waiting) => Poll::Pending,
        Ok(drive::Turn::Again) => {
            waker.wake_by_ref();
            Poll::Pending
        }
    }
}

fn release<S: Service, R: Reactor, M: Recorded>(drive: &mut Drive<M, Net<R>>, local: &Local<S, R>) {
    let mut driver = Turn {
        waker: Waker::noop(),
        worker: local,
    };
    drive.release(&mut driver, &local.pool);
    local.leave(drive.number());
}
