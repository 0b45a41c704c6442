//! What becomes of profiles: the cases that the AWS SDK publishes for its own reader
//! (`assume-role-tests.json` of aws-config), in words of our own, and what brs reads beyond them.

use aws_types::os_shim_internal::{Env, Fs};

use super::*;

async fn profiles(config: &str) -> ProfileSet {
    let env = Env::from_slice(&[
        ("AWS_CONFIG_FILE", "/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/credentials"),
    ]);
    let fs = Fs::from_slice(&[("/config", config)]);
    aws_config::profile::load(&fs, &env, &Default::default(), None)
        .await
        .unwrap()
}

/// The chain in a line, the outermost role first: `A:arn:…:role/RoleA name=… < keys abc123`.
async fn read(name: &str, config: &str) -> Result<String, Error> {
    let profiles = profiles(config).await;
    let Some(chain) = resolve(&profiles, name)? else {
        return Ok("nothing".into());
    };
    let mut parts: Vec<_> = chain.roles.iter().map(shown_role).collect();
    parts.push(match &chain.base {
        Base::WebIdentity(web) => {
            let name = web
                .role_session_name
                .as_deref()
                .map(|name| format!(" name={name}"))
                .unwrap_or_default();
            let duration = web
                .duration
                .map(|limit| format!(" {}s", limit.as_secs()))
                .unwrap_or_default();
            format!(
                "web {} {}{name}{duration}",
                web.role_arn,
                web.token_file.display()
            )
        }
        Base::Leaf(owner) => shown_leaf(&leaf(&profiles, owner)?.unwrap()),
    });
    Ok(parts.join(" < "))
}

fn shown_role(role: &Role) -> String {
    let mut out = format!("{}:{}", role.profile, role.role_arn);
    for (key, value) in [
        ("name", &role.role_session_name),
        ("external", &role.external_id),
        ("mfa", &role.mfa_serial),
    ] {
        out.extend(value.iter().map(|value| format!(" {key}={value}")));
    }
    out.extend(role.duration.map(|limit| format!(" {}s", limit.as_secs())));
    out
}

fn shown_leaf(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Keys(keys) => {
            let account = keys
                .account_id()
                .map(|id| format!(" {}", id.as_str()))
                .unwrap_or_default();
            format!(
                "keys {} {}{account}",
                keys.access_key_id(),
                keys.secret_access_key()
            )
        }
        Leaf::Source(source) => source.to_string(),
        Leaf::Sso(login) => format!(
            "sso {} {} {} {} {}",
            login.session.as_deref().unwrap_or("-"),
            login.start_url,
            login.region,
            login.account_id,
            login.role_name
        ),
        Leaf::Login(arn) => format!("login {arn}"),
        Leaf::Process {
            command,
            account_id,
        } => format!("process {command} {}", account_id.as_deref().unwrap_or("-")),
    }
}

const A: &str = "role_arn = arn:aws:iam::123456789:role/RoleA";
const B: &str = "role_arn = arn:aws:iam::123456789:role/RoleB";
const KEYS: &str = "aws_access_key_id = abc123\naws_secret_access_key = def456";
const OTHER_KEYS: &str = "aws_access_key_id = ghi890\naws_secret_access_key = jkl123";
const ARN_A: &str = "arn:aws:iam::123456789:role/RoleA";
const ROLE_A: &str = "A:arn:aws:iam::123456789:role/RoleA";

