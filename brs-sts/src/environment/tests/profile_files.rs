//! The profile files: which are read, and why a profile is not in them.

use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};

use super::*;

#[tokio::test]
async fn profile_files_that_variables_name_are_readable_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("text"), "[default]\n").unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("latin"), b"[default]\n# caf\xe9\n").unwrap();
    for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        for name in ["text", "empty", "absent"] {
            files::check(&variables(&[(variable, &path(name))]))
                .await
                .unwrap();
        }
        for (name, problem) in [("latin", "is not UTF-8"), ("", "cannot be read")] {
            let error = files::check(&variables(&[(variable, &path(name))]))
                .await
                .unwrap_err();
            assert_names(&error, variable, problem);
            assert!(error.to_string().contains(&path(name)), "{error}");
        }
    }
}

/// Reading a pipe that nobody writes would never end, and the loader would find it empty.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_pipe_is_no_profile_file_and_the_null_device_is_an_empty_one() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let pipe = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        for (path, problem) in [
            (
                pipe.as_str(),
                "is a pipe, which gives its content only once",
            ),
            ("/dev/zero", "is a device or a socket"),
        ] {
            let error = files::check(&variables(&[(variable, path)]))
                .await
                .unwrap_err();
            assert_names(&error, variable, problem);
        }
        files::check(&variables(&[(variable, "/dev/null")]))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_loader_gets_the_files_that_were_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config").display().to_string();
    std::fs::write(&path, "[default]\nregion = eu-west-3\n").unwrap();
    for (value, found) in [
        (path.clone(), None),
        (format!(" {path}\n"), Some("eu-west-3")),
    ] {
        let files = files::for_loader(&variables(&[("AWS_CONFIG_FILE", &value)]));
        // A fake environment names none, so only what is given explicitly is read.
        let profiles = aws_config::profile::load(&Fs::real(), &Env::from_slice(&[]), &files, None)
            .await
            .unwrap();
        assert_eq!(profiles.get("region"), found, "{value:?}");
    }
}

#[test]
fn the_sdks_own_variable_names_the_profile_before_pythons() {
    let named = |fixed: Fixed<'_>| profile(&variables(fixed)).unwrap();
    let (usual, other) = (("AWS_PROFILE", " dev "), ("AWS_DEFAULT_PROFILE", "old"));
    assert_eq!(named(&[]), None);
    assert_eq!(
        named(&[("AWS_PROFILE", ""), ("AWS_DEFAULT_PROFILE", " ")]),
        None
    );
    assert_eq!(named(&[usual, other]), Some(("dev".into(), "AWS_PROFILE")));
    assert_eq!(
        named(&[("AWS_PROFILE", ""), other]),
        Some(("old".into(), "AWS_DEFAULT_PROFILE"))
    );
}

#[test]
fn a_missing_profile_is_explained_by_what_the_files_hold() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (config, credentials, nothing) = (path("config"), path("credentials"), path("nothing"));
    let folder = home.path().to_str().unwrap().to_owned();
    let list = "`aws configure list-profiles`";
    for (in_config, in_credentials, read, expected, absent) in [
        (
            "[dev]\nregion = eu-west-1",
            "",
            (&config, &credentials),
            "line 1 of `{config}` has `[dev]`: write `[profile dev]`",
            list,
        ),
        (
            "",
            "# [dev]\n[ profile  dev ] # keys",
            (&config, &credentials),
            "line 2 of `{credentials}` has `[ profile  dev ]`: write `[dev]`",
            list,
        ),
        (
            "[profile development]\n[sso-session dev]",
            "[other]",
            (&config, &credentials),
            list,
            "write",
        ),
        (
            "",
            "",
            (&nothing, &credentials),
            "`{nothing}` does not exist, check `AWS_CONFIG_FILE`",
            "write",
        ),
        (
            "",
            "",
            (&config, &nothing),
            "`{nothing}` does not exist, check `AWS_SHARED_CREDENTIALS_FILE`",
            "write",
        ),
        (
            "",
            "",
            (&folder, &credentials),
            "cannot be read (is a directory)",
            list,
        ),
        (
            "[dev]",
            "",
            (&config, &nothing),
            "write `[profile dev]`, and `{nothing}` does not exist",
            list,
        ),
    ] {
        std::fs::write(&config, in_config).unwrap();
        std::fs::write(&credentials, in_credentials).unwrap();
        let text = missing::reasons(
            &variables(&[
                ("AWS_CONFIG_FILE", read.0),
                ("AWS_SHARED_CREDENTIALS_FILE", read.1),
            ]),
            "dev",
        );
        let expected = expected
            .replace("{config}", &config)
            .replace("{credentials}", &credentials)
            .replace("{nothing}", &nothing);
        assert!(text.contains(&expected) && !text.contains(absent), "{text}");
        let named = format!(
            "in `{}` (`AWS_CONFIG_FILE`) and `{}` (`AWS_SHARED_CREDENTIALS_FILE`)",
            read.0, read.1
        );
        assert!(text.starts_with(&named), "{text}");
    }
    std::fs::write(&config, "[profile my dev]").unwrap();
    let files = variables(&[
        ("AWS_CONFIG_FILE", &config),
        ("AWS_SHARED_CREDENTIALS_FILE", &config),
    ]);
    let text = missing::reasons(&files, "my dev");
    assert!(
        text.contains("has `[profile my dev]`, which is ignored: a name may hold only"),
        "{text}"
    );
}

