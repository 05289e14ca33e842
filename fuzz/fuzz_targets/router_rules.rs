#![no_main]
//! See `sansbox_fuzz::router_rules`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::router_rules(data));
