//! `write`: three keys change, and nothing else; whatever is in the way.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;

use super::*;
use brs_tests::embedded_aws::Failure;

const CREDENTIALS: &str = ".aws/credentials";

/// A file that has everything.
fn before() -> Vec<u8> {
    let text = "; team's keys\r\n[default]\r\nregion = eu-west-1 # home\r\n\r\n[app]\r\n# kept by brs\r\n\
     aws_access_key_id = OLD\r\n\
                aws_secret_access_key=old\r\naws_session_token =  old\r\nregion=eu-north-1\r\n\r\n\
                # another tool's\n[other]\n\
                aws_access_key_id = AKIAOTHER\naws_secret_access_key = other\ns3 =\n  max_concurrent_requests = 20";
    ["# Müller\n", text].concat().into_bytes()
}

/// The file without the values of the profile `app`, and those values.
fn parted(file: &[u8]) -> (Vec<u8>, BTreeMap<String, String>) {
    let (mut rest, mut values, mut is_app) = (Vec::new(), BTreeMap::new(), false);
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        if text.starts_with('[') {
            is_app = text.starts_with("[app]");
        }
        let value = text
            .find([':', '='])
            .filter(|_| is_app && text.starts_with("aws_"));
        match value {
            Some(at) => {
                values.insert(
                    text[..at].trim().to_owned(),
                    text[at + 1..].trim().to_owned(),
                );
                let blanks = text[at + 1..].len() - text[at + 1..].trim_start_matches(' ').len();
                rest.extend_from_slice(&line[..at + 1 + blanks]);
                let end = line.len() - text.trim_end_matches(['\r', '\n']).len();
                rest.extend_from_slice(&line[line.len() - end..]);
            }
            None => rest.extend_from_slice(line),
        }
    }
    (rest, values)
}

fn once(world: &World) -> Ran {
    world.run(&["write", "app", "--profile", "app", "--once"])
}

