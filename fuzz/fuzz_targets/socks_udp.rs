#![no_main]
//! See `sansbox_fuzz::socks_udp`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::socks_udp(data));
