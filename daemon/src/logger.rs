//! Log lines: formatted only when their level is on, and written with one call each.
//!
//! ```text
//! INFO[0012] [2898374983 12ms] inbound/mixed[in]: inbound connection to example.com:443
//! +0100 2026-11-22 07:00:00 INFO [2898374983 12ms] inbound/mixed[in]: ...
//! ```
use crate::fatal::Fatal;
use jiff::{Timestamp, tz::TimeZone};
use sansbox_engine::config::model;
use std::{
    cell::Cell,
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::AsFd,
    time::{Duration, Instant},
};

pub(crate) use model::LogLevel as Level;

/// Least severe level written when the configuration names none.
const LEVEL_DEFAULT: Level = Level::Info;

/// Writes log lines. Shared by all threads without a lock: each line is one write.
#[derive(Debug)]
pub(crate) struct Logger {
    /// `None`: nothing at all is written.
    least: Option<Level>,
    sink: File,
    colour: bool,
    time: Time,
}

/// What stands at the beginning of a line besides the level.
#[derive(Debug)]
enum Time {
    None,
    /// Seconds since then.
    Elapsed(Instant),
    /// Date and time in this zone.
    Local(TimeZone),
}

/// The connection that a line is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) id: u32,
    pub(crate) age: Duration,
}

impl Logger {
    /// As the configuration says. Paths are relative to the working directory.
    pub(crate) fn open(log: &model::Log, began: Instant, colour: bool) -> Result<Self, Fatal> {
        let output = log.output.as_deref().unwrap_or_default();
        let (sink, is_file) = match output {
            "" | "stderr" => (duplicate(&io::stderr()), false),
            "stdout" => (duplicate(&io::stdout()), false),
            path => {
                let mut options = OpenOptions::new();
                (options.create(true).append(true).open(path), true)
            }
        };
        let sink = sink.map_err(|e| Fatal::io(format!("initialize log: open {output}"), &e))?;
        let time = match (log.timestamp, is_file) {
            (true, _) => Time::Local(TimeZone::system()),
            (false, true) => Time::None,
            (false, false) => Time::Elapsed(began),
        };
        Ok(Self {
            least: (!log.disabled).then(|| log.level.unwrap_or(LEVEL_DEFAULT)),
            sink,
            colour: colour && !is_file,
            time,
        })
    }

    /// Before there is a configuration.
    pub(crate) fn on_stderr(began: Instant, colour: bool) -> Result<Self, Fatal> {
        Self::open(&model::Log::default(), began, colour)
    }

    /// Whether lines of this level are written.
    pub(crate) fn is_on(&self, level: Level) -> bool {
        self.least.is_some_and(|least| level <= least)
    }

    /// Writes a line.
    pub(crate) fn write(
        &self,
        level: Level,
        connection: Option<Connection>,
        message: fmt::Arguments<'_>,
    ) {
        self.write_all(level, connection, &[message]);
    }

    /// Writes some lines at once.
    pub(crate) fn write_all(
        &self,
        level: Level,
        connection: Option<Connection>,
        messages: &[fmt::Arguments<'_>],
    ) {
        thread_local! {
            static BUFFER: Cell<String> = const { Cell::new(String::new()) };
        }
        if !self.is_on(level) {
            return;
        }
        let mut text = BUFFER.take();
        text.clear();
        for message in messages {
            self.push(&mut text, level, connection, *message);
        }
        // There is nowhere to tell that the log is gone, and it is no reason to stop serving.
        let _ = (&self.sink).write_all(text.as_bytes());
        BUFFER.set(text);
    }

    /// Appends a line with its newline.
    fn push(
        &self,
        out: &mut String,
        level: Level,
        connection: Option<Connection>,
        message: fmt::Arguments<'_>,
    ) {
        // Writing to a String fails only when an argument's Display does.
        let _ = self.push_head(out, level, connection);
        let start = out.len();
        let _ = out.write_fmt(message);
        if out.bytes().skip(start).any(|byte| byte.is_ascii_control()) {
            // A name that holds a newline must not begin a line of its own.
            let clean = out.split_off(start).replace(|c: char| c.is_control(), " ");
            out.push_str(&clean);
        }
        out.push('\n');
    }

    fn push_head(
        &self,
        out: &mut String,
        level: Level,
        connection: Option<Connection>,
    ) -> fmt::Result {
        if let Time::Local(zone) = &self.time {
            let now = Timestamp::now().to_zoned(zone.clone());
            write!(out, "{} ", now.strftime("%z %Y-%m-%d %H:%M:%S"))?;
        }
        let (name, colour) = look(level);
        if self.colour {
            write!(out, "\x1b[{colour}m{name}\x1b[0m")?;
        } else {
            out.push_str(name);
        }
        if let Time::Elapsed(began) = self.time {
            write!(out, "[{:04}]", began.elapsed().as_secs())?;
        }
        out.push(' ');
        if let Some(Connection { id, age }) = connection {
            if self.colour {
                // One of the 216 colours of the cube for each connection.
                write!(
                    out,
                    "[\x1b[38;5;{}m{id}\x1b[0m {}] ",
                    16 + id % 216,
                    Age(age)
                )?;
            } else {
                write!(out, "[{id} {}] ", Age(age))?;
            }
        }
        Ok(())
    }
}

/// A descriptor of our own for the same open file, so that no lock of the standard library is on
/// the way.
fn duplicate(stream: &impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// The name of a level and the number of its colour.
const fn look(level: Level) -> (&'static str, u8) {
    match level {
        Level::Panic => ("PANIC", 31),
        Level::Fatal => ("FATAL", 31),
        Level::Error => ("ERROR", 31),
        Level::Warn => ("WARN", 33),
        Level::Info => ("INFO", 36),
        Level::Debug => ("DEBUG", 37),
        Level::Trace => ("TRACE", 37),
    }
}

/// A duration as in `12ms`, `3.40s`, `2m5s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age(pub(crate) Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{}ms", self.0.subsec_millis()),
            1..60 => write!(f, "{seconds}.{:02}s", self.0.subsec_millis() / 10),
            _ => write!(f, "{}m{}s", seconds / 60, seconds % 60),
        }
    }
}

