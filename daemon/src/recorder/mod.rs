//! The flight recorder: rings that are always on, and recordings of what they hold.
mod rings;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use service::Recording;

use crate::{
    fatal::{Fatal, reason},
    load::Named,
    logger::{Level, Logger},
};
use rings::Rings;
use sansbox_engine::config::{
    self, Sources,
    model::{Recorder as Settings, RecorderMode},
};
use sansbox_flight::{
    Mode, Preamble, PublicKey, Reason,
    file::{Configuration, Key, write},
    ring::{Limits, trim},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    panic,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Least time between recordings that nobody asked for: a thread that panics again and again
/// must not fill the disk.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes recordings.
#[derive(Debug)]
pub(crate) struct Recorder {
    rings: Arc<Rings>,
    settings: Settings,
    key: Option<PublicKey>,
    configuration: Option<Configuration>,
    logger: Arc<Logger>,
    written: Mutex<Written>,
}

/// What was written so far.
#[derive(Debug, Default)]
struct Written {
    count: u32,
    last: Option<Instant>,
}

impl Recorder {
    /// As the configuration says; `None` when it says `off`.
    pub(crate) fn new(
        settings: &Settings,
        sources: &Sources,
        named: &Named,
        logger: Arc<Logger>,
    ) -> Result<Option<Arc<Self>>, Fatal> {
        let mode = match settings.mode {
            RecorderMode::Off => return Ok(None),
            RecorderMode::Shape => Mode::Shape,
            RecorderMode::Head => Mode::Head,
            RecorderMode::Full => Mode::Full,
        };
        let mut limits = Limits::default();
        limits.bytes = settings.size.unwrap_or(limits.bytes);
        limits.age = settings.keep.unwrap_or(limits.age);
        let keeps_content = mode.has_content();
        let recorder = Self {
            rings: Arc::new(Rings::new(mode, limits)),
            key: settings
                .public_key
                .filter(|_| keeps_content)
                .map(PublicKey::from),
            configuration: keeps_content.then(|| configuration(sources, named)),
            settings: settings.clone(),
            logger,
            written: Mutex::default(),
        };
        if let Some(directory) = &settings.directory {
            let made = fs::create_dir_all(directory);
            made.map_err(|e| Fatal::io(format!("flight recorder: make {directory}"), &e))?;
        }
        // What cannot be written should be known now, not when it is needed.
        if keeps_content {
            let text = recorder.text(Reason::Signal, false);
            text.map_err(|why| Fatal::new(format!("flight recorder: {why}")))?;
        }
        Ok(Some(Arc::new(recorder)))
    }

    /// The same service, recorded.
    pub(crate) fn record<S>(&self, service: Arc<S>) -> Recording<S> {
        Recording {
            service,
            rings: Arc::clone(&self.rings),
        }
    }

    /// Whether every stop leaves a recording.
    pub(crate) const fn records_stops(&self) -> bool {
        self.settings.flush_on_stop
    }

    /// Writes a recording whenever a thread panics, after whatever else is done then.
    pub(crate) fn watch_panics(self: &Arc<Self>) {
        let recorder = Arc::clone(self);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            recorder.flush(Reason::Panic);
        }));
    }

    /// Writes what the rings hold to a new file, and logs where or why not.
    pub(crate) fn flush(&self, why: Reason) {
        let Some(number) = self.number(why) else {
            return;
        };
        match self.try_flush(why, number) {
            Ok(path) => {
                let path = path.display();
                let text = format_args!("flight recorder: {why}: wrote {path}");
                self.logger.write(Level::Info, None, text);
            }
            Err(error) => {
                let text = format_args!("flight recorder: {why}: {error}");
                self.logger.write(Level::Error, None, text);
            }
        }
    }

    /// The number of the next file; `None` when it is too soon for one.
    fn number(&self, why: Reason) -> Option<u32> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked_for = matches!(why, Reason::Signal | Reason::Stop);
        let is_soon = written.last.is_some_and(|last| last.elapsed() < INTERVAL);
        if is_soon && !is_asked_for {
            return None;
        }
        written.count += 1;
        written.last = Some(Instant::now());
        Some(written.count)
    }

    fn try_flush(&self, why: Reason, number: u32) -> Result<PathBuf, String> {
        let bytes = self.text(why, true)?;
        let directory = Path::new(self.settings.directory.as_deref().unwrap_or("."));
        let seconds = unix_time().as_secs();
        let name = format!("sansbox-{seconds}-{}-{number}.sbx", process::id());
        let path = directory.join(&name);
        let part = directory.join(format!("{name}.part"));
        let written = store(&part, &bytes).and_then(|()| fs::rename(&part, &path));
        match written {
            Ok(()) => Ok(path),
            Err(e) => {
                // What is left of it is of no use to anybody.
                let _ = fs::remove_file(&part);
                Err(format!("write {}: {}", path.display(), reason(&e)))
            }
        }
    }

    fn text(&self, why: Reason, with_records: bool) -> Result<Vec<u8>, String> {
        let mut snapshots = Vec::new();
        if with_records {
            snapshots = self.rings.snapshots();
            trim(&mut snapshots);
        }
        let preamble = Preamble {
            reason: why,
            unix_nanos: u64::try_from(unix_time().as_nanos()).unwrap_or(u64::MAX),
            now: self.rings.now(),
            dropped: snapshots.iter().map(|snapshot| snapshot.dropped).sum(),
            configuration: self.configuration.clone(),
        };
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|e| format!("no randomness: {e}"))?;
        let key = self.key.as_ref().map(|public| Key { public, random });
        write(self.rings.mode, &preamble, &snapshots, key).map_err(|e| e.to_string())
    }
}

fn unix_time() -> Duration {
    // Before 1970 there is nothing to be told of.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Writes a file that only its owner can read.
fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The text that the machines' plan can be made from again, where there are no files that it names.
fn configuration(sources: &Sources, named: &Named) -> Configuration {
    let read = |path: &str, _: usize| named.again(path);
    if let Some(text) = config::inline(sources, &read) {
        let text = text.as_bytes().to_vec();
        return Configuration { text };
    }
    let text = match sources.files() {
        [only] => only.bytes().to_vec(),
        // They were read before, so they merge.
        _ => config::merge(sources).unwrap_or_default().into_bytes(),
    };
    Configuration { text }
}
