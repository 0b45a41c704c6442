//! Every variable and profile key: right, old, empty, padded, wrong.

use std::ffi::OsString;

use aws_types::os_shim_internal::{Env, Fs};
use brs_core::{BaseRequest, ErrorKind};

use super::settings::Settings;
use super::*;

mod profile_files;

type Fixed<'a> = &'a [(&'static str, &'a str)];

async fn profiles(config: &str) -> ProfileSet {
    let config = format!("[profile dev]\n{config}\n");
    let files = Fs::from_slice(&[("config", &config)]);
    let environment = Env::from_slice(&[("AWS_CONFIG_FILE", "config")]);
    aws_config::profile::load(
        &files,
        &environment,
        &Default::default(),
        Some("dev".into()),
    )
    .await
    .unwrap()
}

fn variables(fixed: Fixed<'_>) -> Variables {
    Variables::Fixed(
        fixed
            .iter()
            .map(|(name, value)| (*name, value.into()))
            .collect(),
    )
}

/// What is read, in the words of `Debug`.
async fn settings(variables: &Variables, config: &str) -> Result<String, Error> {
    let profiles = profiles(config).await;
    let reader = Reader {
        variables,
        profiles: &profiles,
        profile: "dev",
    };
    Settings::read(&reader, &BaseRequest::default()).map(|settings| format!("{settings:?}"))
}

async fn checked(variables: &Variables, config: &str) -> Result<(), Error> {
    let profiles = profiles(config).await;
    checks::providers(&Reader {
        variables,
        profiles: &profiles,
        profile: "dev",
    })
}

struct Setting {
    variable: &'static str,
    key: Option<&'static str>,
    /// How it shows if it is absent.
    absent: &'static str,
    /// Values, old ones too, and how each shows.
    right: &'static [(&'static str, &'static str)],
    wrong: &'static [&'static str],
    /// What an error says is allowed.
    allowed: &'static str,
}

const NO_BOOLEANS: &[&str] = &["yes", "1", "0", "on", "truee", "\"true\""];

const fn boolean(
    variable: &'static str,
    key: &'static str,
    absent: &'static str,
    right: &'static [(&'static str, &'static str)],
) -> Setting {
    Setting {
        variable,
        key: Some(key),
        absent,
        right,
        wrong: NO_BOOLEANS,
        allowed: "`true` or `false`",
    }
}