#[test]
fn three_keys_change_and_no_other_byte() {
    let world = World::new();
    let path = world.write(CREDENTIALS, before());
    chmod(&path, 0o640);
    let (rest, _) = parted(&before());
    for _ in 0..3 {
        let earlier = fs::read(&path).unwrap();
        assert_eq!(once(&world).ok(), "");
        let file = fs::read(&path).unwrap();
        let (now, values) = parted(&file);
        assert_eq!(now, rest, "{}", String::from_utf8_lossy(&file));
        assert_ne!(file, earlier);
        assert!(values["aws_access_key_id"].starts_with("ASIA"));
        let last = world.aws.issued_secrets();
        for key in ["aws_secret_access_key", "aws_session_token"] {
            assert!(last.contains(&values[key]), "{key}");
        }
    }
    // Stricter than it was, and nothing is left beside it that has keys.
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    let beside: Vec<_> = fs::read_dir(world.path(".aws"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    for entry in beside
        .iter()
        .filter(|entry| entry.file_name() != "credentials")
    {
        assert_eq!(entry.metadata().unwrap().len(), 0, "{entry:?}");
    }
}

#[test]
fn a_missing_file_is_made_for_this_user_alone() {
    let world = World::new();
    once(&world).ok();
    let path = world.path(CREDENTIALS);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(
        world.path(".aws").metadata().unwrap().mode() & 0o7777,
        0o700
    );
    assert!(
        world
            .read(CREDENTIALS)
            .starts_with("[app]\naws_access_key_id = ASIA")
    );
    // Another place, another profile.
    let elsewhere = world.path("keys/mine");
    world
        .run(&[
            "write",
            "app",
            "--profile",
            "my.profile",
            "--file",
            elsewhere.to_str().unwrap(),
            "--once",
        ])
        .ok();
    assert!(world.read("keys/mine").starts_with("[my.profile]\n"));
    let mut command = world.brs(&["write", "app", "--profile", "x", "--once"]);
    Ran::of(command.env("AWS_SHARED_CREDENTIALS_FILE", "~/keys/mine")).ok();
    assert!(world.read("keys/mine").contains("\n\n[x]\n"));
}

#[test]
fn a_link_stays_one_and_its_file_is_changed() {
    let world = World::new();
    world.write("vault/real", before());
    fs::create_dir(world.path(".aws")).unwrap();
    std::os::unix::fs::symlink("../vault/link", world.path(CREDENTIALS)).unwrap();
    std::os::unix::fs::symlink("real", world.path("vault/link")).unwrap();
    once(&world).ok();
    for link in [CREDENTIALS, "vault/link"] {
        assert!(
            world.path(link).symlink_metadata().unwrap().is_symlink(),
            "{link}"
        );
    }
    let file = fs::read(world.path("vault/real")).unwrap();
    assert!(parted(&file).1["aws_access_key_id"].starts_with("ASIA"));
    assert_eq!(parted(&file).0, parted(&before()).0);
    // The target of a link that leads nowhere yet is made.
    fs::remove_file(world.path("vault/real")).unwrap();
    once(&world).ok();
    assert!(world.read("vault/real").starts_with("[app]\n"));
    // A circle is an error.
    std::os::unix::fs::symlink("b", world.path("a")).unwrap();
    std::os::unix::fs::symlink("a", world.path("b")).unwrap();
    let circle = world.path("a");
    let stderr = world
        .run(&[
            "write",
            "app",
            "--profile",
            "app",
            "--file",
            circle.to_str().unwrap(),
            "--once",
        ])
        .fails(1);
    assert!(stderr.contains("circle"), "{stderr}");
}

/// A shell's limit of file sizes: the kernel refuses each write, as a full disk does.
#[test]
fn on_a_full_disk_the_old_file_stays() {
    let world = World::new();
    world.write(CREDENTIALS, before());
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(binary())
        .args(["write", "app", "--profile", "app", "--once"]);
    world.in_here(&mut command);
    let stderr = Ran::of(&mut command).fails(1);
    assert!(
        stderr.contains("credentials` was not changed") && stderr.contains("make room"),
        "{stderr}"
    );
    assert_eq!(fs::read(world.path(CREDENTIALS)).unwrap(), before());
    let beside = fs::read_dir(world.path(".aws"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!(
        beside.sum::<u64>(),
        before().len() as u64,
        "nothing is left behind"
    );
}

#[test]
fn in_a_read_only_directory_the_old_file_stays() {
    let world = World::new();
    world.write(CREDENTIALS, before());
    chmod(&world.path(".aws"), 0o500);
    // Root may write anywhere unless that right is taken away.
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .arg("--bounding-set=-dac_override,-dac_read_search")
            .arg(binary());
        command
    } else {
        Command::new(binary())
    };
    command.args(["write", "app", "--profile", "app", "--once"]);
    world.in_here(&mut command);
    let stderr = Ran::of(&mut command).fails(1);
    assert!(
        stderr.contains("was not changed") && stderr.contains("allow this user to write"),
        "{stderr}"
    );
    assert_eq!(fs::read(world.path(CREDENTIALS)).unwrap(), before());
    chmod(&world.path(".aws"), 0o700);
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let world = World::new();
    world.write(CREDENTIALS, before());
    let left = world.write(".aws/.credentials.brs-new-abcdef", "keys");
    let of_others = world.write(".aws/.credentials.swp", "keys");
    once(&world).ok();
    assert!(!left.exists() && of_others.exists());
}

#[test]
fn failures_are_reported_and_tried_again_and_the_old_set_stays() {
    let world = World::new();
    world.write(CREDENTIALS, before());
    world.aws.fail_always(Some(Failure::Status(503)));
    let running = world.start(&["write", "app", "--profile", "app"], &[]);
    running.error("keeps its keys");
    running.error("keeps its keys");
    assert_eq!(fs::read(world.path(CREDENTIALS)).unwrap(), before());
    world.aws.fail_always(None);
    until("the keys are written", || {
        world.read_lossy(CREDENTIALS).contains("ASIA")
    });
    // The file cannot be written: reported, and tried until it can.
    drop(running);
    let blocked = world.write("blocked", "");
    let file = blocked.join("credentials");
    let running = world.start(
        &[
            "write",
            "app",
            "--profile",
            "app",
            "--file",
            file.to_str().unwrap(),
        ],
        &[],
    );
    running.error("was not changed");
    fs::remove_file(&blocked).unwrap();
    until("the keys are written", || file.exists());
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn each_new_set_is_written_and_what_another_tool_took_back_is_too() {
    let world = World::new();
    world.aws.allow_short_durations(true);
    world.aws.set_lifetime(Some(Duration::from_secs(8)));
    let running = world.start(&["write", "app", "--profile", "app"], &[]);
    let key = || {
        let file = fs::read(world.path(CREDENTIALS)).unwrap_or_default();
        parted(&file)
            .1
            .get("aws_access_key_id")
            .cloned()
            .unwrap_or_default()
    };
    until("the first set", || key().starts_with("ASIA"));
    let first = key();
    until("the second set", || {
        key().starts_with("ASIA") && key() != first
    });
    world.aws.set_lifetime(Some(Duration::from_secs(60)));
    let second = key();
    until("a set that lasts", || {
        key().starts_with("ASIA") && key() != second
    });
    world.write(
        CREDENTIALS,
        "[app]\naws_access_key_id = TAKEN\n[mine]\nx = y\n",
    );
    until("the keys are back", || {
        key().starts_with("ASIA") && world.read_lossy(CREDENTIALS).contains("x = y")
    });
    running.signal(Signal::INT);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn what_goes_before_the_keys_is_warned_of() {
    let world = World::new();
    world.write(
        ".aws/config",
        "[profile app]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = y\nregion = x\n[profile \
         other]\nsso_session = s\n",
    );
    let ran = once(&world);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("`role_arn`") && ran.stderr.contains(".aws/config"),
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("sso_session") && !ran.stderr.contains("region"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        world
            .run(&["write", "app", "--profile", "fine", "--once"])
            .stderr,
        ""
    );
}

#[test]
fn names_that_no_section_can_have_are_refused() {
    let world = World::new();
    for name in ["", " a", "a]", "[a", "a\nb", "a#b", "DEFAULT"] {
        let stderr = world
            .run(&["write", "app", "--profile", name, "--once"])
            .fails(2);
        assert!(stderr.contains("`--profile`"), "{name:?}: {stderr}");
    }
    assert!(!world.path(CREDENTIALS).exists());
    assert!(
        world
            .run(&["write", "none", "--profile", "app"])
            .fails(2)
            .contains("no session `none`")
    );
}

#[test]
fn processes_and_other_tools_at_once_lose_nothing_and_readers_see_whole_files() {
    const WRITERS: usize = 4;
    const WRITES: usize = 12;
    let world = World::new();
    let path = world.write(CREDENTIALS, before());
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&is_done);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !is_done.load(Ordering::SeqCst) {
                        let file = fs::read(&path).unwrap();
                        let (_, values) = parted(&file);
                        assert_eq!(values.len(), 3, "{}", String::from_utf8_lossy(&file));
                        assert!(file.starts_with("# Müller\n; team's keys\r\n".as_bytes()));
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        // A tool that replaces the file, with a counter in a profile of its own.
        let tool = scope.spawn(|| {
            let head = "# Müller\n; team's keys\r\n".as_bytes();
            let mut edits = 0;
            while !is_done.load(Ordering::SeqCst) {
                let line = format!("counter = {edits}\n").into_bytes();
                let next = format!("counter = {}\n", edits + 1).into_bytes();
                let file = fs::read(&path).unwrap();
                // The last edit is there at once, or as soon as a writer that came in between is
                // done.
                if edits > 0 && !contains(&file, &line) {
                    until("the edit is there", || {
                        contains(&fs::read(&path).unwrap(), &line)
                    });
                    continue;
                }
                let edited = match edits {
                    0 => [head, b"[tool]\n", &next, &file[head.len()..]].concat(),
                    _ => replaced(&file, &line, &next),
                };
                let temporary = world.path(".aws/tool");
                fs::write(&temporary, edited).unwrap();
                fs::rename(&temporary, &path).unwrap();
                edits += 1;
            }
            edits
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let world = &world;
                scope.spawn(move || {
                    let profile = format!("w{number}");
                    for _ in 0..WRITES {
                        let name = if number == 0 { "app" } else { profile.as_str() };
                        world
                            .run(&["write", "app", "--profile", name, "--once"])
                            .ok();
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::SeqCst);
        assert!(
            readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .sum::<usize>()
                > 0
        );
        let edits = tool.join().unwrap();
        assert!(edits > 0);
        let last = format!("counter = {edits}\n");
        assert!(contains(&fs::read(&path).unwrap(), last.as_bytes()));
    });
    let file = fs::read(&path).unwrap();
    assert!(contains(
        &file,
        b"[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\ns3 =\n  \
     max_concurrent_requests = 20"
    ));
    // Nobody edits any more: what is written now stays.
    once(&world).ok();
    assert!(parted(&fs::read(&path).unwrap()).1["aws_access_key_id"].starts_with("ASIA"));
}

/// Ends the loops of a test, be it by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn contains(file: &[u8], part: &[u8]) -> bool {
    file.windows(part.len()).any(|window| window == part)
}

fn replaced(file: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let at = file
        .windows(part.len())
        .position(|window| window == part)
        .unwrap();
    [&file[..at], by, &file[at + part.len()..]].concat()
}

impl World {
    fn read_lossy(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }
}
