//! Entries of a store: whatever is in one, reading it says what is wrong, and what can be read can be
//! written.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brs_shared::__fuzz::entry(bytes));
