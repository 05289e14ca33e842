//! A world: hosts on a network, in virtual time, on one thread.
use crate::{
    check::{Flows, Invariant, Violation, Watch},
    event::Event,
    explore::{Swarm, swarm},
    fault::Fault,
    host::{Command, Cx, Host, HostId, HostInput},
    net::{Answer, Core, HopId, Net, SiteId, UdpPath, hop::Hop, names::Names, udp::Udp},
    quic::capture::Log,
    resident::{Resident, State},
    rng::Source,
    tcp::{Path, Reach, Tier, ideal::Tcp},
    timers::Timers,
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;

mod facts;

/// Events at one instant before the world is declared to spin.
const EVENTS_AT_ONE_INSTANT_MAX: u64 = 10_000_000;

/// What a world is made from.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Where choices come from besides.
    pub source: Source,
    /// Faults, as the seed draws them.
    pub swarm: Option<Swarm>,
    /// At a time after the start everything goes on as with another seed.
    pub branch: Option<(Duration, u64)>,
    /// TCP of all hosts of which nothing else is said.
    pub tier: Tier,
    /// Hosts that serve configurations run the engine's own loop, where scenarios do not say more.
    pub daemon: bool,
    /// Keep what crosses, to show it.
    pub keeps_entries: bool,
}

