//! What the runtime tells, as log lines.
//!
//! | level | of each connection |
//! |---|---|
//! | info | opened; what it asks for and which outbound takes it; refused by a rule; closed |
//! | warn | could not be carried out, failed login, public source refused (at most one a second) |
//! | debug | the user, connected |
//!
//! sing-box tells failed dials as errors; here an error is something that the operator must look
//! at, which a target that refuses connections is not.
use crate::{
    load::Labels,
    logger::{Age, Connection, Level, Logger},
};
use core::{fmt, net::SocketAddr};
use sansbox_core::{Instant, Refusal};
use sansbox_engine::{
    Plan,
    ids::{InboundId, OutboundId},
    machine::Stage,
    record::{CloseReason, Drops, Record},
};
use sansbox_tokio::{Network, Observer, RuntimeEvent};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Time between two lines about refused public sources.
const PUBLIC_SOURCE_INTERVAL: Duration = Duration::from_secs(1);

/// Turns events into log lines.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) logger: Arc<Logger>,
    pub(crate) labels: Labels,
    pub(crate) plan: Arc<Plan>,
    pub(crate) public_sources: Throttle,
}

impl Observer for Report {
    fn session(&self, record: &Record, stage: Stage, now: Instant) {
        // Nothing below is more severe.
        if !self.logger.is_on(Level::Warn) {
            return;
        }
        let line = SessionLine {
            report: self,
            record,
            age: now.saturating_duration_since(record.opened),
        };
        match stage {
            Stage::Opened => line.opened(),
            Stage::Routed => line.routed(),
            Stage::Refused(why) => line.refused(why),
            Stage::Connected => line.connected(),
            Stage::Closed => line.closed(now),
        }
    }

    fn runtime(&self, event: &RuntimeEvent<'_>) {
        let logger = &self.logger;
        match event {
            RuntimeEvent::Bound {
                inbound,
                network,
                address,
            } => {
                let network = name(*network);
                let inbound = self.inbound(*inbound);
                let text = format_args!("{inbound}: {network} server started at {address}");
                logger.write(Level::Info, None, text);
            }
            RuntimeEvent::AcceptPaused {
                inbound,
                error,
                pause,
            } => {
                let (inbound, pause) = (self.inbound(*inbound), Age(*pause));
                let text = format_args!("{inbound}: accept: {error}; pausing for {pause}");
                logger.write(Level::Error, None, text);
            }
            RuntimeEvent::ConnectionLimit { inbound, limit } => {
                let inbound = self.inbound(*inbound);
                let text =
                    format_args!("{inbound}: {limit} connections, the most allowed: others wait");
                logger.write(Level::Warn, None, text);
            }
            RuntimeEvent::AssociationLimit { inbound, limit } => {
                let inbound = self.inbound(*inbound);
                let text = format_args!(
                    "{inbound}: {limit} UDP clients, the most allowed: others are dropped"
                );
                logger.write(Level::Warn, None, text);
            }
            other => logger.write(Level::Warn, None, format_args!("{other:?}")),
        }
    }
}

/// TCP or UDP, as Go names them.
pub(crate) const fn name(network: Network) -> &'static str {
    match network {
        Network::Tcp => "tcp",
        Network::Udp => "udp",
    }
}

impl Report {
    /// What an inbound is called.
    pub(crate) fn inbound(&self, id: InboundId) -> &str {
        let label = self.labels.inbounds.get(usize::from(id.0));
        label.map_or("inbound", String::as_str)
    }

    fn outbound(&self, id: OutboundId) -> &str {
        let label = self.labels.outbounds.get(usize::from(id.0));
        label.map_or("outbound", String::as_str)
    }

    /// Says which inbounds protected mode closes to public sources.
    pub(crate) fn warn_of_protection(&self) {
        for (inbound, id) in self
            .plan
            .inbounds()
            .iter()
            .zip((0..=u16::MAX).map(InboundId))
        {
            let listen = inbound.listen.listen;
            if inbound.is_protected() && !listen.to_canonical().is_loopback() {
                let text = format_args!(
                    "{}: no users, and it listens on {}: only loopback, private and link-local \
                     sources are served; add \"users\", or \"sansbox_allow_public\": true to serve \
                     everyone",
                    self.inbound(id),
                    SocketAddr::new(listen, inbound.listen.listen_port),
                );
                self.logger.write(Level::Warn, None, text);
            }
        }
    }
}

/// One event of a session or association.
struct SessionLine<'a> {
    report: &'a Report,
    record: &'a Record,
    age: Duration,
}

