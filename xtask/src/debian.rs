//! Programs and libraries that are distributed as Debian packages, found wherever they are and
//! installed if need be.
//!
//! Looks for the things themselves and not for packages, so that another distribution's or a user's
//! own are as good. Keeps whatever the user has named in the environment. Does not know what tests
//! do with it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::failure::{Failure, Result};

/// One package and the thing in it that is used.
#[derive(Debug)]
struct Package {
    name: &'static str,
    thing: Thing,
    /// Tells the tests where it is, and may tell this program.
    variable: Option<&'static str>,
}

#[derive(Debug)]
enum Thing {
    Program(&'static str),
    /// A shared library that programs load by its path.
    Module(&'static str),
}

/// What every run of the tests needs.
const ALWAYS: &[Package] = &[
    Package {
        name: "nginx",
        thing: Thing::Program("nginx"),
        variable: Some("BRS_NGINX"),
    },
    MOSQUITTO,
    Package {
        name: "mosquitto-clients",
        thing: Thing::Program("mosquitto_sub"),
        variable: None,
    },
    SOFTHSM2,
    REDIS,
];

const REDIS: Package = Package {
    name: "redis-server",
    thing: Thing::Program("redis-server"),
    variable: Some("BRS_REDIS_SERVER"),
};

/// What the tests use where the system has a package of it.
const WHERE_KNOWN: &[Package] = &[Package {
    name: "valkey-server",
    thing: Thing::Program("valkey-server"),
    variable: Some("BRS_VALKEY_SERVER"),
}];

const MOSQUITTO: Package = Package {
    name: "mosquitto",
    thing: Thing::Program("mosquitto"),
    variable: Some("BRS_MOSQUITTO"),
};

const SOFTHSM2: Package = Package {
    name: "softhsm2",
    thing: Thing::Module("libsofthsm2.so"),
    variable: Some("BRS_SOFTHSM2_MODULE"),
};

/// What the tests of a software TPM need beyond that.
const SOFTWARE_TPM: &[Package] = &[
    Package {
        name: "swtpm",
        thing: Thing::Program("swtpm"),
        variable: None,
    },
    Package {
        name: "libtpm2-pkcs11-1",
        thing: Thing::Module("libtpm2_pkcs11.so.1"),
        variable: Some("BRS_TPM2_PKCS11_MODULE"),
    },
];

/// Where programs are, beyond the path: Debian keeps servers out of ordinary users' sight.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/bin"];

/// Where libraries are, each with folders for architectures and for modules below it.
const LIBRARY_FOLDERS: [&str; 4] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/opt/homebrew/lib",
];
const MODULE_FOLDERS: [&str; 3] = ["", "softhsm", "pkcs11"];

/// Makes sure that everything for tests is there and returns what tells them where.
///
/// # Errors
///
/// Exit code 2 with the packages' names when something is missing and cannot be installed.
pub(crate) fn ensure(shell: &Shell, software_tpm: bool) -> Result<Vec<(&'static str, String)>> {
    let mut told = ensure_all(
        shell,
        &[ALWAYS, if software_tpm { SOFTWARE_TPM } else { &[] }],
    )?;
    let is_known = |package: &&Package| package.find().is_some() || is_in_index(shell, package);
    for package in WHERE_KNOWN.iter().filter(is_known) {
        told.extend(ensure_all(shell, &[std::slice::from_ref(package)])?);
    }
    Ok(told)
}

/// Whether the system's index has the package, as far as it can be asked.
fn is_in_index(shell: &Shell, package: &Package) -> bool {
    let name = package.name;
    cmd!(shell, "apt-cache show --no-all-versions {name}")
        .quiet()
        .ignore_stderr()
        .read()
        .is_ok_and(|text| !text.is_empty())
}

/// The same for what the demo with a token needs.
pub(crate) fn ensure_token(shell: &Shell) -> Result<Vec<(&'static str, String)>> {
    ensure_all(shell, &[&[SOFTHSM2]])
}

/// The same for what the demo of a fleet needs.
pub(crate) fn ensure_redis(shell: &Shell) -> Result<Vec<(&'static str, String)>> {
    ensure_all(shell, &[&[REDIS]])
}

/// The same for what the demo with MQTT needs.
pub(crate) fn ensure_broker(shell: &Shell) -> Result<Vec<(&'static str, String)>> {
    ensure_all(shell, &[&[MOSQUITTO]])
}

/// The AWS CLI v2, installed if need be; its v1 has the same name and may come first in the path.
pub(crate) fn aws_cli_v2(shell: &Shell) -> Option<PathBuf> {
    let find = || {
        let folders = program_folders(env::var_os("PATH").as_deref());
        let named = env::var_os("BRS_AWS_CLI_V2").map(PathBuf::from);
        let mut programs = named
            .into_iter()
            .chain(folders.iter().map(|folder| folder.join("aws")));
        programs.find(|path| path.is_file() && is_aws_cli_v2(shell, path))
    };
    find().or_else(|| {
        install(shell, &["awscli"]);
        find()
    })
}

fn is_aws_cli_v2(shell: &Shell, path: &Path) -> bool {
    cmd!(shell, "{path} --version")
        .quiet()
        .ignore_stderr()
        .read()
        .is_ok_and(|version| version.starts_with("aws-cli/2"))
}

fn ensure_all(shell: &Shell, sets: &[&[Package]]) -> Result<Vec<(&'static str, String)>> {
    let packages = || sets.iter().copied().flatten();
    if let Some((variable, path)) = packages().find_map(Package::misnamed) {
        return Err(Failure::missing(format!(
            "{variable} names {}, which is no file",
            path.display()
        )));
    }
    let missing = |package: &&Package| package.find().is_none();
    let wanted: Vec<&str> = packages()
        .filter(missing)
        .map(|package| package.name)
        .collect();
    if !wanted.is_empty() {
        println!("installing {}", wanted.join(", "));
        install(shell, &wanted);
    }
    let left: Vec<&str> = packages()
        .filter(missing)
        .map(|package| package.name)
        .collect();
    if !left.is_empty() {
        return Err(Failure::missing(format!(
            "{} missing: apt-get install {}",
            if left.len() == 1 {
                "a package is"
            } else {
                "packages are"
            },
            left.join(" ")
        )));
    }
    let told = |package: &Package| Some((package.variable?, package.find()?.display().to_string()));
    Ok(packages().filter_map(told).collect())
}

/// Installs packages, as root on Debian; anywhere else, and when it does not work, the thing stays
/// missing.
pub(crate) fn install(shell: &Shell, packages: &[&str]) {
    if !is_root(shell) || !Path::new("/usr/bin/apt-get").exists() {
        return;
    }
    // Another installation on the machine may be under way.
    let patient = ["-o", "DPkg::Lock::Timeout=120", "--quiet=2"];
    // The package index of a fresh machine may be empty.
    cmd!(shell, "apt-get {patient...} update").run().ok();
    let install = ["install", "--yes", "--no-install-recommends"];
    cmd!(shell, "apt-get {patient...} {install...} {packages...}")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
        .ok();
}

fn is_root(shell: &Shell) -> bool {
    cmd!(shell, "id -u")
        .quiet()
        .ignore_stderr()
        .read()
        .is_ok_and(|id| id == "0")
}

impl Package {
    /// What the user has named.
    fn named(&self) -> Option<PathBuf> {
        self.variable.and_then(env::var_os).map(PathBuf::from)
    }

