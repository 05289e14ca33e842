#![no_main]
//! See `sansbox_fuzz::config_reader`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::config_reader(data));
