//! The command line: what scripts and other programs depend on.

mod errors;
mod lifecycle;
mod paniq;
mod paniq_docs;
mod paniq_pin;
mod recorded;
