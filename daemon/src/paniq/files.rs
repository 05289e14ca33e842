//! Profiles come from a file or stdin, and go to a file or stdout.
use crate::{
    commands::{name_written, print},
    fatal::Fatal,
};
use std::{
    fmt,
    fs::{self, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Keys are for their owner.
const MODE: u32 = 0o600;

/// Where a profile comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input(Option<PathBuf>);

impl Input {
    /// The file at `path`; stdin when it is empty.
    pub(crate) fn from(path: PathBuf) -> Self {
        Self(Some(path).filter(|path| !path.as_os_str().is_empty()))
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        match &self.0 {
            Some(path) => path.display().to_string(),
            None => "stdin".to_owned(),
        }
    }

    /// All of it.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, Fatal> {
        let bytes = match &self.0 {
            Some(path) if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Some(path) => fs::read(path),
            None => {
                let mut bytes = Vec::new();
                let read = io::stdin().lock().read_to_end(&mut bytes);
                read.map(|_| bytes)
            }
        };
        let failed = |e: io::Error| Fatal::io(format!("read profile at {}", self.name()), &e);
        bytes.map(Zeroizing::new).map_err(failed)
    }

    /// What was read is no profile.
    pub(crate) fn undecodable(&self, why: &dyn fmt::Display) -> Fatal {
        Fatal::new(format!("decode profile at {}: {why}", self.name()))
    }

    /// It is one, but not one that can be used for this.
    pub(crate) fn refused(&self, why: &dyn fmt::Display) -> Fatal {
        Fatal::new(format!("profile at {}: {why}", self.name()))
    }
}

/// Where a result goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output(Option<PathBuf>);

impl Output {
    /// The file at `path`; stdout when it is empty.
    pub(crate) fn to(path: &Path) -> Self {
        Self(Some(path.to_owned()).filter(|path| !path.as_os_str().is_empty()))
    }

    /// Writes `text` and a newline.
    pub(crate) fn text(&self, text: &str) -> Result<(), Fatal> {
        let line = Zeroizing::new([text, "\n"].concat());
        self.bytes(line.as_bytes())
    }

    /// Writes `bytes`. A file is its owner's alone, also when it was there before.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Fatal> {
        let Some(path) = &self.0 else {
            return print(bytes);
        };
        write(path, bytes).map_err(|e| Fatal::io(format!("write {}", path.display()), &e))?;
        name_written(path)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(MODE);
    let mut file = options.open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    file.write_all(bytes)
}
