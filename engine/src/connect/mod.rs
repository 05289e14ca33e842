//! From "reach this target through that outbound" to a connected stream: resolve, race the
//! addresses, run the handshakes of the proxies on the way.
mod hop;

use crate::{
    config::model::DomainStrategy,
    effects::Effects,
    eyeballs::{Attempt, BUDGET_DEFAULT, HappyEyeballs, STAGGER_DEFAULT, Step},
    ids::{ActionId, OutboundId, Slot},
    machine::{Action, Families, Outcome, Wanted},
    plan::{Path, Plan, Proxy, Reach},
};
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use hop::Hop;
use sansbox_core::{End, Host, Instant, Pipe, Progress, Refusal, Target};
use sansbox_protocols::socks::Command;
use std::collections::VecDeque;

/// Budget of a name's resolution (sing-box's DNS timeout).
pub(crate) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that each pipe of an upstream connection holds before its writer pauses.
pub(crate) const PIPE_LIMIT: usize = 64 * 1024;

/// An address that says nothing.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A connected stream slot and its pipes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) slot: Slot,
    /// Who was dialled.
    pub(crate) remote: SocketAddr,
    pub(crate) rx: Pipe,
    pub(crate) tx: Pipe,
    /// What the client may be told as bound address.
    pub(crate) bound: Target,
}

/// A connection on its way.
#[derive(Debug)]
pub(crate) struct Connect {
    command: Command,
    target: Target,
    /// Which targets may be dialled from here.
    reach: Reach,
    dial: OutboundId,
    /// Proxies whose handshake has not begun, in order.
    proxies: VecDeque<OutboundId>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Resolving {
        id: ActionId,
        port: u16,
        deadline: Instant,
    },
    Racing {
        race: HappyEyeballs,
        dials: Vec<Dialing>,
    },
    /// A carrier opens a stream; it always answers.
    Opening {
        id: ActionId,
        slot: Slot,
        to: SocketAddr,
    },
    /// A SOCKS4 proxy takes addresses only, so the target's name is resolved here.
    Naming {
        id: ActionId,
        port: u16,
        deadline: Instant,
        proxy: OutboundId,
        command: Command,
        upstream: Box<Upstream>,
    },
    Handshaking {
        upstream: Box<Upstream>,
        hop: Box<Hop>,
    },
    Ready(Option<Box<Upstream>>),
}

#[derive(Clone, Copy, Debug)]
struct Dialing {
    id: ActionId,
    slot: Slot,
    attempt: Attempt,
    to: SocketAddr,
    local: Option<SocketAddr>,
}

impl Connect {
    /// Begins to reach `target` by `path`, if it is one of those that may be reached.
    pub(crate) fn new(
        now: Instant,
        plan: &Plan,
        (path, reach): (&Path, Reach),
        command: Command,
        target: Target,
        fx: &mut Effects,
    ) -> Result<Self, Refusal> {
        let (dial, proxies, is_carried) = match path {
            Path::Blocked => return Err(Refusal::Policy),
            Path::Through { dial, proxies } => (dial, proxies, false),
            Path::Carried { carrier, proxies } => (carrier, proxies, true),
        };
        if let Host::Ip(ip) = target.host
            && !reach.admits(ip)
        {
            return Err(Refusal::PrivateAddress);
        }
        let is_direct = proxies.is_empty() && !is_carried;
        let first = match proxies.first() {
            Some(id) => proxy_of(plan, *id)?.server.clone(),
            None => target.clone(),
        };
        let mut connect = Self {
            command,
            target,
            // Where a proxy is, the configuration says.
            reach: if is_direct { reach } else { Reach::All },
            dial: *dial,
            proxies: proxies.iter().copied().collect(),
            stage: Stage::Ready(None),
        };
        if is_carried {
            connect.open_stream(Wanted::Connection(first), fx);
            return Ok(connect);
        }
        match first.host {
            Host::Ip(ip) => connect.race(now, plan, &[ip], first.port, fx)?,
            Host::Domain(name) => {
                let id = fx.action_id();
                let families = families(plan.outbound(*dial).dial.domain_strategy);
                fx.push(Action::Resolve { id, name, families });
                let deadline = now + RESOLVE_TIMEOUT;
                connect.stage = Stage::Resolving {
                    id,
                    port: first.port,
                    deadline,
                };
            }
        }
        Ok(connect)
    }

