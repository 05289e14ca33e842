//! Which build this is.
use core::fmt;

/// What a recording says of the build that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Version of the workspace.
    pub version: String,
    /// Commit, where the build knew one.
    pub commit: String,
    /// Hash of all sources that decide what machines do. Equal hashes replay bit for bit.
    pub machines: String,
    /// Target triple.
    pub target: String,
}

impl Build {
    /// This build.
    #[must_use]
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("SANSBOX_COMMIT").to_owned(),
            machines: env!("SANSBOX_MACHINES").to_owned(),
            target: env!("SANSBOX_TARGET").to_owned(),
        }
    }

    /// Whether both have the same machines.
    #[must_use]
    pub fn has_machines_of(&self, other: &Self) -> bool {
        self.machines == other.machines
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sansbox {}", self.version)?;
        if !self.commit.is_empty() {
            write!(f, ", commit {}", self.commit)?;
        }
        write!(f, ", machines {}, {}", self.machines, self.target)
    }
}
