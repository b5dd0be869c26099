//! Magic links: `cwd`, `root`, `exe`, `fd/N`, `ns/*` lead to objects, not to names.

use std::any::Any;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use vfs::FsContext;
use vfs::file::{File, OpenFile, OpenFlags};
use vfs::inode::{Attr, FileSystem, Inode, InodeRef, S_IFIFO, S_IFLNK, S_IFREG, StatFs};
use vfs::mount::MountFlags;
use vfs::path::Path;

use super::task::{TaskRef, View, ino};
use crate::fd::FdEntry;
use crate::namespaces::nsfs::{NAMES, NsRef};
use crate::pipe::PipeEnd;
use crate::pseudo::{Body, Dir, Entry, Magic};

/// Which link of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Working directory.
    Cwd,
    /// Root directory.
    Root,
    /// Program.
    Exe,
}

/// `cwd`, `root` or `exe`.
pub struct TaskLink {
    /// Whose.
    pub task: TaskRef,
    /// Which.
    pub kind: Kind,
}

impl TaskLink {
    fn view_and_path(&self) -> Result<(View, Path)> {
        let view = self.task.view()?;
        view.inspect()?;
        if view.task.is_dead() {
            return Err(Errno::ENOENT);
        }
        let path = match self.kind {
            Kind::Cwd => view.task.fs().cwd(),
            Kind::Root => view.task.fs().root(),
            Kind::Exe => {
                let exe = view.task.mm().exe.borrow().clone();
                exe.and_then(|file| file.path.clone())
                    .ok_or(Errno::ENOENT)?
            }
        };
        Ok((view, path))
    }
}

impl Magic for TaskLink {
    fn text(&self) -> Result<Vec<u8>> {
        let (view, path) = self.view_and_path()?;
        Ok(shown_name(&view, &path))
    }

    fn target(&self) -> Result<Path> {
        Ok(self.view_and_path()?.1)
    }
}

/// The name of `path` as whoever looks sees it. What is not below his root (a program from another
/// mount namespace) has the name it has from the top of its own tree, as the kernel's `d_path` gives it.
pub fn shown_name(view: &View, path: &Path) -> Vec<u8> {
    // A daemon sees a container's paths as the container does.
    let looker = view
        .kernel
        .current()
        .unwrap_or_else(|| Rc::clone(&view.task));
    let (root, ns) = (looker.fs().root(), looker.ns());
    let name = FsContext {
        root: &root,
        cwd: &root,
        creds: &vfs::Credentials::root(),
        umask: 0,
        clock: &view.kernel.clock,
        namespace: &ns.mnt.mounts,
    }
    .absolute_name(path);
    match name.strip_prefix(b"(unreachable)") {
        Some(rest) => rest.to_vec(),
        None => name,
    }
}

// ---- descriptors ----

/// `fd/N`.
pub struct FdLink {
    /// Whose.
    pub task: TaskRef,
    /// Which.
    pub fd: i32,
}

impl FdLink {
    fn entry(&self) -> Result<(View, FdEntry)> {
        let view = self.task.view()?;
        view.inspect()?;
        let entry = view
            .task
            .files()
            .entry(self.fd)
            .map_err(|_| Errno::ENOENT)?;
        Ok((view, entry))
    }
}

impl Magic for FdLink {
    fn text(&self) -> Result<Vec<u8>> {
        let (view, entry) = self.entry()?;
        if let Some(name) = entry.file.file.anonymous_name() {
            return Ok(name.into_bytes());
        }
        match &entry.file.path {
            Some(path) => Ok(shown_name(&view, path)),
            None => Ok(b"anon_inode:[file]".to_vec()),
        }
    }

    fn target(&self) -> Result<Path> {
        let (view, entry) = self.entry()?;
        match &entry.file.path {
            Some(path) => Ok(path.clone()),
            None => Ok(object_path(&view, &entry.file)),
        }
    }
}

