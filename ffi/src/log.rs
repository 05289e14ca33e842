//! Log lines of a running proxy, kept for whoever asks for them: a library has no terminal and no
//! file of its own.
use core::fmt::{self, Write as _};
use sansbox_core::Instant;
use sansbox_engine::{
    Plan,
    carrier::{Note, Whose},
    config::model::{Log, LogLevel},
    ids::{InboundId, OutboundId},
    machine::Stage,
    record::{CloseReason, Record},
};
use sansbox_tokio::{Observer, RuntimeEvent};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// Lines that are kept; the oldest go first.
pub(crate) const LINES_MAX: usize = 1024;

/// The lines that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Lines {
    plan: Arc<Plan>,
    /// `None`: nothing is kept.
    least: Option<LogLevel>,
    timestamp: bool,
    lines: Mutex<VecDeque<String>>,
}

impl Lines {
    /// As `log` of the configuration says, whose `output` is not looked at here.
    pub(crate) fn new(plan: Arc<Plan>, log: &Log) -> Self {
        Self {
            plan,
            least: (!log.disabled).then(|| log.level.unwrap_or(LogLevel::Info)),
            timestamp: log.timestamp,
            lines: Mutex::default(),
        }
    }

    /// Gives the oldest line to `take`, and removes it if that says so.
    pub(crate) fn take<T>(&self, take: impl FnOnce(&str) -> (T, bool)) -> Option<T> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (result, is_taken) = take(lines.front()?);
        if is_taken {
            lines.pop_front();
        }
        Some(result)
    }

    fn is_on(&self, level: LogLevel) -> bool {
        self.least.is_some_and(|least| level <= least)
    }

    fn push(&self, level: LogLevel, text: fmt::Arguments<'_>) {
        if !self.is_on(level) {
            return;
        }
        let mut line = String::new();
        if self.timestamp {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let since = since.unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(line, "{}.{:03} ", since.as_secs(), since.subsec_millis());
        }
        let _ = write!(line, "{} {text}", name(level));
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn inbound(&self, id: InboundId) -> &str {
        &self.plan.inbound(id).tag
    }

    fn outbound(&self, id: OutboundId) -> &str {
        &self.plan.outbound(id).tag
    }
}

const fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Panic => "PANIC",
        LogLevel::Fatal => "FATAL",
        LogLevel::Error => "ERROR",
        LogLevel::Warn => "WARN",
        LogLevel::Info => "INFO",
        LogLevel::Debug => "DEBUG",
        LogLevel::Trace => "TRACE",
    }
}

impl Observer for Lines {
    fn carrier(&self, whose: Whose, note: &Note, _: Instant) {
        if !self.is_on(note.level) {
            return;
        }
        let name = match whose {
            Whose::Inbound(id) => self.inbound(id),
            Whose::Outbound(id) => self.outbound(id),
        };
        let from = note.peer.map(|peer| format!(" from {peer}"));
        let (from, text) = (from.unwrap_or_default(), &note.text);
        self.push(note.level, format_args!("{name}: {text}{from}"));
    }

    fn session(&self, record: &Record, stage: Stage, now: Instant) {
        if !self.is_on(LogLevel::Warn) {
            return;
        }
        let (id, inbound, way) = (record.id, self.inbound(record.inbound), record.way());
        let outbound = record.outbound.map(|id| self.outbound(id));
        let level = record.severity(stage);
        let push = |what: fmt::Arguments<'_>| {
            self.push(
                level,
                format_args!("[{id}] {inbound}: connection {way} {what}"),
            );
        };
        match stage {
            Stage::Opened => push(format_args!("opened")),
            Stage::AuthFailed => push(format_args!("{}", CloseReason::AuthFailed.reason())),
            Stage::Routed => match outbound {
                Some(outbound) => push(format_args!("goes through {outbound}")),
                None => push(format_args!("is rejected by a rule")),
            },
            Stage::Refused(why) => push(format_args!("refused: {}", why.reason())),
            Stage::Connected => push(format_args!("connected")),
            Stage::Closed => {
                let reason = record.closed.map_or("", CloseReason::reason);
                let (up, down) = (record.bytes_up, record.bytes_down);
                let age = now.saturating_duration_since(record.opened).as_millis();
                push(format_args!(
                    "closed: {reason}; {up} bytes up, {down} bytes down, {age} ms"
                ));
            }
        }
    }

    fn runtime(&self, event: &RuntimeEvent<'_>) {
        match event {
            RuntimeEvent::Bound {
                inbound,
                network,
                address,
            } => {
                let inbound = self.inbound(*inbound);
                let text = format_args!("{inbound}: {network:?} at {address}");
                self.push(LogLevel::Info, text);
            }
            RuntimeEvent::Opened { inbound, name } => {
                let inbound = self.inbound(*inbound);
                self.push(LogLevel::Info, format_args!("{inbound}: {name}"));
            }
            RuntimeEvent::Reentry(why) => self.push(LogLevel::Error, format_args!("{why}")),
            RuntimeEvent::EchoForbidden(why) => self.push(LogLevel::Warn, format_args!("{why}")),
            RuntimeEvent::AcceptPaused { inbound, error, .. } => {
                let text = format_args!("{}: accept: {error}", self.inbound(*inbound));
                self.push(LogLevel::Error, text);
            }
            RuntimeEvent::ConnectionLimit { inbound, limit } => {
                let inbound = self.inbound(*inbound);
                let text = format_args!("{inbound}: {limit} connections, the most allowed");
                self.push(LogLevel::Warn, text);
            }
            RuntimeEvent::AssociationLimit { inbound, limit } => {
                let inbound = self.inbound(*inbound);
                let text = format_args!("{inbound}: {limit} UDP clients, the most allowed");
                self.push(LogLevel::Warn, text);
            }
            other => self.push(LogLevel::Warn, format_args!("{other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &Log) -> Lines {
        let plan = crate::plan::build(b"{}").expect("a plan").1;
        Lines::new(Arc::new(plan), log)
    }

    fn drain(lines: &Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.take(|line| (line.to_owned(), true))).collect()
    }

    #[test]
    fn the_oldest_lines_go_when_nobody_takes_them() {
        let lines = lines(&Log::default());
        for n in 0..=LINES_MAX {
            lines.push(LogLevel::Info, format_args!("{n}"));
        }
        assert_eq!(lines.take(|_| ((), false)), Some(()));
        let kept = drain(&lines);
        assert_eq!(kept.len(), LINES_MAX);
        assert_eq!(kept.first().map(String::as_str), Some("INFO 1"));
    }

    #[test]
    fn levels_and_timestamps_are_those_of_the_configuration() {
        let levels = [LogLevel::Error, LogLevel::Info, LogLevel::Debug];
        let kept = |log: &Log| {
            let lines = lines(log);
            for level in levels {
                lines.push(level, format_args!("x"));
            }
            drain(&lines)
        };
        assert_eq!(kept(&Log::default()), ["ERROR x", "INFO x"]);
        let log = Log {
            disabled: true,
            ..Log::default()
        };
        assert!(kept(&log).is_empty());
        let log = Log {
            level: Some(LogLevel::Error),
            timestamp: true,
            ..Log::default()
        };
        let [line] = &kept(&log)[..] else {
            panic!("one line")
        };
        let (time, rest) = line.split_once(' ').expect("a time in front");
        assert_eq!(rest, "ERROR x");
        assert!(time.parse::<f64>().is_ok_and(|s| s > 1e9), "{time}");
    }
}
