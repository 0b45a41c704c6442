//! What the commands know about the workspace: its folders, its packages, its files.
//!
//! Read once per command from `cargo metadata`. Package lists come from there and are never written
//! down a second time: the *published* crates are the workspace's default members.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package};
use xshell::Shell;

use crate::failure::Result;

/// The workspace this program was built in.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Resolved with all features, from the lock file.
    pub(crate) metadata: Metadata,
    root: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .other_options(vec!["--all-features".to_owned()])
            .exec()?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        Ok(Self { metadata, root })
    }

    /// The folder of the top-level manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder below the target directory, wherever the user has put that.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.metadata
            .target_directory
            .join(name)
            .into_std_path_buf()
    }

    /// A shell that stands in the workspace's root.
    pub(crate) fn shell(&self) -> Result<Shell> {
        let shell = Shell::new()?;
        shell.change_dir(&self.root);
        Ok(shell)
    }

    /// The crates that users depend on, sorted by name.
    pub(crate) fn published(&self) -> Vec<&Package> {
        let mut packages = self.metadata.workspace_default_packages();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        packages
    }

    /// Every file of the tree, as a path from the root with `/`, sorted.
    ///
    /// Walks the folders instead of asking git, so that a new file is checked before it is added
    /// and a source archive can be checked too.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                // A link may lead out of the tree or back into it.
                if path.is_symlink() {
                    continue;
                }
                if path.is_dir() {
                    if !self.is_foreign(&path) {
                        folders.push(path);
                    }
                } else if let Ok(relative) = path.strip_prefix(&self.root) {
                    let parts: Vec<_> =
                        relative.iter().map(|part| part.to_string_lossy()).collect();
                    files.push(parts.join("/"));
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Whether a folder holds build output or another tool's data.
    fn is_foreign(&self, folder: &Path) -> bool {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        folder == self.metadata.target_directory.as_std_path()
            || name == "target"
            || (name.starts_with('.') && !matches!(name, ".cargo" | ".ci"))
    }
}
