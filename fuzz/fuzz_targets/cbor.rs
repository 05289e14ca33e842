#![no_main]
//! See `sansbox_fuzz::cbor`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::cbor(data));
