//! A world: hosts on a network, in virtual time, on one thread.
use crate::{
    check::{Closed, Flows, Invariant, Violation},
    event::Event,
    host::{Command, Cx, Host, HostId, HostInput},
    net::{Answer, Core, Net, UdpPath, names::Names, udp::Udp},
    rng::{Decision, Overrides},
    tcp::{Path, Reach, ideal::Tcp},
    transcript::Entry,
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;
use sansbox_engine::timer::{TimerKey, TimerQueue};

/// Events at one instant before the world is declared to spin.
const EVENTS_AT_ONE_INSTANT_MAX: u64 = 10_000_000;

struct Resident {
    host: Box<dyn Host>,
    timer: Option<TimerKey>,
}

/// What a world is made from.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Choices made in the streams' place.
    pub overrides: Overrides,
    /// Keep what crosses, to show it.
    pub keeps_entries: bool,
}

/// Hosts, network and time. The same seed and the same hosts give the same run, byte for byte.
pub struct World {
    net: Net,
    residents: Vec<Resident>,
    timers: TimerQueue<HostId>,
    events: u64,
    seed: u64,
}

impl World {
    /// An empty world from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(Setup {
            seed,
            ..Setup::default()
        })
    }

    /// An empty world.
    #[must_use]
    pub fn with(setup: Setup) -> Self {
        let seed = setup.seed;
        let net = Net {
            core: Core::new(setup),
            tcp: Tcp::default(),
            udp: Udp::default(),
            names: Names::default(),
            flows: Flows::default(),
            ledger: Vec::new(),
        };
        Self {
            net,
            residents: Vec::new(),
            timers: TimerQueue::default(),
            events: 0,
            seed,
        }
    }

    /// The seed it was made from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a host that owns `addresses`; it starts at time zero, or now.
    pub fn host(&mut self, name: &str, addresses: &[IpAddr], host: impl Host + 'static) -> HostId {
        let id = self.net.core.add_host(name, addresses);
        self.residents.push(Resident {
            host: Box::new(host),
            timer: None,
        });
        self.net
            .core
            .queue
            .push(self.net.core.now, Event::Start(id));
        id
    }

    /// What becomes of dials to `to`.
    pub fn reach(&mut self, to: SocketAddr, reach: Reach) {
        self.net.tcp.set_reach(to, reach);
    }

    /// The way of connections to `to`.
    pub fn path(&mut self, to: SocketAddr, path: Path) {
        self.net.tcp.set_path(to, path);
    }

    /// The way of connections to everywhere else.
    pub const fn default_path(&mut self, path: Path) {
        self.net.tcp.default_path = path;
    }

    /// The way of datagrams to `to`.
    pub fn udp_path(&mut self, to: SocketAddr, path: UdpPath) {
        self.net.udp.set_path(to, path);
    }

    /// The way of datagrams to everywhere else.
    pub const fn default_udp_path(&mut self, path: UdpPath) {
        self.net.udp.default_path = path;
    }

    /// What the resolver says of `name`.
    pub fn name(&mut self, name: &str, answer: Answer) {
        self.net.names.set(name, answer);
    }

    /// Tells a host something at a time after the start.
    pub fn command(&mut self, after: Duration, host: HostId, command: Command) {
        let at = Instant::ZERO + after;
        self.net.core.queue.push(at, Event::Command(host, command));
    }

    /// The current virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.net.core.now
    }

    /// How machines ended, in order.
    #[must_use]
    pub fn closed(&self) -> &[Closed] {
        &self.net.ledger
    }

    /// Byte flows across hosts.
    #[must_use]
    pub const fn flows(&self) -> &Flows {
        &self.net.flows
    }

    /// Events handled.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// SHA-256 over everything that crossed between hosts, machines and network.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.net.core.transcript.digest()
    }

    /// What crossed, where it is kept.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.net.core.transcript.entries()
    }

    /// The names of all hosts, in order.
    #[must_use]
    pub fn host_names(&self) -> Vec<String> {
        self.net.core.host_names()
    }

    /// The addresses of each host, in the same order.
    #[must_use]
    pub fn host_addresses(&self) -> Vec<Vec<IpAddr>> {
        self.net.core.host_addresses()
    }

    /// Every random choice, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        self.net.core.streams.decisions()
    }

    /// Fails the run when `holds` is false.
    ///
    /// # Errors
    /// A violation of [`Invariant::Expected`].
    pub fn expect(&self, holds: bool, what: impl Into<String>) -> Result<(), Violation> {
        if holds {
            return Ok(());
        }
        Err(Violation {
            at: self.now(),
            host: "world".into(),
            invariant: Invariant::Expected,
            detail: what.into(),
        })
    }

    /// Runs until nothing can happen any more, then checks that nothing is left.
    ///
    /// # Errors
    /// The first broken invariant; among them a host that is not done at `limit`, or when
    /// nothing can happen any more.
    pub fn run(&mut self, limit: Duration) -> Result<(), Violation> {
        let limit = Instant::ZERO + limit;
        let mut at_this_instant = 0;
        while let Some(at) = self.next_at() {
            if at > limit {
                return Err(self.stuck(&format!("still running at {limit}")));
            }
            at_this_instant = if at > self.now() {
                0
            } else {
                at_this_instant + 1
            };
            if at_this_instant > EVENTS_AT_ONE_INSTANT_MAX {
                return Err(self.violation(Invariant::NoBusyLoop, "time stands still".into()));
            }
            self.step(at);
            if let Some(violation) = self.net.core.violation.take() {
                return Err(violation);
            }
        }
        self.check_end()
    }

    fn next_at(&self) -> Option<Instant> {
        let next = [self.net.core.queue.next_at(), self.timers.next()];
        next.into_iter().flatten().min()
    }

    fn step(&mut self, at: Instant) {
        self.events += 1;
        self.net.core.now = at.max(self.net.core.now);
        if self.net.core.queue.next_at().is_some_and(|t| t <= at) {
            let Some((_, event)) = self.net.core.queue.pop() else {
                return;
            };
            if let Some((host, input)) = self.net.happen(event) {
                self.tell(host, input);
            }
        } else if let Some(host) = self.timers.pop_due(self.net.core.now) {
            if let Some(resident) = self.residents.get_mut(host.0 as usize) {
                resident.timer = None;
            }
            self.tell(host, HostInput::Timer);
        }
    }

    fn tell(&mut self, id: HostId, input: HostInput) {
        let Some(resident) = self.residents.get_mut(id.0 as usize) else {
            return;
        };
        let mut cx = Cx {
            net: &mut self.net,
            host: id,
        };
        resident.host.handle(&mut cx, input);
        let wanted = resident.host.poll_timeout();
        if resident.timer.map(|key| key.at()) == wanted {
            return;
        }
        if let Some(key) = resident.timer.take() {
            self.timers.disarm(key);
        }
        resident.timer = wanted.map(|at| self.timers.arm(at, id));
    }

    fn violation(&self, invariant: Invariant, detail: String) -> Violation {
        Violation {
            at: self.now(),
            host: "world".into(),
            invariant,
            detail,
        }
    }

    /// Says what every unfinished host waits for.
    fn stuck(&self, why: &str) -> Violation {
        let mut detail = why.to_owned();
        for (n, resident) in self.residents.iter().enumerate() {
            if let Some(wait) = resident.host.waiting() {
                let id = HostId(u32::try_from(n).unwrap_or(u32::MAX));
                detail += &format!("; {}: {wait}", self.net.core.host_name(id));
            }
        }
        self.violation(Invariant::NoDeadlock, detail)
    }

    fn check_end(&self) -> Result<(), Violation> {
        if self.residents.iter().any(|r| r.host.waiting().is_some()) {
            return Err(self.stuck("nothing in flight and no timer"));
        }
        if let Err((invariant, detail)) = self.net.flows.check_ends() {
            return Err(self.violation(invariant, detail));
        }
        let (conns, queries) = (self.net.tcp.live(), self.net.names.live());
        let hosts = 0..u32::try_from(self.residents.len()).unwrap_or(u32::MAX);
        let sockets: usize = hosts
            .map(|n| self.net.tcp.open_sockets(HostId(n)) + self.net.udp.open_sockets(HostId(n)))
            .sum();
        if sockets + queries > 0 {
            let detail = format!("{sockets} sockets, {conns} connections, {queries} lookups");
            return Err(self.violation(Invariant::NothingLeft, detail));
        }
        Ok(())
    }
}

impl Net {
    /// Lets an event happen; returns which host hears of it.
    fn happen(&mut self, event: Event) -> Option<(HostId, HostInput)> {
        let core = &mut self.core;
        match event {
            Event::Start(host) => Some((host, HostInput::Start)),
            Event::Command(host, command) => {
                let tag = crate::transcript::Tag::Command;
                core.note_text(host, tag, 0, format_args!("{command:?}"));
                Some((host, HostInput::Command(command)))
            }
            Event::Accept(number) => self.tcp.accept(core, number),
            Event::Dialed(dial) => self.tcp.dialed(core, dial),
            Event::Arrive(from, number) => {
                self.tcp.arrive(core, from, number);
                None
            }
            Event::Pump(socket) => {
                self.tcp.pump(core, socket);
                None
            }
            Event::Reset(socket, packet) => {
                self.tcp.reset(core, socket, packet);
                None
            }
            Event::Readable(socket) => self.tcp.wake(socket, true),
            Event::Writable(socket) => self.tcp.wake(socket, false),
            Event::Datagram(socket, from, packet, data) => {
                self.udp.arrive(core, (socket, from, packet), data)
            }
            Event::Resolved(query) => self.names.resolved(core, query),
        }
    }
}