/// Loads one file as the SDK does, and tells whether it has the profile.
async fn sdk_reads(kind: &str, path: &str, name: &str) -> bool {
    let files = match kind {
        "config" => EnvConfigFiles::builder().with_file(EnvConfigFileKind::Config, path),
        _ => EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, path),
    };
    let (fs, env) = (Fs::real(), Env::from_slice(&[]));
    let loaded = aws_config::profile::load(&fs, &env, &files.build(), None).await;
    loaded.is_ok_and(|profiles| profiles.get_profile(name).is_some())
}

#[tokio::test]
async fn a_profile_that_only_people_can_read_is_pointed_at() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (config, credentials) = (path("config"), path("credentials"));
    let files = variables(&[
        ("AWS_CONFIG_FILE", &config),
        ("AWS_SHARED_CREDENTIALS_FILE", &credentials),
    ]);
    for (kind, text, name, expected) in [
        (
            "config",
            "[profile \"x\"]",
            "x",
            "line 1 of `{file}` has `[profile \"x\"]`: write `[profile x]`",
        ),
        ("config", "[profile 'x']", "x", ": write `[profile x]`"),
        ("config", "[profile “x”]", "x", ": write `[profile x]`"),
        ("config", "[\"profile x\"]", "x", ": write `[profile x]`"),
        (
            "config",
            "[profile \"my x\"]",
            "my x",
            "write `[profile my-x]` and ask for `my-x`",
        ),
        (
            "config",
            "[profile 'my x']",
            "\"my x\"",
            "write `[profile my-x]` and ask for `my-x`",
        ),
        ("config", "[profile x]", "'x'", "which is `x`: ask for `x`"),
        (
            "config",
            "[profile x]",
            "profile x",
            "which is `x`: ask for `x`",
        ),
        (
            "config",
            "[default]\nregion = a\n  [profile x]\nregion = b",
            "x",
            "line 3 of `{file}` has `[profile x]` after white space, so it continues the line above: \
             write `[profile x]` at the beginning of the line",
        ),
        (
            "config",
            "\n\n[Profile x]",
            "x",
            "line 3 of `{file}` has `[Profile x]`: write `[profile x]`",
        ),
        ("config", "[PROFILE x]", "x", ": write `[profile x]`"),
        (
            "config",
            "[profile X]",
            "x",
            "has `[profile X]`, which is `X`: ask for `X`, or write `[profile x]` there",
        ),
        ("config", "[X]", "x", "has `[X]`: write `[profile x]`"),
        (
            "config",
            "[Default]",
            "default",
            "has `[Default]`: write `[default]`",
        ),
        ("config", "[profiles x]", "x", ": write `[profile x]`"),
        (
            "config",
            "[profile profile x]",
            "x",
            ": write `[profile x]`",
        ),
        ("config", "[porfile x]", "x", ": write `[profile x]`"),
        ("config", "[profile:x]", "x", ": write `[profile x]`"),
        ("config", "[profile-x]", "x", ": write `[profile x]`"),
        ("config", "[profilex]", "x", ": write `[profile x]`"),
        ("config", "[profile\u{a0}x]", "x", ": write `[profile x]`"),
        (
            "config",
            "[profile x\u{200b}]",
            "x",
            ": write `[profile x]`",
        ),
        ("config", "[[profile x]]", "x", ": write `[profile x]`"),
        (
            "config",
            "[profile X]\n[x]",
            "x",
            "line 2 of `{file}` has `[x]`: write `[profile x]`",
        ),
        ("credentials", "[\"x\"]", "x", ": write `[x]`"),
        (
            "credentials",
            "[Profile x]",
            "x",
            "has `[Profile x]`: write `[x]`",
        ),
        (
            "credentials",
            "[X]",
            "x",
            "which is `X`: ask for `X`, or write `[x]` there",
        ),
        (
            "credentials",
            "[a]\nb = c\n\t[x]\nd = e",
            "x",
            "write `[x]` at the beginning of the line",
        ),
    ] {
        std::fs::write(&config, "").unwrap();
        std::fs::write(&credentials, "").unwrap();
        std::fs::write(path(kind), text).unwrap();
        assert!(!sdk_reads(kind, &path(kind), name).await, "{text:?}");
        let said = missing::reasons(&files, name);
        let expected = expected.replace("{file}", &path(kind));
        assert!(said.contains(&expected), "{text:?} {name}: {said}");
        assert!(!said.contains("list-profiles"), "{text:?} {name}: {said}");
    }
    // What the SDK reads, whatever it looks like, is no near miss of another name.
    for (kind, text) in [
        ("config", "[profile\tx]"),
        ("config", "[ profile   x ] ; comment"),
        ("credentials", "[ x ]"),
    ] {
        std::fs::write(path(kind), text).unwrap();
        assert!(sdk_reads(kind, &path(kind), "x").await, "{text:?}");
    }
    for text in [
        "[services x]",
        "[sso-session x]",
        "[profile xx]",
        "[profile]",
        "#[profile x]",
    ] {
        std::fs::write(&config, text).unwrap();
        std::fs::write(&credentials, "").unwrap();
        let said = missing::reasons(&files, "x");
        assert!(said.contains("list-profiles"), "{text:?}: {said}");
    }
}

