//! Trees of files a build works with: mounted layers, temporary directories. They are gone when they are
//! dropped.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use layers::Store;
use oci::Digest;
use os::{Os, OsExt, View};

use crate::Engine;

/// A writable layer over a stage's or image's layers, mounted.
pub(crate) struct Tree {
    store: Store,
    id: String,
    /// Where it is mounted.
    pub(crate) root: String,
}

/// A directory of the daemon's.
pub(crate) struct Scratch {
    os: Rc<dyn Os>,
    pub(crate) path: String,
}

impl Engine {
    /// Mounts what the layer `top` and those below it are.
    pub(crate) fn tree(&self, top: Option<Digest>) -> Result<Tree> {
        let failed = |error: layers::StoreError| ApiError::system(error.to_string());
        let id = self.os.rng().hex(32);
        self.store.create_tree(&id, top).map_err(failed)?;
        let mut tree = Tree {
            store: self.store.clone(),
            id,
            root: String::new(),
        };
        tree.root = self.store.mount_container(&tree.id).map_err(failed)?.merged;
        Ok(tree)
    }

    /// An empty directory.
    pub(crate) fn scratch(&self, name: &str) -> Result<Scratch> {
        let path = format!(
            "{}/tmp/{name}{}",
            self.config.root,
            self.os.rng().next_u64() >> 32
        );
        self.os
            .mkdir_all(View::Host, path.as_bytes(), 0o700)
            .map_err(|errno| {
                ApiError::system(format!("mkdir {path}: {}", errno.go_description()))
            })?;
        Ok(Scratch {
            os: Rc::clone(&self.os),
            path,
        })
    }
}

impl Tree {
    /// What was written into it, as a layer; `None`: nothing.
    pub(super) async fn commit(&self) -> Result<Option<Digest>> {
        self.store
            .commit_container(&self.id)
            .await
            .map_err(|error| ApiError::system(error.to_string()))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What cannot be removed costs room and nothing else.
        let _ = self.store.remove_container(&self.id);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.os.remove_all(View::Host, self.path.as_bytes());
    }
}
