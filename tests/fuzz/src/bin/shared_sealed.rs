//! Sealed bytes of a fleet's store: what was not sealed, or was changed, does not open; what was does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brs_shared::__fuzz::sealed(bytes));
