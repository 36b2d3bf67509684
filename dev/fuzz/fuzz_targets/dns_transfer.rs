#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::dns::dns_transfer(bytes));