#[tokio::test]
async fn chains_are_read_as_the_sdk_reads_them() {
    let web = "web_identity_token_file = /var/token.jwt";
    for (docs, config, expected) in [
        (
            "a role on keys",
            format!("[profile A]\n{A}\nsource_profile = B\n[profile B]\n{KEYS}\naws_account_id = 123456789001"),
            format!("{ROLE_A} < keys abc123 def456 123456789001"),
        ),
        (
            "the first profile's role takes precedence over its keys",
            format!("[profile A]\n{KEYS}\n{A}\nsource_profile = B\n[profile B]\n{OTHER_KEYS}"),
            format!("{ROLE_A} < keys ghi890 jkl123"),
        ),
        (
            "session name and external id",
            format!(
                "[profile A]\n{A}\nrole_session_name = mine\nexternal_id = theirs\n\
                 source_profile = B\n[profile B]\n{KEYS}"
            ),
            format!("{ROLE_A} name=mine external=theirs < keys abc123 def456"),
        ),
        (
            "a profile that is its own source",
            format!("[profile A]\n{KEYS}\n{A}\nsource_profile = A"),
            format!("{ROLE_A} < keys abc123 def456"),
        ),
        (
            "credential_source",
            format!("[profile A]\n{A}\ncredential_source = Ec2InstanceMetadata"),
            format!("{ROLE_A} < the instance's metadata"),
        ),
        ("only settings", "[profile A]\nec2_metadata_service_endpoint_mode = IPv6".into(), "nothing".into()),
        (
            "a chain of roles",
            format!("[profile A]\n{A}\nsource_profile = B\n[profile B]\n{B}\nsource_profile = C\n[profile C]\n{KEYS}"),
            format!("{ROLE_A} < B:arn:aws:iam::123456789:role/RoleB < keys abc123 def456"),
        ),
        (
            "keys of a source take precedence over its role",
            format!(
                "[profile A]\n{A}\n{OTHER_KEYS}\nsource_profile = B\n[profile B]\n{B}\nsource_profile = C\n{KEYS}\n\
                 [profile C]\n{OTHER_KEYS}"
            ),
            format!("{ROLE_A} < keys abc123 def456"),
        ),
        (
            "a web identity",
            format!("[profile A]\n{A}\n{web}"),
            "web arn:aws:iam::123456789:role/RoleA /var/token.jwt".into(),
        ),
        (
            "a web identity with a session name",
            format!("[profile A]\n{A}\n{web}\nrole_session_name = some"),
            format!("web {ARN_A} /var/token.jwt name=some"),
        ),
        (
            "a web identity as source",
            format!("[profile A]\n{A}\nsource_profile = B\n[profile B]\n{B}\n{web}\nrole_session_name = some"),
            format!("{ROLE_A} < web arn:aws:iam::123456789:role/RoleB /var/token.jwt name=some"),
        ),
        (
            "SSO by itself",
            "[profile A]\nsso_account_id = 0123\nsso_region = us-east-7\nsso_role_name = testrole\n\
             sso_start_url = https://foo.bar"
                .into(),
            "sso - https://foo.bar us-east-7 0123 testrole".into(),
        ),
        (
            "SSO in a session",
            "[profile A]\nsso_account_id = 0123\nsso_role_name = testrole\nsso_session = foo\n\
             [sso-session foo]\nsso_region = us-east-7\nsso_start_url = https://foo.bar"
                .into(),
            "sso foo https://foo.bar us-east-7 0123 testrole".into(),
        ),
        ("keys", format!("[profile A]\n{KEYS}"), "keys abc123 def456".into()),
        (
            "a console login",
            "[profile A]\nlogin_session = arn:aws:iam::0123456789012:user/Admin".into(),
            "login arn:aws:iam::0123456789012:user/Admin".into(),
        ),
        (
            "a process",
            "[profile A]\ncredential_process = /opt/bin/creds --user helen\naws_account_id = 1".into(),
            "process /opt/bin/creds --user helen 1".into(),
        ),
    ] {
        assert_eq!(read("A", &config).await.unwrap(), expected, "{docs}");
    }
    assert_eq!(read("default", "").await.unwrap(), "nothing");
}

