//! What is wrong with a configuration or a command line: exit status 2, and where it is wrong.

use super::*;

#[test]
fn mistakes_name_file_line_and_key() {
    let world = World::new();
    let keys = world.keys();
    let file = world.path(".config/brs/brs.toml");
    for (toml, line, expected) in [
        (
            "[sessions.app]\nmethod = \"stss\"\n".to_owned(),
            2,
            "`sessions.app.method`: is not a method: give one of ",
        ),
        (
            "[sessions.app]\nregion = \"x\"\n".to_owned(),
            1,
            "`sessions.app`: has no `method`",
        ),
        (
            "[sessions.app]\nmethod = \"sts\"\nrole_arnn = \"x\"\n".to_owned(),
            3,
            "`sessions.app.role_arnn`: unknown field",
        ),
        (
            format!("[sessions.app]\nmethod = \"sts\"\n{keys}role_arn = \"x\"\n"),
            7,
            "`sessions.app.",
        ),
        (
            "[sessions.app]\nmethod = \"sts\"\nadvisory_window = -1\n".to_owned(),
            3,
            "`sessions.app.advisory_window`: ",
        ),
        (
            "[sessions.app]\nmethod = \"sts\"\nbase = \"hub\"\n".to_owned(),
            3,
            "`sessions.app.base`: names no session",
        ),
        (
            "[sessions.app]\nmethod = \"sts\"\nbase = \"app\"\n".to_owned(),
            3,
            "`sessions.app.base`: closes a circle: app → app",
        ),
        ("[sessions.app\n".to_owned(), 1, ""),
        (
            "\n[server]\n".to_owned(),
            2,
            "`server`: is not a table of this file",
        ),
    ] {
        world.configure(&toml);
        let stderr = world.run(&["credential-process", "app"]).fails(2);
        let begin = format!("brs: error: {}:{line}: {expected}", file.display());
        assert!(stderr.starts_with(&begin), "{toml}\n{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    assert_eq!(world.aws.requests().len(), 0);
}

#[test]
fn an_unknown_method_lists_what_there_is() {
    let world = World::new();
    world.configure("[sessions.app]\nmethod = \"stss\"\n");
    let of_file = world.run(&["whoami", "app"]).fails(2);
    let of_line = world.run(&["whoami", "--method", "stss"]).fails(2);
    for stderr in [of_file, of_line] {
        for method in [
            "`custom`",
            "`iot`",
            "`roles-anywhere`",
            "`sts`",
            "`profile`",
        ] {
            assert!(stderr.contains(method), "{stderr}");
        }
    }
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let world = World::new();
    let file = world.path(".config/brs/brs.toml");
    let directory = file.parent().unwrap();
    let refused = || {
        let stderr = world.run(&["credential-process", "app"]).fails(2);
        assert!(stderr.contains("is refused, since "), "{stderr}");
        stderr
    };
    for (mode, who) in [
        (0o620, "its group"),
        (0o602, "every user"),
        (0o666, "every user"),
    ] {
        chmod(&file, mode);
        let stderr = refused();
        assert!(
            stderr.contains(&format!("{who} can write it: run `chmod go-w ")),
            "{stderr}"
        );
    }
    chmod(&file, 0o644);
    world.run(&["credential-process", "app"]).ok();
    // Who may write the directory may put another file in its place.
    chmod(directory, 0o777);
    assert!(refused().contains("every user can replace it"));
    chmod(directory, 0o1777);
    world.run(&["credential-process", "app"]).ok();

    // A link is as safe as what it leads to.
    let target = world.write("elsewhere/other.toml", &fs::read_to_string(&file).unwrap());
    let link = world.path("link.toml");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    chmod(&target, 0o666);
    let words = [
        "--config",
        link.to_str().unwrap(),
        "credential-process",
        "app",
    ];
    assert!(
        world
            .run(&words)
            .fails(2)
            .contains("every user can write it")
    );
    chmod(&target, 0o600);
    chmod(target.parent().unwrap(), 0o755);
    world.run(&words).ok();
}

#[test]
fn the_files_have_an_order() {
    let world = World::new();
    let of_home = world.path(".config/brs/brs.toml");
    let text = fs::read_to_string(&of_home).unwrap();
    let file = |name: &str, session: &str| {
        let path = world.write(
            name,
            &text.replace("sessions.app", &format!("sessions.{session}")),
        );
        chmod(&path, 0o600);
        chmod(path.parent().unwrap(), 0o700);
        path
    };
    let of_xdg = file("xdg/brs/brs.toml", "of-xdg");
    let of_variable = file("variable/x.toml", "of-variable");
    let of_option = file("option/x.toml", "of-option");
    let xdg = of_xdg.ancestors().nth(2).unwrap();
    let try_all = |option: bool, variable: bool, with_xdg: bool, session: &str| {
        let mut command = world.brs(&["credential-process", session]);
        if option {
            command.arg("--config").arg(&of_option);
        }
        if variable {
            command.env("BRS_CONFIG", &of_variable);
        }
        if with_xdg {
            command.env("XDG_CONFIG_HOME", xdg);
        }
        Ran::of(&mut command)
    };
    try_all(true, true, true, "of-option").ok();
    try_all(false, true, true, "of-variable").ok();
    try_all(false, false, true, "of-xdg").ok();
    try_all(false, false, false, "app").ok();
    // Only the first one counts.
    let stderr = try_all(false, false, true, "app").fails(2);
    assert!(stderr.contains("it has `of-xdg`"), "{stderr}");
    let mut missing = world.brs(&["credential-process", "app"]);
    let stderr = Ran::of(missing.env("BRS_CONFIG", "/does/not/exist")).fails(2);
    assert!(
        stderr.contains("/does/not/exist: the configuration file does not exist"),
        "{stderr}"
    );
    fs::remove_file(&of_home).unwrap();
    let stderr = world.run(&["credential-process", "app"]).fails(2);
    let place = of_home.display().to_string();
    assert!(
        stderr.contains("there is no configuration file: write ") && stderr.contains(&place),
        "{stderr}"
    );
}

#[test]
fn bases_are_opened_beneath() {
    let world = World::new();
    let hub = world.session("hub", HUB, "");
    let app = format!("[sessions.app]\nmethod = \"sts\"\nrole_arn = \"{ROLE}\"\nbase = \"hub\"\n");
    world.configure(&format!("{app}{hub}"));
    world.run(&["credential-process", "app"]).ok();
    let requests = world.aws.requests();
    let signers: Vec<_> = requests
        .iter()
        .map(|request| request.access_key_id.clone().unwrap())
        .collect();
    assert_eq!(signers.len(), 2);
    assert_eq!(signers[0], world.aws.access_key_id());
    assert!(signers[1].starts_with("ASIA"), "{signers:?}");
    // The base is in the cache, too.
    world.run(&["credential-process", "hub"]).ok();
    assert_eq!(world.calls(), 2);
}

#[test]
fn a_role_stands_on_a_named_session() {
    let world = World::new();
    world.configure(&world.session("hub", HUB, ""));
    world
        .run(&["credential-process", "hub", "--role-arn", ROLE])
        .ok();
    let roles: Vec<_> = world
        .aws
        .requests()
        .iter()
        .map(|request| request.parameters["RoleArn"].clone())
        .collect();
    assert_eq!(roles, [HUB, ROLE]);
}

#[test]
fn parameters_come_from_the_command_line_or_a_file() {
    let world = World::new();
    let params = format!(
        "{{\"role_arn\": \"{ROLE}\", \"region\": \"eu-west-1\", \"endpoint_url\": \"{}\", \"access_key_id\": \"{}\", \
         \"secret_access_key\": \"{}\"}}",
        world.aws.endpoint_url(),
        world.aws.access_key_id(),
        world.aws.secret_access_key(),
    );
    let file = format!("@{}", world.write("params.json", &params).display());
    let of_line = world
        .run(&["credential-process", "--method", "sts", "--params", &params])
        .key();
    let of_file = world
        .run(&["credential-process", "--method", "sts", "--params", &file])
        .key();
    assert_eq!((of_line, world.calls()), (of_file, 1));
    let stderr = world
        .run(&[
            "credential-process",
            "--method",
            "sts",
            "--params",
            "{\"pin\": hush}",
        ])
        .fails(2);
    assert!(
        stderr.contains("is not JSON") && !stderr.contains("hush"),
        "{stderr}"
    );
    let stderr = world
        .run(&[
            "credential-process",
            "--method",
            "sts",
            "--params",
            "{\"rolle\": \"hush\"}",
        ])
        .fails(2);
    assert!(
        stderr.contains("`rolle`") && !stderr.contains("hush"),
        "{stderr}"
    );
}

#[test]
fn a_profile_is_a_session() {
    let world = World::new();
    let (key, secret) = (world.aws.access_key_id(), world.aws.secret_access_key());
    let credentials =
        format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    world.write(".aws/credentials", &credentials);
    let url = world.aws.endpoint_url();
    let config = format!(
        "[default]\nregion = eu-west-1\nendpoint_url = {url}\n\
         [profile role]\nregion = eu-west-1\nendpoint_url = {url}\nrole_arn = {ROLE}\nsource_profile = default\n"
    );
    world.write(".aws/config", &config);
    // Keys as they are; the profile's role; a role on the profile's keys.
    assert_eq!(
        world
            .run(&["credential-process", "--profile", "default"])
            .key(),
        key
    );
    assert_eq!(world.calls(), 0);
    let role = world
        .run(&["credential-process", "--profile", "role"])
        .key();
    assert!(role.starts_with("ASIA"), "{role}");
    assert_eq!(
        world
            .run(&["credential-process", "--profile", "role"])
            .key(),
        role
    );
    world
        .run(&[
            "credential-process",
            "--profile",
            "default",
            "--role-arn",
            HUB,
        ])
        .ok();
    assert_eq!(world.calls(), 2);
    let stderr = world
        .run(&["credential-process", "--profile", "none"])
        .fails(2);
    assert!(stderr.contains("`none`"), "{stderr}");
}

#[test]
fn command_lines_that_are_wrong_are_2() {
    let world = World::new();
    for words in [
        &["credential-process"][..],
        &["credential-process", "app", "--profile", "x"],
        &["credential-process", "app", "--timeout", "0s"],
        &["credential-process", "app", "--min-validity", "soon"],
        &["exec", "app"],
        &["nothing"],
        &["credential-process", "App"],
        &["credential-process", "none"],
    ] {
        let stderr = world.run(words).fails(2);
        assert!(!stderr.is_empty(), "{words:?}");
    }
    assert_eq!(world.aws.requests().len(), 0);
}

#[test]
fn help_is_a_manual_page() {
    let world = World::new();
    let help = world.run(&["--help"]).ok();
    for section in [
        "CONFIGURATION",
        "EXAMPLES",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
    ] {
        assert!(
            help.lines().any(|line| line == section),
            "{section}: {help}"
        );
    }
    for command in [
        "credential-process",
        "exec",
        "serve",
        "whoami",
        "methods",
        "cache",
        "completions",
    ] {
        assert!(
            world.run(&[command, "--help"]).ok().contains("Usage: brs"),
            "{command}"
        );
    }
    assert!(world.run(&["--version"]).ok().starts_with("brs "));
}
