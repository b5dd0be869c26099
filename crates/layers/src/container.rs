//! Writable layers: what a container changes on top of its image.
//!
//! As Docker does, a container has two: `ID-init` with the files the engine mounts over
//! (`/etc/hosts` and so on; they are not the container's changes) and `ID` with what it writes.

use std::collections::BTreeMap;

use oci::Digest;
use os::{Errno, Metadata, MountFlags, OsExt, View};
use serde::{Deserialize, Serialize};

use crate::scope;
use crate::store::{Store, StoreError};

/// A container's writable layer on disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Writable {
    /// Directory below `overlay2`; its init layer has `-init` behind it.
    pub(crate) mount_id: String,
    /// Top layer of the image; `None` for an image without layers.
    pub(crate) parent: Option<Digest>,
}

/// Where a container's file system is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerMount {
    /// The mounted whole.
    pub merged: String,
    /// What the container wrote.
    pub upper: String,
    /// overlayfs's work directory.
    pub work: String,
    /// Layers below, from the top down; the first is the init layer.
    pub lower: Vec<String>,
}

/// What became of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// `C`
    Modified,
    /// `A`
    Added,
    /// `D`
    Deleted,
}

/// A line of `docker diff`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// The path in the container.
    pub path: Vec<u8>,
}

/// Files and directories of the init layer: (path, is a directory).
const INIT_PATHS: [(&str, bool); 9] = [
    ("dev/pts", true),
    ("dev/shm", true),
    ("dev/console", false),
    ("proc", true),
    ("sys", true),
    (".dockerenv", false),
    ("etc/resolv.conf", false),
    ("etc/hosts", false),
    ("etc/hostname", false),
];

impl Store {
    fn mounts_path(&self) -> String {
        format!("{}/image/overlay2/layerdb/mounts", self.root())
    }

    pub(crate) fn load_containers(&self) -> Result<(), StoreError> {
        let path = self.mounts_path();
        let failed = |error| StoreError::Os(format!("open {path}"), error);
        self.os()
            .mkdir_all(View::Host, path.as_bytes(), 0o700)
            .map_err(failed)?;
        for entry in self
            .os()
            .read_dir(View::Host, path.as_bytes())
            .map_err(failed)?
        {
            let id = String::from_utf8_lossy(&entry.name).into_owned();
            let field = |field: &str| {
                let bytes = self
                    .os()
                    .read_file_now(View::Host, format!("{path}/{id}/{field}").as_bytes())
                    .ok()?;
                String::from_utf8(bytes).ok()
            };
            if let Some(mount_id) = field("mount-id") {
                let parent = field("parent").and_then(|text| text.parse().ok());
                self.writable()
                    .borrow_mut()
                    .insert(id, Writable { mount_id, parent });
            }
        }
        Ok(())
    }

    /// Makes the writable layer of a container over an image.
    pub fn create_container(&self, id: &str, image: &Digest) -> Result<(), StoreError> {
        let image = self
            .image(image)
            .ok_or_else(|| StoreError::NoSuchImage(image.to_string()))?;
        self.create_layer(id, image.chain.last().copied())
    }

    /// Makes a writable layer over the layer `parent`, or over nothing, for a container: with the files it is
    /// going to find its own in.
    pub fn create_layer(&self, id: &str, parent: Option<Digest>) -> Result<(), StoreError> {
        self.create_writable(id, parent, &INIT_PATHS)
    }

    /// Makes a writable layer in which there is nothing but what `parent` has.
    pub fn create_tree(&self, id: &str, parent: Option<Digest>) -> Result<(), StoreError> {
        self.create_writable(id, parent, &[])
    }

    fn create_writable(
        &self,
        id: &str,
        parent: Option<Digest>,
        init: &[(&str, bool)],
    ) -> Result<(), StoreError> {
        let mount_id = self.os().rng().hex(32);
        let outcome = self.make_writable(id, &mount_id, parent, init);
        if outcome.is_err() {
            let _ = self.remove_writable(id, &mount_id);
        }
        outcome.map_err(|error| StoreError::Os("create container layer".into(), error))?;
        self.writable()
            .borrow_mut()
            .insert(id.to_string(), Writable { mount_id, parent });
        Ok(())
    }

