//! A world in virtual time around the machines of sansbox: the same sessions and associations
//! that a runtime drives, on a network that delays, splits, loses, resets and vanishes as a seed
//! says. The same seed gives the same run, byte for byte, so any failure replays.
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | [`World`]: hosts, events, time |
//! | [`host`] | [`Host`], [`Cx`]: what a program in a world is told and can do |
//! | [`tcp`], [`net`] | connections, datagrams, names, sites and what packets pass between them |
//! | [`fault`] | what goes wrong |
//! | [`rng`] | named random streams and the decision log |
//! | [`transcript`] | the digest and the trace |
//! | [`peers`] | scripted clients and servers, and a host that writes its packets itself |
//! | [`drive`] | [`MachineHost`]: drives machines as a runtime does |
//! | [`daemon`] | [`DaemonHost`]: the engine's own loop, with carriers |
//! | [`out`] | pictures of a run: pcapng, JSON lines, an HTML timeline |
//! | [`scenario`] | the registry of scenarios and how they are run |
//! | [`record`] | recordings of production, replayed |
//! | [`paniq`] | paniq tunnels between personas: ours and those of other programs |
//! | [`quic`], [`tls`] | QUIC and TLS hosts |
//! | [`check`] | what must hold in every run |
//! | [`explore`] | swarms of faults, sweeps, shrinking |
pub mod check;
pub mod daemon;
pub mod drive;
mod event;
pub mod explore;
pub mod fault;
pub mod host;
pub mod net;
pub mod out;
pub mod paniq;
pub mod peers;
pub mod quic;
pub mod record;
mod resident;
pub mod rng;
pub mod scenario;
mod scenarios;
pub mod tcp;
mod timers;
pub mod tls;
pub mod transcript;
pub mod world;

pub use daemon::DaemonHost;
pub use drive::MachineHost;
pub use host::{Cx, Host, HostInput};
pub use world::World;
