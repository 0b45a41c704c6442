//! A fixture around swtpm, a TPM 2.0 in software, for the PKCS#11 module tpm2-pkcs11.
//!
//! The module shares no code with SoftHSM2 and behaves like hardware: it is slow, it can be pulled
//! out and put back, and it can stop answering. Owns one `swtpm` process and a folder with the
//! TPM's state, its socket and the module's store; the machine's own TPM and the user's tokens are
//! never touched.
//!
//! The module reads its environment when a process first initialises it, so what uses a token runs
//! in a process of its own, with [`environment`](SoftwareTpm::environment). The store begins
//! without tokens: the module shows one slot that `C_InitToken` and `C_InitPIN` make a token of,
//! and then a further one. tpm2_ptool is of no use here: without a resource manager it runs out of
//! the TPM's memory.
//!
//! Tests that use it are `#[ignore = "needs a software TPM"]` and have `software_tpm` in their
//! name.

use std::env;
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running TPM; it is killed when the handle is dropped.
pub struct SoftwareTpm {
    process: Child,
    folder: TempDir,
}

impl SoftwareTpm {
    /// Starts a TPM as it left the factory.
    ///
    /// # Panics
    ///
    /// If swtpm is missing or the folder for temporary files cannot be used.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
        for name in ["state", "store"] {
            fs::create_dir(folder.path().join(name))
                .expect("the folder for temporary files can be written to");
        }
        Self {
            process: launch(folder.path()),
            folder,
        }
    }

    /// The PKCS#11 module: `BRS_TPM2_PKCS11_MODULE`.
    ///
    /// # Panics
    ///
    /// If the variable is not set.
    #[must_use]
    pub fn module() -> PathBuf {
        let module = env::var_os("BRS_TPM2_PKCS11_MODULE");
        module
            .expect("`cargo xtask test --tpm` installs the module and sets BRS_TPM2_PKCS11_MODULE")
            .into()
    }

    /// The process's number, for a process that has no handle.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What a process needs so that the module uses this TPM.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("TPM2_PKCS11_TCTI", format!("swtpm:path={}", path("socket"))),
            ("TPM2_PKCS11_STORE", path("store")),
            // Module and libraries report on standard error what they return as well.
            ("TPM2_PKCS11_LOG_LEVEL", "0".to_owned()),
            ("TSS2_LOG", "all+NONE".to_owned()),
        ]
    }

    /// The TPM's socket, for one client at a time; it speaks the TPM's own commands.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Pulls the TPM out. Who talks to it loses the connection.
    pub fn unplug(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Puts the TPM back with what it had stored. The module (1.9) never connects again by itself:
    /// after `GeneralError` at every login, a process needs `C_Finalize` and `C_Initialize`, or has
    /// to be started again.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn plug_in(&mut self) {
        self.unplug();
        self.process = launch(self.folder.path());
    }

    /// Lets it answer nothing until [`thaw`](Self::thaw), connected as it is.
    ///
    /// # Panics
    ///
    /// If it is unplugged.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Undoes [`freeze`](Self::freeze), and panics as it does.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the TPM is plugged in");
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl fmt::Debug for SoftwareTpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareTpm")
            .field("process", &self.process.id())
            .field("folder", &self.folder.path())
            .finish()
    }
}

/// Starts the process on sockets that are bound already: clients wait until it is up, and nobody
/// has to ask.
fn launch(folder: &Path) -> Child {
    let bind = |name: &str| {
        let path = folder.join(name);
        // There is one after the TPM was pulled out.
        let _ = fs::remove_file(&path);
        let listener =
            UnixListener::bind(&path).expect("the folder for temporary files can have sockets");
        Stdio::from(OwnedFd::from(listener))
    };
    let mut command = Command::new("swtpm");
    command
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--server", "type=unixio,fd=0", "--ctrl", "type=unixio,fd=1"])
        .arg("--tpmstate")
        .arg(format!("dir={}", folder.join("state").display()))
        // The library behind `swtpm:path=…` looks for the second socket under this name.
        .stdin(bind("socket"))
        .stdout(bind("socket.ctrl"))
        .stderr(Stdio::null());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("swtpm: {error}: `cargo xtask test --tpm` installs it"))
}
