//! Checked records into the model, and the checks that need more than one value.
mod inbound;
mod outbound;
mod paniq;
mod recorder;
mod references;
mod route;
mod tags;
mod tun;

use super::{
    error::{ErrorKind, WarningKind},
    model::{Config, Log, LogLevel, Recorder, Sansbox, Span, Spanned},
    outside::Outside,
    reader::Problem,
    schema::{Field, Record, Value},
};
use core::time::Duration;

pub(crate) use tags::check_tags;

/// Collects what is wrong while the model is built.
#[derive(Debug, Default)]
pub(crate) struct Builder<'a> {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<(WarningKind, Span)>,
    /// Let pass what sing-box starts with and fails at per connection.
    pub(crate) lenient: bool,
    pub(crate) outside: Outside<'a>,
}

/// The model of a whole file. Parts that are marked broken are left out, as what is wrong with
/// them was said before; so the result is good only when there are no problems at all.
pub(crate) fn build(mut root: Record, builder: &mut Builder<'_>) -> Config {
    root.take("$schema");
    let log = builder.log(&mut root);
    let tags = tags::Tags::of(&root);
    let mut config = Config {
        log,
        ..Config::default()
    };
    for (index, record) in take_records(&mut root, "inbounds").into_iter().enumerate() {
        config.inbounds.extend(builder.inbound(record, index));
    }
    for (index, record) in take_records(&mut root, "outbounds").into_iter().enumerate() {
        config.outbounds.extend(builder.outbound(record, index));
    }
    if let Some(Value::Record(mut route)) = root.take("route").map(|field| field.value) {
        config.route = builder.route(&mut route);
        builder.all_taken(&route);
    }
    if let Some(Value::Record(mut sansbox)) = root.take("sansbox").map(|field| field.value) {
        config.sansbox = builder.sansbox(&mut sansbox);
        builder.all_taken(&sansbox);
    }
    builder.all_taken(&root);
    references::check(&config, &tags, builder);
    tun::check_together(&config, builder);
    config
}

fn take_records(record: &mut Record, key: &str) -> Vec<Record> {
    match record.take(key).map(|field| field.value) {
        Some(Value::Records(records)) => records,
        _ => Vec::new(),
    }
}