#[cfg(test)]
impl Logger {
    /// Writes plain lines to `sink`.
    pub(crate) fn for_test(least: Level, sink: File) -> Self {
        Self {
            least: Some(least),
            sink,
            colour: false,
            time: Time::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(colour: bool, time: Time) -> Logger {
        Logger {
            least: Some(Level::Info),
            sink: duplicate(&io::stderr()).expect("stderr"),
            colour,
            time,
        }
    }

    fn line(logger: &Logger, level: Level, age_ms: Option<u64>, text: &str) -> String {
        let mut out = String::new();
        let connection = age_ms.map(|ms| Connection {
            id: 7,
            age: Duration::from_millis(ms),
        });
        logger.push(&mut out, level, connection, format_args!("{text}"));
        out
    }

    #[test]
    fn lines_have_the_shape_of_sing_box() {
        let elapsed = || Time::Elapsed(Instant::now());
        let plain = logger(false, elapsed());
        assert_eq!(line(&plain, Level::Info, None, "a"), "INFO[0000] a\n");
        assert_eq!(
            line(&plain, Level::Warn, Some(12), "in: b"),
            "WARN[0000] [7 12ms] in: b\n"
        );
        let file = logger(false, Time::None);
        assert_eq!(line(&file, Level::Error, Some(0), "c"), "ERROR [7 0ms] c\n");
        let bright = logger(true, elapsed());
        assert_eq!(
            line(&bright, Level::Fatal, None, "d"),
            "\x1b[31mFATAL\x1b[0m[0000] d\n"
        );
        assert_eq!(
            line(&bright, Level::Info, Some(1), "e"),
            "\x1b[36mINFO\x1b[0m[0000] [\x1b[38;5;23m7\x1b[0m 1ms] e\n"
        );
    }

    #[test]
    fn time_stamps_are_zone_date_time_level() {
        let stamped = logger(false, Time::Local(TimeZone::fixed(jiff::tz::offset(-7))));
        let text = line(&stamped, Level::Info, None, "a");
        let parts: Vec<_> = text.split(' ').collect();
        let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(parts[0], "-0700");
        assert_eq!(shape(parts[1]), "0000-00-00");
        assert_eq!(shape(parts[2]), "00:00:00");
        assert_eq!(parts[3..], ["INFO", "a\n"]);
    }

    #[test]
    fn a_message_stays_on_its_line() {
        let text = line(
            &logger(false, Time::None),
            Level::Info,
            None,
            "a\nFATAL\x1b[0m ü",
        );
        assert_eq!(text, "INFO a FATAL [0m ü\n");
    }

    #[test]
    fn less_severe_levels_are_off() {
        let logger = logger(false, Time::None);
        assert!(logger.is_on(Level::Info) && logger.is_on(Level::Panic));
        assert!(!logger.is_on(Level::Debug));
        let disabled = Logger {
            least: None,
            ..logger
        };
        assert!(!disabled.is_on(Level::Panic));
    }

    #[test]
    fn ages_read_well() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.00s"),
            (3_049, "3.04s"),
            (59_999, "59.99s"),
            (60_000, "1m0s"),
            (3_725_000, "62m5s"),
        ] {
            assert_eq!(Age(Duration::from_millis(ms)).to_string(), text);
        }
    }
}