/// A path to an open file that has no name in the tree: opening it opens the object again.
fn object_path(view: &View, file: &Rc<OpenFile>) -> Path {
    let fs = Rc::new_cyclic(|me| ObjectFs {
        file: Rc::clone(file),
        me: me.clone(),
    });
    let fs: Rc<dyn FileSystem> = fs;
    let table = Rc::clone(view.kernel.init_ns.mnt.mounts.table());
    table.mount(&fs, b"none", MountFlags::empty()).root_path()
}

/// A file system with one object in it, mounted nowhere.
struct ObjectFs {
    file: Rc<OpenFile>,
    me: Weak<ObjectFs>,
}

impl FileSystem for ObjectFs {
    fn name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn device(&self) -> u64 {
        vfs::mountinfo::makedev(0, 14)
    }

    fn root(&self) -> InodeRef {
        match self.me.upgrade() {
            Some(fs) => Rc::new(ObjectInode(fs)),
            None => unreachable!("a file system that answers is alive"),
        }
    }

    fn statfs(&self) -> StatFs {
        StatFs {
            magic: 0x0904_1934,
            bsize: 4096,
            namelen: 255,
            ..StatFs::default()
        }
    }
}

struct ObjectInode(Rc<ObjectFs>);

impl Inode for ObjectInode {
    fn fs(&self) -> Rc<dyn FileSystem> {
        self.0.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        let attr = self.0.file.file.anonymous_attr();
        Ok(attr.unwrap_or(Attr {
            ino: 1,
            mode: S_IFREG | 0o600,
            nlink: 1,
            ..Attr::default()
        }))
    }

    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>> {
        let file = &self.0.file.file;
        // A pipe gets a new end; `echo > /dev/stdout` in a container goes this way.
        if let Some(end) = file.as_any().downcast_ref::<PipeEnd>() {
            return Ok(Rc::new(end.pipe.open(flags.readable(), flags.writable())));
        }
        match self.attr()?.file_type() {
            S_IFIFO => Err(Errno::ENXIO),
            S_IFREG if file.is_seekable() => Ok(Rc::clone(file)),
            // Sockets, epoll and their like cannot be opened by name.
            _ => Err(Errno::ENXIO),
        }
    }
}

// ---- namespaces ----

/// `/proc/PID/ns`.
pub(super) fn ns_dir(task: &TaskRef, number: u64) -> InodeRef {
    task.sub_dir(number, 0o511, NsDir(task.clone()))
}

struct NsDir(TaskRef);

impl Dir for NsDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let known = NAMES
            .iter()
            .find(|known| known.as_bytes() == name)
            .ok_or(Errno::ENOENT)?;
        let tid = self.0.view()?.task.tid();
        let link = NsLink {
            task: self.0.clone(),
            name: known,
        };
        Ok(self
            .0
            .node(ino(tid, known) | 1, 0o777, Body::Magic(Box::new(link))))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let tid = self.0.view()?.task.tid();
        let entry = |name: &&str| Entry {
            name: name.as_bytes().to_vec(),
            ino: ino(tid, name) | 1,
            file_type: S_IFLNK,
        };
        Ok(NAMES.iter().map(entry).collect())
    }
}

struct NsLink {
    task: TaskRef,
    name: &'static str,
}

impl NsLink {
    fn namespace(&self) -> Result<(View, NsRef)> {
        let view = self.task.view()?;
        view.inspect()?;
        if view.task.is_dead() {
            return Err(Errno::ENOENT);
        }
        let ns = NsRef::of(&view.task.ns(), self.name).ok_or(Errno::ENOENT)?;
        Ok((view, ns))
    }
}

impl Magic for NsLink {
    fn text(&self) -> Result<Vec<u8>> {
        Ok(self.namespace()?.1.text().into_bytes())
    }

    fn target(&self) -> Result<Path> {
        let (view, ns) = self.namespace()?;
        Ok(ns.path(view.kernel.init_ns.mnt.mounts.table()))
    }
}
