//! Consumers' tokens: files, renewal, restarts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use brs::serve::Consumer;
use tempfile::TempDir;

use super::*;

struct Place {
    folder: TempDir,
    file: PathBuf,
    clock: ManualClock,
    session: RefreshableSession,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(start());
        Self {
            file: folder.path().join("web.token"),
            session: ready(&clock).await,
            folder,
            clock,
        }
    }

    fn builder(&self) -> ServerBuilder {
        Server::builder()
            .session("app", self.session.clone())
            .consumer(
                Consumer::new("web")
                    .sessions(["app"])
                    .token_file(&self.file),
            )
            .clock(self.clock.clone())
    }

    fn token(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_token_file_holds_the_token_and_nothing_else() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let token = place.token();
    assert_eq!((token.len(), mode(&place.file)), (43, 0o600));
    assert!(
        token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    );
    assert_eq!(place.names(), ["web.token"], "no temporary file stays");
    assert_eq!(server.get_as(&token, "/").await.status, 200);
    assert_eq!(server.token, token);
}

#[tokio::test]
async fn renewed_tokens_replace_the_file_and_the_one_before_is_good_for_five_minutes() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let first = place.token();
    let inode = fs::metadata(&place.file).unwrap().ino();
    server.handle.renew_tokens().unwrap();
    let second = place.token();
    assert_ne!(first, second);
    assert_ne!(
        fs::metadata(&place.file).unwrap().ino(),
        inode,
        "renamed into its place"
    );
    for token in [&first, &second] {
        assert_eq!(server.get_as(token, "/").await.status, 200);
    }
    place.clock.advance(Duration::from_secs(299));
    assert_eq!(server.get_as(&first, "/").await.status, 200);
    place.clock.advance(Duration::from_secs(1));
    assert_eq!(server.get_as(&first, "/").await.status, 403);
    assert_eq!(server.get_as(&second, "/").await.status, 200);
    server.handle.renew_tokens().unwrap();
    server.handle.renew_tokens().unwrap();
    let (third, current) = (second, place.token());
    assert_eq!(
        server.get_as(&third, "/").await.status,
        403,
        "two renewals ago"
    );
    assert_eq!(server.get_as(&current, "/").await.status, 200);
}

#[tokio::test]
async fn a_chosen_token_stays_and_others_do_not_change_it() {
    let place = Place::new().await;
    let chosen = "a-token-that-the-program-chose";
    let builder = place
        .builder()
        .consumer(Consumer::new("chosen").all().token(chosen.into()));
    let server = run(builder).await;
    server.handle.renew_tokens().unwrap();
    place.clock.advance(HOUR / 4);
    assert_eq!(server.get_as(chosen, "/").await.status, 200);
    assert_eq!(server.get_as(&place.token(), "/").await.status, 200);
}

#[tokio::test]
async fn a_restart_loses_nobodys_token() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let first = place.token();
    server.shut_down().await;
    assert_eq!(
        place.names(),
        ["web.token.before"],
        "the token is gone, its hash stays"
    );
    let left = fs::read_to_string(place.folder.path().join("web.token.before")).unwrap();
    assert!(!left.contains(&first));
    place.clock.advance(Duration::from_secs(120));
    let server = run(place.builder()).await;
    assert_ne!(place.token(), first);
    assert_eq!(server.get_as(&first, "/").await.status, 200);
    place.clock.advance(Duration::from_secs(181));
    assert_eq!(server.get_as(&first, "/").await.status, 403);
    assert_eq!(server.get_as(&place.token(), "/").await.status, 200);
}

#[tokio::test]
async fn a_server_that_was_killed_leaves_its_token_to_the_next() {
    let place = Place::new().await;
    let killed = "0123456789abcdefghijABCDEFGHIJ0123456789-_x";
    fs::write(&place.file, killed).unwrap();
    let server = run(place.builder()).await;
    assert_eq!(server.get_as(killed, "/").await.status, 200);
    place.clock.advance(Duration::from_secs(301));
    assert_eq!(server.get_as(killed, "/").await.status, 403);
}

