//! Roles on top of each other in profiles: which are assumed with what, and what their errors say.
//! Nothing but the session's endpoint leads to the embedded AWS.

use super::profiles::run_for;
use super::role_profiles::{Home, arn};
use super::*;

pub(super) const CHAIN: &str = "\
[profile base]
aws_access_key_id = {id}
aws_secret_access_key = {secret}
mfa_serial = arn:aws:iam::123456789012:mfa/alice

[profile bottom]
region = ap-south-1
role_arn = arn:aws:iam::123456789012:role/bottom
source_profile = base
role_session_name = me

[profile middle]
region = us-west-2
role_arn = arn:aws:iam::123456789012:role/middle
source_profile = bottom
external_id = partner-17
duration_seconds = 900

[profile top]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/top
source_profile = middle

[profile web]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/web
web_identity_token_file = {home}/token
role_session_name = pod
duration_seconds = 1800

[profile on-web]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-web
source_profile = web

[profile process]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/process
source_profile = process
credential_process = cat {home}/process.json

[profile talkative]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/process
source_profile = talkative
credential_process = sh -c 'cat {home}/said >&2; exit 1'

[profile lower]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/lower
credential_source = environment

[profile empty]
region = eu-west-1
role_arn =
source_profile = base

[profile empty-with-keys]
region = eu-west-1
role_arn =
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile circle]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = around
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile around]
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = circle

[profile on-missing]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = missing

[profile missing]
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = nope

[profile long]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = middle
duration_seconds = 7200

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://brs.awsapps.com/start

