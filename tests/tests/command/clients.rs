//! The trap that programs of other tools fall into: with keys at hand, SDKs sign with them and not
//! with what the endpoint gives. A program of `exec` signs with the session's identity or fails.

use super::*;

const NEEDS: &str = "needs boto3 and the AWS CLI";

/// A program of the virtual environment with the clients.
fn client(name: &str) -> PathBuf {
    let Some(venv) = std::env::var_os("BRS_CLIENTS_VENV") else {
        panic!("{NEEDS}: `cargo xtask test` installs them and sets BRS_CLIENTS_VENV")
    };
    PathBuf::from(venv).join("bin").join(name)
}

const BOTO3: &str = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])";

/// What asks for its own identity.
fn clients() -> [(&'static str, Vec<String>); 2] {
    let word = |path: PathBuf| path.display().to_string();
    let cli = [
        "sts",
        "get-caller-identity",
        "--query",
        "Arn",
        "--output",
        "text",
    ];
    [
        (
            "boto3",
            vec![word(client("python")), "-c".to_owned(), BOTO3.to_owned()],
        ),
        (
            "the AWS CLI",
            std::iter::once(word(client("aws")))
                .chain(cli.map(str::to_owned))
                .collect(),
        ),
    ]
}

/// A home full of other identities, all of them good at the AWS.
fn full_of_others() -> World {
    let world = World::new();
    let other = world.aws.add_user("other");
    let keys = format!(
        "aws_access_key_id = {}\naws_secret_access_key = {}\n",
        other.access_key_id(),
        other.secret_access_key()
    );
    world.write(
        ".aws/credentials",
        &format!("[default]\n{keys}[other]\n{keys}"),
    );
    world.write(
        ".aws/config",
        &format!(
            "[default]\nregion = eu-west-1\n{keys}[profile other]\nregion = eu-west-1\n{keys}"
        ),
    );
    world.write(".boto", &format!("[Credentials]\n{keys}"));
    world.aws.add_web_identity("other-token", "other");
    world.write("web-identity", "other-token");
    world
}

/// The ways in which another identity is at hand.
fn others(world: &World) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let other = world.aws.add_user("other");
    let text = str::to_owned;
    vec![
        ("[default] keys", vec![]),
        ("AWS_PROFILE", vec![("AWS_PROFILE", text("other"))]),
        (
            "AWS_DEFAULT_PROFILE",
            vec![("AWS_DEFAULT_PROFILE", text("other"))],
        ),
        (
            "keys in the environment",
            vec![
                ("AWS_ACCESS_KEY_ID", text(other.access_key_id())),
                ("AWS_SECRET_ACCESS_KEY", text(other.secret_access_key())),
            ],
        ),
        (
            "a web identity",
            vec![
                ("AWS_ROLE_ARN", text(HUB)),
                (
                    "AWS_WEB_IDENTITY_TOKEN_FILE",
                    world.path("web-identity").display().to_string(),
                ),
            ],
        ),
        (
            "instance metadata",
            vec![(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                text("http://127.0.0.1:9/"),
            )],
        ),
        (
            "an outer endpoint",
            vec![
                ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", text("/other")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", text("other")),
            ],
        ),
    ]
}

fn exec(
    world: &World,
    options: &[&str],
    program: &[String],
    variables: &[(&'static str, String)],
) -> Ran {
    let words = [&["exec"], options, &["app", "--"]].concat();
    let mut command = world.brs(&words);
    command
        .args(program)
        .env("AWS_ENDPOINT_URL", world.aws.endpoint_url());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Ran::of(&mut command)
}

#[test]
#[ignore = "needs boto3 and the AWS CLI"]
fn clients_sign_with_the_session_s_identity() {
    let world = full_of_others();
    for (name, program) in clients() {
        for (at_hand, variables) in others(&world) {
            for options in [&[][..], &["--token-file"], &["--env"], &["--lazy"]] {
                let ran = exec(&world, options, &program, &variables);
                let arn = ran.ok();
                assert!(
                    arn.contains(":assumed-role/app/"),
                    "{name}, {at_hand}, {options:?}: {arn}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs boto3 and the AWS CLI"]
fn the_trap_is_there_if_files_are_kept() {
    let world = full_of_others();
    for (name, program) in clients() {
        let ran = exec(&world, &["--keep-files"], &program, &[]);
        assert!(
            ran.stderr.contains("`aws_access_key_id`"),
            "{name}: {ran:?}"
        );
        let arn = ran.ok();
        assert!(arn.contains(":user/other"), "{name}: {arn}");
    }
}

#[test]
#[ignore = "needs boto3 and the AWS CLI"]
fn clients_fail_rather_than_sign_with_another_identity() {
    let world = full_of_others();
    for (name, program) in clients() {
        for (at_hand, variables) in others(&world) {
            // The endpoint refuses this token, as one that has ended would not answer.
            let wrapped = ["env", "AWS_CONTAINER_AUTHORIZATION_TOKEN=wrong"].map(str::to_owned);
            let program = [&wrapped[..], &program].concat();
            let before = world.aws.requests().len();
            let ran = exec(&world, &[], &program, &variables);
            assert!(
                ran.code != Some(0) && ran.stdout.is_empty(),
                "{name}, {at_hand}: {ran:?}"
            );
            let later = world.aws.requests().split_off(before);
            let asked: Vec<_> = later
                .iter()
                .filter(|request| request.action == "GetCallerIdentity")
                .collect();
            assert!(asked.is_empty(), "{name}, {at_hand}: {asked:?}");
        }
        // A profile that is named in the program is not there.
        let wrapped = ["env", "AWS_PROFILE=other"].map(str::to_owned);
        let ran = exec(&world, &[], &[&wrapped[..], &program].concat(), &[]);
        assert!(
            ran.code != Some(0) && ran.stdout.is_empty(),
            "{name}: {ran:?}"
        );
    }
}

#[test]
#[ignore = "needs boto3 and the AWS CLI"]
fn clients_take_the_credential_process() {
    let world = World::new();
    let config = format!(
        "[profile app]\nregion = eu-west-1\ncredential_process = \"{}\" credential-process app\n",
        binary().display()
    );
    world.write(".aws/config", &config);
    for (name, program) in clients() {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]);
        world.in_here(&mut command);
        command
            .env("AWS_PROFILE", "app")
            .env("AWS_ENDPOINT_URL", world.aws.endpoint_url());
        let arn = Ran::of(&mut command).ok();
        assert!(arn.contains(":assumed-role/app/"), "{name}: {arn}");
    }
    assert_eq!(world.calls(), 1);
}
