//! The credentials endpoint's answers: whatever arrives, the parser says what is wrong with it.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| brs_iot::__fuzz::response(body));
