//! A host with listeners whose connections and datagrams are served by machines.
use super::{
    Make, Newcomer, Rules,
    driver::{Driver, Socket, TcpSlot},
    effects::Answer,
};
use crate::{
    check::Invariant,
    host::{Command, Cx, DialId, Host, HostInput, QueryId, SocketId, UdpId},
    transcript::{Detail, Tag},
};
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::Instant;
use sansbox_engine::{
    ids::{ActionId, Slot},
    machine::Input,
    timer::{TimerKey, TimerQueue},
};
use std::collections::BTreeMap;

/// Which machine a socket or effect belongs to.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) sockets: BTreeMap<SocketId, (u64, Slot)>,
    pub(super) udp: BTreeMap<UdpId, (u64, Slot)>,
    pub(super) dials: BTreeMap<DialId, (u64, ActionId)>,
    pub(super) queries: BTreeMap<QueryId, (u64, ActionId)>,
}

impl Routes {
    fn len(&self) -> usize {
        self.sockets.len() + self.udp.len() + self.dials.len() + self.queries.len()
    }

    pub(super) fn forget(&mut self, machine: u64) {
        self.sockets.retain(|_, (of, _)| *of != machine);
        self.udp.retain(|_, (of, _)| *of != machine);
        self.dials.retain(|_, (of, _)| *of != machine);
        self.queries.retain(|_, (of, _)| *of != machine);
    }
}

struct Listener {
    addr: SocketAddr,
    make: Make,
    served: u64,
}

struct UdpListener {
    listener: Listener,
    socket: Option<UdpId>,
    peers: BTreeMap<SocketAddr, u64>,
}

#[derive(Clone, Copy, Debug)]
enum Alarm {
    Machine(u64),
    /// A handshake's deadline; so many times it is put off.
    Handshake(u64, u32),
}

/// Where faults strike, clocks jump and hosts stand still: a deadline that is passed so many
/// times has been passed.
const WARNINGS: u32 = 3;

struct Resident {
    driver: Driver,
    timer: Option<TimerKey>,
    handshake: Option<TimerKey>,
}

/// Drives machines as a runtime does: accepts, reads, writes, dials, keeps time.
pub struct MachineHost {
    rules: Rules,
    tcp: Vec<Listener>,
    udp: Vec<UdpListener>,
    machines: BTreeMap<u64, Resident>,
    routes: Routes,
    timers: TimerQueue<Alarm>,
    next_number: u64,
    /// What machines share.
    shared: Vec<Shared>,
}

struct Shared {
    holders: Holders,
    /// How often it is held while there are no machines, known at the start.
    before: usize,
}

/// Counts who holds something.
type Holders = Box<dyn Fn() -> usize>;

