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
    fatal::reason,
    load::Labels,
    logger::{Age, Level, Logger},
    runtime::{Network, Observer, RuntimeEvent},
    story::Story,
};
use core::{fmt, net::SocketAddr};
use sansbox_core::Instant;
use sansbox_engine::{
    Plan,
    carrier::{Note, Whose},
    ids::{InboundId, OutboundId},
    machine::Stage,
    record::Record,
};
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
        let line = Story {
            report: self,
            record,
            age: now.saturating_duration_since(record.opened),
            level: record.severity(stage),
        };
        match stage {
            Stage::Opened => line.opened(),
            Stage::AuthFailed => line.auth_failed(),
            Stage::Routed => line.routed(),
            Stage::Refused(why) => line.refused(why),
            Stage::Connected => line.connected(),
            Stage::Closed => line.closed(now),
        }
    }

    fn carrier(&self, whose: Whose, note: &Note, _: Instant) {
        let name = match whose {
            Whose::Inbound(id) => self.inbound(id),
            Whose::Outbound(id) => self.outbound(id),
        };
        let text = &note.text;
        match note.peer {
            Some(peer) => {
                let text = format_args!("{name}: {text}, client {peer}");
                self.logger.write(note.level, None, text);
            }
            None => {
                let text = format_args!("{name}: {text}");
                self.logger.write(note.level, None, text);
            }
        }
    }

    fn runtime(&self, event: &RuntimeEvent<'_>) {
        let (level, inbound, text) = match event {
            RuntimeEvent::Bound {
                inbound,
                network,
                address,
            } => {
                let network = name(*network);
                let text = format!("{network} server started at {address}");
                (Level::Info, inbound, text)
            }
            RuntimeEvent::Opened { inbound, name } => {
                let text = format!("started at {name}");
                (Level::Info, inbound, text)
            }
            RuntimeEvent::Reentry(why) => {
                return self.logger.write(Level::Error, None, format_args!("{why}"));
            }
            RuntimeEvent::EchoForbidden(why) => {
                return self.logger.write(Level::Warn, None, format_args!("{why}"));
            }
            RuntimeEvent::AcceptPaused {
                inbound,
                error,
                pause,
            } => {
                let (error, pause) = (reason(error), Age(*pause));
                let text = format!("accept: {error}; pausing for {pause}");
                (Level::Error, inbound, text)
            }
            RuntimeEvent::ConnectionLimit { inbound, limit } => {
                let text = format!("{limit} connections, the most allowed: others wait");
                (Level::Warn, inbound, text)
            }
            RuntimeEvent::AssociationLimit { inbound, limit } => {
                let text = format!("{limit} UDP clients, the most allowed: others are dropped");
                (Level::Warn, inbound, text)
            }
            other => {
                let text = format_args!("{other:?}");
                return self.logger.write(Level::Warn, None, text);
            }
        };
        let text = format_args!("{}: {text}", self.inbound(*inbound));
        self.logger.write(level, None, text);
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

    /// What an outbound is called.
    pub(crate) fn outbound(&self, id: OutboundId) -> &str {
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

/// Lets one event through in a while and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Nanoseconds of the runtime's clock from which the next one passes.
    next: AtomicU64,
    held: AtomicU64,
}

impl Throttle {
    /// Whether this one passes, and how many were held since the last that did.
    pub(crate) fn pass(&self, now: Instant) -> Option<Untold> {
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
pub(crate) struct Untold(u64);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} more since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Loaded, load};
    use sansbox_core::{Host, Refusal, Seed, Target};
    use sansbox_engine::{config::Sources, ids::UserId, record::CloseReason};
    use std::{fs::File, io::Read as _, os::fd::OwnedFd};

    const CONFIG: &str = r#"{
        "inbounds": [{"type": "mixed", "tag": "in", "listen": "0.0.0.0", "listen_port": 1,
                      "users": [{"username": "joe", "password": "pw"}]},
                     {"type": "socks", "listen": "::", "listen_port": 2}],
        "route": {"rules": [{"port": 25, "action": "reject"}]}
    }"#;

    /// What is logged at `level` of what `act` reports.
    fn log_of(level: Level, act: impl FnOnce(&Report)) -> Vec<String> {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let loaded = load(&Sources::single("a.json", CONFIG));
        let Loaded { config, plan, .. } = loaded.expect("it reads");
        let report = Report {
            logger: Arc::new(Logger::for_test(level, File::from(OwnedFd::from(writer)))),
            labels: Labels::new(&config),
            plan: Arc::new(plan),
            public_sources: Throttle::default(),
        };
        act(&report);
        drop(report);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    fn record() -> Record {
        let peer = SocketAddr::from(([192, 168, 0, 2], 5000));
        let seed = Seed::from_u64(0);
        Record {
            id: 9,
            user: Some(UserId(0)),
            target: Some(Target::new(Host::parse(b"a.test").expect("a name"), 443)),
            outbound: Some(OutboundId(0)),
            bytes_up: 10,
            bytes_down: 20,
            ..Record::new(InboundId(0), peer, seed, Instant::ZERO)
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_connection_tells_its_story_at_info() {
        let got = log_of(Level::Info, |report| {
            let mut record = record();
            report.session(&record, Stage::Opened, at(0));
            report.session(&record, Stage::Routed, at(1));
            report.session(&record, Stage::Connected, at(2));
            record.closed = Some(CloseReason::Completed);
            report.session(&record, Stage::Closed, at(1500));
        });
        assert_eq!(
            got,
            [
                "INFO [9 0ms] inbound/mixed[in]: inbound connection from 192.168.0.2:5000",
                "INFO [9 1ms] inbound/mixed[in]: inbound connection to a.test:443",
                "INFO [9 1ms] outbound/direct[direct]: outbound connection to a.test:443, final",
                "INFO [9 1.50s] inbound/mixed[in]: connection from 192.168.0.2:5000 to a.test:443 \
                 closed: completed; final, outbound/direct[direct], 10 bytes up, 20 bytes down, \
                 1.50s",
            ]
        );
    }

    #[test]
    fn a_rejection_names_its_rule_once() {
        let got = log_of(Level::Info, |report| {
            let mut record = record();
            (record.rule, record.outbound) = (Some(0), None);
            report.session(&record, Stage::Routed, at(0));
            report.session(&record, Stage::Refused(Refusal::Policy), at(0));
        });
        assert_eq!(got.len(), 2, "{got:?}");
        assert_eq!(got[1], "INFO [9 0ms] router: rule[0] rejects a.test:443");
    }

    #[test]
    fn at_warn_only_what_failed_is_told_with_all_its_facts() {
        let got = log_of(Level::Warn, |report| {
            let mut record = record();
            report.session(&record, Stage::Opened, at(0));
            report.session(&record, Stage::Routed, at(0));
            report.session(&record, Stage::Refused(Refusal::TimedOut), at(5000));
            record.closed = Some(CloseReason::Refused(Refusal::TimedOut));
            report.session(&record, Stage::Closed, at(5001));
            (record.target, record.outbound) = (None, None);
            report.session(&record, Stage::AuthFailed, at(3));
        });
        assert_eq!(got.len(), 2, "{got:?}");
        let failed = "WARN [9 5.00s] outbound/direct[direct]: connection from 192.168.0.2:5000 to \
                      a.test:443 failed: ";
        assert!(got[0].starts_with(failed), "{got:?}");
        let login = "WARN [9 3ms] inbound/mixed[in]: connection from 192.168.0.2:5000: \
                     authentication failed";
        assert_eq!(got[1], login);
    }

    #[test]
    fn user_names_are_told_at_debug_only() {
        let routed = |report: &Report| report.session(&record(), Stage::Routed, at(0));
        assert!(!log_of(Level::Info, routed).concat().contains("joe"));
        let debug = log_of(Level::Debug, routed).concat();
        assert!(debug.contains("inbound/mixed[in]: user \"joe\""), "{debug}");
        assert!(!debug.contains("pw"), "{debug}");
    }

    #[test]
    fn refused_public_sources_are_told_once_a_second() {
        let got = log_of(Level::Warn, |report| {
            let mut record = record();
            (record.closed, record.target) = (Some(CloseReason::PublicSource), None);
            for ms in [0, 10, 999, 1000, 2500] {
                report.session(&record, Stage::Closed, at(ms));
            }
        });
        let untold: Vec<_> = got
            .iter()
            .map(|line| line.contains("(2 more since"))
            .collect();
        assert_eq!(untold, [false, true, false], "{got:?}");
        assert!(got[0].contains("sansbox_allow_public"), "{got:?}");
    }

    #[test]
    fn protected_inbounds_beyond_loopback_are_named_at_start() {
        let got = log_of(Level::Warn, Report::warn_of_protection);
        assert_eq!(got.len(), 1, "{got:?}");
        assert!(
            got[0].starts_with("WARN inbound/socks[1]: no users"),
            "{got:?}"
        );
        assert!(got[0].contains("[::]:2"), "{got:?}");
    }
}
