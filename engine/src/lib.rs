//! The brain of a proxy as pure state machines: configuration, routing, sessions.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | sing-box JSON read into one typed model |
//! | [`machine`] | the contract with a driver: inputs, actions, slots |
//! | [`record`] | what is known of a session, for logs and counters |
//! | [`router`] | which rule decides |
//! | [`timer`] | a timer queue for drivers |
//! | [`ids`] | small numbers for inbounds, outbounds, users, slots, actions |
pub mod config;
pub mod ids;
pub mod machine;
pub mod record;
pub mod router;
pub mod timer;
