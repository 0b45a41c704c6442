//! What is wrong with a configuration is reported with its file, line and key.

use super::*;

fn parse(text: &str) -> Result<Config, Failure> {
    Config::parse(Path::new("/c.toml"), text)
}

fn wrong(text: &str) -> String {
    match parse(text) {
        Err(Failure::Usage(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sessions_have_method_base_and_data() {
    let config = parse(
        "[sessions.hub]\nmethod = \"sts\"\nrole_arn = \"hub\"\n\n\
         [sessions.app]\nmethod = \"sts\"\nbase = \"hub\"\nassume_role = { role_arn = \"app\", duration = 900 }\n",
    )
    .unwrap();
    let app = config.named("app").unwrap();
    assert_eq!(
        (app.method.as_str(), app.base.as_deref()),
        ("sts", Some("hub"))
    );
    let data = serde_json::json!({ "assume_role": { "role_arn": "app", "duration": 900 } });
    assert_eq!(app.data.0, data);
    assert_eq!(config.sessions().len(), 2);
}

#[test]
fn each_mistake_names_file_line_and_key() {
    let session = "[sessions.app]\nmethod = \"sts\"\n";
    for (text, expected) in [
        ("x = 1\n", "/c.toml:1: `x`: is not a table of this file"),
        ("\nsessions = 1\n", "/c.toml:2: `sessions`: must be a table"),
        (
            "[sessions]\napp = 1\n",
            "/c.toml:2: `sessions.app`: must be a table",
        ),
        (
            "[sessions.app]\nrole_arn = 1\n",
            "/c.toml:1: `sessions.app`: has no `method`: give one of ",
        ),
        (
            "[sessions.app]\nmethod = 1\n",
            "/c.toml:2: `sessions.app.method`: must be a text",
        ),
        (
            "[sessions.app]\n\nmethod = \"stss\"\n",
            "/c.toml:3: `sessions.app.method`: is not a method: give one of ",
        ),
        (
            "[sessions.App]\nmethod = \"sts\"\n",
            "/c.toml:1: `sessions.App`: has a name that is not allowed",
        ),
        (
            "[sessions.-a]\nmethod = \"sts\"\n",
            "/c.toml:1: `sessions.-a`: has a name that is not allowed",
        ),
        (
            "[sessions.a]\nmethod = \"sts\"\nbase = \"b\"\n",
            "/c.toml:3: `sessions.a.base`: names no session: there is no `b`, only `a`",
        ),
        (
            "[sessions.a]\nmethod = \"sts\"\nx = nan\n",
            "/c.toml:3: `sessions.a.x`: must be a finite number",
        ),
        (
            "[sessions.a]\nmethod = \"sts\"\nx = 99999999999999999999\n",
            "/c.toml:3: `sessions.a.x`: is a number that is too large",
        ),
        ("[sessions.a\n", "/c.toml:1: "),
        (
            "[sessions.a]\nmethod = \"sts\"\nmethod = \"sts\"\n",
            "/c.toml:3: ",
        ),
        ("[serve]\nlisten = \"x\"\n", "/c.toml:2: `serve.listen`: "),
        (
            "[serve]\n\nlisten_on = \"x\"\n",
            "/c.toml:3: `serve.listen_on`: unknown field",
        ),
        (
            "[serve]\nanswer_within = \"soon\"\n",
            "/c.toml:2: `serve.answer_within`: ",
        ),
        (
            "[serve]\nanswer_within = 1\n",
            "/c.toml:2: `serve.answer_within`: invalid type",
        ),
        (
            "[serve]\nimds = { listen = \"127.0.0.1:1\" }\n",
            "/c.toml:2: `serve.imds`: missing field `session`",
        ),
        (
            "[serve]\nimds = { listen = \"127.0.0.1:1\", session = \"x\" }\n",
            "/c.toml:2: `serve.imds.session`: names no session",
        ),
        (
            "[serve]\nassume = [\n{ from = \"x\", roles = [] }]\n",
            "/c.toml:3: `serve.assume[0].from`: names no session",
        ),
        (
            "[serve.consumers.web]\nsessions = [\"x\"]\ntoken_file = \"/t\"\n",
            "/c.toml:2: `serve.consumers.web.sessions[0]`: names no session",
        ),
        (
            "[serve.consumers.web]\ntoken_file = \"/t\"\n",
            "/c.toml:1: `serve.consumers.web`: may use nothing",
        ),
        (
            "[serve.consumers.web]\nall = true\n",
            "/c.toml:1: `serve.consumers.web`: has no `token_file`",
        ),
        (
            "[serve.consumers.Web]\nall = true\n",
            "/c.toml:1: `serve.consumers.Web`: has a name",
        ),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let found = wrong(&format!(
        "{session}[serve]\nimds = {{ listen = \"127.0.0.1:1\", session = \"x\" }}\n"
    ));
    assert!(found.ends_with("there is no `x`, only `app`"), "{found}");
}

#[test]
fn an_unknown_method_lists_what_there_is() {
    let found = wrong("[sessions.app]\nmethod = \"stss\"\n");
    for method in ["`custom`", "`iot`", "`roles-anywhere`", "`shared`", "`sts`"] {
        assert!(found.contains(method), "{found}");
    }
}

#[test]
fn a_circle_is_shown() {
    let text = "[sessions.a]\nmethod = \"sts\"\nbase = \"b\"\n[sessions.b]\nmethod = \"sts\"\nbase = \"c\"\n\
                [sessions.c]\nmethod = \"sts\"\nbase = \"b\"\n";
    assert_eq!(
        wrong(text),
        "/c.toml:9: `sessions.c.base`: closes a circle: b → c → b"
    );
    let text = "[sessions.a]\nmethod = \"sts\"\nbase = \"a\"\n";
    assert_eq!(
        wrong(text),
        "/c.toml:3: `sessions.a.base`: closes a circle: a → a"
    );
}

#[test]
fn no_error_shows_a_value() {
    for text in [
        "[sessions.a]\nmethod = \"sts\"\nsecret_access_key = \"hush\n",
        "[sessions.a]\nmethod = \"sts\"\nsecret_access_key = hush\n",
        "[sessions.a]\nmethod = [\"hush\"]\n",
        "sessions = \"hush\"\n",
        "[serve]\nlisten = [\"hush\"]\n",
    ] {
        let found = wrong(text);
        assert!(!found.contains("hush"), "{found}");
    }
    let config = parse("[sessions.a]\nmethod = \"sts\"\nsecret_access_key = \"hush\"\n").unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn a_wrong_parameter_has_its_line() {
    let config = parse("[sessions.a]\nmethod = \"sts\"\nassume_role = { duration = 1 }\n").unwrap();
    let error = Error::validation("parameter `assume_role.duration`: too short")
        .with_param("assume_role.duration");
    let Failure::Usage(text) = config.wrong_session("a", &error) else {
        panic!("another failure");
    };
    assert_eq!(
        text,
        "/c.toml:3: `sessions.a.assume_role.duration`: too short"
    );
    let error = Error::validation("parameter `role_arn`: missing").with_param("role_arn");
    let Failure::Usage(text) = config.wrong_session("a", &error) else {
        panic!("another failure");
    };
    assert_eq!(text, "/c.toml:1: `sessions.a.role_arn`: missing");
}

#[test]
fn an_unknown_session_lists_those_that_exist() {
    let config = parse("[sessions.app]\nmethod = \"sts\"\n").unwrap();
    let Err(Failure::Usage(text)) = config.named("ap") else {
        panic!("found");
    };
    assert_eq!(text, "there is no session `ap` in `/c.toml`: it has `app`");
    let config = Config {
        searched: vec!["/a.toml".into(), "/b.toml".into()],
        ..Config::default()
    };
    let Err(Failure::Usage(text)) = config.named("app") else {
        panic!("found");
    };
    assert!(text.contains("write `/a.toml` or `/b.toml`"), "{text}");
}
