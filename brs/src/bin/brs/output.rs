//! What commands print: credentials in the forms of shells and SDKs, and results for people.
//!
//! A result is written whole, in one write, so that a reader never sees half of it.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs::TemporaryCredentials;
use zeroize::Zeroizing;

use crate::args::Format;
use crate::exit::Failure;

/// Writes a result to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// A value as JSON for people and programs.
pub(crate) fn json(value: &serde_json::Value) -> String {
    // Its `alternate` form is the readable one, and cannot fail.
    format!("{value:#}\n")
}

/// Rows in columns; the last column is as long as it is.
pub(crate) fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let widest = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..N.saturating_sub(1)).map(widest).collect();
    let mut out = String::new();
    for row in &rows {
        let padded = widths
            .iter()
            .zip(row)
            .map(|(width, cell)| format!("{cell:width$}  "));
        out.extend(padded);
        out += row.last().map_or("", String::as_str);
        out.push('\n');
    }
    out
}

/// Writes credentials to stdout.
pub(crate) fn print_credentials(set: &TemporaryCredentials, format: Format) -> Result<(), Failure> {
    print(&rendered(set, format))
}

/// `2026-01-31T12:00:00Z`: whole seconds, rounded down, since clients refuse fractions.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    brs::kit::iso8601(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn rendered(set: &TemporaryCredentials, format: Format) -> Zeroizing<String> {
    if format == Format::Process {
        return process(set);
    }
    let mut out = Zeroizing::new(String::with_capacity(4096));
    for (name, value) in variables(set) {
        let line = Zeroizing::new(match format {
            Format::Env => format!("export {name}={}\n", *in_posix_shell(&value)),
            Format::EnvNoExport => format!("{name}={}\n", *in_posix_shell(&value)),
            Format::Fish => format!("set -gx {name} {}\n", *in_fish(&value)),
            Format::Powershell => format!("$Env:{name}=\"{}\"\n", *in_powershell(&value)),
            Format::WindowsCmd => format!("set {name}={}\n", *value),
            Format::Process => String::new(),
        });
        out.push_str(&line);
    }
    out
}

/// The variables of a set, with their values.
pub(crate) fn variables(set: &TemporaryCredentials) -> Vec<(&'static str, Zeroizing<String>)> {
    let values = [
        ("AWS_ACCESS_KEY_ID", Some(set.access_key_id().to_owned())),
        (
            "AWS_SECRET_ACCESS_KEY",
            Some(set.secret_access_key().to_owned()),
        ),
        ("AWS_SESSION_TOKEN", set.session_token().map(str::to_owned)),
        ("AWS_CREDENTIAL_EXPIRATION", set.expiration().map(timestamp)),
    ];
    let given = |(name, value): (_, Option<String>)| Some((name, Zeroizing::new(value?)));
    values.into_iter().filter_map(given).collect()
}

/// The JSON of `credential_process`. Built by hand: its order is fixed.
fn process(set: &TemporaryCredentials) -> Zeroizing<String> {
    let values = [
        ("AccessKeyId", Some(set.access_key_id().to_owned())),
        ("SecretAccessKey", Some(set.secret_access_key().to_owned())),
        ("SessionToken", set.session_token().map(str::to_owned)),
        ("Expiration", set.expiration().map(timestamp)),
        ("AccountId", set.account_id().map(str::to_owned)),
    ];
    let mut out = Zeroizing::new(String::with_capacity(4096));
    out.push_str("{\"Version\":1");
    for (name, value) in values {
        let Some(value) = value.map(Zeroizing::new) else {
            continue;
        };
        let quoted = Zeroizing::new(serde_json::Value::from(value.as_str()).to_string());
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        out.push_str(&quoted);
    }
    out.push_str("}\n");
    out
}

/// A word for a POSIX shell: as it is if no shell changes it, as the AWS CLI prints it.
pub(crate) fn in_posix_shell(value: &str) -> Zeroizing<String> {
    Zeroizing::new(if is_plain(value) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    })
}

fn in_fish(value: &str) -> Zeroizing<String> {
    Zeroizing::new(if is_plain(value) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
    })
}

fn in_powershell(value: &str) -> Zeroizing<String> {
    let escaped = |c: char| matches!(c, '`' | '$' | '"');
    Zeroizing::new(value.chars().fold(String::new(), |mut out, c| {
        if escaped(c) {
            out.push('`');
        }
        out.push(c);
        out
    }))
}

fn is_plain(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=:._-@,%".contains(c);
    !value.is_empty() && value.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> TemporaryCredentials {
        let expiration = UNIX_EPOCH + Duration::from_millis(1_800_000_000_750);
        TemporaryCredentials::new("ASIAX", "se/cr+et", Some("to=ken".into()), Some(expiration))
            .with_account_id("123456789012")
    }

    #[test]
    fn the_json_has_its_order_and_whole_seconds() {
        let json = "{\"Version\":1,\"AccessKeyId\":\"ASIAX\",\"SecretAccessKey\":\"se/cr+et\",\
                    \"SessionToken\":\"to=ken\",\"Expiration\":\"2027-01-15T08:00:00Z\",\
                    \"AccountId\":\"123456789012\"}\n";
        assert_eq!(*rendered(&set(), Format::Process), json);
        let keys = TemporaryCredentials::new("AKIAX", "a\"b", None, None);
        let json = "{\"Version\":1,\"AccessKeyId\":\"AKIAX\",\"SecretAccessKey\":\"a\\\"b\"}\n";
        assert_eq!(*rendered(&keys, Format::Process), json);
    }

    #[test]
    fn each_shell_has_its_lines() {
        for (format, first, last) in [
            (
                Format::Env,
                "export AWS_ACCESS_KEY_ID=ASIAX\n",
                "export AWS_CREDENTIAL_EXPIRATION=2027-01-15T08:00:00Z\n",
            ),
            (
                Format::EnvNoExport,
                "AWS_ACCESS_KEY_ID=ASIAX\n",
                "AWS_CREDENTIAL_EXPIRATION=2027-01-15T08:00:00Z\n",
            ),
            (
                Format::Fish,
                "set -gx AWS_ACCESS_KEY_ID ASIAX\n",
                "set -gx AWS_CREDENTIAL_EXPIRATION 2027-01-15T08:00:00Z\n",
            ),
            (
                Format::Powershell,
                "$Env:AWS_ACCESS_KEY_ID=\"ASIAX\"\n",
                "$Env:AWS_CREDENTIAL_EXPIRATION=\"2027-01-15T08:00:00Z\"\n",
            ),
            (
                Format::WindowsCmd,
                "set AWS_ACCESS_KEY_ID=ASIAX\n",
                "set AWS_CREDENTIAL_EXPIRATION=2027-01-15T08:00:00Z\n",
            ),
        ] {
            let text = rendered(&set(), format);
            assert!(
                text.starts_with(first) && text.ends_with(last),
                "{format:?}"
            );
            assert_eq!(text.lines().count(), 4);
        }
    }

    #[test]
    fn a_shell_gets_what_the_source_gave() {
        assert_eq!(*in_posix_shell("a'b $c"), "'a'\\''b $c'");
        assert_eq!(*in_fish("a'b\\c"), "'a\\'b\\\\c'");
        assert_eq!(*in_powershell("a$b`c\"d"), "a`$b``c`\"d");
        assert_eq!(*in_posix_shell(""), "''");
    }
}
