#![no_main]
//! See `sansbox_fuzz::stack_packet`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::stack_packet(data));