[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer

[profile on-dev]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-dev
source_profile = dev

[profile console]
region = eu-west-1
login_session = arn:aws:iam::123456789012:user/alice

[default]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/default
source_profile = base
";

/// A home, with the environment of its files and nothing that names an endpoint.
pub(super) fn run(
    aws: &EmbeddedAws,
    home: &Home,
    role: &str,
    arguments: &[&str],
    further: &[(&str, &str)],
) -> (bool, String) {
    let (config, folder) = (
        home.path("config").display().to_string(),
        home.path("").display().to_string(),
    );
    let environment = [
        ("AWS_CONFIG_FILE", config.as_str()),
        ("HOME", folder.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    run_for(
        role,
        &aws.endpoint_url(),
        arguments.iter().copied(),
        &[&environment[..], further].concat(),
    )
}

fn keys(aws: &EmbeddedAws) -> [(&'static str, &str); 2] {
    [
        ("AWS_ACCESS_KEY_ID", aws.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key()),
    ]
}

/// Sessions' ARNs, the outermost role first.
pub(super) fn line(roles: &[(&str, &str)]) -> String {
    let arns: Vec<_> = roles
        .iter()
        .map(|(role, session)| arn(role, session))
        .collect();
    format!("eu-west-1 {}\n", arns.join(" < "))
}

/// Which roles were asked for, in order.
fn assumed(aws: &EmbeddedAws) -> Vec<String> {
    let arns = aws
        .requests()
        .into_iter()
        .filter_map(|request| request.parameters.get("RoleArn").cloned());
    arns.map(|arn| arn.rsplit('/').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_role_of_a_chain_is_a_hop_at_the_sessions_endpoint_and_region() {
    let aws = EmbeddedAws::start();
    aws.require_external_id("arn:aws:iam::123456789012:role/middle", "partner-17");
    let home = Home::new(&aws, CHAIN);
    let hops = [("middle", "brs-session"), ("bottom", "me")];
    for (role, first) in [
        (ROLE, ("demo", "brs-session")),
        ("-", ("top", "brs-session")),
    ] {
        let (ok, said) = run(&aws, &home, role, &["top"], &[]);
        let top = [("top", "brs-session")];
        let beneath = if role == "-" { &[][..] } else { &top[..] };
        assert_eq!(
            (ok, said),
            (true, line(&[&[first][..], beneath, &hops].concat()))
        );
    }
    assert_eq!(
        assumed(&aws),
        ["bottom", "middle", "top", "demo", "bottom", "middle", "top"]
    );
    for request in aws.requests() {
        assert_eq!(request.region.as_deref(), Some("eu-west-1"), "{request:?}");
    }
    let middle = &aws.requests()[1].parameters;
    assert_eq!(
        (&*middle["DurationSeconds"], &*middle["ExternalId"]),
        ("900", "partner-17")
    );
}

#[test]
fn a_web_identity_is_the_source_of_a_role() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    std::fs::write(home.path("token"), " eyJ.a.token\n\n").unwrap();
    aws.add_web_identity("eyJ.a.token", "pod");
    for (role, profile, hops) in [
        (
            "-",
            "on-web",
            &[("on-web", "brs-session"), ("web", "pod")][..],
        ),
        (
            ROLE,
            "on-web",
            &[
                ("demo", "brs-session"),
                ("on-web", "brs-session"),
                ("web", "pod"),
            ],
        ),
        (ROLE, "web", &[("demo", "brs-session"), ("web", "pod")]),
        ("web-identity", "web", &[("web", "pod")]),
    ] {
        assert_eq!(
            run(&aws, &home, role, &[profile], &[]),
            (true, line(hops)),
            "{role} {profile}"
        );
    }
    let requests = aws.requests();
    let with_token = requests
        .iter()
        .filter(|request| request.action == "AssumeRoleWithWebIdentity");
    assert_eq!(
        with_token
            .map(|request| &*request.parameters["DurationSeconds"])
            .collect::<Vec<_>>(),
        ["1800"; 4]
    );
}

#[test]
fn the_environments_web_identity_is_a_hop_too() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, "");
    std::fs::write(home.path("token"), "eyJ.a.token\n").unwrap();
    aws.add_web_identity("eyJ.a.token", "pod");
    let token = home.path("token").display().to_string();
    let pod = [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_REGION", "eu-west-1"),
    ];
    let expected = line(&[("demo", "brs-session"), ("pod", "brs-session")]);
    assert_eq!(run(&aws, &home, ROLE, &[], &pod), (true, expected));
    assert_eq!(
        run(&aws, &home, "base", &["--fetch"], &pod),
        (true, "eu-west-1\n".into())
    );
    let calls = aws.requests().len();
    let (ok, said) = run(&aws, &home, "session-token", &[], &pod);
    assert!(
        !ok && said.starts_with("configuration unrecoverable error"),
        "{said}"
    );
    assert!(
        said.contains("`arn:aws:iam::123456789012:role/pod`") && said.contains("`AWS_ROLE_ARN`"),
        "{said}"
    );
    assert!(
        said.contains("a user's own keys") && !said.contains("`default`"),
        "{said}"
    );
    assert_eq!(aws.requests().len(), calls);
}

#[test]
fn sources_in_the_profile_itself_work_for_every_reader() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    let (id, secret) = (aws.access_key_id(), aws.secret_access_key());
    let process = format!(r#"{{"Version":1,"AccessKeyId":"{id}","SecretAccessKey":"{secret}"}}"#);
    std::fs::write(home.path("process.json"), process).unwrap();
    for (profile, environment) in [("process", &[][..]), ("lower", &keys(&aws))] {
        let mine = (profile, "brs-session");
        assert_eq!(
            run(&aws, &home, "-", &[profile], environment),
            (true, line(&[mine]))
        );
        let expected = line(&[("demo", "brs-session"), mine]);
        assert_eq!(
            run(&aws, &home, ROLE, &[profile], environment),
            (true, expected)
        );
    }
    let expected = line(&[("demo", "brs-session")]);
    assert_eq!(
        run(&aws, &home, ROLE, &["empty-with-keys"], &[]),
        (true, expected)
    );
}

#[test]
fn what_is_wrong_is_the_same_for_every_reader() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    for role in ["-", ROLE, "base"] {
        for (profile, at, problem) in [
            ("circle", "circle", "a loop, `circle` → `around` → `circle`"),
            (
                "on-missing",
                "missing",
                "no profile `nope`, its `source_profile`",
            ),
            ("empty", "empty", "`role_arn` is empty"),
            ("lower", "lower", "the environment, which has none"),
        ] {
            let (ok, said) = run(&aws, &home, role, &[profile], &[]);
            assert!(
                !ok && (role == "base" || said.contains(problem)),
                "{role} {profile}: {said}"
            );
            assert!(
                role == "base" || said.contains(&format!("the profile `{at}` ")),
                "{role} {profile}: {said}"
            );
        }
    }
    for role in ["-", ROLE] {
        let (ok, said) = run(&aws, &home, role, &["long"], &[]);
        assert!(
            !ok && said
                .contains("`long` cannot be used: its `duration_seconds` must be at most 3600"),
            "{role}: {said}"
        );
    }
    assert!(aws.requests().is_empty());
}

/// The files are read again when credentials are needed; the session's own role is needed at once.
#[test]
fn a_broken_profile_is_no_reason_to_refuse_a_session() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    assert_eq!(
        run(&aws, &home, ROLE, &["--build", "circle"], &[]),
        (true, "eu-west-1\n".into())
    );
    let (ok, said) = run(&aws, &home, "-", &["--build", "circle"], &[]);
    assert!(!ok && said.contains("a loop"), "{said}");
    assert!(aws.requests().is_empty());
}

#[test]
fn a_refused_hop_says_which_and_why_as_a_session_of_its_own_would() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    aws.deny_role("arn:aws:iam::123456789012:role/middle");
    for role in ["-", ROLE] {
        let (ok, said) = run(&aws, &home, role, &["top"], &[]);
        assert!(
            !ok && said.starts_with("request unrecoverable error"),
            "{said}"
        );
        assert!(
            said.contains("arn:aws:iam::123456789012:role/middle") && said.contains("`middle`"),
            "{said}"
        );
        assert!(
            said.contains("AccessDenied") && said.contains(r#""profile": "middle""#),
            "{said}"
        );
        assert!(!said.contains("could not be loaded"), "{said}");
    }
    // The first profile's own role, and a web identity's.
    aws.deny_role("arn:aws:iam::123456789012:role/bottom");
    aws.deny_role("arn:aws:iam::123456789012:role/web");
    std::fs::write(home.path("token"), "eyJ.a.token\n").unwrap();
    aws.add_web_identity("eyJ.a.token", "pod");
    for (role, profile, at) in [
        ("-", "bottom", "bottom"),
        (ROLE, "on-web", "web"),
        ("web-identity", "web", "web"),
    ] {
        let (ok, said) = run(
            &aws,
            &home,
            role,
            &[profile],
            &[("AWS_REGION", "eu-west-1")],
        );
        assert!(
            !ok && said.starts_with("request unrecoverable error"),
            "{said}"
        );
        assert!(
            said.contains(&format!("role/{at}")) && said.contains(&format!(r#""profile": "{at}""#)),
            "{said}"
        );
    }
}

#[test]
fn a_profiles_own_role_is_found_beside_keys_in_the_environment() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    let mut environment = keys(&aws).to_vec();
    assert_eq!(
        run(&aws, &home, "-", &[], &environment),
        (true, line(&[("default", "brs-session")]))
    );
    environment.push(("AWS_PROFILE", "bottom"));
    environment.push(("AWS_REGION", "eu-west-1"));
    assert_eq!(
        run(&aws, &home, "-", &[], &environment),
        (true, line(&[("bottom", "me")]))
    );
    // Any other role is assumed with the keys.
    assert_eq!(
        run(&aws, &home, ROLE, &[], &environment),
        (true, line(&[("demo", "brs-session")]))
    );
}

#[test]
fn a_web_identity_is_read_from_the_profile() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    std::fs::write(home.path("token"), "eyJ.a.token\n").unwrap();
    aws.add_web_identity("eyJ.a.token", "pod");
    let by_environment = [("AWS_PROFILE", "web")];
    assert_eq!(
        run(&aws, &home, "web-identity", &[], &by_environment),
        (true, line(&[("web", "pod")]))
    );
    let with_keys = [&by_environment[..], &keys(&aws)].concat();
    assert_eq!(
        run(&aws, &home, "web-identity", &[], &with_keys),
        (true, line(&[("web", "pod")]))
    );
    // The environment takes precedence over its own profile, and a profile that is named over the
    // environment.
    let token = home.path("token").display().to_string();
    let pod = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_PROFILE", "web"),
    ];
    assert_eq!(
        run(&aws, &home, "web-identity", &[], &pod),
        (true, line(&[("demo", "brs-session")]))
    );
    assert_eq!(
        run(&aws, &home, "web-identity", &["web"], &pod),
        (true, line(&[("web", "pod")]))
    );
    let (ok, said) = run(&aws, &home, "web-identity", &["bottom"], &[]);
    assert!(
        !ok && said.contains("`role_arn` is missing") && said.contains("AWS_ROLE_ARN"),
        "{said}"
    );
}

