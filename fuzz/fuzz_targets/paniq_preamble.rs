#![no_main]
//! See `sansbox_fuzz::paniq_preamble`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::paniq_preamble(data));
