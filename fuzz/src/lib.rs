//! Fuzz targets of sansbox: each is a plain function from bytes that panics when the product does
//! something that it must not. `fuzz_targets/` hands them to libFuzzer (feature `libfuzzer`),
//! `tests/replay.rs` runs them over `corpora/`.
mod config;
mod drive;
mod ffi;
mod http;
mod input;
mod paniq;
mod reference;
mod router;
mod sbx;
mod scenario;
mod socks;
mod stack;

pub use config::config_reader;
pub use ffi::ffi_calls;
pub use http::{http_request, http_response};
pub use paniq::{
    cbor, paniq_frame, paniq_link, paniq_preamble, paniq_profile, paniq_request, paniq_transport,
};
pub use router::router_rules;
pub use sbx::sbx_reader;
pub use scenario::scenario;
pub use socks::{socks_udp, socks4, socks5};
pub use stack::{stack_packet, stack_sequence, vnet_hdr};
