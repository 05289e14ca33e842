#![no_main]
//! See `sansbox_fuzz::http_response`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::http_response(data));
