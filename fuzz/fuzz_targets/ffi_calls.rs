#![no_main]
//! See `sansbox_fuzz::ffi_calls`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::ffi_calls(data));
