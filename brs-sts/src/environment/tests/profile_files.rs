//! The profile files: which are read, and why a profile is not in them.

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
            "rename the section `[dev]` in `{config}` to `[profile dev]`",
            list,
        ),
        (
            "",
            "# [dev]\n  [ profile  dev ] # keys",
            (&config, &credentials),
            "rename the section `[profile dev]` in `{credentials}` to `[dev]`",
            list,
        ),
        (
            "[profile development]\n[sso-session dev]",
            "[other]",
            (&config, &credentials),
            list,
            "rename",
        ),
        (
            "",
            "",
            (&nothing, &credentials),
            "`{nothing}` does not exist, check `AWS_CONFIG_FILE`",
            "rename",
        ),
        (
            "",
            "",
            (&config, &nothing),
            "`{nothing}` does not exist, check `AWS_SHARED_CREDENTIALS_FILE`",
            "rename",
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
            "to `[profile dev]`, and `{nothing}` does not exist",
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
        text.contains("is ignored, its name may hold only"),
        "{text}"
    );
}