    fn make_writable(
        &self,
        id: &str,
        mount_id: &str,
        parent: Option<Digest>,
        init: &[(&str, bool)],
    ) -> os::Result<()> {
        let os = self.os();
        let init_id = format!("{mount_id}-init");
        self.graph().make_directories(&init_id, parent)?;
        self.graph().make_directories(mount_id, parent)?;
        let directory = self.graph().directory(mount_id);
        os.mkdir_all(View::Host, format!("{directory}/work").as_bytes(), 0o700)?;
        os.mkdir_all(View::Host, format!("{directory}/merged").as_bytes(), 0o755)?;
        // The init layer's directories look like the image's, for in an overlay the upper one's
        // attributes count.
        let diff = format!("{}/diff", self.graph().directory(&init_id));
        let lower = self.graph().lower_directories(parent);
        for (path, is_directory) in init {
            self.init_path(&diff, &lower, path, *is_directory)?;
        }
        if let Some(attributes) = self.lookup(&lower, b"")? {
            for root in [diff.as_bytes(), format!("{directory}/diff").as_bytes()] {
                self.copy_attributes(root, &attributes)?;
            }
        }
        let record = format!("{}/{id}", self.mounts_path());
        os.mkdir_all(View::Host, record.as_bytes(), 0o700)?;
        if let Some(parent) = parent {
            os.write_file(
                View::Host,
                format!("{record}/parent").as_bytes(),
                parent.to_string().as_bytes(),
                0o644,
            )?;
        }
        os.write_file(
            View::Host,
            format!("{record}/init-id").as_bytes(),
            init_id.as_bytes(),
            0o644,
        )?;
        os.write_file(
            View::Host,
            format!("{record}/mount-id").as_bytes(),
            mount_id.as_bytes(),
            0o644,
        )
    }

