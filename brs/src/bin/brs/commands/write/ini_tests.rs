//! The change of the text: as tables, and against the parser of the AWS SDK.

use std::collections::{BTreeMap, BTreeSet};

use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_runtime::env_config::section::EnvConfigSections;
use aws_types::os_shim_internal::{Env, Fs};
use proptest::prelude::*;

use super::*;

const KEYS: Keys<'_> = Keys {
    access_key_id: "ASIANEW",
    secret_access_key: "new/secret",
    session_token: Some("new+token=="),
};

fn set(file: &str) -> String {
    String::from_utf8(set_keys(file.as_bytes(), "app", &KEYS).to_vec()).unwrap()
}

#[test]
fn values_are_replaced_where_they_stand() {
    for (file, expected) in [
        (
            "[app]\naws_access_key_id = OLD\naws_secret_access_key=old\naws_session_token =old\n",
            "[app]\naws_access_key_id = ASIANEW\naws_secret_access_key=new/secret\naws_session_token =new+token==\n",
        ),
        // In any order and spelling, with CRLF, without a newline at the end, with others between.
        (
            "; c\r\n[app]\r\nregion = x\r\nAWS_Session_Token : old\r\n\r\n# c\r\naws_access_key_id=OLD\r\n\
             [b]\r\nk = v\r\n[app ]\r\naws_secret_access_key\t=\told",
            "; c\r\n[app]\r\nregion = x\r\nAWS_Session_Token : new+token==\r\n\r\n# c\r\n\
             aws_access_key_id=ASIANEW\r\n[b]\r\nk = v\r\n[app ]\r\naws_secret_access_key\t=\tnew/secret",
        ),
        // Indented, as configparser allows, and a value that went on.
        (
            "[app]\n  aws_access_key_id = OLD\n    more\n  aws_secret_access_key = old\n  aws_session_token =\n \
             \x20   old\n  region = x\n",
            "[app]\n  aws_access_key_id = ASIANEW\n  aws_secret_access_key = new/secret\n  aws_session_token \
             =new+token==\n  region = x\n",
        ),
        // A comment on the line goes on a line of its own.
        (
            "[app]\naws_access_key_id = OLD ; mine\naws_secret_access_key = o#ld\naws_session_token = old # his",
            "[app]\n; mine\naws_access_key_id = ASIANEW\naws_secret_access_key = new/secret\n# his\n\
             aws_session_token = new+token==",
        ),
    ] {
        assert_eq!(set(file), expected, "{file:?}");
        assert_eq!(set(expected), expected, "{file:?}");
    }
}

#[test]
fn missing_keys_and_profiles_are_added() {
    let added = "aws_access_key_id = ASIANEW\naws_secret_access_key = new/secret\naws_session_token = new+token==";
    for (file, expected) in [
        (String::new(), format!("[app]\n{added}\n")),
        (
            "[b]\nk = v\n".into(),
            format!("[b]\nk = v\n\n[app]\n{added}\n"),
        ),
        (
            "[b]\nk = v".into(),
            format!("[b]\nk = v\n\n[app]\n{added}\n"),
        ),
        ("[app]".into(), format!("[app]\n{added}")),
        (
            "[app]\n\n# b's\n[b]\nk = v\n".into(),
            format!("[app]\n{added}\n\n# b's\n[b]\nk = v\n"),
        ),
        (
            "[app]\nregion = x\n  y\n\n\n".into(),
            format!("[app]\nregion = x\n  y\n{added}\n\n\n"),
        ),
        // Commented out is not there.
        (
            "[app]\n# aws_access_key_id = OLD\n".into(),
            format!("[app]\n{added}\n# aws_access_key_id = OLD\n"),
        ),
        (
            "[apple]\n[ap p]\n[App]\n".into(),
            format!("[apple]\n[ap p]\n[App]\n\n[app]\n{added}\n"),
        ),
        (
            "[b]\r\nk = v\r\n".into(),
            format!(
                "[b]\r\nk = v\r\n\r\n[app]\r\n{}\r\n",
                added.replace('\n', "\r\n")
            ),
        ),
        (
            "\u{feff}[app]\n".into(),
            format!("\u{feff}[app]\n{added}\n"),
        ),
    ] {
        assert_eq!(set(&file), expected, "{file:?}");
        assert_eq!(set(&expected), expected, "{file:?}");
    }
    let indented = "[app]\n  region = x\n";
    let expected = format!("[app]\n  region = x\n  {}\n", added.replace('\n', "\n  "));
    assert_eq!(set(indented), expected);
}