const SETTINGS: &[Setting] = &[
    Setting {
        variable: "AWS_RETRY_MODE",
        key: Some("retry_mode"),
        absent: "mode: Standard",
        right: &[
            ("standard", "mode: Standard"),
            ("Adaptive", "mode: Adaptive"),
            ("legacy", "mode: Standard"),
            ("LEGACY", "mode: Standard"),
        ],
        wrong: &["hush", "standard,adaptive", "0"],
        allowed: "`standard` or `adaptive`",
    },
    Setting {
        variable: "AWS_MAX_ATTEMPTS",
        key: Some("max_attempts"),
        absent: "max_attempts: 3",
        right: &[
            ("1", "max_attempts: 1"),
            ("6", "max_attempts: 6"),
            ("4294967295", "max_attempts: 4294967295"),
        ],
        wrong: &["five", "0", "-1", "2.5", "4294967296", "1 000"],
        allowed: "1 or more",
    },
    Setting {
        variable: "AWS_NEW_RETRIES_2026",
        key: None,
        absent: "mode: Standard",
        right: &[("true", "mode: Standard"), ("FALSE", "mode: Standard")],
        wrong: NO_BOOLEANS,
        allowed: "`true` or `false`",
    },
    boolean(
        "AWS_USE_FIPS_ENDPOINT",
        "use_fips_endpoint",
        "use_fips: None",
        &[
            ("true", "use_fips: Some(true)"),
            ("False", "use_fips: Some(false)"),
        ],
    ),
    boolean(
        "AWS_USE_DUALSTACK_ENDPOINT",
        "use_dualstack_endpoint",
        "use_dual_stack: None",
        &[("TRUE", "use_dual_stack: Some(true)")],
    ),
    boolean(
        "AWS_DISABLE_REQUEST_COMPRESSION",
        "disable_request_compression",
        "disable_request_compression: None",
        &[("true", "disable_request_compression: Some(true)")],
    ),
    boolean(
        "AWS_DISABLE_CLOCK_SKEW_CORRECTION",
        "disable_clock_skew_correction",
        "disable_clock_skew_correction: None",
        &[("true", "disable_clock_skew_correction: Some(true)")],
    ),
    boolean(
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "ignore_configured_endpoint_urls",
        "ignored: false",
        &[("true", "ignored: true"), ("false", "ignored: false")],
    ),
    Setting {
        variable: "AWS_SDK_UA_APP_ID",
        key: Some("sdk_ua_app_id"),
        absent: "app_name: None",
        right: &[("reports-1", "app_name: Some(AppName(\"reports-1\"))")],
        wrong: &["two words", "naïve", "a/b"],
        allowed: "may hold only",
    },
    Setting {
        variable: "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
        key: Some("request_min_compression_size_bytes"),
        absent: "request_min_compression_size_bytes: None",
        right: &[
            ("0", "request_min_compression_size_bytes: Some(0)"),
            (
                "10485760",
                "request_min_compression_size_bytes: Some(10485760)",
            ),
        ],
        wrong: &["10485761", "10k", "-1", "99999999999"],
        allowed: "0 to 10485760",
    },
    Setting {
        variable: "AWS_ACCOUNT_ID_ENDPOINT_MODE",
        key: Some("account_id_endpoint_mode"),
        absent: "account_id_endpoint_mode: None",
        right: &[
            ("preferred", "account_id_endpoint_mode: Some(Preferred)"),
            ("Required", "account_id_endpoint_mode: Some(Required)"),
            ("disabled", "account_id_endpoint_mode: Some(Disabled)"),
        ],
        wrong: &["hush", "true"],
        allowed: "`preferred`, `disabled` or `required`",
    },
    Setting {
        variable: "AWS_REQUEST_CHECKSUM_CALCULATION",
        key: Some("request_checksum_calculation"),
        absent: "request_checksum_calculation: None",
        right: &[(
            "WHEN_REQUIRED",
            "request_checksum_calculation: Some(WhenRequired)",
        )],
        wrong: &["hush", "required"],
        allowed: "`when_supported` or `when_required`",
    },
    Setting {
        variable: "AWS_RESPONSE_CHECKSUM_VALIDATION",
        key: Some("response_checksum_validation"),
        absent: "response_checksum_validation: None",
        right: &[(
            "when_supported",
            "response_checksum_validation: Some(WhenSupported)",
        )],
        wrong: &["hush", "supported"],
        allowed: "`when_supported` or `when_required`",
    },
    Setting {
        variable: "AWS_AUTH_SCHEME_PREFERENCE",
        key: Some("auth_scheme_preference"),
        absent: "auth_scheme_preference: None",
        right: &[(
            "sigv4a , aws.auth#sigv4",
            "\"sigv4a\" }, AuthSchemeId { scheme_id: \"sigv4\" }",
        )],
        wrong: &["sigv4,,sigv4a", ","],
        allowed: "commas in between",
    },
    Setting {
        variable: "AWS_SIGV4A_SIGNING_REGION_SET",
        key: Some("sigv4a_signing_region_set"),
        absent: "sigv4a_signing_region_set: None",
        right: &[
            ("*", "SigningRegionSet(\"*\")"),
            ("eu-west-1, us-*", "SigningRegionSet(\"eu-west-1,us-*\")"),
        ],
        wrong: &[",", "EU West"],
        allowed: "regions or `*`",
    },
    Setting {
        variable: "AWS_REGION",
        key: Some("region"),
        absent: "region: None",
        right: &[("eu-west-1", "Region(\"eu-west-1\")")],
        wrong: &["eu west 1", "EU-WEST-1", "eu-west-1.evil.example"],
        allowed: "`eu-west-1`",
    },
    Setting {
        variable: "AWS_DEFAULT_REGION",
        key: Some("region"),
        absent: "region: None",
        right: &[("eu-west-1", "Region(\"eu-west-1\")")],
        wrong: &["eu west 1"],
        allowed: "`eu-west-1`",
    },
    Setting {
        variable: "AWS_ENDPOINT_URL",
        key: Some("endpoint_url"),
        absent: "for_all: None",
        right: &[(
            "http://localhost:4566",
            "for_all: Some((\"http://localhost:4566\"",
        )],
        wrong: &["localhost:4566", "ftp://x", "http://me:hush@host", "hush"],
        allowed: "`https://host:port`",
    },
];