#[tokio::test]
async fn what_others_could_have_left_is_not_believed() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let first = place.token();
    server.shut_down().await;
    let left = place.folder.path().join("web.token.before");
    let content = fs::read(&left).unwrap();
    let refused = |server: Running| {
        let first = first.clone();
        async move {
            assert_eq!(server.get_as(&first, "/").await.status, 403);
            drop(server);
        }
    };
    fs::set_permissions(&left, fs::Permissions::from_mode(0o660)).unwrap();
    refused(run(place.builder()).await).await;
    let elsewhere = place.folder.path().join("elsewhere");
    fs::write(&elsewhere, &content).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(&left).unwrap();
    symlink(&elsewhere, &left).unwrap();
    refused(run(place.builder()).await).await;
    for nonsense in ["", "x y", "AAAA 1900000000", "\0"] {
        fs::remove_file(&left).unwrap();
        fs::write(&left, nonsense).unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o600)).unwrap();
        refused(run(place.builder()).await).await;
    }
}

#[tokio::test]
async fn the_end_removes_the_token_file_and_takes_no_new_connections() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let address = server.address;
    assert_eq!(server.get_as(&place.token(), "/").await.status, 200);
    server.shut_down().await;
    assert!(!place.file.exists());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_dropped_without_running_leaves_no_token() {
    let place = Place::new().await;
    let server = place.builder().build().await.unwrap();
    assert!(place.file.exists());
    drop(server);
    assert!(!place.file.exists());
}

#[tokio::test]
async fn a_token_file_that_cannot_be_written_is_an_error_that_names_it() {
    let place = Place::new().await;
    let missing = place.folder.path().join("none/web.token");
    let consumer = Consumer::new("other").all().token_file(&missing);
    let error = place
        .builder()
        .consumer(consumer)
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.param(), Some("token_file"));
    assert!(error.to_string().contains("none/web.token"), "{error}");
    let consumer = Consumer::new("other")
        .all()
        .token_file(place.folder.path().join("other.token"))
        .user("brs-no-such-user");
    let error = place
        .builder()
        .consumer(consumer)
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.param(), Some("user"));
}

#[tokio::test]
async fn renewing_into_a_folder_that_is_gone_leaves_the_tokens_as_they_were() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let token = place.token();
    fs::remove_dir_all(place.folder.path()).unwrap();
    let error = server.handle.renew_tokens().unwrap_err();
    assert_eq!(error.param(), Some("token_file"));
    place.clock.advance(Duration::from_secs(1000));
    assert_eq!(server.get_as(&token, "/").await.status, 200);
}

#[tokio::test]
async fn a_token_file_is_given_to_its_user_where_this_process_may() {
    let place = Place::new().await;
    let consumer = Consumer::new("other")
        .all()
        .token_file(place.folder.path().join("other.token"))
        .user("65534");
    let built = place.builder().consumer(consumer).build().await;
    let file = place.folder.path().join("other.token");
    match built {
        Ok(_server) => {
            let metadata = fs::metadata(&file).unwrap();
            assert_eq!((metadata.uid(), mode(&file)), (65534, 0o600));
        }
        Err(error) => assert!(error.to_string().contains("CAP_CHOWN"), "{error}"),
    }
}

#[tokio::test]
async fn tokens_that_are_guessed_are_never_right() {
    let place = Place::new().await;
    let server = run(place.builder()).await;
    let token = place.token();
    let guesses = (0..43).map(|at| {
        let mut guess = token.clone().into_bytes();
        guess[at] = if guess[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(guess).unwrap()
    });
    let address = server.address;
    let tasks: Vec<_> = guesses
        .map(|guess| {
            tokio::spawn(async move {
                request(address, "GET", "/", &[("Authorization", &guess)])
                    .await
                    .status
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 403);
    }
}
