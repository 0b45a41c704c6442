//! `brs exec`: what the program gets, and what it does not.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout};

use super::*;
use brs_tests::embedded_aws::Failure;

type Variables = BTreeMap<String, String>;

/// Whatever leads elsewhere.
const ELSEWHERE: [&str; 15] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CREDENTIAL_FILE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ACCOUNT_ID",
];

/// What the program is given.
const GIVEN: [&str; 11] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_SDK_LOAD_CONFIG",
    "NO_PROXY",
    "no_proxy",
    "BRS_SESSION",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
];

/// A program that shows its environment and then waits to be let go.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub(crate) variables: Variables,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let script = "echo pid=$$; env; echo --; read -r go; exit 0";
        let command = command.args(["--", "sh", "-c", script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut variables = Variables::new();
        loop {
            let mut line = String::new();
            assert!(
                stdout.read_line(&mut line).unwrap() > 0,
                "{:?}",
                child.wait_with_output()
            );
            match line.trim_end().split_once('=') {
                Some((name, value)) => drop(variables.insert(name.to_owned(), value.to_owned())),
                None if line == "--\n" => break,
                None => {}
            }
        }
        Self {
            child,
            stdin,
            stdout,
            variables,
        }
    }

    /// What the endpoint answers to the program.
    pub(crate) fn asks(&self) -> String {
        let token = &self.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
        get(&self.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], token)
    }

    /// Lets the program end, and gives what the command reported.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

fn get(url: &str, token: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn exactly_these_variables_are_set_and_unset() {
    let world = World::new();
    let mut command = world.direct(&["exec", "app"]);
    for name in ELSEWHERE {
        command.env(name, "elsewhere");
    }
    // The profile in use must exist for the session's own settings.
    command
        .env("AWS_PROFILE", "dev")
        .env("AWS_DEFAULT_PROFILE", "dev")
        .env("KEPT", "kept")
        .env("NO_PROXY", "corp");
    world.write(".aws/config", "[profile dev]\nregion = us-east-1\n");
    let running = Running::start(&mut command);
    let variables = running.variables.clone();
    for name in ELSEWHERE {
        assert_eq!(variables.get(name), None, "{name}");
    }
    for (name, value) in [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_SDK_LOAD_CONFIG", "1"),
        ("NO_PROXY", "corp,127.0.0.1,localhost"),
        ("no_proxy", "corp,127.0.0.1,localhost"),
        ("BRS_SESSION", "app"),
        ("KEPT", "kept"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    let url = &variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with('/'),
        "{url}"
    );
    // 32 bytes in base64url.
    assert_eq!(variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"].len(), 43);
    let others = [
        "HOME",
        "PATH",
        "PWD",
        "SHLVL",
        "OLDPWD",
        "_",
        "XDG_RUNTIME_DIR",
        "KEPT",
        "pid",
    ];
    for name in variables.keys() {
        assert!(
            GIVEN.contains(&name.as_str()) || others.contains(&name.as_str()),
            "{name}"
        );
    }
    let answer = running.asks();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"AccessKeyId\":\"ASIA"),
        "{answer}"
    );
    let wrong = get(url, "wrong");
    assert!(wrong.starts_with("HTTP/1.1 403 "), "{wrong}");
    assert_eq!(running.end(), (Some(0), String::new()));
    // The endpoint ends with the program.
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn the_program_sees_files_without_credentials() {
    let world = World::new();
    world.write(
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = hush\n",
    );
    world.write(
        ".aws/config",
        "[default]\nregion = us-east-1\noutput = text\nrole_arn = x\nsource_profile = y\n[profile other]\nregion = z\n\
         [services local]\ns3 =\n  endpoint_url = http://localhost\n",
    );
    let running = Running::start(&mut world.direct(&["exec", "app"]));
    let (credentials, config) = (
        PathBuf::from(&running.variables["AWS_SHARED_CREDENTIALS_FILE"]),
        PathBuf::from(&running.variables["AWS_CONFIG_FILE"]),
    );
    assert_eq!(fs::read_to_string(&credentials).unwrap(), "");
    assert_eq!(
        fs::read_to_string(&config).unwrap(),
        "[default]\nregion = us-east-1\noutput = text\n[services local]\ns3 =\n  endpoint_url = http://localhost\n"
    );
    let directory = config.parent().unwrap();
    assert_eq!(directory.parent().unwrap(), world.path("run"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(directory), mode(&config), mode(&credentials)),
        (0o700, 0o600, 0o600)
    );
    assert_eq!(running.end().0, Some(0));
    assert!(!directory.exists());
}

#[test]
fn the_files_are_removed_however_the_program_ends() {
    let world = World::new();
    let left = || {
        let names = fs::read_dir(world.path("run"))
            .unwrap()
            .map(|file| file.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("brs-exec-"))
            .count()
    };
    for script in [
        "exit 3",
        "kill -KILL $$",
        "kill -TERM $PPID; sleep 60 & wait",
    ] {
        let mut command = world.direct(&["exec", "app", "--", "sh", "-c", script]);
        command.status().unwrap();
        assert_eq!(left(), 0, "{script}");
    }
    world
        .direct(&["exec", "app", "--", "/does/not/exist"])
        .status()
        .unwrap();
    assert_eq!(left(), 0);
}

#[test]
fn keep_files_leaves_both_alone_and_warns() {
    let world = World::new();
    world.write(
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = hush\n",
    );
    world.write(".aws/config", "[default]\ncredential_process = /bin/keys\n");
    let running = Running::start(&mut world.direct(&["exec", "--keep-files", "app"]));
    for name in ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"] {
        assert_eq!(running.variables.get(name), None);
    }
    let (code, stderr) = running.end();
    assert_eq!(code, Some(0));
    for key in ["`aws_access_key_id`", "`credential_process`"] {
        assert!(stderr.contains(key), "{stderr}");
    }
    assert!(!stderr.contains("hush"));
}

#[test]
fn the_token_may_be_in_a_file() {
    let world = World::new();
    let running = Running::start(&mut world.direct(&["exec", "--token-file", "app"]));
    assert_eq!(
        running.variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        None
    );
    let path = PathBuf::from(&running.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]);
    let token = fs::read_to_string(&path).unwrap();
    // A newline would be sent along.
    assert_eq!(token.trim(), token);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let answer = get(
        &running.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        &token,
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    running.end();
    assert!(!path.exists());
}

#[test]
fn with_env_brs_becomes_the_program() {
    let world = World::new();
    let mut command = world.direct(&["exec", "--env", "app"]);
    command
        .env("AWS_PROFILE", "x")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://outer/");
    world.write(".aws/config", "[profile x]\nregion = us-east-1\n");
    let running = Running::start(&mut command);
    let variables = running.variables.clone();
    assert_eq!(variables["pid"], running.child.id().to_string());
    let (code, stderr) = running.end();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("nothing renews the keys"), "{stderr}");
    assert!(variables["AWS_ACCESS_KEY_ID"].starts_with("ASIA"));
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"] {
        assert!(!variables[name].is_empty(), "{name}");
    }
    assert!(variables["AWS_CREDENTIAL_EXPIRATION"].ends_with('Z'));
    for name in [
        "AWS_PROFILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    ] {
        assert_eq!(variables.get(name), None);
    }
}