impl MachineHost {
    /// A host without listeners.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            tcp: Vec::new(),
            udp: Vec::new(),
            machines: BTreeMap::new(),
            routes: Routes::default(),
            timers: TimerQueue::default(),
            next_number: 0,
            shared: Vec::new(),
        }
    }

    /// Machines share something: when all are gone, it is held as often as at the start.
    #[must_use]
    pub fn shares(mut self, holders: impl Fn() -> usize + 'static) -> Self {
        let (holders, before) = (Box::new(holders), 0);
        self.shared.push(Shared { holders, before });
        self
    }

    /// Serves connections to `addr` by what `make` makes.
    #[must_use]
    pub fn tcp(mut self, addr: SocketAddr, make: Make) -> Self {
        self.tcp.push(Listener {
            addr,
            make,
            served: 0,
        });
        self
    }

    /// Serves datagrams to `addr`, one machine for each sender.
    #[must_use]
    pub fn udp(mut self, addr: SocketAddr, make: Make) -> Self {
        self.udp.push(UdpListener {
            listener: Listener {
                addr,
                make,
                served: 0,
            },
            socket: None,
            peers: BTreeMap::new(),
        });
        self
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        for shared in &mut self.shared {
            shared.before = (shared.holders)();
        }
        for listener in &self.tcp {
            cx.listen(listener.addr);
        }
        for udp in &mut self.udp {
            match cx.bind(udp.listener.addr) {
                Ok((socket, _)) => udp.socket = Some(socket),
                Err(why) => cx.violate(Invariant::Expected, format!("UDP listener: {why}")),
            }
        }
    }

    fn accept(&mut self, cx: &mut Cx<'_>, socket: SocketId, remote: SocketAddr, local: SocketAddr) {
        let Some(listener) = self.tcp.iter_mut().find(|l| l.addr == local) else {
            cx.abort(socket);
            return;
        };
        let newcomer = newcomer(cx, listener, remote);
        let machine = (listener.make)(newcomer);
        let number = self.admit(cx, machine, Socket::Tcp(TcpSlot::new(socket)));
        let detail = Some(Detail::Socket(Some(socket.number())));
        let who = format_args!("{remote} came to {local}");
        cx.sketch(Tag::MachineBorn, number, detail, who);
        self.routes.sockets.insert(socket, (number, Slot::CLIENT));
        self.drive(cx, number, |_, _| {}, Some(Input::Tick));
    }

    fn admit(&mut self, cx: &mut Cx<'_>, machine: Box<dyn super::Subject>, client: Socket) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        // An association without a control connection has no handshake.
        let has_handshake = matches!(client, Socket::Tcp(_));
        let by = cx.now() + self.rules.handshake_max;
        let warnings = if cx.is_exact() { 0 } else { WARNINGS };
        let mut arm = || self.timers.arm(by, Alarm::Handshake(number, warnings));
        let handshake = has_handshake.then(&mut arm);
        let resident = Resident {
            driver: Driver::new(cx, number, machine, self.rules, client),
            timer: None,
            handshake,
        };
        self.machines.insert(number, resident);
        number
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, socket: UdpId, from: SocketAddr, data: BytesMut) {
        if let Some((number, slot)) = self.routes.udp.get(&socket).copied() {
            let input = Input::Datagram { slot, from, data };
            self.drive(cx, number, |_, _| {}, Some(input));
            return;
        }
        let is_it = |udp: &UdpListener| udp.socket == Some(socket);
        let Some(at) = self.udp.iter().position(is_it) else {
            return;
        };
        let Some(udp) = self.udp.get_mut(at) else {
            return;
        };
        let known = udp.peers.get(&from).copied();
        let number = match known {
            Some(number) => number,
            None => {
                let newcomer = newcomer(cx, &mut udp.listener, from);
                let machine = (udp.listener.make)(newcomer);
                let client = Socket::Udp {
                    id: socket,
                    is_listener: true,
                };
                let local = udp.listener.addr;
                let number = self.admit(cx, machine, client);
                let who = format_args!("{from} sent to {local}");
                cx.sketch(Tag::MachineBorn, number, Some(Detail::Socket(None)), who);
                if let Some(udp) = self.udp.get_mut(at) {
                    udp.peers.insert(from, number);
                }
                self.drive(cx, number, |_, _| {}, Some(Input::Tick));
                number
            }
        };
        let slot = Slot::CLIENT;
        self.drive(
            cx,
            number,
            |_, _| {},
            Some(Input::Datagram { slot, from, data }),
        );
    }

    /// Prepares a machine's driver, applies an input and keeps its alarm in step.
    fn drive(
        &mut self,
        cx: &mut Cx<'_>,
        number: u64,
        prepare: impl FnOnce(&mut Driver, &mut Cx<'_>),
        input: Option<Input<'_>>,
    ) {
        let Some(resident) = self.machines.get_mut(&number) else {
            return;
        };
        let driver = &mut resident.driver;
        prepare(driver, cx);
        driver.drive(cx, &mut self.routes, input);
        if driver.is_past_handshake
            && let Some(key) = resident.handshake.take()
        {
            self.timers.disarm(key);
        }
        let wanted = driver.machine.poll_timeout().filter(|_| !driver.is_over);
        if resident.timer.map(|key| key.at()) != wanted {
            if let Some(key) = resident.timer.take() {
                self.timers.disarm(key);
            }
            let arm = |at| self.timers.arm(at, Alarm::Machine(number));
            resident.timer = wanted.map(arm);
            let detail = Some(Detail::Deadline(wanted));
            match wanted {
                Some(at) => cx.sketch(Tag::TimerSet, number, detail, format_args!("for {at}")),
                None => cx.sketch(Tag::TimerSet, number, detail, format_args!("off")),
            }
        }
        if driver.is_over {
            if let Some(key) = resident.handshake.take() {
                self.timers.disarm(key);
            }
            self.machines.remove(&number);
            for udp in &mut self.udp {
                udp.peers.retain(|_, of| *of != number);
            }
        }
    }

    fn fire(&mut self, cx: &mut Cx<'_>) {
        while !cx.is_broken()
            && let Some(alarm) = self.timers.pop_due(cx.now())
        {
            match alarm {
                Alarm::Machine(number) => {
                    if let Some(resident) = self.machines.get_mut(&number) {
                        resident.timer = None;
                    }
                    cx.sketch(Tag::TimerFired, number, None, format_args!(""));
                    self.drive(cx, number, |_, _| {}, Some(Input::Tick));
                }
                Alarm::Handshake(number, warnings) if warnings > 0 => {
                    let by = cx.now() + self.rules.handshake_max;
                    let again = Alarm::Handshake(number, warnings - 1);
                    if let Some(resident) = self.machines.get_mut(&number) {
                        resident.handshake = Some(self.timers.arm(by, again));
                    }
                }
                Alarm::Handshake(number, _) => {
                    if let Some(resident) = self.machines.get(&number) {
                        let what = resident.driver.describe("neither connected nor refused");
                        cx.violate(Invariant::HandshakeDeadline, what);
                    }
                }
            }
        }
    }

    fn ready(&mut self, cx: &mut Cx<'_>, socket: SocketId, to_read: bool) {
        let Some((number, slot)) = self.routes.sockets.get(&socket).copied() else {
            return;
        };
        let prepare = |driver: &mut Driver, _: &mut Cx<'_>| {
            if let Some(tcp) = driver.tcp(slot) {
                tcp.readable |= to_read;
            }
        };
        self.drive(cx, number, prepare, None);
    }

    fn dialed(&mut self, cx: &mut Cx<'_>, dial: DialId, answer: Dialed) {
        if let Some((number, id)) = self.routes.dials.remove(&dial) {
            let prepare = |driver: &mut Driver, _: &mut Cx<'_>| {
                driver.ended(id, |slot| match (answer, slot) {
                    (Ok((socket, from)), Some(slot)) => Answer::Connected(slot, socket, from),
                    (Ok(_), None) => Answer::Failed(sansbox_core::Refusal::General),
                    (Err(refusal), _) => Answer::Failed(refusal),
                });
            };
            self.drive(cx, number, prepare, None);
        }
    }

    fn stop(&mut self, cx: &mut Cx<'_>) {
        let numbers: Vec<u64> = self.machines.keys().copied().collect();
        for number in numbers {
            self.drive(cx, number, |_, _| {}, Some(Input::Stop));
        }
    }
}

