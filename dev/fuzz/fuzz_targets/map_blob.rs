#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::routing::map_blob(bytes));
