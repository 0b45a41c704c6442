//! How AWS is reached for the roles of a profile: as the session was told.

use super::profiles::run_for;
use super::role_profiles::Home;
use super::settings::{DENIED, Proxy, Secured};
use super::*;
use brs::SystemClock;
use brs_tests::embedded_aws::Failure;
use serde_json::json;

const CHAIN: &str = "\
[profile base]
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile hop]
region = us-west-2
role_arn = arn:aws:iam::123456789012:role/hop
source_profile = base

[profile top]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/top
source_profile = hop

[profile web]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/web
web_identity_token_file = {home}/token

[profile fips]
region = eu-west-1
use_fips_endpoint = true
role_arn = arn:aws:iam::123456789012:role/fips
source_profile = hop

[profile dual]
region = eu-west-1
use_dualstack_endpoint = true
role_arn = arn:aws:iam::123456789012:role/dual
source_profile = hop

[profile ignoring]
region = eu-west-1
ignore_configured_endpoint_urls = true
endpoint_url = http://127.0.0.1:9
role_arn = arn:aws:iam::123456789012:role/ignoring
source_profile = hop

[profile once]
region = eu-west-1
max_attempts = 1
role_arn = arn:aws:iam::123456789012:role/once
source_profile = hop

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://brs.awsapps.com/start

[profile dev]
region = eu-west-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer

[profile on-dev]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-dev
source_profile = dev
";

struct Here {
    home: Home,
}

impl Here {
    fn new(aws: &EmbeddedAws) -> Self {
        let home = Home::new(aws, CHAIN);
        std::fs::write(home.path("token"), "eyJ.a.token\n").unwrap();
        aws.add_web_identity("eyJ.a.token", "pod");
        aws.add_sso_login("sso-token");
        home.log_in("corp", "sso-token", "2099-01-01T00:00:00Z");
        Self { home }
    }

    /// Fetches credentials at `endpoint_url`, `-` being the region's own, with the STS client's
    /// settings.
    fn fetch(
        &self,
        (role, profile): (&str, &str),
        endpoint_url: &str,
        client: &serde_json::Value,
        further: &[(&str, &str)],
    ) -> (bool, String) {
        let path = |name: &str| self.home.path(name).display().to_string();
        let (config, folder, client) = (path("config"), path(""), client.to_string());
        let environment = [
            ("AWS_CONFIG_FILE", config.as_str()),
            ("HOME", &folder),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("PROBE_CLIENT", &client),
        ];
        run_for(
            role,
            endpoint_url,
            ["--fetch", profile],
            &[&environment[..], further].concat(),
        )
    }
}

#[test]
fn a_hop_is_assumed_at_the_clients_endpoint_and_in_its_region() {
    let aws = EmbeddedAws::start();
    let here = Here::new(&aws);
    let client = json!({ "endpoint_url": aws.endpoint_url(), "region": "ap-south-1" });
    for (role, profile) in [("-", "top"), (ROLE, "top"), (ROLE, "hop"), (ROLE, "web")] {
        let before = aws.requests().len();
        let (ok, said) = here.fetch((role, profile), "-", &client, &[]);
        assert!(ok, "{role} {profile}: {said}");
        let requests = &aws.requests()[before..];
        assert!(requests.len() >= 3, "{requests:?}");
        let signed = requests
            .iter()
            .filter_map(|request| request.region.as_deref());
        assert!(
            signed.into_iter().all(|region| region == "ap-south-1"),
            "{requests:?}"
        );
    }
}

#[test]
fn a_hop_is_assumed_behind_the_clients_proxy_at_the_endpoint_that_is_set() {
    let aws = EmbeddedAws::start();
    let here = Here::new(&aws);
    let plain = "sts.eu-west-1.amazonaws.com";
    for (profile, config, variables, host) in [
        ("top", json!({}), &[][..], plain),
        ("web", json!({}), &[], plain),
        (
            "top",
            json!({ "use_fips_endpoint": true }),
            &[],
            "sts-fips.eu-west-1.amazonaws.com",
        ),
        (
            "web",
            json!({ "use_dualstack_endpoint": true }),
            &[],
            "sts.eu-west-1.api.aws",
        ),
        (
            "top",
            json!({}),
            &[("AWS_USE_FIPS_ENDPOINT", "true")],
            "sts-fips.eu-west-1.amazonaws.com",
        ),
        ("fips", json!({}), &[], "sts-fips.eu-west-1.amazonaws.com"),
        ("dual", json!({}), &[], "sts.eu-west-1.api.aws"),
        ("ignoring", json!({}), &[], plain),
        (
            "top",
            json!({}),
            &[
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
                ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9"),
            ],
            plain,
        ),
        // The hop's own region is not the session's.
        (
            "hop",
            json!({}),
            &[("AWS_REGION", "eu-west-3")],
            "sts.eu-west-3.amazonaws.com",
        ),
        (
            "on-dev",
            json!({}),
            &[],
            "portal.sso.eu-west-1.amazonaws.com",
        ),
        (
            "on-dev",
            json!({}),
            &[
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
                ("AWS_ENDPOINT_URL_SSO", "http://127.0.0.1:9"),
            ],
            "portal.sso.eu-west-1.amazonaws.com",
        ),
        (
            "on-dev",
            json!({ "use_fips_endpoint": true }),
            &[],
            "portal.sso-fips.eu-west-1.amazonaws.com",
        ),
    ] {
        let proxy = Proxy::start(DENIED);
        let mut config = config;
        config["proxies"] = json!({ "https": proxy.url });
        config["retries"] = json!({ "total_max_attempts": 1 });
        let (ok, said) = here.fetch(
            (ROLE, profile),
            "-",
            &json!({ "config": config }),
            variables,
        );
        assert!(!ok, "{said}");
        let mut lines = proxy.lines();
        lines.dedup();
        assert_eq!(
            lines,
            [format!("CONNECT {host}:443 HTTP/1.1")],
            "{profile}: {said}"
        );
    }
    assert!(aws.requests().is_empty());
}