/// Hosts, network and time. The same seed and the same hosts give the same run, byte for byte.
pub struct World {
    pub(crate) net: Net,
    pub(crate) residents: Vec<Resident>,
    timers: Timers,
    events: u64,
    seed: u64,
    branch: Option<(Duration, u64)>,
    pub(crate) daemon: bool,
    /// By when the machines must be done, once all their peers are.
    done_by: Option<Instant>,
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
        let (seed, branch, daemon) = (setup.seed, setup.branch, setup.daemon);
        let log = setup.keeps_entries.then(Log::default);
        let net = Net {
            core: Core::new(setup),
            tcp: Tcp::default(),
            udp: Udp::default(),
            names: Names::default(),
            flows: Flows::default(),
            ledger: Vec::new(),
            log,
            watch: Watch::default(),
        };
        Self {
            net,
            residents: Vec::new(),
            timers: Timers::default(),
            events: 0,
            seed,
            branch,
            daemon,
            done_by: None,
        }
    }

    /// The seed it was made from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a site, whose hosts reach everybody else over `hops`, inside first. Behind the hops
    /// of one site and before those of another lies the way that [`Self::path`] and
    /// [`Self::udp_path`] describe.
    pub fn site(&mut self, name: &str, hops: Vec<Box<dyn Hop>>) -> SiteId {
        let site = self.net.core.sites.add(name);
        for hop in hops {
            self.add_hop(site, hop);
        }
        site
    }

    /// Adds one more hop on the outside of a site; connections that are open already do not
    /// pass it unless they pass another.
    pub fn add_hop(&mut self, site: SiteId, hop: Box<dyn Hop>) -> HopId {
        let core = &mut self.net.core;
        core.sites.add_hop(&mut core.streams, site, hop, None)
    }

    /// Adds a hop for a class of faults; returns its place on its site.
    pub(crate) fn add_fault_hop(&mut self, site: SiteId, class: &str, hop: Box<dyn Hop>) -> usize {
        let core = &mut self.net.core;
        let index = core.sites.hops(site).len();
        core.sites
            .add_hop(&mut core.streams, site, hop, Some(class));
        index
    }

    /// All sites, also those of hosts that were given none.
    pub fn sites(&self) -> impl Iterator<Item = SiteId> + use<> {
        (0..self.net.core.sites.len()).map(SiteId)
    }

    /// All hosts, in order.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        self.net.core.host_ids()
    }

    /// The hosts that are no machines under test, in order.
    pub fn peer_hosts(&self) -> Vec<HostId> {
        let hosts = self.hosts().zip(&self.residents);
        let peers = hosts.filter(|(_, resident)| !resident.host.serves());
        peers.map(|(host, _)| host).collect()
    }

    /// The addresses of a host.
    #[must_use]
    pub fn addresses(&self, host: HostId) -> &[IpAddr] {
        self.net.core.addresses(host)
    }

    /// Adds a host that owns `addresses`, on a site of its own without hops; it starts at time
    /// zero, or now.
    pub fn host(&mut self, name: &str, addresses: &[IpAddr], host: impl Host + 'static) -> HostId {
        let site = self.net.core.sites.add(name);
        self.host_in(site, name, addresses, host)
    }

    /// Adds a host on a site.
    pub fn host_in(
        &mut self,
        site: SiteId,
        name: &str,
        addresses: &[IpAddr],
        host: impl Host + 'static,
    ) -> HostId {
        let id = self.net.core.add_host(site, name, addresses);
        self.residents.push(Resident::new(Box::new(host)));
        self.net
            .core
            .queue
            .push(self.net.core.now, Event::Start(id));
        id
    }

    /// A host is the only way out of a site: it gets all that leaves the site, as
    /// [`HostInput::Packet`], and what it sends by [`Cx::send_packet`] goes into the site.
    pub fn gateway(&mut self, site: SiteId, host: HostId) {
        self.net.core.sites.set_gateway(site, host);
    }

    /// TCP of one host, from its first connection on.
    pub fn host_tier(&mut self, host: HostId, tier: Tier) {
        self.net.core.set_tier(host, tier);
    }

    /// TCP of all hosts of which nothing else is said.
    pub const fn tier(&mut self, tier: Tier) {
        self.net.core.tier = tier;
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
        self.net.tcp.set_default_path(path);
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

    /// Does something to the network or a host at a time after the start.
    pub fn at(&mut self, after: Duration, fault: Fault) {
        let at = Instant::ZERO + after;
        self.net.core.queue.push(at, Event::Fault(Box::new(fault)));
    }

    /// The current virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.net.core.now
    }

    /// Fails the run when `holds` is false, unless a swarm is at work.
    ///
    /// # Errors
    /// A violation of [`Invariant::Expected`].
    pub fn expect(&self, holds: bool, what: impl Into<String>) -> Result<(), Violation> {
        if holds || !self.is_exact() {
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
        let limit = Instant::ZERO + limit + self.prepare();
        let mut at_this_instant = 0;
        while let Some(at) = self.next_at() {
            if self.net.core.queue.is_background_only() && self.is_at_rest() {
                break;
            }
            if at > limit {
                return Err(self.stuck(&format!("still running at {limit}")));
            }
            if self.done_by.is_some_and(|by| at > by) && self.is_any_machine_left() {
                let why = "all peers are done and no fault strikes any more";
                let stuck = self.stuck(why);
                return Err(self.violation(Invariant::Liveness, stuck.detail));
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

    /// No host waits for anything.
    fn is_at_rest(&self) -> bool {
        self.timers.is_empty() && self.residents.iter().all(|r| r.waiting().is_none())
    }

    /// Installs the swarm, if there is one; returns by how much it may lengthen the run.
    fn prepare(&mut self) -> Duration {
        if let Some((after, seed)) = self.branch.take() {
            let at = Instant::ZERO + after;
            self.net.core.queue.push(at, Event::Reseed(seed));
        }
        let Some(swarm) = self.net.core.swarm else {
            return Duration::ZERO;
        };
        swarm::install(self, swarm);
        let heals = Instant::ZERO + swarm.heal_at;
        self.net.core.queue.push(heals, Event::Heal);
        swarm.heal_at + swarm::PATIENCE * 2
    }

    fn is_any_machine_left(&self) -> bool {
        let mut residents = self.residents.iter();
        residents.any(|r| r.host.serves() && !r.is_done())
    }

    /// Keeps account of who is done: with the last peer the machines' time begins to run out.
    pub(crate) fn account(&mut self, id: HostId) {
        let Some(swarm) = self.net.core.swarm else {
            return;
        };
        let Some(resident) = self.residents.get_mut(id.0 as usize) else {
            return;
        };
        resident.is_busy_peer = !resident.host.serves() && !resident.is_done();
        let all_done = !self.residents.iter().any(|r| r.is_busy_peer);
        let from = self.now().max(Instant::ZERO + swarm.heal_at);
        self.done_by = all_done.then(|| self.done_by.unwrap_or(from + swarm::GRACE));
    }

    fn next_at(&mut self) -> Option<Instant> {
        let next = [self.net.core.queue.next_at(), self.timers.next()];
        next.into_iter().flatten().min()
    }

    fn step(&mut self, at: Instant) {
        self.events += 1;
        self.net.core.now = at.max(self.net.core.now);
        if self.net.core.queue.next_at().is_some_and(|t| t <= at) {
            match self.net.core.queue.pop() {
                Some((_, Event::Fault(fault))) => self.fault(*fault),
                Some((_, event)) => {
                    if let Some((host, input)) = self.net.happen(event) {
                        self.tell(host, input);
                    }
                }
                None => {}
            }
        } else if let Some(host) = self.timers.pop_due(self.net.core.now) {
            if let Some(resident) = self.residents.get_mut(host.0 as usize) {
                resident.wanted = None;
            }
            self.tell(host, HostInput::Timer);
        }
    }

    pub(crate) fn tell(&mut self, id: HostId, input: HostInput) {
        let Some(resident) = self.residents.get_mut(id.0 as usize) else {
            return;
        };
        match resident.state {
            State::Running => {}
            State::Still => {
                resident.held.push_back(input);
                return;
            }
            State::Dead => return,
        }
        self.net.watch.told(&input);
        let mut cx = Cx {
            net: &mut self.net,
            host: id,
        };
        resident.host.handle(&mut cx, input);
        self.keep_timer(id);
        self.account(id);
    }

    /// Arms a host's timer anew where its deadline has changed.
    fn keep_timer(&mut self, id: HostId) {
        let Some(resident) = self.residents.get_mut(id.0 as usize) else {
            return;
        };
        let wanted = resident.host.poll_timeout();
        if resident.wanted == wanted {
            return;
        }
        resident.wanted = wanted;
        let at = wanted.map(|at| self.net.core.world_time(id, at));
        self.timers.set(id, at);
    }

    /// A host's deadline is no more.
    pub(crate) fn disarm(&mut self, id: HostId) {
        if let Some(resident) = self.residents.get_mut(id.0 as usize) {
            resident.wanted = None;
        }
        self.timers.set(id, None);
    }

    /// A host's clock has changed: its deadline comes at another time.
    pub(crate) fn rearm(&mut self, id: HostId) {
        let is_held = |r: &Resident| r.state == State::Still && r.wanted.is_none();
        if self.residents.get(id.0 as usize).is_some_and(is_held) {
            return;
        }
        self.disarm(id);
        self.keep_timer(id);
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
            if let Some(wait) = resident.waiting() {
                let id = HostId(u32::try_from(n).unwrap_or(u32::MAX));
                detail += &format!("; {}: {wait}", self.net.core.host_name(id));
            }
        }
        self.violation(Invariant::NoDeadlock, detail)
    }

    fn check_end(&self) -> Result<(), Violation> {
        if self.residents.iter().any(|r| r.waiting().is_some()) {
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
        self.check_residue()
    }

    /// Hosts that are alive are as they were at the start.
    fn check_residue(&self) -> Result<(), Violation> {
        let alive = self.residents.iter().filter(|r| r.state != State::Dead);
        match alive.into_iter().find_map(|r| r.host.residue()) {
            Some(what) => Err(self.violation(Invariant::BackToBaseline, what)),
            None => Ok(()),
        }
    }
}
