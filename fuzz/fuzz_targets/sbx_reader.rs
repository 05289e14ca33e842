#![no_main]
//! See `sansbox_fuzz::sbx_reader`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::sbx_reader(data));
