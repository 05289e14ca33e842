//! The TUN inbound, seen from the machine whose packets it takes: Linux's own TCP, and programs
//! nobody here wrote, in network namespaces that every test makes for itself.
//!
//! `SANSBOX_TUN_FULL=1` moves the amounts that a release must stand (a gigabyte, 50,000 flows)
//! instead of those for every day. With `SANSBOX_TUN_PLAIN=1` configurations hold nothing that
//! only sansbox understands, and tests that need more are left out: so `SANSBOX_BIN` may name
//! sing-box, to compare.
#![cfg(target_os = "linux")]

mod bad_packets;
mod bulk;
mod crowd;
mod echo;
mod ends;
mod errors;
mod hosted;
mod http;
mod kernel;
mod loops;
mod many;
mod nat;
mod net;
mod path_mtu;
mod ping;
mod program;
mod quic;
mod routes;
mod settings;
mod tools;
mod udp;
mod udp_errors;
