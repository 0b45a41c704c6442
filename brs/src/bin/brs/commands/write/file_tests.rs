//! The file on disk, with readers, other writers, and tools that know no lock.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const WRITES: usize = 1000;

/// Sets the line `own = …`.
fn set_own(text: &[u8], value: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(set(std::str::from_utf8(text).unwrap(), "own", value).into_bytes())
}

fn set(text: &str, name: &str, value: &str) -> String {
    let mut out = String::new();
    let mut is_set = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with(&format!("{name} = ")) {
            out += &format!("{name} = {value}\n");
            is_set = true;
        } else {
            out += line;
        }
    }
    if !is_set {
        out += &format!("{name} = {value}\n");
    }
    out
}

fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials");
    std::fs::write(&path, content).unwrap();
    (directory, path)
}

#[test]
fn readers_see_whole_files_over_a_thousand_writes() {
    // More than a page, so that a write in place would be seen in part.
    let filler = "# 0123456789\n".repeat(2000);
    let (directory, path) = file(&format!("own = 0\n{filler}"));
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !is_done.load(Ordering::SeqCst) {
                        let text = std::fs::read_to_string(&path).unwrap();
                        let (first, rest) = text.split_once('\n').unwrap();
                        let number: usize = first.strip_prefix("own = ").unwrap().parse().unwrap();
                        assert!(rest == filler && number >= last);
                        last = number;
                    }
                })
            })
            .collect();
        for number in 1..=WRITES {
            let outcome = change(&path, |text| set_own(text, &number.to_string()));
            assert_eq!(outcome, Ok(Outcome::Written));
        }
        is_done.store(true, Ordering::SeqCst);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
    let unchanged = change(&path, |text| set_own(text, &WRITES.to_string()));
    assert_eq!(unchanged, Ok(Outcome::Unchanged));
    let left: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "the file and its lock: {left:?}");
}

/// A tool without a lock reads, changes its own line and writes; `write` is how.
fn beside_a_tool(write: impl Fn(&Path, &str) + Sync) {
    let (_directory, path) = file("tool = 0\n");
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let tool = scope.spawn(|| {
            let mut number = 0;
            while !is_done.load(Ordering::SeqCst) {
                let text = std::fs::read_to_string(&path).unwrap();
                // What it wrote last is there, or comes within a moment.
                if !text.starts_with(&format!("tool = {number}\n")) {
                    thread::yield_now();
                    continue;
                }
                number += 1;
                write(&path, &set(&text, "tool", &number.to_string()));
            }
            number
        });
        for number in 0..200 {
            change(&path, |text| set_own(text, &number.to_string())).unwrap();
        }
        is_done.store(true, Ordering::SeqCst);
        let number = tool.join().unwrap();
        assert!(number > 0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&format!("tool = {number}\n")),
            "{number}: {text}"
        );
    });
    change(&path, |text| set_own(text, "last")).unwrap();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .ends_with("own = last\n")
    );
}

#[test]
fn an_edit_of_a_tool_that_replaces_the_file_is_not_lost() {
    beside_a_tool(|path, text| {
        let temporary = path.with_extension("tool");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, path).unwrap();
    });
}

#[test]
fn an_edit_of_a_tool_that_writes_in_place_is_not_lost() {
    beside_a_tool(|path, text| std::fs::write(path, text).unwrap());
}

#[test]
fn processes_take_turns() {
    let (_directory, path) = file("");
    let count = |text: &[u8]| Zeroizing::new([text, b"."].concat());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..25).for_each(|_| assert_eq!(change(&path, count), Ok(Outcome::Written)))
            });
        }
    });
    assert_eq!(std::fs::read(&path).unwrap().len(), 100);
}

#[test]
fn the_mode_is_kept_or_becomes_stricter() {
    for (before, after) in [
        (0o600, 0o600),
        (0o644, 0o600),
        (0o400, 0o400),
        (0o777, 0o600),
    ] {
        let (_directory, path) = file("x");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(before)).unwrap();
        change(&path, |text| set_own(text, "1")).unwrap();
        assert_eq!(
            path.metadata().unwrap().mode() & 0o7777,
            after,
            "{before:o}"
        );
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let problem = |path: &Path| change(path, |text| set_own(text, "1")).unwrap_err();
    assert!(problem(directory.path()).contains("it is not a file"));
    assert!(problem(Path::new("/")).contains("give a file"));
    let large = directory.path().join("large");
    File::create(&large)
        .unwrap()
        .set_len(MAX_BYTES + 1)
        .unwrap();
    assert!(problem(&large).contains("1 MiB"));
    let below = large.join("credentials");
    assert!(problem(&below).contains("was not changed"));
}
