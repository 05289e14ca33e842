#![no_main]
//! See `sansbox_fuzz::stack_sequence`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::stack_sequence(data));
