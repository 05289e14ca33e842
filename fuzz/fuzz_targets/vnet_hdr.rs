#![no_main]
//! See `sansbox_fuzz::vnet_hdr`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| sansbox_fuzz::vnet_hdr(data));