#[test]
fn the_inner_exec_wins() {
    let world = World::new();
    world.configure(&format!(
        "{}{}",
        world.session("app", ROLE, ""),
        world.session("hub", HUB, "")
    ));
    let mut outer = world.direct(&["exec", "hub", "--"]);
    outer.arg(binary()).args(["exec", "app"]);
    let running = Running::start(&mut outer);
    assert_eq!(running.variables["BRS_SESSION"], "app");
    let answer = running.asks();
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let inner = world.run(&["credential-process", "app"]).key();
    assert!(json.contains(&inner), "{json}");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn without_credentials_the_program_is_not_started() {
    let world = World::new();
    world.aws.fail_always(Some(Failure::AccessDenied));
    let touched = world.path("touched");
    let words = ["exec", "app", "--", "touch", touched.to_str().unwrap()];
    world.run(&words).fails(1);
    assert!(!touched.exists());
    // Unless it may wait.
    let words = [
        "exec",
        "--lazy",
        "app",
        "--",
        "touch",
        touched.to_str().unwrap(),
    ];
    world.run(&words).ok();
    assert!(touched.exists());
}

#[test]
fn a_program_that_does_not_start_has_the_shells_statuses() {
    let world = World::new();
    let file = world.write("file", "no program");
    for (program, code) in [
        ("/does/not/exist", 127),
        ("no-such-program", 127),
        (file.to_str().unwrap(), 126),
    ] {
        let stderr = world.run(&["exec", "app", "--", program]).fails(code);
        assert!(stderr.contains(program), "{stderr}");
    }
}

#[test]
fn a_role_may_be_added() {
    let world = World::new();
    world.configure(&world.session("hub", HUB, ""));
    let running = Running::start(&mut world.direct(&["exec", "hub", "--role-arn", ROLE]));
    assert_eq!(running.variables["BRS_SESSION"], "hub-app");
    assert!(running.asks().contains("\"AccessKeyId\":\"ASIA"));
    assert_eq!(running.end().0, Some(0));
}