#[tokio::test]
async fn each_setting_is_read_from_variable_and_profile() {
    for setting in SETTINGS {
        for (value, shows) in setting.right {
            for value in [(*value).to_owned(), format!(" {value}\t\n")] {
                let found = settings(&variables(&[(setting.variable, &value)]), "")
                    .await
                    .unwrap();
                assert!(
                    found.contains(shows),
                    "{} = {value:?}: {found}",
                    setting.variable
                );
            }
            let Some(key) = setting.key else { continue };
            let config = format!("{key} = {value}");
            // What is empty counts as absent, so the profile's value is found.
            for fixed in [
                &[][..],
                &[(setting.variable, "")],
                &[(setting.variable, " \t")],
            ] {
                let found = settings(&variables(fixed), &config).await.unwrap();
                assert!(found.contains(shows), "{config}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_empty_is_absent() {
    for setting in SETTINGS {
        let config = setting
            .key
            .map(|key| format!("{key} ="))
            .unwrap_or_default();
        for value in ["", " ", "\t\n"] {
            let found = settings(&variables(&[(setting.variable, value)]), &config)
                .await
                .unwrap();
            assert!(
                found.contains(setting.absent),
                "{} = {value:?}: {found}",
                setting.variable
            );
        }
    }
}

/// What all errors of the environment have in common.
fn assert_names(error: &Error, param: &str, allowed: &str) {
    assert_eq!(
        (error.kind(), error.is_unrecoverable()),
        (ErrorKind::Configuration, true),
        "{error:?}"
    );
    assert_eq!(error.param(), Some(param), "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains(param) && shown.contains(allowed) && !shown.contains("hush"),
        "{shown}"
    );
}

#[tokio::test]
async fn what_is_wrong_names_its_place_and_what_is_allowed() {
    for setting in SETTINGS {
        for value in setting.wrong {
            let error = settings(&variables(&[(setting.variable, value)]), "")
                .await
                .unwrap_err();
            assert_names(&error, setting.variable, setting.allowed);
            let Some(key) = setting.key else { continue };
            let error = settings(&variables(&[]), &format!("{key} = {value}"))
                .await
                .unwrap_err();
            assert_names(&error, key, setting.allowed);
            assert!(error.to_string().contains("the profile `dev`"), "{error}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_not_utf_8_is_wrong_everywhere() {
    use std::os::unix::ffi::OsStringExt as _;
    let broken = |name| Variables::Fixed(vec![(name, OsString::from_vec(b"hus\xffh".to_vec()))]);
    for setting in SETTINGS {
        let error = settings(&broken(setting.variable), "").await.unwrap_err();
        assert_names(&error, setting.variable, "is not UTF-8");
    }
    for variable in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_STS"] {
        assert_names(
            &settings(&broken(variable), "").await.unwrap_err(),
            variable,
            "is not UTF-8",
        );
    }
    for variable in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
    ] {
        assert_names(
            &checked(&broken(variable), "").await.unwrap_err(),
            variable,
            "is not UTF-8",
        );
    }
    for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        assert_names(
            &files::check(&broken(variable)).await.unwrap_err(),
            variable,
            "is not UTF-8",
        );
    }
    for variable in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"] {
        assert_names(
            &profile(&broken(variable)).unwrap_err(),
            variable,
            "is not UTF-8",
        );
    }
}

#[tokio::test]
async fn the_first_variable_that_is_not_empty_counts() {
    let both: Fixed<'_> = &[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-north-1")];
    let found = settings(&variables(both), "region = eu-west-1")
        .await
        .unwrap();
    assert!(found.contains("Region(\"eu-north-1\")"), "{found}");
    let found = settings(&variables(&[]), "sdk-ua-app-id = old")
        .await
        .unwrap();
    assert!(found.contains("AppName(\"old\")"), "{found}");
}

#[tokio::test]
async fn one_services_endpoint_url_is_checked_too_unless_all_are_ignored() {
    let wrong: Fixed<'_> = &[("AWS_ENDPOINT_URL_DYNAMODB", "hush")];
    assert_names(
        &settings(&variables(wrong), "").await.unwrap_err(),
        "AWS_ENDPOINT_URL_DYNAMODB",
        "`https://host:port`",
    );
    settings(&variables(wrong), "ignore_configured_endpoint_urls = true")
        .await
        .unwrap();
    settings(&variables(&[("AWS_ENDPOINT_URL_S3", " ")]), "")
        .await
        .unwrap();
    // What the session is given is not looked up.
    let mut given = BaseRequest::default();
    let profiles = profiles("").await;
    let all = variables(&[("AWS_ENDPOINT_URL", "hush"), ("AWS_REGION", "hush hush")]);
    let reader = Reader {
        variables: &all,
        profiles: &profiles,
        profile: "dev",
    };
    given.endpoint_url = Some("http://127.0.0.1:1".into());
    given.region = Some(aws_types::region::Region::new("eu-west-1"));
    Settings::read(&reader, &given).unwrap();
}

#[tokio::test]
async fn what_providers_read_later_is_judged_at_once() {
    for (variable, key, right, wrong) in [
        (
            "AWS_EC2_METADATA_DISABLED",
            None,
            "True",
            &["1", "yes", " true"][..],
        ),
        (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            Some("ec2_metadata_service_endpoint"),
            "http://[fd00:ec2::254]",
            &["hush", "127.0.0.1"],
        ),
        (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
            Some("ec2_metadata_service_endpoint_mode"),
            "ipv6",
            &["6", "hush"],
        ),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            None,
            "/v2/credentials/1-2",
            &["hush", "http://host/x"],
        ),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            None,
            "http://169.254.170.23/v1/credentials?a=b",
            &["hush", "/x"],
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            None,
            "Basic abc",
            &["hush\u{1}hush"],
        ),
        (
            "AWS_ROLE_ARN",
            None,
            "arn:aws:iam::123456789012:role/x",
            &["hush"],
        ),
    ] {
        checked(&variables(&[(variable, right)]), "").await.unwrap();
        checked(&variables(&[(variable, "")]), "").await.unwrap();
        for value in wrong {
            assert_names(
                &checked(&variables(&[(variable, value)]), "")
                    .await
                    .unwrap_err(),
                variable,
                variable,
            );
            if let Some(key) = key {
                assert_names(
                    &checked(&variables(&[]), &format!("{key} = {value}"))
                        .await
                        .unwrap_err(),
                    key,
                    key,
                );
            }
        }
    }
}

#[tokio::test]
async fn what_goes_into_headers_as_it_is_can_be_in_one() {
    let profiles = profiles("").await;
    let check = |value: &str| {
        let variables = variables(&[("AWS_EXECUTION_ENV", value)]);
        checks::clients(&Reader {
            variables: &variables,
            profiles: &profiles,
            profile: "dev",
        })
    };
    for right in ["", " ", "AWS_Lambda_rust"] {
        check(right).unwrap();
    }
    for wrong in ["hus\nh", "hush\u{7f}"] {
        assert_names(
            &check(wrong).unwrap_err(),
            "AWS_EXECUTION_ENV",
            "control character",
        );
    }
}
