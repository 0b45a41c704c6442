//! Base credentials and regions from environment and profile files, in a process of their own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use brs_tests::EmbeddedAws;

use super::*;

/// An instance's metadata service that notes who connects and answers nobody.
pub(super) struct Metadata {
    address: SocketAddr,
    seen: Receiver<SocketAddr>,
}

impl Metadata {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (noted, seen) = channel();
        // The thread ends when the test has dropped its end, or with the process.
        std::thread::spawn(move || {
            while let Ok((_, peer)) = listener.accept() {
                if noted.send(peer).is_err() {
                    return;
                }
            }
        });
        Self { address, seen }
    }

    pub(super) fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it was connected to since the last time.
    pub(super) fn connections(&self) -> usize {
        // Connections are accepted in their order, so this one comes after all that are to be
        // counted.
        let own = TcpStream::connect(self.address)
            .unwrap()
            .local_addr()
            .unwrap();
        self.seen.iter().take_while(|peer| *peer != own).count()
    }
}

/// Runs the probe with nothing of AWS in its environment but `environment`, off EC2.
fn probe(aws: &EmbeddedAws, profile: Option<&str>, environment: &[(&str, &str)]) -> (bool, String) {
    // There an instance's metadata is seconds of waiting; and nothing here may ask for it.
    run(
        aws,
        profile,
        &[&[("AWS_EC2_METADATA_DISABLED", "true")], environment].concat(),
    )
}

/// Runs the probe with nothing of AWS in its environment but `environment`.
fn run<'a>(
    aws: &EmbeddedAws,
    arguments: impl IntoIterator<Item = &'a str>,
    environment: &[(&str, &str)],
) -> (bool, String) {
    run_for(ROLE, &aws.endpoint_url(), arguments, environment)
}

/// As [`run`], for another role than the usual one and any endpoint.
pub(super) fn run_for<'a>(
    role: &str,
    endpoint_url: &str,
    arguments: impl IntoIterator<Item = &'a str>,
    environment: &[(&str, &str)],
) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command
        .args([role, endpoint_url])
        .args(arguments)
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// `dev` has keys; `empty` has none; the others are broken.
const CONFIG: &str = "\
[profile dev]
region = eu-central-1

[profile empty]
region = eu-central-1

[profile loopy]
region = eu-central-1
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = nope

[profile circle]
region = eu-central-1
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = around

[profile around]
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = circle

[profile half]
region = eu-central-1
aws_access_key_id = AKIDEXAMPLE
";

/// Profile files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(aws: &EmbeddedAws) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (id, secret) = (aws.access_key_id(), aws.secret_access_key());
        let keys = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(folder.path().join("credentials"), format!("[dev]\n{keys}")).unwrap();
        std::fs::write(folder.path().join("config"), CONFIG).unwrap();
        Self { folder }
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("AWS_CONFIG_FILE", path("config")),
            ("AWS_SHARED_CREDENTIALS_FILE", path("credentials")),
        ]
    }
}

const WHO: &str = "arn:aws:sts::123456789012:assumed-role/demo/brs-session";

#[test]
fn a_named_profile_gives_base_credentials_and_region() {
    let aws = EmbeddedAws::start();
    let folder = Files::new(&aws);
    let files = folder.environment();
    let files: Vec<_> = files
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        probe(&aws, Some("dev"), &files),
        (true, format!("eu-central-1 {WHO}\n"))
    );
    let by_environment = [
        &files[..],
        &[("AWS_PROFILE", "dev"), ("AWS_REGION", "eu-north-1")],
    ]
    .concat();
    assert_eq!(
        probe(&aws, None, &by_environment),
        (true, format!("eu-north-1 {WHO}\n")),
        "AWS_REGION comes first"
    );
}

#[test]
fn keys_in_the_environment_are_base_credentials() {
    let aws = EmbeddedAws::start();
    let environment = [
        ("AWS_ACCESS_KEY_ID", aws.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key()),
        ("AWS_DEFAULT_REGION", "eu-west-3"),
    ];
    assert_eq!(
        probe(&aws, None, &environment),
        (true, format!("eu-west-3 {WHO}\n"))
    );
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let aws = EmbeddedAws::start();
    let folder = Files::new(&aws);
    let files = folder.environment();
    let files: Vec<_> = files
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (ok, line) = probe(&aws, Some("dve"), &files);
    assert!(
        !ok && line.starts_with("configuration unrecoverable error") && line.contains("`dve`"),
        "{line}"
    );
    assert!(aws.requests().is_empty());
}

#[test]
fn a_profile_that_is_written_in_a_way_of_its_own_is_pointed_at() {
    let aws = EmbeddedAws::start();
    let folder = Files::new(&aws);
    let files = folder.environment();
    let files: Vec<_> = files
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    for (text, expected) in [
        (
            "[default]\nregion = a\n[profile \"odd\"]\n",
            "line 3 of `{file}` has `[profile \"odd\"]`: write `[profile odd]`",
        ),
        (
            "\u{feff}[profile odd]\n",
            "`{file}` begins with a byte order mark: save it as UTF-8 without one",
        ),
        (
            "[profile odd\n",
            "{file} on line 1:   Profile definition must end with ']'",
        ),
    ] {
        let (_, config) = files[0];
        std::fs::write(config, text).unwrap();
        let (ok, line) = probe(&aws, Some("odd"), &files);
        assert!(
            !ok && line.starts_with("configuration unrecoverable error"),
            "{line}"
        );
        assert!(line.contains(&expected.replace("{file}", config)), "{line}");
    }
}