#[test]
fn a_hop_is_tried_as_often_as_is_set() {
    let aws = EmbeddedAws::start();
    let here = Here::new(&aws);
    aws.fail_always(Some(Failure::Status(503)));
    aws.fail_always_of("GetRoleCredentials", Some(Failure::Status(503)));
    let once = json!({ "config": { "retries": { "total_max_attempts": 1 } } });
    for (profile, client, variables) in [
        ("top", once.clone(), &[][..]),
        ("on-dev", once, &[]),
        ("top", json!({}), &[("AWS_MAX_ATTEMPTS", "1")]),
        ("on-dev", json!({}), &[("AWS_MAX_ATTEMPTS", "1")]),
        ("once", json!({}), &[]),
    ] {
        let before = aws.requests().len();
        let (ok, said) = here.fetch((ROLE, profile), &aws.endpoint_url(), &client, variables);
        assert!(!ok, "{said}");
        assert_eq!(
            aws.requests().len(),
            before + 1,
            "{profile} {client}: {said}"
        );
    }
    aws.fail_always(None);
    aws.fail_next([
        Failure::Status(503),
        Failure::Status(503),
        Failure::Status(503),
    ]);
    let (ok, said) = here.fetch(
        (ROLE, "top"),
        &aws.endpoint_url(),
        &json!({}),
        &[("AWS_MAX_ATTEMPTS", "4")],
    );
    assert!(ok, "{said}");
}

#[test]
fn a_hop_that_hangs_ends_at_the_clients_time_out() {
    let aws = EmbeddedAws::start();
    let here = Here::new(&aws);
    let client =
        json!({ "config": { "read_timeout": 0.2, "retries": { "total_max_attempts": 1 } } });
    aws.fail_always(Some(Failure::Hang));
    let (ok, said) = here.fetch((ROLE, "top"), &aws.endpoint_url(), &client, &[]);
    assert!(!ok && said.starts_with("connection error"), "{said}");
    assert!(
        said.contains("did not answer in time") && said.contains("of profile `hop`"),
        "{said}"
    );
    assert_eq!(aws.calls("AssumeRole"), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hop_that_finds_nobody_ends_at_the_clients_connect_time_out() {
    let (address, _queue) = super::settings::full().await;
    let aws = EmbeddedAws::start();
    let here = Here::new(&aws);
    let client =
        json!({ "config": { "connect_timeout": 0.1, "retries": { "total_max_attempts": 3 } } });
    for profile in ["top", "web"] {
        let start = SystemClock::new().monotonic();
        let (ok, said) = here.fetch((ROLE, profile), &format!("http://{address}"), &client, &[]);
        assert!(
            !ok && said.contains("did not answer in time"),
            "{profile}: {said}"
        );
        // Three attempts with the SDK's own time-out take 9.3 s.
        assert!(
            SystemClock::new().monotonic() - start < Duration::from_secs(9),
            "{profile}: {said}"
        );
    }
}

#[test]
fn a_hop_has_the_retry_mode_that_is_set() {
    let aws = EmbeddedAws::start();
    let here = Here::new(&aws);
    let adaptive = json!({ "config": { "retries": { "mode": "adaptive" } } });
    let variable = [("AWS_RETRY_MODE", "adaptive")];
    for profile in ["top", "web", "on-dev"] {
        // The letter by which the SDK tells its retry mode.
        for (letter, client, variables) in [
            ("E", &json!({}), &[][..]),
            ("F", &adaptive, &[]),
            ("F", &json!({}), &variable),
        ] {
            let before = aws.requests().len();
            let (ok, said) = here.fetch((ROLE, profile), &aws.endpoint_url(), client, variables);
            assert!(ok, "{profile}: {said}");
            let requests = &aws.requests()[before..];
            assert!(requests.len() > 1, "{profile}: {requests:?}");
            for request in requests {
                let agent = request.user_agent.as_deref().unwrap();
                let features = agent
                    .split(' ')
                    .find_map(|part| part.strip_prefix("m/"))
                    .unwrap_or_default();
                assert!(
                    features.split(',').any(|feature| feature == letter),
                    "{profile} {letter}: {agent}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hops_and_an_sso_login_are_reached_behind_the_clients_authority() {
    let secured = Secured::start().await;
    let here = Here::new(&secured.aws);
    let fetch = |role: &'static str, profile: &'static str, client: serde_json::Value| {
        here.fetch((role, profile), &secured.endpoint_url, &client, &[])
    };
    for (role, profile) in [
        (ROLE, "top"),
        ("-", "top"),
        (ROLE, "web"),
        (ROLE, "dev"),
        ("-", "on-dev"),
    ] {
        let (ok, said) = fetch(role, profile, json!({ "verify": secured.bundle }));
        assert!(ok, "{role} {profile}: {said}");
        let (ok, said) = fetch(role, profile, json!({}));
        assert!(!ok, "{role} {profile}: {said}");
    }
}
