//! What reading asks of the world outside: nothing here opens a file or reads a clock.
use core::{fmt, time::Duration};

/// Longest file that a configuration may name, in bytes.
pub const NAMED_FILE_BYTES_MAX: usize = 1 << 20;

/// Reads files that a configuration names, such as a `profile_path`.
pub trait Files {
    /// The content of the file at `path`, which stands here as it was written: whoever reads the
    /// configuration says what relative paths are relative to. More than `limit` bytes are not
    /// taken, so one more than that is enough of any file.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, String>;
}

impl<F: Fn(&str, usize) -> Result<Vec<u8>, String>> Files for F {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, String> {
        self(path, limit)
    }
}

/// The world outside. By default there are no files in it, and it is 1970.
#[derive(Clone, Copy, Default)]
pub struct Outside<'a> {
    /// Files that the configuration names; without them it may name none.
    pub files: Option<&'a dyn Files>,
    /// What the wall clock says, since the beginning of 1970. Days from the start (`paniq`:
    /// `legacy_mode_max_days`) count from then.
    pub since_1970: Duration,
}

impl fmt::Debug for Outside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("has_files", &self.files.is_some())
            .field("since_1970", &self.since_1970)
            .finish()
    }
}
