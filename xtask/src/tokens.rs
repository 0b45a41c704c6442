//! SoftHSM2's settings: a store of the project's own below the target directory, never the user's.

use std::fs;
use std::path::PathBuf;

use crate::failure::Result;
use crate::workspace::Workspace;

/// The settings of an empty store with this name; what was in it is gone.
pub(crate) fn empty_store(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let folder = workspace.target(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let tokens = folder.join("tokens");
    fs::create_dir_all(&tokens)?;
    let settings = folder.join("softhsm2.conf");
    fs::write(
        &settings,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            tokens.display()
        ),
    )?;
    Ok(settings)
}