    /// Takes the answer to an action; `Ok(false)` when the action is not this connection's.
    pub(crate) fn done(
        &mut self,
        now: Instant,
        plan: &Plan,
        id: ActionId,
        outcome: Outcome<'_>,
        fx: &mut Effects,
    ) -> Result<bool, Refusal> {
        match &mut self.stage {
            Stage::Resolving {
                id: wanted, port, ..
            } if *wanted == id => {
                let port = *port;
                // Answered, so there is nothing to cancel any more.
                self.stage = Stage::Ready(None);
                match outcome {
                    Outcome::Resolved(addresses) => {
                        let strategy = plan.outbound(self.dial).dial.domain_strategy;
                        let mut addresses = order(addresses, strategy);
                        let had_any = !addresses.is_empty();
                        addresses.retain(|ip| self.reach.admits(*ip));
                        if had_any && addresses.is_empty() {
                            return Err(Refusal::PrivateAddress);
                        }
                        self.race(now, plan, &addresses, port, fx)?;
                    }
                    Outcome::Failed(why) => return Err(why),
                    Outcome::Connected(_) | Outcome::Bound(_) => return Err(Refusal::General),
                }
                Ok(true)
            }
            Stage::Racing { race, dials } => {
                let Some(dialing) = dials.iter_mut().find(|d| d.id == id) else {
                    return Ok(false);
                };
                match outcome {
                    Outcome::Connected(local) => {
                        dialing.local = Some(local);
                        race.connected(dialing.attempt);
                    }
                    Outcome::Failed(why) => race.failed(now, dialing.attempt, why),
                    Outcome::Resolved(_) | Outcome::Bound(_) => return Err(Refusal::General),
                }
                self.poll_race(now, plan, fx)?;
                Ok(true)
            }
            Stage::Opening { id: wanted, .. } if *wanted == id => {
                self.opened(now, plan, outcome, fx)?;
                Ok(true)
            }
            Stage::Naming { id: wanted, .. } if *wanted == id => {
                self.named(now, plan, outcome)?;
                Ok(true)
            }
            Stage::Resolving { .. }
            | Stage::Opening { .. }
            | Stage::Naming { .. }
            | Stage::Handshaking { .. }
            | Stage::Ready(_) => Ok(false),
        }
    }

    /// Begins to get a stream of datagrams from a carrier.
    pub(crate) fn datagrams(carrier: OutboundId, fx: &mut Effects) -> Self {
        let mut connect = Self {
            command: Command::UdpAssociate,
            target: UNSPECIFIED.into(),
            reach: Reach::All,
            dial: carrier,
            proxies: VecDeque::new(),
            stage: Stage::Ready(None),
        };
        connect.open_stream(Wanted::Datagrams, fx);
        connect
    }

    /// Asks the carrier for a stream.
    fn open_stream(&mut self, wanted: Wanted, fx: &mut Effects) {
        let (id, slot) = (fx.action_id(), fx.slot());
        let to = match &wanted {
            Wanted::Connection(target) => target.socket_addr().unwrap_or(UNSPECIFIED),
            Wanted::Datagrams => UNSPECIFIED,
        };
        fx.push(Action::OpenStream {
            id,
            slot,
            outbound: self.dial,
            wanted,
        });
        self.stage = Stage::Opening { id, slot, to };
    }

    /// The carrier answered.
    fn opened(
        &mut self,
        now: Instant,
        plan: &Plan,
        outcome: Outcome<'_>,
        fx: &mut Effects,
    ) -> Result<(), Refusal> {
        let stage = core::mem::replace(&mut self.stage, Stage::Ready(None));
        let Stage::Opening { slot, to, .. } = stage else {
            return Ok(());
        };
        match outcome {
            Outcome::Connected(bound) => self.connected(now, plan, (slot, to, bound), fx),
            Outcome::Failed(why) => Err(why),
            Outcome::Resolved(_) | Outcome::Bound(_) => Err(Refusal::General),
        }
    }

    /// There is a stream to the first hop.
    fn connected(
        &mut self,
        now: Instant,
        plan: &Plan,
        (slot, remote, local): (Slot, SocketAddr, SocketAddr),
        fx: &mut Effects,
    ) -> Result<(), Refusal> {
        let upstream = Box::new(Upstream {
            slot,
            remote,
            rx: Pipe::new(PIPE_LIMIT),
            tx: Pipe::new(PIPE_LIMIT),
            bound: local.into(),
        });
        self.stage = Stage::Ready(Some(upstream));
        self.next_hop(now, plan, fx)
    }

    fn race(
        &mut self,
        now: Instant,
        plan: &Plan,
        addresses: &[IpAddr],
        port: u16,
        fx: &mut Effects,
    ) -> Result<(), Refusal> {
        let options = &plan.outbound(self.dial).dial;
        let stagger = options.fallback_delay.unwrap_or(STAGGER_DEFAULT);
        let budget = options.connect_timeout.unwrap_or(BUDGET_DEFAULT);
        let race = HappyEyeballs::new(now, addresses, port, stagger, budget);
        self.stage = Stage::Racing {
            race,
            dials: Vec::new(),
        };
        self.poll_race(now, plan, fx)
    }