#[test]
fn a_set_without_a_token_leaves_none_of_an_earlier_set() {
    let keys = Keys {
        session_token: None,
        ..KEYS
    };
    let without =
        |file: &str| String::from_utf8(set_keys(file.as_bytes(), "app", &keys).to_vec()).unwrap();
    for (file, expected) in [
        (
            "[app]\naws_session_token = old\n  older\naws_access_key_id = OLD\n# c\naws_secret_access_key = old\n",
            "[app]\naws_access_key_id = ASIANEW\n# c\naws_secret_access_key = new/secret\n",
        ),
        (
            "[app]\naws_access_key_id = OLD\naws_session_token = old",
            "[app]\naws_access_key_id = ASIANEW\naws_secret_access_key = new/secret",
        ),
    ] {
        assert_eq!(without(file), expected, "{file:?}");
        assert_eq!(without(expected), expected, "{file:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_stay() {
    let file = b"[b]\nname = M\xfcller\n[app]\naws_access_key_id = OLD\xff\n";
    let out = set_keys(file, "app", &KEYS);
    let expected: &[u8] =
        b"[b]\nname = M\xfcller\n[app]\naws_access_key_id = ASIANEW\naws_secret_access_key";
    assert!(out.starts_with(expected), "{out:?}");
}

#[test]
fn a_value_that_would_break_its_line_is_noticed() {
    assert!(KEYS.are_writable());
    for value in ["", "a b", "a\nb", "#a", ";a", "ä", "a\0"] {
        assert!(
            !Keys {
                secret_access_key: value,
                ..KEYS
            }
            .are_writable(),
            "{value:?}"
        );
        assert!(
            !Keys {
                session_token: Some(value),
                ..KEYS
            }
            .are_writable(),
            "{value:?}"
        );
    }
    assert!(
        Keys {
            session_token: None,
            ..KEYS
        }
        .are_writable()
    );
}

/// The profiles and their values, as the AWS SDK reads them.
fn read(file: &str) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let files = EnvConfigFiles::builder()
        .with_contents(EnvConfigFileKind::Credentials, file)
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (env, fs) = (Env::from_slice(&[]), Fs::from_slice(&[]));
    let source = aws_runtime::env_config::source::load(&env, &fs, &files);
    let sections = EnvConfigSections::parse(runtime.block_on(source).unwrap()).ok()?;
    let names: BTreeSet<_> = sections.profiles().map(str::to_owned).collect();
    let properties = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "region",
        "other",
    ];
    let of = |name: &String| {
        let profile = sections.get_profile(name)?;
        let values = properties
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), profile.get(key)?.to_owned())));
        Some((name.clone(), values.collect()))
    };
    Some(names.iter().filter_map(of).collect())
}

fn a_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[app]".to_owned()),
        Just("[ app ]".to_owned()),
        Just("[other]".to_owned()),
        Just("[default] # c".to_owned()),
        Just(String::new()),
        Just("  ".to_owned()),
        Just("# a comment".to_owned()),
        Just("; aws_access_key_id = commented".to_owned()),
        Just("  more of it".to_owned()),
        Just("nothing".to_owned()),
        (
            prop_oneof![
                Just("aws_access_key_id"),
                Just("AWS_SECRET_ACCESS_KEY"),
                Just("aws_session_token"),
                Just("region"),
                Just("other"),
            ],
            prop_oneof![Just("="), Just(" = "), Just(" =\t")],
            "[A-Za-z0-9/+]{0,8}",
        )
            .prop_map(|(key, separator, value)| format!("{key}{separator}{value}")),
    ]
}

proptest! {
    #[test]
    fn what_is_not_the_profiles_stays_and_what_is_reads_as_set(
        lines in proptest::collection::vec((a_line(), prop_oneof![Just("\n"), Just("\r\n")]), 0..24),
        ends in any::<bool>(),
    ) {
        let mut file: String = lines.iter().flat_map(|(line, end)| [line.as_str(), end]).collect();
        if !ends {
            file.truncate(file.trim_end_matches(['\r', '\n']).len());
        }
        let written = set(&file);
        prop_assert_eq!(&set(&written), &written, "twice is once");

        // What is not of the profile is the same line for line.
        let others = |file: &str| -> Vec<Vec<u8>> {
            let of_others = lines_of(file).into_iter().filter(|(_, is_of_profile)| !is_of_profile);
            of_others.map(|(line, _)| line).collect()
        };
        let (before, after) = (others(&file), others(&written));
        let joined = |lines: &[Vec<u8>]| lines.concat();
        prop_assert!(joined(&after).starts_with(&joined(&before)) , "{:?}", written);
        // A line that ends the file may get an end, a new profile a blank line before it.
        prop_assert!(joined(&after)[joined(&before).len()..].iter().all(|byte| b"\r\n".contains(byte)));

        if let (Some(before), Some(after)) = (read(&file), read(&written)) {
            let app = &after["app"];
            prop_assert_eq!(&app["aws_access_key_id"], "ASIANEW");
            prop_assert_eq!(&app["aws_secret_access_key"], "new/secret");
            prop_assert_eq!(&app["aws_session_token"], "new+token==");
            for (name, values) in &before {
                if name != "app" {
                    prop_assert_eq!(Some(values), after.get(name));
                }
            }
        }
    }
}

fn lines_of(file: &str) -> Vec<(Vec<u8>, bool)> {
    let lines = lines(file.as_bytes(), "app");
    lines
        .iter()
        .map(|line| ([line.text, line.end].concat(), line.is_of_profile))
        .collect()
}
