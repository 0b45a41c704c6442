//! Files with certificates and keys: whatever is in them, reading them says what is wrong.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brs_iot::__fuzz::device(bytes));
