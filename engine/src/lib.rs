//! The brain of a proxy as pure state machines: configuration, routing, sessions.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | sing-box JSON read into one typed model |
//! | [`plan`] | everything a configuration decides, compiled once |
//! | [`router`] | which rule decides |
//! | [`session`] | one accepted connection |
//! | [`udp`] | UDP associations |
//! | [`eyeballs`] | happy eyeballs: racing the addresses of a name |
//! | [`machine`] | the contract with a driver: inputs, actions, slots |
//! | [`record`], [`counters`] | what is known of a session, and totals |
//! | [`drive`] | drives machines with sockets that somebody else owns |
//! | [`timer`] | a timer queue for drivers |
//! | [`ids`] | small numbers for inbounds, outbounds, users, slots, actions |
pub mod carrier;
pub mod config;
mod connect;
pub mod counters;
pub mod drive;
mod effects;
pub mod eyeballs;
pub mod ids;
pub mod machine;
pub mod plan;
pub mod record;
pub mod router;
pub mod session;
pub mod timer;
pub mod udp;
pub mod users;

pub use plan::Plan;
pub use session::{Peer, Session};
pub use udp::Association;
