//! `watch`: sessions of a server and of the command itself, as lines since there is no terminal.

use std::net::TcpListener;

use super::*;
use brs_tests::embedded_aws::Failure;

fn free() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[test]
fn own_sessions_are_kept_and_their_changes_printed() {
    let world = World::new();
    let hub = world.session("hub", HUB, "");
    world.aws.deny_role(HUB);
    world.configure(&format!("{}{hub}", world.session("app", ROLE, "")));
    let running = world.start(&["watch", "app", "hub"], &[]);
    let line = running.line("app (sts): ready");
    assert!(
        line.contains("59m") && line.contains("1 refreshes, 0 failures"),
        "{line}"
    );
    drop(running);
    let running = world.start(&["watch", "hub"], &[]);
    let line = running.line("hub (sts): needs a person");
    assert!(line.contains("hub"), "{line}");
    assert!(
        world
            .run(&["watch", "none"])
            .fails(2)
            .contains("no session `none`")
    );
}

#[test]
fn the_sessions_of_a_server_are_printed() {
    let world = World::new();
    let (listen, admin, token) = (free(), free(), world.path("admin.token"));
    let serve = format!(
        "[serve]\nlisten = \"{listen}\"\nadmin = \"{admin}\"\nadmin_token_file = \"{}\"\n[serve.consumers.web]\n\
         all = true\n\
         token_file = \"{}\"\n",
        token.display(),
        world.path("web.token").display()
    );
    world.configure(&format!("{}{serve}", world.session("app", ROLE, "")));
    // Nobody serves yet.
    world.write("admin.token", "token");
    let stderr = world.run(&["watch"]).fails(1);
    assert!(
        stderr.contains(&admin) && stderr.contains("start `brs serve`"),
        "{stderr}"
    );
    fs::remove_file(&token).unwrap();

    let server = world.start(&["serve"], &[]);
    until("the server has written its token", || token.exists());
    let running = world.start(&["watch"], &[]);
    running.line("app (sts): ready");
    world.aws.fail_always(Some(Failure::AccessDenied));
    let wrong = world.write("wrong.token", "wrong");
    let words = [
        "watch",
        "--admin",
        &admin,
        "--token-file",
        wrong.to_str().unwrap(),
    ];
    let stderr = world.run(&words).fails(2);
    assert!(stderr.contains("refuses the token"), "{stderr}");
    // A server that ends is reported, and comes back.
    drop(server);
    running.line("does not answer");
    world.aws.fail_always(None);
    let _server = world.start(&["serve"], &[]);
    running.line("app (sts): ");
}

#[test]
fn without_anything_to_watch_the_ways_are_named() {
    let world = World::new();
    let stderr = world.run(&["watch"]).fails(2);
    assert!(
        stderr.contains("`--admin`") && stderr.contains("`[serve]`"),
        "{stderr}"
    );
}
