//! Which crate may know what, as rules that a test checks.
//!
//! The arrows are those of `docs/ARCHITECTURE.md`: a crate that is not in [`RULES`], an arrow
//! that is not there, a socket in a pure crate or the name of a protocol in a runtime is a
//! [`Violation`]. The rules read manifests and source text, so they also see what the compiler
//! would allow through a re-export or a development dependency.
mod read;
mod rules;
mod runtimes;
mod source;

pub use read::read;
pub use rules::{Kind, RULES, Rule, check};
pub use source::{Source, code_only, identifiers, without_tests};

/// A package of the workspace.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Names of what it depends on to be built, not to be tested.
    pub dependencies: Vec<String>,
    /// Whether the compiler forbids `unsafe` in it.
    pub forbids_unsafe: bool,
    /// Its source files, those of its tests not among them.
    pub sources: Vec<Source>,
}

/// All packages and what the lock file says about those that come from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The members.
    pub packages: Vec<Package>,
    /// Name of a package from elsewhere, and the names of what it depends on.
    pub locked: Vec<(String, Vec<String>)>,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Package, or file and line.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