/// How a dial ended.
pub(super) type Dialed = Result<(SocketId, SocketAddr), sansbox_core::Refusal>;

fn newcomer(cx: &mut Cx<'_>, listener: &mut Listener, remote: SocketAddr) -> Newcomer {
    let name = format!("{}/{}", cx.name(), listener.addr);
    let nth = listener.served;
    listener.served += 1;
    Newcomer {
        remote,
        local: listener.addr,
        seed: cx.streams().seed(&name, nth),
        now: cx.now(),
    }
}

impl Host for MachineHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => self.start(cx),
            HostInput::Timer => self.fire(cx),
            HostInput::Command(Command::Stop) => self.stop(cx),
            HostInput::Accepted {
                socket,
                remote,
                local,
            } => self.accept(cx, socket, remote, local),
            HostInput::Dialed(dial, answer) => self.dialed(cx, dial, answer),
            HostInput::Readable(socket) => self.ready(cx, socket, true),
            HostInput::Writable(socket) => self.ready(cx, socket, false),
            HostInput::Datagram { socket, from, data } => self.datagram(cx, socket, from, data),
            // No machine asks for what a runtime's error queue says.
            HostInput::Icmp { .. } | HostInput::Packet(_) => {}
            HostInput::Resolved(query, answer) => {
                if let Some((number, id)) = self.routes.queries.remove(&query) {
                    let prepare = |driver: &mut Driver, _: &mut Cx<'_>| {
                        driver.ended(id, |_| match answer {
                            Ok(addresses) => Answer::Resolved(addresses),
                            Err(refusal) => Answer::Failed(refusal),
                        });
                    };
                    self.drive(cx, number, prepare, None);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn is_done(&self) -> bool {
        self.machines.is_empty()
    }

    fn serves(&self) -> bool {
        true
    }

    fn residue(&self) -> Option<String> {
        let peers: usize = self.udp.iter().map(|udp| udp.peers.len()).sum();
        let routes = self.routes.len();
        let timers = self.timers.len();
        if peers + routes + timers > 0 {
            let what = format!("{peers} peers, {routes} routes, {timers} timers left");
            return Some(what);
        }
        let held = self.shared.iter().map(|s| ((s.holders)(), s.before));
        let mut grown = held.filter(|(now, before)| now != before);
        let (now, before) = grown.next()?;
        Some(format!("shared by {now}, at first by {before}"))
    }

    fn waiting(&self) -> Option<String> {
        let first = self.machines.values().next()?;
        let what = first.driver.describe("not finished");
        Some(format!("{} machines left; {what}", self.machines.len()))
    }
}