#[tokio::test]
async fn what_the_sdk_refuses_names_the_profile_and_the_problem() {
    let source = |of_b: &str| format!("[profile A]\n{A}\nsource_profile = B\n{of_b}");
    for (config, profile, problem) in [
        (format!("[profile A]\n{A}"), "A", "needs a `source_profile` or a `credential_source`"),
        (
            format!("[profile A]\n{A}\ncredential_source = Environment\nsource_profile = B\n[profile B]\n{KEYS}"),
            "A",
            "both `source_profile` and `credential_source`",
        ),
        (source("[profile B]\naws_access_key_id = abc123"), "B", "`aws_secret_access_key` is missing"),
        (source("[profile B]\naws_secret_access_key = abc123"), "B", "`aws_access_key_id` is missing"),
        (source("[profile B]\nregion = eu-west-1"), "B", "holds no credentials"),
        (source(""), "A", "there is no profile `B`, its `source_profile`"),
        (String::new(), "A", "does not exist"),
        (source(&format!("[profile B]\n{B}\nsource_profile = A")), "A", "a loop, `A` → `B` → `A`"),
        (source(&format!("{KEYS}\n[profile B]\n{B}\nsource_profile = A")), "A", "a loop, `A` → `B` → `A`"),
        ("[profile A]\nweb_identity_token_file = /var/token.jwt".into(), "A", "needs a `role_arn`"),
        (
            "[profile A]\nsso_region = us-east-7\nsso_role_name = testrole\nsso_start_url = https://foo.bar".into(),
            "A",
            "`sso_account_id` is missing",
        ),
        (
            "[profile A]\nsso_region = us-east-7\nsso_account_id = 0123\nsso_start_url = https://foo.bar".into(),
            "A",
            "`sso_role_name` is missing",
        ),
        (
            "[profile A]\nsso_session = A\nsso_region = us-east-7\n[sso-session A]\nsso_start_url = https://foo".into(),
            "A",
            "`sso_region` goes in `[sso-session A]`",
        ),
        ("[profile A]\nsso_session = oops".into(), "A", "no section `[sso-session oops]`"),
        (
            "[profile A]\nsso_session = foo\n[sso-session foo]\nsso_region = us-1\nsso_start_url = https://foo".into(),
            "A",
            "for a token, not for credentials",
        ),
        (format!("[profile A]\n{A}\ncredential_source = floozle"), "A", "`Environment`, `Ec2InstanceMetadata`"),
    ] {
        refused(&config, profile, problem).await;
    }
}

async fn refused(config: &str, profile: &str, problem: &str) {
    let error = read("A", config).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("the profile `{profile}` cannot be used")),
        "{config}: {text}"
    );
    assert!(text.contains(problem), "{config}: {text}");
    assert!(
        error.is_unrecoverable() && error.details()["profile"] == profile,
        "{error:?}"
    );
}

#[tokio::test]
async fn sources_of_every_kind_stand_in_the_profile_itself_too() {
    let process = "credential_process = cat keys";
    for (config, expected) in [
        (
            format!("[profile A]\n{A}\nsource_profile = A\n{process}"),
            format!("{ROLE_A} < process cat keys -"),
        ),
        (
            format!("[profile A]\n{A}\nsource_profile = A\n{process}\n{KEYS}"),
            format!("{ROLE_A} < process cat keys -"),
        ),
        (
            format!(
                "[profile A]\n{A}\nsource_profile = A\nsso_account_id = 0123\nsso_region = us-east-7\n\
                 sso_role_name = testrole\nsso_start_url = https://foo.bar"
            ),
            format!("{ROLE_A} < sso - https://foo.bar us-east-7 0123 testrole"),
        ),
        (
            format!(
                "[profile A]\n{A}\nsource_profile = B\n[profile B]\n{B}\nsource_profile = B\n{process}"
            ),
            format!("{ROLE_A} < B:arn:aws:iam::123456789:role/RoleB < process cat keys -"),
        ),
        (
            format!(
                "[profile A]\n{A}\nsource_profile = B\n[profile B]\n{B}\nsource_profile = B\n{process}\n{KEYS}"
            ),
            format!("{ROLE_A} < keys abc123 def456"),
        ),
        (
            "[profile A]\ncredential_source = EcsContainer".into(),
            "the container".into(),
        ),
    ] {
        assert_eq!(read("A", &config).await.unwrap(), expected, "{config}");
    }
    refused(
        &format!("[profile A]\n{A}\nsource_profile = A"),
        "A",
        "its own `source_profile`",
    )
    .await;
}

