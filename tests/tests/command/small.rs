//! `whoami`, `methods`, `cache` and `completions`.

use super::*;

#[test]
fn whoami_names_each_hop() {
    let world = World::new();
    let hub = world.session("hub", HUB, "");
    let app = format!("[sessions.app]\nmethod = \"sts\"\nrole_arn = \"{ROLE}\"\nbase = \"hub\"\n");
    world.configure(&format!("{hub}{app}"));
    let json = world.run(&["whoami", "app", "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let hops = value["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 2, "{json}");
    for (hop, name) in hops.iter().zip(["hub", "app"]) {
        assert_eq!(hop["name"], name);
        assert_eq!(hop["method"], "sts");
        assert!(
            hop["access_key_id"].as_str().unwrap().starts_with("ASIA"),
            "{json}"
        );
        assert_eq!(hop["account"], "123456789012");
        assert!(
            hop["arn"]
                .as_str()
                .unwrap()
                .contains(&format!("assumed-role/{name}/")),
            "{json}"
        );
        assert!(hop["expiration"].as_str().unwrap().ends_with('Z'), "{json}");
        assert!(hop["seconds_left"].as_u64().unwrap() > 3000, "{json}");
    }
    let text = world.run(&["whoami", "app"]).ok();
    for part in [
        "1. hub\n",
        "2. app\n",
        "assumed-role/app/",
        "access key id",
        " left)",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn methods_are_listed_with_their_schemas() {
    let world = World::new();
    let text = world.run(&["methods"]).ok();
    let names: Vec<_> = text
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    for name in [
        "custom",
        "iot",
        "profile",
        "roles-anywhere",
        "shared",
        "sts",
        "sts-session-token",
    ] {
        assert!(names.contains(&name), "{text}");
    }
    assert!(names.is_sorted());
    let json = world.run(&["methods", "--schema"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let described = value.as_array().unwrap();
    assert_eq!(described.len(), names.len());
    for method in described {
        assert!(
            method["schema"].is_object() && method["summary"].is_string(),
            "{method}"
        );
    }
}

#[test]
fn the_cache_is_listed_and_cleared() {
    let world = World::new();
    assert_eq!(world.run(&["cache", "list"]).ok().lines().count(), 1);
    let key = world.run(&["credential-process", "app"]).key();
    let text = world.run(&["cache", "list"]).ok();
    assert!(text.contains(&key) && text.contains("good"), "{text}");
    let json = world.run(&["cache", "list", "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value[0]["access_key_id"], key.as_str());
    assert_eq!(value[0]["invalidated"], false);
    for secret in world.aws.issued_secrets() {
        assert!(!text.contains(&secret) && !json.contains(&secret));
    }
    assert_eq!(
        world.run(&["cache", "clear"]).ok(),
        "removed 1 credential set\n"
    );
    assert_eq!(
        world.run(&["cache", "clear"]).ok(),
        "removed 0 credential sets\n"
    );
    assert_eq!(fs::read_dir(world.path("run/brs")).unwrap().count(), 0);
    assert_ne!(world.run(&["credential-process", "app"]).key(), key);
    // One that others may read is not looked at.
    chmod(&world.path("run/brs"), 0o755);
    assert!(world.run(&["cache", "list"]).fails(2).contains("0700"));
}

#[test]
fn shells_take_the_completions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(&["completions", shell]).ok();
        assert!(script.contains("credential-process"), "{shell}");
    }
    let script = world.run(&["completions", "bash"]).ok();
    let mut bash = Command::new("bash");
    bash.args(["-n", "-c", &script]);
    assert!(bash.status().unwrap().success());
}

#[test]
fn a_closed_pipe_is_reported_and_not_a_panic() {
    let world = World::new();
    let script = format!(
        "'{}' methods --schema 2>errors | true; echo ${{PIPESTATUS[0]}}",
        binary().display()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(world.home.path());
    world.in_here(&mut bash);
    let code = Ran::of(&mut bash).ok();
    let errors = fs::read_to_string(world.path("errors")).unwrap();
    assert!(["0\n", "1\n"].contains(&code.as_str()), "{code}");
    assert!(!errors.contains("panicked"), "{errors}");
}
