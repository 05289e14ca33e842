#![no_main]
//! See `sansbox_fuzz::socks5`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::socks5(data));
