//! overlayfs (Documentation/filesystems/overlayfs.rst): an upper directory over lower ones.
//!
//! [`node`] is the inode: what it shows of its upper and lower sides, [`file`] an open one. [`lookup`] searches the layers,
//! [`copy_up`] brings a file to the upper layer, [`change`] makes and removes entries, [`rename`]
//! moves them, [`readdir`] merges directories, [`xattr`] hides what overlayfs keeps for itself.
//!
//! On disk it is Linux's format: whiteouts are character devices 0/0, `trusted.overlay.opaque` and
//! `trusted.overlay.redirect` mean the same, so layers can be exchanged with a real host. Beyond
//! Linux, an overlay can be the upper layer of another one (a Docker host whose root is an overlay):
//! it can store character devices 0/0 for it (see [`STORED_WHITEOUT`]).
//!
//! An overlay works on the inodes of its layers, not on their dentries. Changing a layer from outside
//! while it is mounted is undefined, as on Linux. There are no metacopy, index or nfs_export.

mod change;
mod copy_up;
mod file;
mod lookup;
mod node;
mod readdir;
mod rename;
mod xattr;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};

use crate::inode::{Attr, FileSystem, InodeRef, NewNode, S_IFCHR, S_IFDIR, StatFs};
use crate::path::Path;
use crate::registry::{MountRequest, split_options};
use node::{Lower, Node};

/// `OVERLAYFS_SUPER_MAGIC`.
pub const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// Most lower layers (`OVL_MAX_STACK`).
const LAYERS_MAX: usize = 500;

/// `y`: nothing below shows through.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Where the lower part of a renamed directory is.
const REDIRECT: &[u8] = b"trusted.overlay.redirect";
/// The inode number a copied-up file keeps. Linux stores a file handle here.
const ORIGIN: &[u8] = b"trusted.overlay.origin";
/// On an empty regular file of the upper layer: it is a character device 0/0, a whiteout of an
/// overlay above this one. A real one would be this overlay's own whiteout.
const STORED_WHITEOUT: &[u8] = b"trusted.overlay.whiteout";

/// A mounted overlay.
pub struct Overlay {
    core: Rc<Core>,
    root: Rc<Node>,
}

/// What the inodes of one overlay share. It does not hold the root node, so there is no cycle.
struct Core {
    lower: Vec<Path>,
    upper: Option<Path>,
    work: Option<InodeRef>,
    /// For each layer the number of its file system, 0 being that of the upper layer.
    lower_fsid: Vec<u64>,
    /// Nodes of files of the upper layer that have more than one name.
    hard_links: RefCell<HashMap<*const (), Weak<Node>>>,
    fs: RefCell<Weak<Overlay>>,
    next_temp: Cell<u64>,
    redirect: bool,
    shown: String,
}

/// How to mount, beyond the layers.
#[derive(Clone, Debug)]
pub struct OverlayOptions {
    /// Directories that have a lower part can be renamed.
    pub redirect: bool,
    /// What to show in `/proc/mounts`.
    pub shown: String,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        OverlayOptions {
            redirect: true,
            shown: String::new(),
        }
    }
}

impl Overlay {
    /// An overlay of directories: `lower` from the topmost down, `upper` with `work` on the same file
    /// system, or neither for a read-only view.
    pub fn mount(lower: Vec<Path>, upper: Option<Path>, work: Option<Path>) -> Result<Rc<Overlay>> {
        Overlay::mount_with(lower, upper, work, OverlayOptions::default())
    }

    /// As [`Overlay::mount`], with options.
    pub fn mount_with(
        lower: Vec<Path>,
        upper: Option<Path>,
        work: Option<Path>,
        options: OverlayOptions,
    ) -> Result<Rc<Overlay>> {
        if lower.len() > LAYERS_MAX || (lower.is_empty() && upper.is_none()) {
            return Err(Errno::EINVAL);
        }
        for path in lower.iter().chain(&upper).chain(&work) {
            if !path.inode().attr()?.is_dir() {
                return Err(Errno::EINVAL);
            }
        }
        let work = match (&upper, &work) {
            (Some(upper), Some(work)) => Some(work_directory(upper, work)?),
            (Some(_), None) => return Err(Errno::EINVAL),
            (None, _) => None,
        };
        let core = Rc::new(Core {
            lower_fsid: number_file_systems(&lower, upper.as_ref()),
            lower: lower.iter().map(private).collect(),
            upper: upper.as_ref().map(private),
            work,
            hard_links: RefCell::default(),
            fs: RefCell::default(),
            next_temp: Cell::new(0),
            redirect: options.redirect,
            shown: options.shown,
        });
        core.with_root()
    }
}

/// The layer seen through a mount of its own, so that the overlay keeps the file system but not the
/// mount it was named through (which can be unmounted).
fn private(path: &Path) -> Path {
    Path {
        mount: path.mount.clone_at(&path.dentry),
        dentry: Rc::clone(&path.dentry),
    }
}

/// `workdir/work`, where new files are made before they are renamed to their place.
fn work_directory(upper: &Path, work: &Path) -> Result<InodeRef> {
    let same_fs = Rc::ptr_eq(upper.mount.fs(), work.mount.fs());
    let nested = work.dentry.is_within(&upper.dentry) || upper.dentry.is_within(&work.dentry);
    if !same_fs || nested || upper.mount.is_read_only() {
        return Err(if upper.mount.is_read_only() {
            Errno::EROFS
        } else {
            Errno::EINVAL
        });
    }
    match work.inode().lookup(b"work") {
        Err(Errno::ENOENT) => {
            let node = NewNode {
                mode: S_IFDIR,
                uid: 0,
                gid: 0,
                rdev: 0,
                target: b"",
            };
            work.inode().create(b"work", &node)
        }
        other => other,
    }
}