#[test]
fn no_region_and_no_credentials_each_say_what_to_do() {
    let aws = EmbeddedAws::start();
    let (ok, line) = probe(&aws, None, &[]);
    assert!(
        !ok && line.starts_with("configuration unrecoverable error") && line.contains("AWS_REGION"),
        "{line}"
    );
    let (ok, line) = probe(&aws, None, &[("AWS_REGION", "eu-west-1")]);
    assert!(
        !ok && line.contains("no credentials to call STS with"),
        "{line}"
    );
    assert!(aws.requests().is_empty());
}

/// The environment of the files and a metadata service.
fn with_metadata(
    files: &Files,
    metadata: &Metadata,
    further: &[(&'static str, &str)],
) -> Vec<(&'static str, String)> {
    let mut environment = files.environment().to_vec();
    environment.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint_url()));
    environment.extend(
        further
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    environment
}

fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[test]
fn a_broken_profile_is_an_error_and_never_the_instances_role() {
    let (aws, metadata) = (EmbeddedAws::start(), Metadata::start());
    let files = Files::new(&aws);
    for (name, problem) in [("loopy", "nope"), ("circle", "loop"), ("half", "")] {
        for by_environment in [false, true] {
            let further: &[_] = if by_environment {
                &[("AWS_PROFILE", name)]
            } else {
                &[]
            };
            let environment = with_metadata(&files, &metadata, further);
            let argument = (!by_environment).then_some(name);
            let (ok, line) = run(&aws, argument, &borrowed(&environment));
            assert!(
                !ok && line.starts_with("configuration unrecoverable error"),
                "{name}: {line}"
            );
            assert!(
                line.contains(&format!("`{name}`")) && line.contains("config`"),
                "{name}: {line}"
            );
            assert!(line.contains(problem), "{name}: {line}");
        }
    }
    assert_eq!((metadata.connections(), aws.requests().len()), (0, 0));
}

#[test]
fn a_misspelt_profile_in_the_environment_is_named() {
    let (aws, metadata) = (EmbeddedAws::start(), Metadata::start());
    let files = Files::new(&aws);
    let environment = with_metadata(
        &files,
        &metadata,
        &[("AWS_PROFILE", "dve"), ("AWS_REGION", "eu-west-1")],
    );
    let (ok, line) = run(&aws, None, &borrowed(&environment));
    assert!(
        !ok && line.contains("`dve`, which `AWS_PROFILE` names"),
        "{line}"
    );
    assert_eq!(metadata.connections(), 0);

    let environment = with_metadata(
        &files,
        &metadata,
        &[("AWS_PROFILE", ""), ("AWS_REGION", "eu-west-1")],
    );
    let (ok, line) = run(&aws, ["dev"], &borrowed(&environment));
    assert!(ok, "an empty name is no name: {line}");
}

#[test]
fn a_profile_without_credentials_leaves_them_to_the_instance() {
    let (aws, metadata) = (EmbeddedAws::start(), Metadata::start());
    let files = Files::new(&aws);
    let environment = with_metadata(&files, &metadata, &[]);
    let (ok, line) = run(&aws, ["empty"], &borrowed(&environment));
    assert!(!ok && line.contains("`empty`"), "{line}");
    assert!(metadata.connections() > 0, "{line}");
}

#[test]
fn keys_in_the_environment_go_before_the_environments_profile() {
    let aws = EmbeddedAws::start();
    let files = Files::new(&aws);
    let mut environment = files.environment().to_vec();
    environment.extend([
        ("AWS_PROFILE", "loopy".to_owned()),
        ("AWS_ACCESS_KEY_ID", aws.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key().to_owned()),
    ]);
    assert_eq!(
        probe(&aws, None, &borrowed(&environment)),
        (true, format!("eu-central-1 {WHO}\n"))
    );
}

#[test]
fn building_a_deferred_session_asks_no_metadata_service() {
    let (aws, metadata) = (EmbeddedAws::start(), Metadata::start());
    let files = Files::new(&aws);
    for (arguments, further) in [
        (&["--build"][..], &[("AWS_REGION", "eu-west-1")][..]),
        (&["--build", "dev"], &[]),
        (&["--build", "empty"], &[]),
        (&["--build", "loopy"], &[]),
        (&["--build"], &[("AWS_PROFILE", "empty")]),
    ] {
        let environment = with_metadata(&files, &metadata, further);
        let (ok, line) = run(&aws, arguments.iter().copied(), &borrowed(&environment));
        assert!(ok && line.starts_with("eu-"), "{arguments:?}: {line}");
    }
    let environment = with_metadata(&files, &metadata, &[]);
    let (ok, line) = run(&aws, ["--build"], &borrowed(&environment));
    assert!(!ok && line.contains("no region for STS"), "{line}");
    assert_eq!((metadata.connections(), aws.requests().len()), (0, 0));
}

#[test]
fn an_empty_region_hides_no_other() {
    let aws = EmbeddedAws::start();
    let (ok, line) = run(
        &aws,
        ["--build"],
        &[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-3")],
    );
    assert_eq!((ok, line.as_str()), (true, "eu-west-3\n"));
}
