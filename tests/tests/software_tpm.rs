//! The software TPM itself, by its own commands: that it answers, keeps quiet and comes back.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use brs_tests::software_tpm::SoftwareTpm;

/// TPM2_GetRandom for eight bytes.
const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8];
const ANSWER_LENGTH: usize = 20;

/// The return code of the answer.
fn ask(stream: &mut UnixStream) -> io::Result<u32> {
    stream.write_all(&GET_RANDOM)?;
    let mut answer = [0; ANSWER_LENGTH];
    stream.read_exact(&mut answer)?;
    Ok(u32::from_be_bytes(answer[6..10].try_into().unwrap()))
}

fn connect(tpm: &SoftwareTpm) -> UnixStream {
    let stream = UnixStream::connect(tpm.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

#[test]
#[ignore = "needs a software TPM"]
fn a_software_tpm_answers_until_it_is_pulled_out_and_when_it_is_back() {
    let mut tpm = SoftwareTpm::start();
    let mut stream = connect(&tpm);
    assert_eq!(ask(&mut stream).unwrap(), 0);
    tpm.unplug();
    ask(&mut stream).unwrap_err();
    UnixStream::connect(tpm.socket()).unwrap_err();
    tpm.plug_in();
    assert_eq!(ask(&mut connect(&tpm)).unwrap(), 0);
}

#[test]
#[ignore = "needs a software TPM"]
fn a_software_tpm_that_is_frozen_says_nothing_until_it_is_thawed() {
    let tpm = SoftwareTpm::start();
    let mut stream = connect(&tpm);
    assert_eq!(ask(&mut stream).unwrap(), 0);
    tpm.freeze();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(
        ask(&mut stream).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    tpm.thaw();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut late = [0; ANSWER_LENGTH];
    stream.read_exact(&mut late).unwrap();
    assert_eq!(late[6..10], [0; 4]);
}