#[test]
fn a_session_token_has_the_profiles_mfa_device() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    let device = "arn:aws:iam::123456789012:mfa/alice";
    let secret = aws.add_mfa_device(device).secret();
    let region = ("AWS_REGION", "eu-west-1");
    let (ok, said) = run(
        &aws,
        &home,
        "session-token",
        &["base"],
        &[region, ("PROBE_MFA", &secret)],
    );
    assert!(ok, "{said}");
    assert_eq!(aws.requests()[0].parameters["SerialNumber"], device);
    let calls = aws.calls("GetSessionToken");
    for environment in [&[][..], &[("AWS_PROFILE", "base")]] {
        let arguments = if environment.is_empty() {
            &["base"][..]
        } else {
            &[]
        };
        let (ok, said) = run(
            &aws,
            &home,
            "session-token",
            arguments,
            &[environment, &[region]].concat(),
        );
        assert!(
            !ok && said.starts_with("configuration unrecoverable error"),
            "{said}"
        );
        assert!(
            said.contains("`base`")
                && said.contains("mfa_serial")
                && said.contains("mfa_token_provider"),
            "{said}"
        );
    }
    let (ok, said) = run(
        &aws,
        &home,
        "session-token",
        &["bottom"],
        &[region, ("PROBE_MFA", &secret)],
    );
    assert!(
        !ok && said.contains("`bottom`") && said.contains("a user's own keys"),
        "{said}"
    );
    assert_eq!(aws.calls("GetSessionToken"), calls);
    // Keys of the environment are used without a device, unless one is asked for.
    let with_keys = [&keys(&aws)[..], &[region]].concat();
    let (ok, said) = run(&aws, &home, "session-token", &[], &with_keys);
    assert!(
        ok && !aws
            .requests()
            .last()
            .unwrap()
            .parameters
            .contains_key("SerialNumber"),
        "{said}"
    );
}

#[test]
fn what_a_failing_process_prints_holds_no_secret() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    for said in [
        "SecretAccessKey:\n  hush",
        r#"{"SessionToken": "hush", "#,
        "password: correct horse hush",
    ] {
        std::fs::write(home.path("said"), format!("no access\n{said}")).unwrap();
        let (ok, said) = run(&aws, &home, "-", &["talkative"], &[]);
        assert!(
            !ok && said.contains("no access") && !said.contains("hush"),
            "{said}"
        );
    }
}

#[test]
fn any_other_method_gets_the_roles_credentials_of_one_session() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    assert_eq!(
        run(&aws, &home, "base", &["top"], &[]),
        (true, line(&[("top", "brs-session")]))
    );
    let before = assumed(&aws).len();
    // Twice, and no role is assumed again: each hop keeps its set.
    assert_eq!(
        run(&aws, &home, "base", &["--fetch", "top"], &[]),
        (true, "eu-west-1\n".into())
    );
    assert_eq!(assumed(&aws)[before..], ["bottom", "middle", "top"]);
}