    /// What the user has named and is not there.
    fn misnamed(&self) -> Option<(&'static str, PathBuf)> {
        self.named()
            .filter(|path| !path.is_file())
            .and_then(|path| Some((self.variable?, path)))
    }

    /// Where the thing is; what the user has named counts alone.
    fn find(&self) -> Option<PathBuf> {
        if let Some(named) = self.named() {
            return Some(named);
        }
        let (folders, file) = match self.thing {
            Thing::Program(file) => (program_folders(env::var_os("PATH").as_deref()), file),
            Thing::Module(file) => (
                module_folders(LIBRARY_FOLDERS.into_iter().map(Path::new)),
                file,
            ),
        };
        folders
            .into_iter()
            .map(|folder| folder.join(file))
            .find(|path| path.is_file())
    }
}

fn program_folders(path: Option<&OsStr>) -> Vec<PathBuf> {
    let path = path.map(env::split_paths).into_iter().flatten();
    path.chain(PROGRAM_FOLDERS.into_iter().map(PathBuf::from))
        .collect()
}

/// The folders themselves, then those of architectures below them, each with its folders for
/// modules.
fn module_folders<'a>(bases: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for base in bases {
        folders.push(base.to_owned());
        let below = fs::read_dir(base)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let mut architectures: Vec<PathBuf> = below.filter(|path| is_architecture(path)).collect();
        architectures.sort();
        folders.extend(architectures);
    }
    folders
        .iter()
        .flat_map(|folder| MODULE_FOLDERS.into_iter().map(|module| folder.join(module)))
        .collect()
}

/// `x86_64-linux-gnu` and its like, of which this machine can load those that begin with its own
/// architecture.
fn is_architecture(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.split_once('-').is_some_and(|(machine, system)| {
        machine == env::consts::ARCH && system.starts_with("linux-gnu")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_where_ordinary_users_have_no_path() {
        let folders = program_folders(Some(OsStr::new("/home/me/bin:/usr/bin")));
        assert_eq!(
            folders[..2],
            [PathBuf::from("/home/me/bin"), PathBuf::from("/usr/bin")]
        );
        assert!(folders.contains(&PathBuf::from("/usr/sbin")));
        assert_eq!(program_folders(None).len(), PROGRAM_FOLDERS.len());
    }

    #[test]
    fn only_libraries_of_this_architecture_are_looked_at() {
        let own = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
        assert!(is_architecture(Path::new(&own)));
        for other in [
            "/usr/lib/s390-linux-gnu",
            "/usr/lib/python3",
            "/usr/lib",
            "/",
        ] {
            assert!(!is_architecture(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn modules_are_looked_for_in_their_own_folders() {
        let folders = module_folders([Path::new("/nowhere")].into_iter());
        let wanted = ["/nowhere/", "/nowhere/softhsm", "/nowhere/pkcs11"];
        assert_eq!(folders, wanted.map(PathBuf::from));
    }

    #[test]
    fn each_module_tells_the_tests_where_it_is() {
        for package in ALWAYS.iter().chain(SOFTWARE_TPM).chain(WHERE_KNOWN) {
            assert!(
                package.variable.is_some() || matches!(package.thing, Thing::Program(_)),
                "{}",
                package.name
            );
        }
    }
}
