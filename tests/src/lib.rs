//! What the black-box tests are made of: the program under test as a child process, programs
//! nobody here wrote as peers, servers of our own to be the far end, and clients that can send
//! exactly the bytes a test wants.
//!
//! Nothing here links a crate of the product: the tests see what a user sees, the command line,
//! the configuration file, the log and the wire.

pub mod architecture;
pub mod body;
pub mod curl;
pub mod namespace;
pub mod origin;
pub mod paniq;
pub mod peers;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod record;
pub mod socks;
pub mod temp;
pub mod wire;

pub use serde_json::{Value, json};
