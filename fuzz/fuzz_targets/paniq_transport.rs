#![no_main]
//! See `sansbox_fuzz::paniq_transport`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::paniq_transport(data));
