//! Expirations as texts: ISO 8601 in the forms that tools write, always with an offset.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::wire::EXPIRATION;

pub(super) fn parse_iso8601(text: &str) -> Result<SystemTime, String> {
    let parsed = rfc3339(text.trim())
        .and_then(|text| DateTime::from_str(&text, Format::DateTimeWithOffset).ok());
    parsed.and_then(|at| SystemTime::try_from(at).ok()).ok_or_else(|| {
        format!(
            "{EXPIRATION} must be an ISO 8601 time with an offset, such as `2030-01-31T12:00:00Z`: `Z`, `+02:00`, \
             `+0200` or `+02` at its end, with or without seconds and their fraction"
        )
    })
}

/// The same time in the one form that the parser knows: `2030-01-31T12:00:00.5+02:00`. Numbers are
/// left to the parser.
///
/// ISO 8601 also has forms without separators, seconds, or minutes of the offset, and Python's
/// `str(datetime)` puts a blank where it has a `T`.
fn rfc3339(text: &str) -> Option<String> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, offset) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let (clock, fraction) = time
        .split_once(['.', ','])
        .map_or((time, None), |(clock, rest)| (clock, Some(rest)));
    let date = match parts(date, '-', &[4, 2, 2])?[..] {
        [year, month, day] => format!("{year}-{month}-{day}"),
        _ => return None,
    };
    let clock = match parts(clock, ':', &[2, 2, 2]).or_else(|| parts(clock, ':', &[2, 2]))?[..] {
        [hour, minute] if fraction.is_none() => format!("{hour}:{minute}:00"),
        [hour, minute, second] => format!("{hour}:{minute}:{second}"),
        _ => return None,
    };
    let (sign, offset) = offset.split_at(1);
    let offset = match (sign, offset) {
        ("Z" | "z", "") => "Z".to_owned(),
        ("+" | "-", _) => {
            match parts(offset, ':', &[2, 2]).or_else(|| parts(offset, ':', &[2]))?[..] {
                [hours] => format!("{sign}{hours}:00"),
                [hours, minutes] => format!("{sign}{hours}:{minutes}"),
                _ => return None,
            }
        }
        _ => return None,
    };
    let fraction = fraction
        .map(|digits| format!(".{digits}"))
        .unwrap_or_default();
    Some(format!("{date}T{clock}{fraction}{offset}"))
}

/// Digits in parts of these lengths, with the separator between all of them or none.
fn parts<'a>(text: &'a str, separator: char, lengths: &[usize]) -> Option<Vec<&'a str>> {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if text.contains(separator) {
        let parts: Vec<&str> = text.split(separator).collect();
        let fit = parts
            .iter()
            .map(|part| part.len())
            .eq(lengths.iter().copied())
            && parts.iter().all(|p| is_number(p));
        return fit.then_some(parts);
    }
    if !is_number(text) || text.len() != lengths.iter().sum::<usize>() {
        return None;
    }
    let mut rest = text;
    Some(
        lengths
            .iter()
            .map(|length| {
                let (part, after) = rest.split_at(*length);
                rest = after;
                part
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_read_in_every_form_with_an_offset() {
        let noon = parse_iso8601("2040-01-31T12:00:00Z").unwrap();
        for text in [
            "2040-01-31T12:00:00+00:00",
            "2040-01-31T12:00:00+0000",
            "2040-01-31T12:00:00+00",
            "2040-01-31T12:00:00-00:00",
            "2040-01-31T14:00:00+02:00",
            "2040-01-31T14:00+0200",
            "2040-01-31T08:30:00-0330",
            "2040-01-31T12:00Z",
            "2040-01-31t12:00:00z",
            "2040-01-31 12:00:00+00:00",
            "2040-01-31T12:00:00.000Z",
            "2040-01-31T12:00:00,000000+0000",
            "2040-01-31T12:00:00.0000000Z",
            "20400131T120000Z",
            "20400131T140000+0200",
            "20400131T1200Z",
            "  2040-01-31T12:00:00Z\n",
        ] {
            assert_eq!(parse_iso8601(text).as_ref(), Ok(&noon), "{text}");
        }
        let half = parse_iso8601("2040-01-31T12:00:00.500000+00:00").unwrap();
        assert_eq!(
            half.duration_since(noon).unwrap(),
            std::time::Duration::from_millis(500)
        );
    }

    #[test]
    fn other_times_are_refused_with_the_forms_that_are_accepted() {
        for text in [
            "",
            "Z",
            "2040-01-31",
            "2040-01-31Z",
            "2040-01-31T12:00:00",
            "20400131T120000",
            "2040-01-31T12:00:00.5",
            "2040-01-31T12Z",
            "2040-01-31T12:00.5Z",
            "2040-01-31T12:00:00.Z",
            "2040-01-31T12:00:00.5.5Z",
            "2040-01-31T12:00:00ZZ",
            "2040-01-31T12:00:00Z+00:00",
            "2040-01-31T12:00:00+0",
            "2040-01-31T12:00:00+000",
            "2040-01-31T12:00:00+00:0",
            "2040-01-31T12:00:00+00:00:00",
            "2040-01-31T12:00:00+99:00",
            "2040-01-31T12:00:00 UTC",
            "2040-01-31T12:0000Z",
            "2040-0131T12:00:00Z",
            "2040-1-31T12:00:00Z",
            "2040-13-31T12:00:00Z",
            "2040-02-30T12:00:00Z",
            "2040-01-31T24:00:00Z",
            "20400-01-31T12:00:00Z",
            "+2040-01-31T12:00:00Z",
            "２０４０-01-31T12:00:00Z",
            "2040-W05-2T12:00:00Z",
            "Tue Jan 31 12:00:00 UTC 2040",
            "2040-01-31T1２:00:00Z",
            "T12:00:00é",
        ] {
            let error = parse_iso8601(text).unwrap_err();
            for form in ["`Z`", "`+02:00`", "`+0200`", "`+02`"] {
                assert!(error.contains(form), "{text} {error}");
            }
        }
    }
}
