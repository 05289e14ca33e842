//! The brain of a proxy as pure state machines: configuration, routing, sessions.
pub mod config;
pub mod router;
