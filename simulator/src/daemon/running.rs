//! A process: its listeners and its drives, their births and their turns.
mod checks;

use super::{
    account::{Account, Kind},
    device::{Device, TunSettings},
    driver::{Net, OneTurn, wall_clock},
    sockets::{Datagrams, Graves, Held, Stream, Virtual, Ways},
    stop::Stage,
};
use crate::{
    check::Invariant,
    drive::Rules,
    host::{Cx, SocketId, UdpId},
    net::packet::Packet,
    rng::StreamId,
    transcript::{Detail, Tag},
};
use bytes::BytesMut;
use core::{net::SocketAddr, task::Waker};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer,
    carrier::{Carrier, Whose},
    counters,
    drive::{Birth, CarrierDrive, Clients, Delivery, Drive, Pool, Service, SessionBirth, Turn},
    ids::InboundId,
    machine::Wanted,
    timer::TimerQueue,
};
use sansbox_stack::drops::Dropped;
use slab::Slab;
use std::{
    collections::BTreeSet,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    task::Wake,
};

/// Turns that may follow from one thing that happened.
const TURNS_MAX: u32 = 100_000;
/// Where faults strike, clocks jump and hosts stand still: a deadline that is passed so many
/// times has been passed.
const WARNINGS: u32 = 3;
/// Clients of one UDP listener at a time.
const CLIENTS_MAX: usize = 1024;
/// One turn in so many is followed by another one that nobody needs.
const NEEDLESS_EVERY: u64 = 4;

/// What a drive serves.
pub(super) enum Work<S: Service> {
    Session(Drive<S::Session, Virtual>),
    Association(Drive<S::Association, Virtual>),
    Carrier(Box<CarrierDrive<Virtual>>),
}

pub(super) struct Resident<S: Service> {
    pub(super) work: Work<S>,
    pub(super) account: Account,
    /// Wakes it for a client's datagrams.
    pub(super) waker: Waker,
}

/// Wakes a drive by its number.
struct Bell {
    number: usize,
    rung: Sender<usize>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens only while everything is dropped.
        let _ = self.rung.send(self.number);
    }
}

struct Reception {
    inbound: InboundId,
    socket: UdpId,
    local: SocketAddr,
    clients: Rc<Clients>,
}

/// A process that runs.
pub(super) struct Running<S: Service> {
    service: Arc<S>,
    pub(super) net: Net,
    pub(super) pool: Pool,
    pub(super) residents: Slab<Resident<S>>,
    listeners: Vec<(InboundId, SocketAddr)>,
    receptions: Vec<Reception>,
    handshakes: TimerQueue<(usize, u32)>,
    device: Option<Device>,
    /// Packets that the stack of the device has dropped, by reason.
    drops: Vec<Dropped>,
    rung: Receiver<usize>,
    bell: Sender<usize>,
    pub(super) stage: Stage,
    /// Stream that says whose turn it is.
    order: StreamId,
    seed: Seed,
    /// Drives made.
    made: u64,
    /// Sessions and associations that ended.
    finished: u64,
    turns: u64,
}

impl<S: Service> Running<S> {
    /// A process that listens on everything; the n-th of its host.
    pub(super) fn start(cx: &mut Cx<'_>, service: Arc<S>, settings: (Rules, TunSettings), nth: u64) -> Self {
        let (rules, tun) = settings;
        let (bell, rung) = channel();
        let name = format!("{}/daemon", cx.name());
        let mut running = Self {
            net: Net {
                rules,
                ways: Ways::default(),
                graves: Graves::default(),
                reads: cx.stream("reads"),
                served: counters::Counters::default(),
                carriers: BTreeSet::new(),
            },
            pool: Pool::default(),
            residents: Slab::new(),
            listeners: Vec::new(),
            receptions: Vec::new(),
            handshakes: TimerQueue::default(),
            device: None,
            drops: Vec::new(),
            rung,
            bell,
            stage: Stage::Serving,
            order: cx.stream("turns"),
            seed: cx.streams().seed(&name, nth),
            made: 0,
            finished: 0,
            turns: 0,
            service,
        };
        running.listen(cx);
        running.open_devices(cx, tun);
        running
    }

