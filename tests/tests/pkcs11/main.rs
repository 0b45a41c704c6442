//! Keys on a token: what it takes to open one, TLS with it, tokens that go away, hang or refuse.
//!
//! A module is initialised once per process and shared by all in it, so that each test is a process
//! of its own, with tokens of its own in a directory of its own. `BRS_SOFTHSM2_MODULE` is the path
//! of SoftHSM2's library, `BRS_TPM2_PKCS11_MODULE` that of tpm2-pkcs11, a second, independent
//! module; for it, each test starts a software TPM. `mqtt` needs mosquitto, too. Tokens that hang or
//! fail are a module around SoftHSM2's, `faulty.c`, which its tests build with `cc`.

// What is counted is counted in `/proc`.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod anywhere;
mod away;
mod bench;
mod finding;
mod keys;
mod mqtt;
mod pins;
mod session;
mod sharing;
mod software_tpm;
