//! What the commands that work on recordings share.
use crate::args::Failure;
use lexopt::ValueExt as _;
use sansbox_flight::{PrivateKey, Recording, Track, TrackId};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The private key of the option just seen, which names a file.
pub(crate) fn key(parser: &mut lexopt::Parser) -> Result<PrivateKey, Failure> {
    let path = PathBuf::from(parser.value()?);
    let text = fs::read_to_string(&path).map(Zeroizing::new);
    let text = text.map_err(|e| told(&path, &e))?;
    text.parse().map_err(|e| told(&path, &e))
}

/// Reads a recording.
pub(crate) fn load(path: &Path, key: Option<&PrivateKey>) -> Result<Recording, Failure> {
    let bytes = fs::read(path).map_err(|e| told(path, &e))?;
    Recording::read(&bytes, key).map_err(|e| told(path, &e))
}

/// The recordings that a path names: itself, or all in the folder that it is.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|e| told(path, &e))?;
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "sbx"));
    files.sort();
    if files.is_empty() {
        return Err(told(path, &"no *.sbx there"));
    }
    Ok(files)
}

/// A connection as the command line names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Connection {
    /// `WORKER.NUMBER`.
    Track(TrackId),
    /// The number of its log lines.
    Log(u32),
}

/// The connection of the option just seen.
pub(crate) fn connection(parser: &mut lexopt::Parser) -> Result<Connection, Failure> {
    let parse = |text: &str| {
        let parsed = match text.split_once('.') {
            None => text.parse().map(Connection::Log),
            Some((worker, number)) => worker.parse().and_then(|worker| {
                let number = number.parse()?;
                Ok(Connection::Track(TrackId { worker, number }))
            }),
        };
        let wanted = "the number of its log lines is wanted, or WORKER.NUMBER";
        parsed.map_err(|_| wanted.to_owned())
    };
    Ok(parser.value()?.parse_with(parse)?)
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Track(id) => id.fmt(f),
            Self::Log(number) => number.fmt(f),
        }
    }
}

impl Connection {
    /// Which connection of a recording it is.
    pub(crate) fn find(self, tracks: &BTreeMap<TrackId, Track<'_>>) -> Result<TrackId, Failure> {
        let log = match self {
            Self::Track(id) if tracks.contains_key(&id) => return Ok(id),
            Self::Track(id) => {
                let why = format!("the recording has no connection {id}");
                return Err(Failure::Told(why));
            }
            Self::Log(log) => log,
        };
        let is_it = |track: &Track<'_>| matches!(&track.begin, Some((_, b)) if b.log_id == log);
        let found: Vec<TrackId> = tracks
            .iter()
            .filter_map(|(id, track)| is_it(track).then_some(*id))
            .collect();
        match &found[..] {
            [id] => Ok(*id),
            [] => {
                let why = format!("the recording has no connection that is {log} in the log");
                Err(Failure::Told(why))
            }
            [..] => {
                let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
                let ids = ids.join(", ");
                let why = format!("connections {ids} are all {log} in the log: name one of them");
                Err(Failure::Told(why))
            }
        }
    }
}

pub(crate) fn told(path: &Path, why: &dyn fmt::Display) -> Failure {
    Failure::Told(format!("{}: {why}", path.display()))
}
