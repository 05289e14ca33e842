#![no_main]
//! See `sansbox_fuzz::paniq_request`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::paniq_request(data));
