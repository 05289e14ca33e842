//! Drives machines with sockets that somebody else owns: all of an event loop that is not system
//! calls and waiting.
//!
//! | item | holds |
//! |---|---|
//! | [`Service`], [`Recorded`] | what is served; makes the machines. A [`Plan`](crate::Plan) is one |
//! | [`Drive`] | the loop around one machine: its slots, its lookups, the relay of bytes that it has finished with |
//! | [`CarrierDrive`] | the loop around one carrier: its sockets, its streams to sessions |
//! | [`Birth`] | a drive that another drive asks for |
//! | [`Driver`], [`Sockets`] | what an event loop can do, and its types |
//! | [`Pool`] | what the drives of one thread share: buffers, [`Timers`], [`Tally`] |
//! | [`Clients`] | the clients of a UDP listener |
//! | [`BackOff`], [`Places`], [`KeepAlive`] | pauses of accepting, the connection limit, probes of silent peers |
//!
//! An event loop of its own kind needs five things:
//!
//! 1. A type for its sockets ([`Sockets`]) and a small object for one turn of one machine that
//!    knows whom to wake ([`Driver`]). Kernel conduits, UDP and lookups may be left out: conduits
//!    have defaults, the others may refuse.
//! 2. For each accepted connection: [`Service::session`] makes the machine, [`Drive::session`]
//!    the drive, under a number of the loop's choice; then its first turn.
//! 3. A [`Drive::turn`] for whoever had an event, edge-triggered or not, and for every number that
//!    [`Timers::pop_due`] gives. [`Turn`] says what comes next. Wait no longer than
//!    [`Timers::next`].
//! 4. After each turn, a drive for each [`Pool::pop_birth`], and then a turn for everybody whom
//!    [`Pool::pop_woken`] names: streams of carriers join drives of one thread, and a birth that is
//!    dropped wakes whoever asked for it. Without carriers in the plan neither has anything.
//! 5. [`Drive::release`] before a drive is dropped. [`Pool::stop`] and one more turn for
//!    everybody is a graceful end.
//!
//! ```text
//!   accept ──► Service::session ──► Drive::session ─┐
//!                                                   ▼        Finished: release, drop
//!   events ──────────────────────────────────► Drive::turn ──► Waiting: until the next event
//!   Timers::pop_due ──────────────────────────►     │          Again: soon, others first
//!                                                   ▼
//!                              Driver: read, write, dial, resolve, send, log
//! ```
//!
//! Nothing here reads a clock, opens a socket or knows an executor; a turn allocates nothing once
//! a relay is under way.
mod act;
mod birth;
mod buffers;
mod carried;
mod clients;
mod driver;
mod echoes;
mod joint;
mod limits;
mod link;
mod machine;
mod packets;
mod plan;
mod pool;
mod relay;
mod run;
mod service;
mod slots;
mod stream;
mod tally;
mod timers;
mod wakes;

pub use crate::config::model::Network;
pub use birth::{Birth, CarrierBirth, SessionBirth};
pub use carried::CarrierDrive;
pub use clients::{Clients, Delivery, Face};
pub use driver::{Conduit, Dialled, Driver, Sockets};
pub use limits::{BackOff, KeepAlive, Places};
pub use machine::{Drive, Turn};
pub use pool::Pool;
pub use run::datagrams;
pub use service::{InboundSockets, Recorded, Service};
pub use tally::{Counter, Counters, Tally};
pub use timers::Timers;