fn number_file_systems(lower: &[Path], upper: Option<&Path>) -> Vec<u64> {
    let mut known: Vec<Rc<dyn FileSystem>> = Vec::new();
    known.extend(upper.map(|path| Rc::clone(path.mount.fs())));
    let number = |path: &Path| {
        let fs = path.mount.fs();
        let place = known.iter().position(|known| Rc::ptr_eq(known, fs));
        place.unwrap_or_else(|| {
            known.push(Rc::clone(fs));
            known.len() - 1
        }) as u64
    };
    lower.iter().map(number).collect()
}

impl Core {
    fn with_root(self: &Rc<Self>) -> Result<Rc<Overlay>> {
        let upper = self.upper.as_ref().map(Path::inode);
        let lower: Vec<Lower> = self
            .lower
            .iter()
            .enumerate()
            .map(|(layer, path)| Lower {
                layer,
                inode: path.inode(),
            })
            .collect();
        let ino = match (&upper, lower.first()) {
            (Some(upper), _) => upper.attr()?.ino,
            (None, Some(lower)) => self.lower_ino(lower)?,
            (None, None) => return Err(Errno::EINVAL),
        };
        let root = Node::new(self, None, b"/", upper, lower, ino)?;
        let fs = Rc::new(Overlay {
            core: Rc::clone(self),
            root,
        });
        *self.fs.borrow_mut() = Rc::downgrade(&fs);
        Ok(fs)
    }

    /// The inode number the overlay shows for a file of a lower layer. The high bits tell file systems
    /// apart.
    fn lower_ino(&self, lower: &Lower) -> Result<u64> {
        Ok(self.shown_ino(lower.layer, lower.inode.attr()?.ino))
    }

    fn shown_ino(&self, layer: usize, ino: u64) -> u64 {
        ino ^ (self.lower_fsid[layer] << 48)
    }

    fn work(&self) -> Result<&InodeRef> {
        self.work.as_ref().ok_or(Errno::EROFS)
    }

    /// A name in the work directory that is free.
    fn temp_name(&self) -> Result<Vec<u8>> {
        loop {
            self.next_temp.set(self.next_temp.get() + 1);
            let name = format!("#{:x}", self.next_temp.get()).into_bytes();
            match self.work()?.lookup(&name) {
                Err(Errno::ENOENT) => return Ok(name),
                Err(errno) => return Err(errno),
                Ok(_) => {}
            }
        }
    }

    /// Makes a whiteout in the work directory, to be renamed to its place.
    fn temp_whiteout(&self) -> Result<Vec<u8>> {
        let name = self.temp_name()?;
        self.work()?.create(&name, &WHITEOUT)?;
        Ok(name)
    }
}

/// What hides a lower entry.
const WHITEOUT: NewNode<'static> = NewNode {
    mode: S_IFCHR,
    uid: 0,
    gid: 0,
    rdev: 0,
    target: b"",
};

fn is_whiteout(attr: &Attr) -> bool {
    attr.file_type() == S_IFCHR && attr.rdev == 0
}

impl FileSystem for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn is_on_disk(&self) -> bool {
        let layer = self.core.upper.as_ref().or(self.core.lower.first());
        layer.is_some_and(|layer| layer.mount.fs().is_on_disk())
    }

    fn root(&self) -> InodeRef {
        Rc::<Node>::clone(&self.root)
    }

    fn statfs(&self) -> StatFs {
        let layer = self.core.upper.as_ref().or(self.core.lower.first());
        let below = layer.map(Path::statfs).unwrap_or_default();
        StatFs {
            magic: OVERLAYFS_MAGIC,
            namelen: 255,
            ..below
        }
    }

    fn show_options(&self) -> String {
        self.core.shown.clone()
    }
}

/// The factory for the registry: `lowerdir=…:…,upperdir=…,workdir=…`.
pub fn mount(request: &MountRequest<'_>) -> Result<Rc<dyn FileSystem>> {
    let find = |name: &[u8]| request.context.resolve(None, name, true);
    let (mut lower, mut upper, mut work) = (Vec::new(), None, None);
    let mut options = OverlayOptions::default();
    for (name, value) in split_options(request.data) {
        match name {
            b"lowerdir" => {
                lower.clear();
                for part in split_layers(value) {
                    lower.push(find(&part)?);
                }
            }
            b"lowerdir+" => lower.push(find(&unescape(value))?),
            b"upperdir" => upper = Some(find(&unescape(value))?),
            b"workdir" => work = Some(find(&unescape(value))?),
            b"redirect_dir" => options.redirect = value == b"on",
            b"index" | b"xino" | b"metacopy" | b"nfs_export" | b"uuid" | b"volatile" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if lower.is_empty() {
        return Err(Errno::EINVAL);
    }
    options.shown = String::from_utf8_lossy(request.data).into_owned();
    Ok(Overlay::mount_with(lower, upper, work, options)?)
}

/// `lowerdir` at the colons; `\:` is a colon.
fn split_layers(value: &[u8]) -> Vec<Vec<u8>> {
    let mut escaped = false;
    let parts = value.split(|&byte| {
        let cut = byte == b':' && !escaped;
        escaped = byte == b'\\' && !escaped;
        cut
    });
    parts
        .filter(|part| !part.is_empty())
        .map(unescape)
        .collect()
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let byte = if byte == b'\\' {
            *bytes.next().unwrap_or(&b'\\')
        } else {
            byte
        };
        plain.push(byte);
    }
    plain
}
