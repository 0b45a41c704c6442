//! PKCS#11 URIs: whatever is written, reading it says what is wrong.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| brs_iot::__fuzz::pkcs11_uri(text));
