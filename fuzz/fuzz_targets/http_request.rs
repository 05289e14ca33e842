#![no_main]
//! See `sansbox_fuzz::http_request`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::http_request(data));
