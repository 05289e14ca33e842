#![no_main]
//! See `sansbox_fuzz::socks4`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::socks4(data));