    fn listen(&mut self, cx: &mut Cx<'_>) {
        for sockets in self.service.inbounds() {
            let (inbound, at) = (sockets.inbound, sockets.listen);
            let at = SocketAddr::new(at.listen, at.listen_port);
            if sockets.tcp {
                cx.listen(at);
                self.listeners.push((inbound, at));
            }
            if !sockets.udp {
                continue;
            }
            let (socket, local) = match cx.bind(at) {
                Ok(bound) => bound,
                Err(why) => return cx.violate(Invariant::Expected, format!("UDP at {at}: {why}")),
            };
            if sockets.carrier {
                self.serve_carrier(cx, inbound, socket, local);
            } else {
                self.receptions.push(Reception {
                    inbound,
                    socket,
                    local,
                    clients: Clients::new(CLIENTS_MAX),
                });
            }
        }
    }

    /// Nobody is accepted any more.
    pub(super) fn close_listeners(&mut self, cx: &mut Cx<'_>) {
        for (_, at) in self.listeners.drain(..) {
            cx.unlisten(at);
        }
    }

    /// Nobody needs the sockets of UDP listeners any more.
    pub(super) fn close_sockets(&mut self, cx: &mut Cx<'_>) {
        for reception in self.receptions.drain(..) {
            cx.unbind(reception.socket);
        }
    }

    fn next_seed(&self) -> Seed {
        self.seed.derive_nth("session", self.made)
    }

    /// Takes in a drive; `make` gets its number.
    fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        kind: Kind,
        (who, socket): (std::fmt::Arguments<'_>, Option<SocketId>),
        make: impl FnOnce(usize, &mut Self) -> Work<S>,
    ) {
        let serial = self.made;
        self.made += 1;
        let detail = Some(Detail::Socket(socket.map(SocketId::number)));
        cx.sketch(Tag::MachineBorn, serial, detail, who);
        let mut account = Account::new(kind, serial);
        let number = self.residents.vacant_key();
        match kind {
            Kind::Carrier => {}
            Kind::Association => self.pool.tally.associations.add(1),
            Kind::Session | Kind::Records => {
                self.pool.tally.accepted.add(1);
                let by = cx.now() + self.net.rules.handshake_max;
                let warnings = if cx.is_exact() { 0 } else { WARNINGS };
                account.handshake = Some(self.handshakes.arm(by, (number, warnings)));
            }
        }
        let work = make(number, self);
        let rung = self.bell.clone();
        let waker = Waker::from(Arc::new(Bell { number, rung }));
        self.residents.insert(Resident {
            work,
            account,
            waker,
        });
        self.net.ways.wake(number);
    }

    /// A connection came in.
    pub(super) fn accept(
        &mut self,
        cx: &mut Cx<'_>,
        socket: SocketId,
        remote: SocketAddr,
        local: SocketAddr,
    ) {
        let listener = self.listeners.iter().find(|(_, at)| *at == local);
        let Some((inbound, _)) = listener.copied() else {
            return cx.abort(socket);
        };
        let (seed, now) = (self.next_seed(), cx.now());
        let machine = self
            .service
            .session(inbound, Peer { remote, local }, seed, now);
        let who = format_args!("{remote} came to {local}");
        self.admit(cx, Kind::Session, (who, Some(socket)), |number, this| {
            this.net.ways.connected(socket, number);
            let client = Stream::new(Held::Socket(socket), this.net.graves.clone());
            Work::Session(Drive::session(machine, number, client))
        });
    }

    /// A packet came to the device.
    pub(super) fn packet(&mut self, cx: &mut Cx<'_>, packet: &Packet) {
        if let Some(device) = &self.device {
            device.take(cx, packet);
        }
    }

    /// A datagram came to one of the sockets.
    pub(super) fn datagram(
        &mut self,
        cx: &mut Cx<'_>,
        socket: UdpId,
        from: SocketAddr,
        data: BytesMut,
    ) {
        let is_it = |reception: &&Reception| reception.socket == socket;
        let Some(reception) = self.receptions.iter().find(is_it) else {
            self.net.ways.on_datagram(socket, from, data);
            return;
        };
        if self.stage != Stage::Serving {
            return;
        }
        let data = match reception.clients.deliver(from, data) {
            Delivery::Delivered => return,
            Delivery::Dropped => return self.pool.tally.datagrams_dropped.add(1),
            Delivery::Unknown(data) => data,
        };
        if !reception.clients.has_room() {
            reception.clients.refuse();
            return self.pool.tally.datagrams_dropped.add(1);
        }
        let face = Datagrams::Face(socket, reception.clients.admit(from, data));
        let (inbound, local) = (reception.inbound, reception.local);
        let (seed, now) = (self.next_seed(), cx.now());
        let peer = Peer {
            remote: from,
            local,
        };
        let machine = self.service.association(inbound, peer, seed, now);
        let who = format_args!("{from} sent to {local}");
        self.admit(cx, Kind::Association, (who, None), |number, _| {
            Work::Association(Drive::association(machine, number, face))
        });
    }

