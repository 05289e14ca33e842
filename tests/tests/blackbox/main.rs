//! The program under test between clients and servers, seen from outside.

mod bad_input;
mod bodies;
mod clients;
mod device;
mod direct;
mod log;
mod paniq;
mod paniq_udp;
mod protected;
mod recorder;
mod refusals;
mod relay;
mod udp;