    fn poll_race(&mut self, now: Instant, plan: &Plan, fx: &mut Effects) -> Result<(), Refusal> {
        while let Stage::Racing { race, dials } = &mut self.stage {
            match race.poll(now) {
                None => break,
                Some(Step::Start(attempt, to)) => {
                    let (id, slot) = (fx.action_id(), fx.slot());
                    dials.push(Dialing {
                        id,
                        slot,
                        attempt,
                        to,
                        local: None,
                    });
                    fx.push(Action::Dial {
                        id,
                        slot,
                        to,
                        outbound: self.dial,
                    });
                }
                Some(Step::Cancel(attempt)) => {
                    for loser in dials.iter().filter(|d| d.attempt == attempt) {
                        fx.push(Action::Cancel(loser.id));
                    }
                }
                Some(Step::Won(attempt)) => {
                    let winner = dials.iter().find(|d| d.attempt == attempt).copied();
                    let winner = winner.ok_or(Refusal::General)?;
                    let local = winner.local.unwrap_or(UNSPECIFIED);
                    self.connected(now, plan, (winner.slot, winner.to, local), fx)?;
                }
                Some(Step::Lost(why)) => {
                    self.stage = Stage::Ready(None);
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    /// Begins the handshake of the next proxy on the way, if there is one.
    fn next_hop(&mut self, now: Instant, plan: &Plan, fx: &mut Effects) -> Result<(), Refusal> {
        let Some(id) = self.proxies.pop_front() else {
            return Ok(());
        };
        let (command, target) = match self.proxies.front() {
            Some(next) => (Command::Connect, proxy_of(plan, *next)?.server.clone()),
            None => (self.command, self.target.clone()),
        };
        let proxy = proxy_of(plan, id)?;
        if let (Host::Domain(name), true) = (&target.host, proxy.takes_only_ipv4())
            && let Some(upstream) = self.take_ready()
        {
            let (name, families, lookup) = (name.clone(), Families::V4, fx.action_id());
            fx.push(Action::Resolve {
                id: lookup,
                name,
                families,
            });
            self.stage = Stage::Naming {
                id: lookup,
                port: target.port,
                deadline: now + RESOLVE_TIMEOUT,
                proxy: id,
                command,
                upstream,
            };
            return Ok(());
        }
        self.handshake(now, proxy, command, target)
    }

    /// The target's name is resolved, for a proxy that takes addresses only.
    fn named(&mut self, now: Instant, plan: &Plan, outcome: Outcome<'_>) -> Result<(), Refusal> {
        let stage = core::mem::replace(&mut self.stage, Stage::Ready(None));
        let Stage::Naming {
            port,
            proxy,
            command,
            upstream,
            ..
        } = stage
        else {
            return Ok(());
        };
        self.stage = Stage::Ready(Some(upstream));
        let ip = match outcome {
            Outcome::Resolved(addresses) => addresses.iter().find(|ip| ip.is_ipv4()),
            Outcome::Failed(why) => return Err(why),
            Outcome::Connected(_) | Outcome::Bound(_) => return Err(Refusal::General),
        };
        let ip = ip.ok_or(Refusal::NameNotFound)?;
        let target = Target::new(Host::Ip(*ip), port);
        self.handshake(now, proxy_of(plan, proxy)?, command, target)
    }

    fn handshake(
        &mut self,
        now: Instant,
        proxy: &Proxy,
        command: Command,
        target: Target,
    ) -> Result<(), Refusal> {
        // On failure the upstream stays where `abort` finds it.
        let hop = Box::new(Hop::new(now, proxy, command, target)?);
        if let Some(upstream) = self.take_ready() {
            self.stage = Stage::Handshaking { upstream, hop };
        }
        Ok(())
    }

    /// Moves handshakes on. What the last proxy sent behind its answer goes to `down`.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        plan: &Plan,
        down: &mut Pipe,
        fx: &mut Effects,
    ) -> Result<Progress, Refusal> {
        let mut progress = Progress::NONE;
        while let Stage::Handshaking { upstream, hop } = &mut self.stage {
            let Upstream { rx, tx, bound, .. } = &mut **upstream;
            let step = hop.pump(now, rx, tx, down)?;
            progress |= step;
            // An association's control connection carries nothing after the answer.
            let mut is_over = hop.is_transparent();
            if let Some(told) = hop.poll_connected() {
                is_over |= self.command == Command::UdpAssociate && self.proxies.is_empty();
                *bound = told.unwrap_or_else(|| bound.clone());
            }
            if is_over {
                if !self.proxies.is_empty() && !down.is_empty() {
                    // A proxy that talks before it is asked is none.
                    return Err(Refusal::UpstreamProtocol);
                }
                let stage = core::mem::replace(&mut self.stage, Stage::Ready(None));
                if let Stage::Handshaking { upstream, .. } = stage {
                    self.stage = Stage::Ready(Some(upstream));
                }
                self.next_hop(now, plan, fx)?;
                progress = Progress::MADE;
            } else if step == Progress::NONE {
                break;
            }
        }
        Ok(progress)
    }

    /// The connected stream, once all handshakes are over.
    pub(crate) fn take_ready(&mut self) -> Option<Box<Upstream>> {
        match &mut self.stage {
            Stage::Ready(upstream) => upstream.take(),
            Stage::Resolving { .. }
            | Stage::Racing { .. }
            | Stage::Opening { .. }
            | Stage::Naming { .. }
            | Stage::Handshaking { .. } => None,
        }
    }

    /// The connected stream, while its handshakes run.
    pub(crate) fn upstream(&self) -> Option<&Upstream> {
        match &self.stage {
            Stage::Naming { upstream, .. } | Stage::Handshaking { upstream, .. } => Some(upstream),
            Stage::Ready(upstream) => upstream.as_deref(),
            Stage::Resolving { .. } | Stage::Racing { .. } | Stage::Opening { .. } => None,
        }
    }

    /// The same, to put received bytes in.
    pub(crate) fn upstream_mut(&mut self) -> Option<&mut Upstream> {
        match &mut self.stage {
            Stage::Naming { upstream, .. } | Stage::Handshaking { upstream, .. } => Some(upstream),
            Stage::Ready(upstream) => upstream.as_deref_mut(),
            Stage::Resolving { .. } | Stage::Racing { .. } | Stage::Opening { .. } => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Resolving { deadline, .. } | Stage::Naming { deadline, .. } => Some(*deadline),
            Stage::Racing { race, .. } => race.poll_timeout(),
            Stage::Handshaking { hop, .. } => hop.poll_timeout(),
            Stage::Opening { .. } | Stage::Ready(_) => None,
        }
    }

    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        plan: &Plan,
        fx: &mut Effects,
    ) -> Result<(), Refusal> {
        match &mut self.stage {
            Stage::Resolving { deadline, .. } | Stage::Naming { deadline, .. }
                if *deadline <= now =>
            {
                Err(Refusal::TimedOut)
            }
            Stage::Racing { .. } => self.poll_race(now, plan, fx),
            Stage::Handshaking { hop, .. } => hop.handle_timeout(now),
            Stage::Resolving { .. }
            | Stage::Opening { .. }
            | Stage::Naming { .. }
            | Stage::Ready(_) => Ok(()),
        }
    }

    /// Gives up: nothing it asked for is wanted any more.
    pub(crate) fn abort(self, fx: &mut Effects) {
        match self.stage {
            Stage::Resolving { id, .. } | Stage::Opening { id, .. } => {
                fx.push(Action::Cancel(id));
            }
            Stage::Naming { id, upstream, .. } => {
                fx.push(Action::Cancel(id));
                fx.push(Action::Close(upstream.slot, End::Reset));
            }
            Stage::Racing { mut race, dials } => {
                // Far in the future the race is lost, which names every attempt still running.
                while let Some(step) = race.poll(Instant::FAR) {
                    let Step::Cancel(attempt) = step else {
                        continue;
                    };
                    for loser in dials.iter().filter(|d| d.attempt == attempt) {
                        fx.push(Action::Cancel(loser.id));
                    }
                }
            }
            Stage::Handshaking { upstream, .. } | Stage::Ready(Some(upstream)) => {
                fx.push(Action::Close(upstream.slot, End::Reset));
            }
            Stage::Ready(None) => {}
        }
    }
}

/// The families that the strategy wants.
pub(crate) const fn families(strategy: DomainStrategy) -> Families {
    match strategy {
        DomainStrategy::Ipv4Only => Families::V4,
        DomainStrategy::Ipv6Only => Families::V6,
        DomainStrategy::AsIs | DomainStrategy::PreferIpv4 | DomainStrategy::PreferIpv6 => {
            Families::Any
        }
    }
}

/// A name's addresses in the order and of the families that the strategy wants.
pub(crate) fn order(addresses: &[IpAddr], strategy: DomainStrategy) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    match strategy {
        DomainStrategy::AsIs => {}
        DomainStrategy::PreferIpv4 => addresses.sort_by_key(IpAddr::is_ipv6),
        DomainStrategy::PreferIpv6 => addresses.sort_by_key(IpAddr::is_ipv4),
        DomainStrategy::Ipv4Only => addresses.retain(IpAddr::is_ipv4),
        DomainStrategy::Ipv6Only => addresses.retain(IpAddr::is_ipv6),
    }
    addresses
}

/// The proxy of an outbound; paths name only outbounds that have one.
fn proxy_of(plan: &Plan, id: OutboundId) -> Result<&Proxy, Refusal> {
    plan.outbound(id).proxy.as_ref().ok_or(Refusal::General)
}