#[test]
fn a_missing_sso_session_is_explained_too() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let files = [
        ("AWS_CONFIG_FILE", path("config")),
        ("AWS_SHARED_CREDENTIALS_FILE", path("credentials")),
    ];
    let files = variables(&[(files[0].0, &files[0].1), (files[1].0, &files[1].1)]);
    for (kind, text, expected) in [
        (
            "config",
            "[sso_session corp]",
            "line 1 of `{file}` has `[sso_session corp]`: write `[sso-session corp]`",
        ),
        (
            "config",
            "[sso-session \"corp\"]",
            ": write `[sso-session corp]`",
        ),
        (
            "config",
            "[SSO-Session corp]",
            ": write `[sso-session corp]`",
        ),
        (
            "config",
            "[sso-session Corp]",
            "which is `Corp`: ask for `Corp`, or write `[sso-session corp]` there",
        ),
        (
            "credentials",
            "[sso-session corp]",
            ": move it to the config file, as `[sso-session corp]`",
        ),
    ] {
        std::fs::write(path("config"), "[profile corp]").unwrap();
        std::fs::write(path("credentials"), "").unwrap();
        std::fs::write(path(kind), text).unwrap();
        let said = missing::sso_session(&files, "corp");
        assert!(
            said.contains(&expected.replace("{file}", &path(kind))),
            "{text:?}: {said}"
        );
    }
    std::fs::write(path("config"), "[profile corp]\n[sso-session other]").unwrap();
    std::fs::write(path("credentials"), "").unwrap();
    assert_eq!(missing::sso_session(&files, "corp"), "");
}

#[tokio::test]
async fn a_file_that_the_sdk_cannot_read_says_where() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (config, credentials) = (path("config"), path("credentials"));
    let files = variables(&[
        ("AWS_CONFIG_FILE", &config),
        ("AWS_SHARED_CREDENTIALS_FILE", &credentials),
    ]);
    for (text, expected) in [
        (
            "\u{feff}[profile x]\nregion = a",
            "begins with a byte order mark: save it as UTF-8 without one",
        ),
        (
            "\u{feff}# comment\n[profile x]",
            "begins with a byte order mark",
        ),
        (
            "# one\n\n  [profile x]\nregion = a",
            "line 3 of `{file}` has white space before its `[`",
        ),
        (
            "[default]\n\t[profile x]",
            "line 2 of `{file}` has white space before its `[`",
        ),
    ] {
        for kind in ["config", "credentials"] {
            std::fs::write(&config, "").unwrap();
            std::fs::write(&credentials, "").unwrap();
            std::fs::write(path(kind), text).unwrap();
            assert!(!sdk_reads(kind, &path(kind), "x").await, "{text:?}");
            let said = missing::unreadable(&files).unwrap();
            assert!(
                said.contains(&expected.replace("{file}", &path(kind))),
                "{text:?}: {said}"
            );
        }
    }
    for text in ["[profile x]\nregion = a\n  [profile y]", "", "[profile x"] {
        std::fs::write(&config, text).unwrap();
        std::fs::write(&credentials, "").unwrap();
        assert_eq!(missing::unreadable(&files), None, "{text:?}");
    }
}