impl Builder<'_> {
    fn problem(&mut self, span: Span, kind: ErrorKind) {
        self.problems.push(Problem { kind, span });
    }

    fn bad_value(&mut self, span: Span, value: &str, expected: &'static str) {
        let value = value.to_owned();
        self.problem(span, ErrorKind::BadValue { value, expected });
    }

    /// A problem, or a warning when lenient.
    fn tolerable(&mut self, span: Span, kind: ErrorKind) {
        if self.lenient {
            self.warnings.push((WarningKind::Tolerated(kind), span));
        } else {
            self.problem(span, kind);
        }
    }

    /// Refuses keys that are there and cannot be used.
    fn unusable(&mut self, record: &Record, keys: &[(&str, &'static str)]) {
        for (key, reason) in keys {
            let field = record.fields.iter().find(|field| field.row.key == *key);
            if let Some(field) = field.filter(|field| !field.value.is_zero()) {
                let key = field.row.key;
                self.problem(field.span, ErrorKind::Unusable { key, reason });
            }
        }
    }

    /// Warns of keys that are there and do nothing.
    fn no_effect(&mut self, record: &Record, keys: &[&str], reason: &'static str) {
        let unused = record.fields.iter().filter(|f| keys.contains(&f.row.key));
        for field in unused {
            let key = field.row.key.to_owned();
            let warning = WarningKind::NoEffect { key, reason };
            self.warnings.push((warning, field.span));
        }
    }

    /// Every key that is read must have been used: a table row without code is a bug.
    fn all_taken(&self, record: &Record) {
        debug_assert_eq!(
            record.left().collect::<Vec<_>>(),
            Vec::<&str>::new(),
            "{} is read and not used",
            record.object.title
        );
    }

    fn log(&mut self, root: &mut Record) -> Log {
        let Some(Value::Record(mut record)) = root.take("log").map(|field| field.value) else {
            return Log::default();
        };
        let level = take_text(&mut record, "level").and_then(|level| self.log_level(&level));
        let log = Log {
            disabled: take_bool(&mut record, "disabled"),
            level,
            output: take_text(&mut record, "output").map(|text| text.value),
            timestamp: take_bool(&mut record, "timestamp"),
        };
        self.all_taken(&record);
        log
    }

    fn log_level(&mut self, name: &Spanned<String>) -> Option<LogLevel> {
        Some(match name.value.as_str() {
            "trace" => LogLevel::Trace,
            "debug" => LogLevel::Debug,
            "info" => LogLevel::Info,
            "warn" | "warning" => LogLevel::Warn,
            "error" => LogLevel::Error,
            "fatal" => LogLevel::Fatal,
            "panic" => LogLevel::Panic,
            other => {
                let expected = "a log level (`trace`, `debug`, `info`, `warn`, `error`, `fatal`, \
                                `panic`)";
                self.bad_value(name.span, other, expected);
                return None;
            }
        })
    }

    fn sansbox(&mut self, record: &mut Record) -> Sansbox {
        let workers = self.take_count(record, "workers");
        let max_connections = self.take_count(record, "max_connections");
        let congestion = take_text(record, "loopback_congestion");
        let system_congestion = match congestion.as_ref().map(|text| text.value.as_str()) {
            None | Some("cheap") => false,
            Some("system") => true,
            Some(other) => {
                let span = congestion
                    .as_ref()
                    .map(|text| text.span)
                    .unwrap_or_default();
                self.bad_value(span, other, "`cheap` or `system`");
                false
            }
        };
        let recorder = match record.take("recorder").map(|field| field.value) {
            Some(Value::Record(mut recorder)) => self.recorder(&mut recorder),
            _ => Recorder::default(),
        };
        Sansbox {
            workers,
            max_connections,
            system_congestion,
            recorder,
        }
    }

    /// A number of things, at least one; none when absent.
    fn take_count(&mut self, record: &mut Record, key: &str) -> Option<usize> {
        let field = record.take(key)?;
        let Value::Number(n) = field.value else {
            return None;
        };
        match usize::try_from(n) {
            Ok(n @ 1..) => Some(n),
            Ok(0) | Err(_) => {
                self.bad_value(field.span, &n.to_string(), "a number of at least 1");
                None
            }
        }
    }

    /// A duration; none when absent or zero. sing-box also takes negative ones, which mean
    /// something else in every place: they are refused.
    fn take_duration(&mut self, record: &mut Record, key: &str) -> Option<Duration> {
        let field = record.take(key)?;
        let Value::Duration(nanos) = field.value else {
            return None;
        };
        match u64::try_from(nanos) {
            Ok(0) => None,
            Ok(nanos) => Some(Duration::from_nanos(nanos)),
            Err(_) => {
                self.bad_value(field.span, "a negative time", "a duration here");
                None
            }
        }
    }
}

/// Text with its place; none when absent or empty.
fn take_text(record: &mut Record, key: &str) -> Option<Spanned<String>> {
    let Field { value, span, .. } = record.take(key)?;
    let Value::Text(value) = value else {
        return None;
    };
    (!value.is_empty()).then_some(Spanned { value, span })
}

fn take_string(record: &mut Record, key: &str) -> Option<String> {
    take_text(record, key).map(|text| text.value)
}

fn take_bool(record: &mut Record, key: &str) -> bool {
    take_tristate(record, key) == Some(true)
}

fn take_tristate(record: &mut Record, key: &str) -> Option<bool> {
    let Value::Bool(value) = record.take(key)?.value else {
        return None;
    };
    Some(value)
}

/// A port; none when absent or 0.
fn take_port(record: &mut Record, key: &str) -> Option<u16> {
    let Value::Number(port) = record.take(key)?.value else {
        return None;
    };
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// A mark; none when absent or 0.
fn take_mark(record: &mut Record, key: &str) -> Option<u32> {
    let Value::Mark(mark) = record.take(key)?.value else {
        return None;
    };
    (mark != 0).then_some(mark)
}

/// A list of text; empty when absent.
fn take_texts(record: &mut Record, key: &str) -> Vec<Spanned<String>> {
    match record.take(key).map(|field| field.value) {
        Some(Value::Texts(texts)) => texts,
        _ => Vec::new(),
    }
}
