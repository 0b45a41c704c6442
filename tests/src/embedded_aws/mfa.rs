//! MFA devices: virtual ones with a secret, and fixed lists of codes.
//!
//! A code is good once. The codes of a virtual device are those of RFC 6238, made here
//! independently of the library that brs uses, so that the two check each other.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

const STEP: Duration = Duration::from_secs(30);

/// As long as AWS's: 64 characters of base32.
const SECRET_BYTES: usize = 40;

/// A virtual MFA device: what its owner has.
#[derive(Clone)]
pub struct MfaDevice {
    serial_number: String,
    secret: Vec<u8>,
    step: Duration,
}

impl MfaDevice {
    fn new(serial_number: &str, step: Duration) -> Self {
        assert!(
            step.as_secs() > 0 && step.subsec_nanos() == 0,
            "a device's step is whole seconds, not {step:?}"
        );
        let secret = std::iter::repeat_with(|| fastrand::u8(..))
            .take(SECRET_BYTES)
            .collect();
        Self {
            serial_number: serial_number.to_owned(),
            secret,
            step,
        }
    }

    /// The serial number, an ARN for a virtual device.
    #[must_use]
    pub fn serial_number(&self) -> &str {
        &self.serial_number
    }

    /// The secret in base32, as AWS shows it.
    #[must_use]
    pub fn secret(&self) -> String {
        base32::encode(base32::Alphabet::Rfc4648 { padding: false }, &self.secret)
    }

    /// The secret as the QR code has it.
    #[must_use]
    pub fn otpauth_uri(&self) -> String {
        format!(
            "otpauth://totp/AWS:brs?secret={}&issuer=AWS&digits=6&period={}",
            self.secret(),
            self.step.as_secs()
        )
    }

    /// The code that the device shows at that time.
    #[must_use]
    pub fn code_at(&self, time: SystemTime) -> String {
        self.code_of(self.step_at(time))
    }

    fn step_at(&self, time: SystemTime) -> u64 {
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
            / self.step.as_secs()
    }

    fn code_of(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let four = [
            tag[offset] & 127,
            tag[offset + 1],
            tag[offset + 2],
            tag[offset + 3],
        ];
        format!("{:06}", u32::from_be_bytes(four) % 1_000_000)
    }
}

impl fmt::Debug for MfaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MfaDevice")
            .field("serial_number", &self.serial_number)
            .finish_non_exhaustive()
    }
}

/// A code that somebody has presented.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MfaAttempt {
    /// The action it came with.
    pub action: String,
    /// The device's serial number; empty when the request named none.
    pub serial_number: String,
    /// The code.
    pub token_code: String,
    /// Whether it was taken, and is used up. A code that came with a planned failure never is.
    pub accepted: bool,
}

/// Why a code is refused.
pub(super) enum Refused {
    UnknownDevice,
    WrongCode,
}

/// All devices of one server.
#[derive(Default)]
pub(super) struct Devices {
    virtual_ones: HashMap<String, (MfaDevice, HashSet<u64>)>,
    fixed_codes: HashMap<String, HashSet<String>>,
    attempts: Vec<MfaAttempt>,
}

impl Devices {
    pub(super) fn add(&mut self, serial_number: &str, step: Option<Duration>) -> MfaDevice {
        let device = MfaDevice::new(serial_number, step.unwrap_or(STEP));
        self.virtual_ones
            .insert(serial_number.to_owned(), (device.clone(), HashSet::new()));
        device
    }

    pub(super) fn add_code(&mut self, serial_number: &str, token_code: &str) {
        self.fixed_codes
            .entry(serial_number.to_owned())
            .or_default()
            .insert(token_code.to_owned());
    }

    pub(super) fn attempts(&self) -> Vec<MfaAttempt> {
        self.attempts.clone()
    }

    /// Notes a code, whatever becomes of its call, and gives the attempt's number for
    /// [`take`](Self::take).
    pub(super) fn present(&mut self, action: &str, serial_number: &str, token_code: &str) -> usize {
        self.attempts.push(MfaAttempt {
            action: action.to_owned(),
            serial_number: serial_number.to_owned(),
            token_code: token_code.to_owned(),
            accepted: false,
        });
        self.attempts.len() - 1
    }

    /// Uses the code of an attempt up: of the current step, the one before, or the one after.
    pub(super) fn take(&mut self, attempt: usize, now: SystemTime) -> Result<(), Refused> {
        let MfaAttempt {
            serial_number,
            token_code,
            ..
        } = self.attempts[attempt].clone();
        self.use_up(&serial_number, &token_code, now)?;
        self.attempts[attempt].accepted = true;
        Ok(())
    }

    fn use_up(
        &mut self,
        serial_number: &str,
        token_code: &str,
        now: SystemTime,
    ) -> Result<(), Refused> {
        if self
            .fixed_codes
            .get_mut(serial_number)
            .is_some_and(|codes| codes.remove(token_code))
        {
            return Ok(());
        }
        let Some((device, used)) = self.virtual_ones.get_mut(serial_number) else {
            let known = self.fixed_codes.contains_key(serial_number);
            return Err(if known {
                Refused::WrongCode
            } else {
                Refused::UnknownDevice
            });
        };
        let step = device.step_at(now);
        let shown = [step.wrapping_sub(1), step, step + 1]
            .into_iter()
            .find(|step| device.code_of(*step) == token_code);
        match shown {
            Some(step) if used.insert(step) => Ok(()),
            _ => Err(Refused::WrongCode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc() -> MfaDevice {
        MfaDevice {
            serial_number: "rfc".into(),
            secret: b"12345678901234567890".to_vec(),
            step: STEP,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn codes_are_the_last_six_digits_of_the_rfcs() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(rfc().code_at(at(seconds)), code);
        }
        assert_eq!(rfc().secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn a_code_is_taken_once_and_up_to_a_step_off() {
        let mut devices = Devices::default();
        let device = devices.add("serial", None);
        let now = at(1_000_000_000);
        for (off, taken) in [
            (0, true),
            (0, false),
            (-30, true),
            (30, true),
            (30, false),
            (-60, false),
            (60, false),
        ] {
            let code = device.code_at(at(1_000_000_000_u64.saturating_add_signed(off)));
            let attempt = devices.present("AssumeRole", "serial", &code);
            assert_eq!(devices.take(attempt, now).is_ok(), taken, "{off}");
            assert_eq!(devices.attempts()[attempt].accepted, taken, "{off}");
        }
        let attempt = devices.present("AssumeRole", "other", "123456");
        assert!(matches!(
            devices.take(attempt, now),
            Err(Refused::UnknownDevice)
        ));
    }
}
