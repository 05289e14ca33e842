//! The lines about one session or association.
use crate::{
    logger::{Age, Connection, Level},
    report::Report,
};
use core::fmt;
use sansbox_core::{Instant, Refusal};
use sansbox_engine::record::{CloseReason, Record};
use std::time::Duration;

/// One event of a session or association.
pub(crate) struct Story<'a> {
    pub(crate) report: &'a Report,
    pub(crate) record: &'a Record,
    pub(crate) age: Duration,
    pub(crate) level: Level,
}

impl Story<'_> {
    fn write(&self, text: fmt::Arguments<'_>) {
        self.write_all(self.level, &[text]);
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

    pub(crate) fn opened(&self) {
        let (inbound, peer) = (self.inbound(), self.record.peer);
        self.write(format_args!("{inbound}: inbound connection from {peer}"));
    }

    pub(crate) fn auth_failed(&self) {
        let (inbound, peer) = (self.inbound(), self.record.peer);
        let reason = CloseReason::AuthFailed.reason();
        let text = format_args!("{inbound}: connection from {peer}: {reason}");
        self.write(text);
    }

    pub(crate) fn routed(&self) {
        let Some(target) = &self.record.target else {
            return;
        };
        let (inbound, rule) = (self.inbound(), Rule(self.record.rule));
        let asked = format_args!("{inbound}: inbound connection to {target}");
        match self.record.outbound {
            Some(id) => {
                let outbound = self.report.outbound(id);
                let taken = format_args!("{outbound}: outbound connection to {target}, {rule}");
                self.write_all(self.level, &[asked, taken]);
            }
            None => {
                let rejected = format_args!("router: {rule} rejects {target}");
                self.write_all(self.level, &[asked, rejected]);
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
            self.write_all(Level::Debug, &[format_args!("{inbound}: user {name:?}")]);
        }
    }

    pub(crate) fn refused(&self, why: Refusal) {
        // No warning when a rule wants it so or the client asks for what there is not.
        let what = if self.level == Level::Warn {
            "failed"
        } else {
            "refused"
        };
        let place = match self.record.outbound {
            Some(id) => self.report.outbound(id),
            None => self.inbound(),
        };
        let (way, why) = (self.record.way(), why.reason());
        self.write(format_args!("{place}: connection {way} {what}: {why}"));
    }

    pub(crate) fn connected(&self) {
        if let (Some(id), Some(target)) = (self.record.outbound, &self.record.target) {
            let outbound = self.report.outbound(id);
            self.write(format_args!("{outbound}: connected to {target}"));
        }
    }

    pub(crate) fn closed(&self, now: Instant) {
        let (inbound, peer) = (self.inbound(), self.record.peer);
        let reason = self.record.closed.map_or("", CloseReason::reason);
        if self.record.closed == Some(CloseReason::PublicSource) {
            let Some(untold) = self.report.public_sources.pass(now) else {
                return;
            };
            return self.write(format_args!(
                "{inbound}: connection from {peer} refused: {reason}; \
                 \"sansbox_allow_public\" or \"users\" would open it{untold}"
            ));
        }
        let (way, facts) = (self.record.way(), Facts(self));
        self.write(format_args!(
            "{inbound}: connection {way} closed: {reason}; {facts}"
        ));
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

/// What happened in a connection, once it is over.
struct Facts<'a>(&'a Story<'a>);

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Story {
            report,
            record,
            age,
            level: _,
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
            Some(drops) => write!(f, ", {} datagrams dropped", drops.total()),
            None => Ok(()),
        }
    }
}