impl SessionLine<'_> {
    fn write(&self, level: Level, text: fmt::Arguments<'_>) {
        self.write_all(level, &[text]);
    }

    fn write_all(&self, level: Level, texts: &[fmt::Arguments<'_>]) {
        let connection = Connection {
            id: self.record.id,
            age: self.age,
        };
        self.report.logger.write_all(level, Some(connection), texts);
    }

    fn inbound(&self) -> &str {
        self.report.inbound(self.record.inbound)
    }

    fn opened(&self) {
        let (inbound, peer) = (self.inbound(), self.record.peer);
        self.write(
            Level::Info,
            format_args!("{inbound}: inbound connection from {peer}"),
        );
    }

    fn routed(&self) {
        let Some(target) = &self.record.target else {
            return;
        };
        let (inbound, rule) = (self.inbound(), Rule(self.record.rule));
        let asked = format_args!("{inbound}: inbound connection to {target}");
        match self.record.outbound {
            Some(id) => {
                let outbound = self.report.outbound(id);
                let taken = format_args!("{outbound}: outbound connection to {target}, {rule}");
                self.write_all(Level::Info, &[asked, taken]);
            }
            None => {
                let rejected = format_args!("router: {rule} rejects {target}");
                self.write_all(Level::Info, &[asked, rejected]);
            }
        }
        if self.report.logger.is_on(Level::Debug)
            && let Some(user) = self.record.user
            && let Some(name) = self
                .report
                .plan
                .inbound(self.record.inbound)
                .users
                .name(user)
        {
            self.write(Level::Debug, format_args!("{inbound}: user {name:?}"));
        }
    }

    fn refused(&self, why: Refusal) {
        let level = if matches!(why, Refusal::Policy | Refusal::Dropped) {
            // The line before names the rule or the outbound that wants it so.
            Level::Debug
        } else if matches!(
            why,
            Refusal::CommandUnsupported | Refusal::AddressUnsupported
        ) {
            // The client asked for what there is not.
            Level::Info
        } else {
            Level::Warn
        };
        let place = match self.record.outbound {
            Some(id) => self.report.outbound(id),
            None => self.inbound(),
        };
        let (way, why) = (Way(self), why.reason());
        self.write(
            level,
            format_args!("{place}: connection {way} refused: {why}"),
        );
    }

    fn connected(&self) {
        if let (Some(id), Some(target)) = (self.record.outbound, &self.record.target) {
            let outbound = self.report.outbound(id);
            self.write(
                Level::Debug,
                format_args!("{outbound}: connected to {target}"),
            );
        }
    }

    fn closed(&self, now: Instant) {
        let (inbound, peer) = (self.inbound(), self.record.peer);
        let reason = self.record.closed.map_or("", CloseReason::reason);
        if self.record.closed == Some(CloseReason::PublicSource) {
            let Some(untold) = self.report.public_sources.pass(now) else {
                return;
            };
            return self.write(
                Level::Warn,
                format_args!(
                    "{inbound}: connection from {peer} refused: {reason}; \
                     \"sansbox_allow_public\" or \"users\" would open it{untold}"
                ),
            );
        }
        let level = match self.record.closed {
            Some(CloseReason::AuthFailed) => Level::Warn,
            _ => Level::Info,
        };
        let (way, facts) = (Way(self), Facts(self));
        self.write(
            level,
            format_args!("{inbound}: connection {way} closed: {reason}; {facts}"),
        );
    }
}

/// Which rule decided.
struct Rule(Option<u16>);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(index) => write!(f, "rule[{index}]"),
            None => f.write_str("final"),
        }
    }
}

/// From where to where.
struct Way<'a>(&'a SessionLine<'a>);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", self.0.record.peer)?;
        match &self.0.record.target {
            Some(target) => write!(f, " to {target}"),
            None => Ok(()),
        }
    }
}

/// What happened in a connection, once it is over.
struct Facts<'a>(&'a SessionLine<'a>);

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SessionLine {
            report,
            record,
            age,
        } = self.0;
        if record.target.is_some() {
            write!(f, "{}, ", Rule(record.rule))?;
        }
        if let Some(id) = record.outbound {
            write!(f, "{}, ", report.outbound(id))?;
        }
        let (up, down) = (record.bytes_up, record.bytes_down);
        write!(f, "{up} bytes up, {down} bytes down, {}", Age(*age))?;
        match record.drops.as_deref() {
            Some(drops) => write!(f, ", {} datagrams dropped", total(drops)),
            None => Ok(()),
        }
    }
}

fn total(drops: &Drops) -> u64 {
    let Drops {
        stranger,
        fragment,
        malformed,
        policy,
        unreachable,
        overflow,
    } = *drops;
    let counts = [stranger, fragment, malformed, policy, unreachable, overflow];
    counts.map(u64::from).iter().sum()
}

/// Lets one event through in a while and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Nanoseconds of the runtime's clock from which the next one passes.
    next: AtomicU64,
    held: AtomicU64,
}

impl Throttle {
    /// Whether this one passes, and how many were held since the last that did.
    fn pass(&self, now: Instant) -> Option<Untold> {
        let next = self.next.load(Relaxed);
        let after = (now + PUBLIC_SOURCE_INTERVAL).as_nanos();
        let is_first = now.as_nanos() >= next
            && self
                .next
                .compare_exchange(next, after, Relaxed, Relaxed)
                .is_ok();
        if is_first {
            return Some(Untold(self.held.swap(0, Relaxed)));
        }
        self.held.fetch_add(1, Relaxed);
        None
    }
}

/// How many events like the one told were not.
#[derive(Debug, PartialEq, Eq)]
struct Untold(u64);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} more since the last such line)"),
        }
    }
}