    fn init_path(
        &self,
        diff: &str,
        lower: &[String],
        path: &str,
        is_directory: bool,
    ) -> os::Result<()> {
        let os = self.os();
        let parts: Vec<&str> = path.split('/').collect();
        for depth in 1..=parts.len() {
            let partial = parts[..depth].join("/");
            let target = format!("{diff}/{partial}");
            let below = self.lookup(lower, partial.as_bytes())?;
            let last = depth == parts.len();
            if last && below.is_some() {
                // The image has it: nothing to make room for.
                return Ok(());
            }
            if below.is_some_and(|metadata| !metadata.is_dir()) {
                // A link or file where a directory should be: the mount over it will tell.
                return Ok(());
            }
            if last && !is_directory {
                return os.write_file(View::Host, target.as_bytes(), b"", 0o755);
            }
            match os.mkdir(View::Host, target.as_bytes(), 0o755) {
                Ok(()) => {
                    if let Some(metadata) = below {
                        self.copy_attributes(target.as_bytes(), &metadata)?;
                    }
                }
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn copy_attributes(&self, path: &[u8], metadata: &Metadata) -> os::Result<()> {
        self.os()
            .lchown(View::Host, path, metadata.uid, metadata.gid)?;
        self.os().chmod(View::Host, path, metadata.mode & 0o7777)?;
        self.os()
            .set_times(View::Host, path, metadata.atime, metadata.mtime)
    }

    /// What the layers of `lower` show at `path`; whiteouts count as nothing.
    fn lookup(&self, lower: &[String], path: &[u8]) -> os::Result<Option<Metadata>> {
        for layer in lower {
            match self
                .os()
                .metadata(View::Host, &[layer.as_bytes(), b"/", path].concat(), false)
            {
                Ok(metadata) if is_whiteout(&metadata) => return Ok(None),
                Ok(metadata) => return Ok(Some(metadata)),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => return Err(error),
            }
            // A parent that is hidden or opaque here hides what is further below.
            let parents: Vec<&[u8]> = scope::components(path).collect();
            for depth in 1..parents.len() {
                let parent = [layer.as_bytes(), b"/", &parents[..depth].join(&b'/')].concat();
                match self.os().metadata(View::Host, &parent, false) {
                    Ok(metadata) if is_whiteout(&metadata) => return Ok(None),
                    Ok(metadata) if metadata.is_dir() && self.is_opaque(&parent) => {
                        return Ok(None);
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    fn is_opaque(&self, path: &[u8]) -> bool {
        self.os()
            .get_xattr(View::Host, path, b"trusted.overlay.opaque")
            .is_ok_and(|value| value == b"y")
    }

    /// Where the file system of a container is or will be.
    pub fn container_paths(&self, id: &str) -> Result<ContainerMount, StoreError> {
        let writable = self.writable().borrow().get(id).cloned();
        let writable =
            writable.ok_or_else(|| StoreError::Corrupt(format!("mount does not exist: {id}")))?;
        let directory = self.graph().directory(&writable.mount_id);
        let init = format!(
            "{}/diff",
            self.graph()
                .directory(&format!("{}-init", writable.mount_id))
        );
        let mut lower = vec![init];
        lower.extend(self.graph().lower_directories(writable.parent));
        Ok(ContainerMount {
            merged: format!("{directory}/merged"),
            upper: format!("{directory}/diff"),
            work: format!("{directory}/work"),
            lower,
        })
    }

    /// Mounts a container's file system. Mounting what is mounted is no error.
    pub fn mount_container(&self, id: &str) -> Result<ContainerMount, StoreError> {
        let mount = self.container_paths(id)?;
        if self.is_mounted(&mount) {
            return Ok(mount);
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            mount.lower.join(":"),
            mount.upper,
            mount.work
        );
        self.os()
            .mount(
                View::Host,
                b"overlay",
                mount.merged.as_bytes(),
                "overlay",
                MountFlags::default(),
                options.as_bytes(),
            )
            .map_err(|error| {
                StoreError::Os(
                    format!("error creating overlay mount to {}", mount.merged),
                    error,
                )
            })?;
        Ok(mount)
    }

    fn is_mounted(&self, mount: &ContainerMount) -> bool {
        let device = |path: &str| {
            self.os()
                .metadata(View::Host, path.as_bytes(), true)
                .map(|metadata| metadata.dev)
        };
        matches!((device(&mount.merged), device(&mount.upper)), (Ok(merged), Ok(upper)) if merged != upper)
    }

    /// Unmounts it. Unmounting what is not mounted is no error.
    pub fn unmount_container(&self, id: &str) -> Result<(), StoreError> {
        let mount = self.container_paths(id)?;
        if !self.is_mounted(&mount) {
            return Ok(());
        }
        match self.os().umount(View::Host, mount.merged.as_bytes(), true) {
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(error) => Err(StoreError::Os(format!("unmount {}", mount.merged), error)),
        }
    }

    /// Removes a container's writable layer.
    pub fn remove_container(&self, id: &str) -> Result<(), StoreError> {
        if !self.writable().borrow().contains_key(id) {
            return Ok(());
        }
        self.unmount_container(id)?;
        let Some(writable) = self.writable().borrow_mut().remove(id) else {
            return Ok(());
        };
        self.remove_writable(id, &writable.mount_id)
            .map_err(|error| StoreError::Os("remove container layer".into(), error))
    }

    fn remove_writable(&self, id: &str, mount_id: &str) -> os::Result<()> {
        self.os().remove_all(
            View::Host,
            format!("{}/{id}", self.mounts_path()).as_bytes(),
        )?;
        self.graph().remove_directories(mount_id)?;
        self.graph().remove_directories(&format!("{mount_id}-init"))
    }

    /// `docker diff`: what the container changed, sorted by path.
    pub fn changes(&self, id: &str) -> Result<Vec<Change>, StoreError> {
        let mount = self.container_paths(id)?;
        let failed = |error| StoreError::Os(format!("diff {id}"), error);
        let mut changes = BTreeMap::new();
        let mut pending = vec![Vec::new()];
        while let Some(directory) = pending.pop() {
            let upper = [mount.upper.as_bytes(), &directory].concat();
            for entry in self.os().read_dir(View::Host, &upper).map_err(failed)? {
                let path = [&directory[..], b"/", &entry.name].concat();
                let here = [mount.upper.as_bytes(), &path].concat();
                let metadata = self
                    .os()
                    .metadata(View::Host, &here, false)
                    .map_err(failed)?;
                let below = self.lookup(&mount.lower, &path[1..]).map_err(failed)?;
                let kind = match (&below, is_whiteout(&metadata)) {
                    (_, true) => Some(ChangeKind::Deleted),
                    (None, false) => Some(ChangeKind::Added),
                    (Some(below), false) => {
                        (!same_directory(below, &metadata)).then_some(ChangeKind::Modified)
                    }
                };
                if metadata.is_dir() {
                    pending.push(path.clone());
                }
                if let Some(kind) = kind {
                    mark_parents(&mut changes, &path);
                    changes.insert(path, kind);
                }
            }
        }
        Ok(changes
            .into_iter()
            .map(|(path, kind)| Change { kind, path })
            .collect())
    }

    /// Bytes of the files a container wrote.
    pub fn size_rw(&self, id: &str) -> Result<u64, StoreError> {
        let mount = self.container_paths(id)?;
        let failed = |error| StoreError::Os(format!("size of {id}"), error);
        let mut total = 0;
        let mut pending = vec![mount.upper.into_bytes()];
        while let Some(directory) = pending.pop() {
            for entry in self.os().read_dir(View::Host, &directory).map_err(failed)? {
                let path = [&directory[..], b"/", &entry.name].concat();
                let metadata = self
                    .os()
                    .metadata(View::Host, &path, false)
                    .map_err(failed)?;
                if metadata.is_dir() {
                    pending.push(path);
                } else if metadata.is_file() || metadata.is_symlink() {
                    total += metadata.size;
                }
            }
        }
        Ok(total)
    }
}

/// A directory that holds a change is itself shown as changed, even if it looks as it did.
fn mark_parents(changes: &mut BTreeMap<Vec<u8>, ChangeKind>, path: &[u8]) {
    let mut end = path.len();
    while let Some(cut) = path[..end]
        .iter()
        .rposition(|&byte| byte == b'/')
        .filter(|&cut| cut > 0)
    {
        changes
            .entry(path[..cut].to_vec())
            .or_insert(ChangeKind::Modified);
        end = cut;
    }
}

pub(crate) fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type() == 0o020_000 && metadata.rdev == 0
}

/// A directory that was only copied up, with the same mode, owner and time.
fn same_directory(below: &Metadata, above: &Metadata) -> bool {
    below.is_dir()
        && above.is_dir()
        && below.mode == above.mode
        && (below.uid, below.gid) == (above.uid, above.gid)
        && below.mtime == above.mtime
}
