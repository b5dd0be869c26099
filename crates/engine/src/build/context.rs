//! A build's context: a tar that came with the request, unpacked into a directory of the machine.

use dockerfile::ignore::Ignore;
use engine_api::error::{ApiError, Result};
use layers::archive::{UnpackOptions, unpack_compressed};
use layers::download::Download;
use layers::scope;
use os::{Errno, OsExt, View};

use super::tree::Scratch;
use crate::Engine;

/// Bytes of the longest Dockerfile.
const DOCKERFILE_MAX: u64 = 16 << 20;

impl Engine {
    /// Unpacks a context.
    pub(super) async fn unpack_context(&self, tar: &Download) -> Result<Scratch> {
        let directory = self.scratch("docker-builder")?;
        let options = UnpackOptions {
            owner: Some((0, 0)),
            ..UnpackOptions::default()
        };
        let root = directory.path.as_bytes();
        unpack_compressed(&self.os, View::Host, root, tar.reader(), options)
            .await
            .map_err(|error| {
                ApiError::system(format!("Error processing tar file(exit status 1): {error}"))
            })?;
        Ok(directory)
    }

    /// The text of a file of the context; `None`: it is not there.
    async fn context_file(&self, root: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let failed = |errno: Errno| {
            ApiError::system(format!("failed to read {name}: {}", errno.go_description()))
        };
        let path = scope::resolve(&self.os, View::Host, root.as_bytes(), name.as_bytes(), true)
            .map_err(failed)?;
        match self.os.metadata(View::Host, &path, false) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
            Ok(found) if found.is_dir() => return Err(failed(Errno::EISDIR)),
            Ok(found) if found.size > DOCKERFILE_MAX => return Err(failed(Errno::EFBIG)),
            Ok(_) => {}
        }
        let text = self.os.read_file(View::Host, &path).await;
        text.map(Some).map_err(failed)
    }

    /// Takes out what `.dockerignore` says: of a context that no client has looked through.
    pub(super) async fn ignore_files(&self, root: &str) -> Result<()> {
        let Some(patterns) = self.context_file(root, ".dockerignore").await? else {
            return Ok(());
        };
        let ignore =
            Ignore::parse(&String::from_utf8_lossy(&patterns)).map_err(ApiError::invalid)?;
        let mut pending = vec![String::new()];
        while let Some(directory) = pending.pop() {
            let path = format!("{root}/{directory}");
            let entries = self.os.read_dir(View::Host, path.as_bytes());
            for entry in entries.unwrap_or_default() {
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                let name = match directory.as_str() {
                    "" => name,
                    directory => format!("{directory}/{name}"),
                };
                let path = format!("{root}/{name}");
                let is_directory = self
                    .os
                    .metadata(View::Host, path.as_bytes(), false)
                    .is_ok_and(|found| found.is_dir());
                let outcome = match (ignore.excludes(&name), is_directory) {
                    (true, true) if ignore.skips_below(&name) => {
                        self.os.remove_all(View::Host, path.as_bytes())
                    }
                    (true, false) => self.os.unlink(View::Host, path.as_bytes()),
                    (_, true) => {
                        pending.push(name.clone());
                        Ok(())
                    }
                    (false, false) => Ok(()),
                };
                outcome.map_err(|errno| {
                    ApiError::system(format!("remove {name}: {}", errno.go_description()))
                })?;
            }
        }
        Ok(())
    }

    /// The Dockerfile of a context. It is taken out if `.dockerignore` says so, and so is that file itself:
    /// clients send both, for they are needed.
    pub(super) async fn context_dockerfile(&self, root: &str, name: &str) -> Result<Vec<u8>> {
        let mut found = self.context_file(root, name).await?;
        if found.is_none() && name == "Dockerfile" {
            found = self.context_file(root, "dockerfile").await?;
        }
        let text = found.ok_or_else(|| {
            ApiError::system(format!("Cannot locate specified Dockerfile: {name}"))
        })?;
        if text.is_empty() {
            return Err(ApiError::system(format!(
                "the Dockerfile ({name}) cannot be empty"
            )));
        }
        if let Some(patterns) = self.context_file(root, ".dockerignore").await? {
            let ignore =
                Ignore::parse(&String::from_utf8_lossy(&patterns)).map_err(ApiError::invalid)?;
            for file in [".dockerignore", name] {
                if ignore.excludes(&dockerfile::ignore::clean(file)) {
                    let path = scope::resolve(
                        &self.os,
                        View::Host,
                        root.as_bytes(),
                        file.as_bytes(),
                        false,
                    );
                    // It may be a link to what is gone.
                    let _ = path.and_then(|path| self.os.unlink(View::Host, &path));
                }
            }
        }
        Ok(text)
    }
}
