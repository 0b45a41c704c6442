//! Codes from a device's secret: TOTP, RFC 6238.
//!
//! Owns where a secret comes from and how it is spelled; the arithmetic is `totp-rs`'s. Whatever is
//! wrong with a secret is said without a character of it.

use std::env::VarError;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::{Blocking, Error, SecretString};
use totp_rs::{Builder, Secret, TotpError};
use zeroize::Zeroizing;

use super::code::{Code, DIGITS};

/// How much of a secret's file is read.
const MAX_BYTES: u64 = 4096;
/// The steps that devices have: 30 s at AWS. A code has to be forgotten before it could come again
/// by its step.
const STEPS: std::ops::RangeInclusive<u64> = 1..=90;
const PERIOD: &str = "has a period that is not 1 to 90 s; AWS's devices have 30 s";
const OTHER_DIGITS: &str = "is of a device with other than six digits, which AWS does not take";
const PARAM: &str = "mfa_token_provider";

/// Where a secret is.
#[derive(Clone)]
pub(crate) enum TotpSource {
    Secret(SecretString),
    File(PathBuf),
    Env(String),
}

impl TotpSource {
    /// Reads the secret.
    pub(crate) async fn load(&self) -> Result<Totp, Error> {
        match self {
            Self::Secret(secret) => Totp::read(secret.expose(), "the secret of the MFA device"),
            Self::File(path) => {
                let path = path.clone();
                Blocking::new().run(move || read_file(&path)).await?
            }
            Self::Env(name) => read_env(name),
        }
    }
}

impl fmt::Debug for TotpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("totp"),
            Self::File(path) => write!(f, "totp of the file {}", path.display()),
            Self::Env(name) => write!(f, "totp of the variable {name}"),
        }
    }
}

fn read_file(path: &Path) -> Result<Totp, Error> {
    let what = format!(
        "the file `{}` for the secret of the MFA device",
        path.display()
    );
    let failed = |error: std::io::Error| {
        refused(&what, "cannot be read: check path and permissions").with_source(error)
    };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(refused(&what, "is not a file"));
    }
    // Of full size from the start: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize + 1));
    File::open(path)
        .map_err(failed)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refused(
            &what,
            "has more than 4 KiB: give one that holds the secret and nothing else",
        ));
    }
    Totp::read(&text, &what)
}

fn read_env(name: &str) -> Result<Totp, Error> {
    let what = format!("the variable `{name}` for the secret of the MFA device");
    match std::env::var(name).map(Zeroizing::new) {
        Ok(text) => Totp::read(&text, &what),
        Err(VarError::NotPresent) => Err(refused(&what, "is not set")),
        Err(VarError::NotUnicode(_)) => Err(refused(&what, "is not a text")),
    }
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
    async fn a_secret_comes_from_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, format!("{RFC}\n")).unwrap();
        assert_eq!(
            code(&TotpSource::File(path.clone()).load().await.unwrap(), 59),
            "287082"
        );
        std::fs::write(&path, "A".repeat(4097)).unwrap();
        for (source, problem) in [
            (TotpSource::File(path), "4 KiB"),
            (TotpSource::File(folder.path().into()), "not a file"),
            (
                TotpSource::File(folder.path().join("none")),
                "cannot be read",
            ),
            (TotpSource::Env("BRS_NO_SUCH_VARIABLE".into()), "is not set"),
            (TotpSource::Env("PATH".into()), "not base32"),
        ] {
            let Err(error) = source.load().await else {
                panic!("{source:?}")
            };
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