#[tokio::test]
async fn a_web_identity_takes_precedence_over_a_source_profile() {
    let config = format!(
        "[profile A]\n{A}\nweb_identity_token_file = /t\nduration_seconds = 900\n\
         source_profile = B\n[profile B]\n{KEYS}"
    );
    assert_eq!(
        read("A", &config).await.unwrap(),
        "web arn:aws:iam::123456789:role/RoleA /t 900s"
    );
    let config =
        format!("[profile A]\n{A}\nweb_identity_token_file = /t\ncredential_source = Environment");
    refused(
        &config,
        "A",
        "both `web_identity_token_file` and `credential_source`",
    )
    .await;
}

#[tokio::test]
async fn the_case_of_a_credential_source_does_not_matter() {
    for (text, source) in [
        ("Environment", "the environment"),
        ("environment", "the environment"),
        ("ec2instancemetadata", "the instance's metadata"),
        ("ECSCONTAINER", "the container"),
    ] {
        let config = format!("[profile A]\n{A}\ncredential_source = {text}");
        assert_eq!(
            read("A", &config).await.unwrap(),
            format!("{ROLE_A} < {source}")
        );
    }
}

#[tokio::test]
async fn an_empty_value_counts_as_absent() {
    let empty = "role_arn =\nsource_profile =\ncredential_source =\nweb_identity_token_file =\nmfa_serial =";
    assert_eq!(
        read("A", &format!("[profile A]\n{KEYS}\n{empty}"))
            .await
            .unwrap(),
        "keys abc123 def456"
    );
    let config = format!(
        "[profile A]\n{A}\nduration_seconds =\nmfa_serial =\nsource_profile = B\n[profile B]\n{KEYS}"
    );
    assert_eq!(
        read("A", &config).await.unwrap(),
        format!("{ROLE_A} < keys abc123 def456")
    );
    // Without its role it would be the source.
    let config = format!("[profile A]\nrole_arn =\nsource_profile = B\n[profile B]\n{KEYS}");
    refused(&config, "A", "`role_arn` is empty").await;
    refused(
        "[profile A]\naws_access_key_id =\naws_secret_access_key =",
        "A",
        "is missing",
    )
    .await;
}

#[tokio::test]
async fn each_key_of_a_role_is_read_and_checked() {
    let config = |role: &str| {
        format!(
            "[profile A]\n{A}\nsource_profile = B\n[profile B]\n{B}\nsource_profile = C\n{role}\n[profile C]\n{KEYS}"
        )
    };
    let all = "mfa_serial = GAHT12345678\nduration_seconds = 900\nexternal_id = x1\nrole_session_name = me";
    assert_eq!(
        read("A", &config(all)).await.unwrap(),
        format!(
            "{ROLE_A} < B:arn:aws:iam::123456789:role/RoleB name=me external=x1 mfa=GAHT12345678 900s < \
             keys abc123 def456"
        )
    );
    for (line, key) in [
        ("mfa_serial = short", "mfa_serial"),
        ("duration_seconds = long", "duration_seconds"),
        ("duration_seconds = 60", "duration_seconds"),
        ("duration_seconds = 43201", "duration_seconds"),
        ("external_id = x", "external_id"),
        ("role_session_name = not this", "role_session_name"),
    ] {
        refused(&config(line), "B", &format!("its `{key}` ")).await;
    }
    let config = "[profile A]\nrole_arn = RoleA\ncredential_source = Environment";
    refused(config, "A", "its `role_arn` must be a role's ARN").await;
}

#[tokio::test]
async fn a_loop_that_does_not_begin_with_the_first_profile_is_shown_whole() {
    let config = format!(
        "[profile A]\n{A}\nsource_profile = B\n[profile B]\n{B}\nsource_profile = C\n\
         [profile C]\n{B}\nsource_profile = B"
    );
    refused(&config, "A", "`A` → `B` → `C` → `B`").await;
}
