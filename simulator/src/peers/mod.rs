//! Scripted peers: clients and servers whose every byte is written down in a scenario.
mod actor;
mod datagrams;
mod host;
mod packets;
mod script;

pub(crate) use host::ABSENT;
pub use host::ScriptHost;
pub use packets::PacketHost;
pub use script::{Exchange, Script, Step};