    fn make_carrier(&self, cx: &Cx<'_>, whose: Whose) -> Option<Box<dyn Carrier>> {
        let (seed, now) = (self.next_seed(), cx.now());
        self.service.carrier(whose, seed, now, wall_clock(cx))
    }

    /// Opens the TUN device of the configuration, if it has one.
    fn open_devices(&mut self, cx: &mut Cx<'_>, settings: TunSettings) {
        for (inbound, tun) in self.service.devices() {
            let facts = settings.facts(tun.mtu);
            let (seed, now) = (self.next_seed(), cx.now());
            let Some(machine) = self.service.device(inbound, facts, seed, now) else {
                return cx.violate(Invariant::Expected, format!("no carrier for {facts:?}"));
            };
            let numbers = cx.stream("tun");
            let who = format_args!("the carrier of a device");
            self.admit(cx, Kind::Carrier, (who, None), |number, this| {
                let device = Device::new(settings, facts, number, numbers);
                this.device = Some(device.clone());
                let device = (device, facts);
                let drive = CarrierDrive::device(machine, number, inbound, device, &this.pool);
                Work::Carrier(Box::new(drive))
            });
        }
    }

    /// The carrier of an inbound has its socket.
    fn serve_carrier(
        &mut self,
        cx: &mut Cx<'_>,
        inbound: InboundId,
        socket: UdpId,
        local: SocketAddr,
    ) {
        let Some(machine) = self.make_carrier(cx, Whose::Inbound(inbound)) else {
            return cx.violate(Invariant::Expected, format!("no carrier at {local}"));
        };
        let who = format_args!("the carrier at {local}");
        self.admit(cx, Kind::Carrier, (who, None), |number, this| {
            this.net.ways.bound(socket, number);
            let socket = Datagrams::own(socket, this.net.graves.clone());
            let socket = (socket, local);
            let drive = CarrierDrive::server(machine, number, inbound, socket, &this.pool);
            Work::Carrier(Box::new(drive))
        });
    }

    /// Makes the drives that others ask for, then wakes those whom others have something for: a
    /// birth that comes to nothing wakes somebody, too.
    fn bear(&mut self, cx: &mut Cx<'_>) {
        while let Some(birth) = self.pool.pop_birth() {
            match birth {
                Birth::Carrier(birth) => {
                    let outbound = birth.outbound();
                    self.net.carriers.insert(outbound);
                    if let Some(machine) = self.make_carrier(cx, Whose::Outbound(outbound)) {
                        let who = format_args!("the carrier of {outbound:?}");
                        self.admit(cx, Kind::Carrier, (who, None), |number, this| {
                            let drive = CarrierDrive::client(machine, number, birth, &this.pool);
                            Work::Carrier(Box::new(drive))
                        });
                    }
                }
                Birth::Session(birth) => self.bear_session(cx, birth),
            }
        }
        while let Some(number) = self.pool.pop_woken() {
            self.net.ways.wake(number);
        }
    }

    fn bear_session(&mut self, cx: &mut Cx<'_>, birth: SessionBirth) {
        // Dropped, it is refused.
        if self.stage != Stage::Serving {
            return;
        }
        let (seed, now) = (self.next_seed(), cx.now());
        let (inbound, peer, wanted) = (birth.inbound, birth.peer, birth.wanted.clone());
        if let Some(machine) = self.service.carried(inbound, peer, wanted, seed, now) {
            let who = format_args!("a stream of {}", peer.remote);
            let kind = match birth.wanted {
                Wanted::Connection(_) => Kind::Session,
                Wanted::Datagrams => Kind::Records,
            };
            self.admit(cx, kind, (who, None), |number, _| {
                Work::Session(Drive::carried(machine, number, birth))
            });
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let device = self.device.as_ref().and_then(Device::poll_timeout);
        let timers = [self.pool.timers.next(), self.handshakes.next(), device];
        timers
            .into_iter()
            .chain([self.stage_timeout()])
            .flatten()
            .min()
    }

    /// Looks for handshakes that took too long; drives look after themselves.
    pub(super) fn time_out(&mut self, cx: &mut Cx<'_>) {
        if let Some(owner) = self.device.as_ref().and_then(|d| d.poll(cx.now())) {
            self.net.ways.wake(owner);
        }
        while let Some((number, warnings)) = self.handshakes.pop_due(cx.now()) {
            let Some(resident) = self.residents.get_mut(number) else {
                continue;
            };
            resident.account.handshake = None;
            if warnings > 0 {
                let by = cx.now() + self.net.rules.handshake_max;
                let again = self.handshakes.arm(by, (number, warnings - 1));
                resident.account.handshake = Some(again);
            } else {
                let what = resident.account.describe("neither connected nor refused");
                cx.violate(Invariant::HandshakeDeadline, what);
            }
        }
    }

    /// Gives everybody turns until nobody wants one.
    pub(super) fn run(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
        self.advance(cx);
        self.check(cx);
    }

    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        self.bear(cx);
        self.net.ways.bury(cx, &self.net.graves);
        for _ in 0..TURNS_MAX {
            while let Ok(number) = self.rung.try_recv() {
                self.net.ways.wake(number);
            }
            while let Some(number) = self.pool.timers.pop_due(cx.now()) {
                self.net.ways.wake(number);
            }
            let at = match self.net.ways.ready_len() {
                0 => return,
                1 => 0,
                many => cx.streams().below(self.order, many as u64) as usize,
            };
            if let Some(number) = self.net.ways.take_ready(at) {
                self.turn(cx, number);
            }
            if cx.is_broken() {
                return;
            }
        }
        let ready = self.net.ways.ready_len();
        cx.violate(
            Invariant::NoBusyLoop,
            format!("{ready} drives want turns for ever"),
        );
    }

