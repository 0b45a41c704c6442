//! The role session name: checked, and where it is a template filled in once for the life of a
//! session.
//!
//! CloudTrail shows the name and trust policies test it, so it must not change from refresh to
//! refresh. Braces are no characters of a name, so they can mark what is filled in: `{host}`,
//! `{pid}`, `{random}`.

use crate::request::validate::{self, Invalid};

const FIELDS: &str = "`{host}`, `{pid}` and `{random}`";
const RANDOM: std::ops::RangeInclusive<u32> = 0x1000_0000..=0xFFFF_FFFF;

/// Fills a template in; a name without braces stays as it is.
pub(crate) fn fill_in(template: &str) -> Result<String, Invalid> {
    let (pid, random) = (std::process::id(), fastrand::u32(RANDOM));
    let filled = filled_in(template, &host, pid, random)?;
    validate::name(&filled)?;
    Ok(filled)
}

/// The name as every process of this host has it: `{host}` filled in, `{pid}` and `{random}` as
/// they stand.
pub(crate) fn of_host(template: &str) -> Result<String, Invalid> {
    let own = |field: &str| format!("{{{field}}}");
    filled(template, &host, &own("pid"), &own("random"))
}

/// Checks a name or template.
pub(crate) fn check(template: &str) -> Result<(), Invalid> {
    // The longest values that are filled in count, so that what is valid here is valid on every
    // machine.
    let filled = filled_in(template, &|| "h".repeat(HOST), u32::MAX, u32::MAX)?;
    validate::name(&filled)
}

/// How much of a host name is filled in.
const HOST: usize = 32;

fn filled_in(
    template: &str,
    host: &dyn Fn() -> String,
    pid: u32,
    random: u32,
) -> Result<String, Invalid> {
    filled(template, host, &pid.to_string(), &format!("{random:08x}"))
}

fn filled(
    template: &str,
    host: &dyn Fn() -> String,
    pid: &str,
    random: &str,
) -> Result<String, Invalid> {
    let mut out = String::with_capacity(64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((field, after)) = after.split_once('}') else {
            return Err(unknown());
        };
        out.push_str(before);
        match field {
            "host" => out.push_str(&host()),
            "pid" => out.push_str(pid),
            "random" => out.push_str(random),
            _ => return Err(unknown()),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn unknown() -> Invalid {
    Invalid::Text(format!(
        "has braces around something other than {FIELDS}: these are filled in"
    ))
}

/// The first label of the host's name, in characters that a session name may have.
fn host() -> String {
    let name = gethostname::gethostname();
    let name = name.to_string_lossy();
    let label = name.split('.').next().unwrap_or_default();
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '-'
        }
    };
    let host: String = label.chars().take(HOST).map(allowed).collect();
    if host.is_empty() {
        "host".to_owned()
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in_and_the_rest_stays() {
        let filled = |template| {
            filled_in(template, &|| "box".into(), 42, 0xabc).map_err(|error| error.to_string())
        };
        assert_eq!(filled("nightly").unwrap(), "nightly");
        assert_eq!(
            filled("app-{host}-{pid}-{random}").unwrap(),
            "app-box-42-00000abc"
        );
        for template in ["{", "a{b", "{user}", "{}", "x{host}{"] {
            assert!(
                filled(template).unwrap_err().contains("{host}"),
                "{template}"
            );
        }
    }

    #[test]
    fn a_template_is_valid_if_its_longest_filling_is() {
        assert!(check("app-{host}").is_ok() && check("{random}").is_ok() && check("ab").is_ok());
        for template in [
            "a",
            "a b",
            "}",
            &"x".repeat(65),
            &format!("{}{{host}}", "x".repeat(33)),
        ] {
            assert!(check(template).is_err(), "{template}");
        }
        assert!(check(&format!("{}{{host}}", "x".repeat(32))).is_ok());
    }

    #[test]
    fn this_machines_name_is_usable() {
        let filled = fill_in("{host}-{pid}").unwrap();
        assert!(
            filled.ends_with(&format!("-{}", std::process::id())),
            "{filled}"
        );
    }
}
