//! Codes from a device's secret: TOTP, RFC 6238.
//!
//! Owns how a secret is spelled; the arithmetic is `totp-rs`'s. Errors about a secret hold no
//! character of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::kit::Purpose;
use brs_core::{Error, SecretSource};
use totp_rs::{Builder, Secret, TotpError};
use zeroize::Zeroizing;

use super::code::{Code, DIGITS};

/// The steps that devices have: 30 s at AWS. A code has to be forgotten before it could come again
/// by its step.
const STEPS: std::ops::RangeInclusive<u64> = 1..=90;
const PERIOD: &str = "has a period that is not 1 to 90 s; AWS's devices have 30 s";
const OTHER_DIGITS: &str = "is of a device with other than six digits, which AWS does not take";
const PARAM: &str = "mfa_token_provider";
const PURPOSE: Purpose = Purpose {
    what: "the TOTP secret",
    param: PARAM,
};

/// Fetches the secret and reads it.
pub(crate) async fn load(source: &SecretSource) -> Result<Totp, Error> {
    let secret = source.ask(PURPOSE).await?;
    let what = match source.as_value() {
        Some(_) => PURPOSE.what.to_owned(),
        None => format!("{} ({source:?})", PURPOSE.what),
    };
    Totp::read(secret.expose(), &what)
}

fn refused(what: &str, problem: &str) -> Error {
    Error::configuration(format!("{what} {problem}"))
        .with_param(PARAM)
        .unrecoverable()
}

/// A device's secret, ready for use.
pub(crate) struct Totp(totp_rs::Totp);

impl Totp {
    /// Reads base32 or an `otpauth://` URI; `what` names the text in an error.
    fn read(text: &str, what: &str) -> Result<Self, Error> {
        let text = text.trim();
        let totp = if text
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case("otpauth:"))
        {
            totp_rs::Totp::from_url(text)
        } else {
            let mut spelled = Zeroizing::new(String::with_capacity(text.len()));
            let meant = text
                .chars()
                .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '='));
            spelled.extend(meant.map(|c| c.to_ascii_uppercase()));
            Secret::try_from_base32(&*spelled)
                .map_err(|_| TotpError::InvalidSecret)
                .and_then(|secret| Builder::new().with_secret(secret).build())
        };
        // The library's errors quote what they were given.
        let totp = totp.map_err(|error| match error {
            TotpError::SecretTooShort { .. } => {
                refused(what, "is too short: a secret has 26 characters or more")
            }
            TotpError::InvalidSecret => {
                refused(what, "is not base32 (letters and the digits 2 to 7)")
            }
            TotpError::SecretNotSet => refused(what, "is an `otpauth://` URI without `secret`"),
            TotpError::InvalidStepZero => refused(what, PERIOD),
            TotpError::InvalidDigits { .. } => refused(what, OTHER_DIGITS),
            _ => refused(
                what,
                "cannot be read: a URI looks like `otpauth://totp/name?secret=…`",
            ),
        })?;
        if usize::from(totp.digits()) != DIGITS {
            return Err(refused(what, OTHER_DIGITS));
        }
        if !STEPS.contains(&totp.step()) {
            return Err(refused(what, PERIOD));
        }
        Ok(Self(totp))
    }

    /// The code at that time.
    pub(super) fn at(&self, now: SystemTime) -> Option<Code> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Code::parse(&Zeroizing::new(
            self.0.generate(since.as_secs()).to_string(),
        ))
    }

    /// How long a code is good.
    pub(super) fn step(&self) -> Duration {
        Duration::from_secs(self.0.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B, `12345678901234567890`.
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn code(totp: &Totp, at: u64) -> String {
        totp.at(UNIX_EPOCH + Duration::from_secs(at))
            .unwrap()
            .expose()
            .to_owned()
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let totp = Totp::read(RFC, "the secret").unwrap();
        for (at, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(&totp, at), expected);
        }
        assert_eq!(totp.step(), Duration::from_secs(30));
    }

    #[test]
    fn a_secret_is_read_as_people_write_it() {
        for text in [
            "gezd gnbv gy3t qojq gezd gnbv gy3t qojq\n",
            "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ====",
            &format!("otpauth://totp/AWS:alice?secret={RFC}&issuer=AWS"),
            &format!("OTPAUTH://totp/alice?secret={RFC}&digits=6&period=30&algorithm=SHA1\n"),
        ] {
            assert_eq!(
                code(&Totp::read(text, "the secret").unwrap(), 59),
                "287082",
                "{text}"
            );
        }
        let slow = Totp::read(
            &format!("otpauth://totp/a?secret={RFC}&period=60"),
            "the secret",
        )
        .unwrap();
        assert_eq!(slow.step(), Duration::from_secs(60));
    }

    #[test]
    fn what_is_no_secret_is_told_apart_and_not_shown() {
        for (text, problem) in [
            ("".to_owned(), "too short"),
            ("JBSWY3DPEHPK3PXP".to_owned(), "too short"),
            (
                "HUSH1HUSH1HUSH1HUSH1HUSH1HUSH1HUSH1".to_owned(),
                "not base32",
            ),
            (
                format!("otpauth://hotp/a?secret={RFC}&counter=1"),
                "otpauth",
            ),
            ("otpauth://totp/HUSH".to_owned(), "without `secret`"),
            ("otpauth://totp/a?secret=HUSH1".to_owned(), "not base32"),
            (
                format!("otpauth://totp/a?secret={RFC}&digits=8"),
                "six digits",
            ),
            (
                format!("otpauth://totp/a?secret={RFC}&digits=HUSH"),
                "cannot be read",
            ),
            (format!("otpauth://totp/a?secret={RFC}&period=0"), "period"),
            (format!("otpauth://totp/a?secret={RFC}&period=91"), "period"),
            (
                format!("otpauth://totp/a?secret={RFC}&period=86400"),
                "period",
            ),
            (
                format!("otpauth://totp/a?secret={RFC}&algorithm=HUSH"),
                "cannot be read",
            ),
        ] {
            let Err(error) = Totp::read(&text, "the secret") else {
                panic!("{text}")
            };
            assert!(error.to_string().contains(problem), "{text}: {error}");
            assert!(error.is_unrecoverable() && error.param() == Some(PARAM));
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("HUSH") && !shown.contains(RFC), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_secret_comes_from_a_file_a_variable_or_a_function() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, format!("{RFC}\nfurther lines")).unwrap();
        let function = SecretSource::function(|| async { Ok::<_, Error>(RFC) });
        for source in [SecretSource::file(&path), function, RFC.into()] {
            assert_eq!(code(&load(&source).await.unwrap(), 59), "287082");
        }
        std::fs::write(&path, "A".repeat(4097)).unwrap();
        for (source, problem) in [
            (SecretSource::file(path), "4 KiB"),
            (SecretSource::file(folder.path()), "is a folder"),
            (
                SecretSource::file(folder.path().join("none")),
                "does not exist",
            ),
            (SecretSource::env("BRS_NO_SUCH_VARIABLE"), "is not set"),
            (
                SecretSource::env("PATH"),
                "(environment `PATH`) is not base32",
            ),
        ] {
            let Err(error) = load(&source).await else {
                panic!("{source:?}")
            };
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