    /// One turn of one drive, and what follows for others.
    fn turn(&mut self, cx: &mut Cx<'_>, number: usize) {
        match self.turn_once(cx, number) {
            None => {}
            Some(Turn::Finished) => self.finish(cx, number),
            Some(Turn::Again) => self.net.ways.wake(number),
            Some(Turn::Waiting) => {
                self.turns += 1;
                if self.turns.is_multiple_of(NEEDLESS_EVERY) {
                    self.bear(cx);
                    self.check_needless(cx, number);
                }
            }
        }
        self.bear(cx);
        self.net.ways.bury(cx, &self.net.graves);
    }

    fn turn_once(&mut self, cx: &mut Cx<'_>, number: usize) -> Option<Turn> {
        let resident = self.residents.get_mut(number)?;
        let (pool, now) = (&self.pool, cx.now());
        let mut driver = OneTurn {
            cx,
            net: &mut self.net,
            account: &mut resident.account,
            tally: &pool.tally,
            number,
            waker: &resident.waker,
        };
        let turn = match &mut resident.work {
            Work::Session(drive) => drive.turn(&mut driver, pool, now),
            Work::Association(drive) => drive.turn(&mut driver, pool, now),
            Work::Carrier(drive) => drive.turn(&mut driver, pool, now),
        };
        if resident.account.is_past_handshake
            && let Some(key) = resident.account.handshake.take()
        {
            self.handshakes.disarm(key);
        }
        Some(turn)
    }

    /// A turn that nobody needs does nothing.
    fn check_needless(&mut self, cx: &mut Cx<'_>, number: usize) {
        let effects = self.net.ways.effects;
        let turn = self.turn_once(cx, number);
        let done = self.net.ways.effects - effects;
        let woken = self.pool.pop_woken();
        let is_born = self.pool.pop_birth().is_some();
        if turn != Some(Turn::Waiting) || done > 0 || woken.is_some() || is_born {
            let who = self.residents.get(number).map(|r| r.account.describe(""));
            let what = format!(
                "{}a needless turn ended {turn:?} after {done} effects, the last {:?}, waking \
                 {woken:?}, birth {is_born}",
                who.unwrap_or_default(),
                self.net.ways.last_effect,
            );
            cx.violate(Invariant::DrainIsIdempotent, what);
        }
    }

    /// A machine is finished.
    fn finish(&mut self, cx: &mut Cx<'_>, number: usize) {
        let Some(mut resident) = self.residents.try_remove(number) else {
            return;
        };
        let pool = &self.pool;
        let mut driver = OneTurn {
            cx,
            net: &mut self.net,
            account: &mut resident.account,
            tally: &pool.tally,
            number,
            waker: &resident.waker,
        };
        match &mut resident.work {
            Work::Session(drive) => drive.release(&mut driver, pool),
            Work::Association(drive) => drive.release(&mut driver, pool),
            Work::Carrier(_) => {
                let what = resident.account.describe("a carrier is never finished");
                return cx.violate(Invariant::Expected, what);
            }
        }
        if let Some(key) = resident.account.handshake.take() {
            self.handshakes.disarm(key);
        }
        resident.account.finish(cx, &self.net.carriers);
        self.pool.tally.ended.add(1);
        self.finished += 1;
    }
}
