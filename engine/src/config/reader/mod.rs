//! Text into a tree that remembers where everything stood.
//!
//! The accepted language is sing-box's: JSON, comments (`#`, `//`, `/* */`) that vanish without
//! leaving a space, one trailing comma, and anything at all after the first value.
mod comments;
mod merge;
mod parse;
mod path;
mod tree;

pub(crate) use merge::merge;
pub use parse::{DEPTH_MAX, FILE_BYTES_MAX};
pub(crate) use parse::{Problem, parse};
pub(crate) use path::path_of;
pub(crate) use tree::{Json, Member, Node, last_of_each};
