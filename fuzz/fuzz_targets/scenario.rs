#![no_main]
//! See `sansbox_fuzz::scenario`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::scenario(data));
