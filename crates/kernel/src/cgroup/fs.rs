//! The `cgroup2` file system: a directory per cgroup, mkdir and rmdir, and the interface files.
//!
//! Each cgroup namespace root has its own tree: a mount made inside a container shows the container's
//! cgroup at the top.

use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use vfs::inode::{FileSystem, InodeRef, NewNode, S_IFDIR, S_IFREG, SetAttr, StatFs, Timestamp};

use super::Cgroup;
use super::files::{FILES, FileSpec};
use crate::Kernel;
use crate::pseudo::{Body, Content, Dir, Entry, Maker, NodeCache, ino_of};

/// `CGROUP2_SUPER_MAGIC`.
pub const MAGIC: u64 = 0x6367_7270;

/// The tree below one cgroup.
pub struct CgroupFs {
    kernel: Weak<Kernel>,
    root: Rc<Cgroup>,
    cache: Rc<NodeCache>,
    time: Timestamp,
    me: Weak<CgroupFs>,
}

/// The trees that are mounted somewhere, one per namespace root.
#[derive(Default)]
struct Mounted(std::cell::RefCell<Vec<Weak<CgroupFs>>>);

impl CgroupFs {
    /// The file system that shows `root` at its top; the same one each time.
    #[must_use]
    pub fn of(kernel: &Rc<Kernel>, root: &Rc<Cgroup>) -> Rc<CgroupFs> {
        let mounted = kernel.extension(Mounted::default);
        mounted.0.borrow_mut().retain(|fs| fs.strong_count() > 0);
        let known = mounted
            .0
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .find(|fs| Rc::ptr_eq(&fs.root, root));
        known.unwrap_or_else(|| {
            let fs = Rc::new_cyclic(|me| CgroupFs {
                kernel: Rc::downgrade(kernel),
                root: Rc::clone(root),
                cache: Rc::default(),
                time: vfs::context::timestamp(&kernel.clock),
                me: me.clone(),
            });
            mounted.0.borrow_mut().push(Rc::downgrade(&fs));
            fs
        })
    }

    fn node(self: &Rc<Self>, cgroup: &Rc<Cgroup>) -> InodeRef {
        let (uid, gid, perm) = cgroup.file_owner("", 0o755);
        let fs: Rc<dyn FileSystem> = self.clone();
        let maker = Maker {
            cache: Rc::clone(&self.cache),
            fs,
            owner: (uid, gid),
            size: 0,
            time: self.time,
        };
        // Its own inode each time the owner may have changed; mounts below cgroups are not a thing.
        let dir = CgroupDir {
            fs: Rc::clone(self),
            cgroup: Rc::clone(cgroup),
        };
        maker.node(cgroup.id, perm, Body::Dir(Box::new(dir)))
    }

    fn file(self: &Rc<Self>, cgroup: &Rc<Cgroup>, spec: &'static FileSpec) -> InodeRef {
        let (uid, gid, perm) = cgroup.file_owner(spec.name, spec.perm());
        let fs: Rc<dyn FileSystem> = self.clone();
        let maker = Maker {
            cache: Rc::clone(&self.cache),
            fs,
            owner: (uid, gid),
            size: 0,
            time: self.time,
        };
        let file = CgroupFile {
            kernel: self.kernel.clone(),
            cgroup: Rc::clone(cgroup),
            spec,
        };
        maker.node(
            ino_of(spec.name.as_bytes(), cgroup.id),
            perm,
            Body::File(Rc::new(file)),
        )
    }
}

impl FileSystem for CgroupFs {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn root(&self) -> InodeRef {
        // `me` is alive: this is it.
        match self.me.upgrade() {
            Some(me) => me.node(&self.root),
            None => unreachable!("a file system that answers is alive"),
        }
    }

    fn statfs(&self) -> StatFs {
        StatFs {
            magic: MAGIC,
            bsize: 4096,
            namelen: 255,
            ..StatFs::default()
        }
    }
}

struct CgroupDir {
    fs: Rc<CgroupFs>,
    cgroup: Rc<Cgroup>,
}

impl Dir for CgroupDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        if self.cgroup.is_removed() {
            return Err(Errno::ENOENT);
        }
        if let Some(child) = self.cgroup.child(name) {
            return Ok(self.fs.node(&child));
        }
        let spec = FILES
            .iter()
            .find(|file| file.name.as_bytes() == name && file.is_in(&self.cgroup));
        spec.map(|spec| self.fs.file(&self.cgroup, spec))
            .ok_or(Errno::ENOENT)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        if self.cgroup.is_removed() {
            return Ok(Vec::new());
        }
        let files = FILES
            .iter()
            .filter(|file| file.is_in(&self.cgroup))
            .map(|file| Entry {
                name: file.name.as_bytes().to_vec(),
                ino: ino_of(file.name.as_bytes(), self.cgroup.id),
                file_type: S_IFREG,
            });
        let dirs = self.cgroup.children();
        let dirs = dirs.into_iter().map(|(name, child)| Entry {
            name,
            ino: child.id,
            file_type: S_IFDIR,
        });
        Ok(files.chain(dirs).collect())
    }

    fn mkdir(&self, name: &[u8], node: &NewNode<'_>) -> Result<InodeRef> {
        if FILES.iter().any(|file| file.name.as_bytes() == name) {
            return Err(Errno::EEXIST);
        }
        let child = self.cgroup.create(name, (node.uid, node.gid))?;
        child.set_file_owner(
            "",
            Some(node.uid),
            Some(node.gid),
            Some(node.mode & 0o7777),
            0o755,
        );
        Ok(self.fs.node(&child))
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.cgroup.remove(name)
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        self.cgroup
            .set_file_owner("", change.uid, change.gid, change.perm, 0o755);
        Ok(())
    }
}

struct CgroupFile {
    kernel: Weak<Kernel>,
    cgroup: Rc<Cgroup>,
    spec: &'static FileSpec,
}

impl CgroupFile {
    /// `ENODEV` when the cgroup or its controller is gone.
    fn kernel(&self) -> Result<Rc<Kernel>> {
        if self.cgroup.is_removed() || !self.spec.is_in(&self.cgroup) {
            return Err(Errno::ENODEV);
        }
        self.kernel.upgrade().ok_or(Errno::ENODEV)
    }
}

impl Content for CgroupFile {
    fn read(&self) -> Result<Vec<u8>> {
        let kernel = self.kernel()?;
        let read = self.spec.read.ok_or(Errno::EINVAL)?;
        Ok(read(&kernel, &self.cgroup)?.into_bytes())
    }

    fn write(&self, text: &[u8]) -> Result<()> {
        let kernel = self.kernel()?;
        let write = self.spec.write.ok_or(Errno::EINVAL)?;
        let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        write(&kernel, &self.cgroup, text.trim_end_matches('\0'))
    }

    fn version(&self, waker: Option<&Waker>) -> Option<u64> {
        self.spec
            .version
            .map(|version| version(&self.cgroup, waker))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let default = self.spec.perm();
        self.cgroup
            .set_file_owner(self.spec.name, change.uid, change.gid, change.perm, default);
        Ok(())
    }
}

impl Cgroup {
    /// Owner and permission bits of a file (`""`: of the directory).
    #[must_use]
    pub fn file_owner(&self, name: &'static str, default_perm: u32) -> (u32, u32, u32) {
        let (uid, gid) = self.owner.get();
        self.overrides
            .borrow()
            .get(name)
            .copied()
            .unwrap_or((uid, gid, default_perm))
    }

    fn set_file_owner(
        &self,
        name: &'static str,
        uid: Option<u32>,
        gid: Option<u32>,
        perm: Option<u32>,
        default_perm: u32,
    ) {
        let old = self.file_owner(name, default_perm);
        let new = (
            uid.unwrap_or(old.0),
            gid.unwrap_or(old.1),
            perm.unwrap_or(old.2),
        );
        self.overrides.borrow_mut().insert(name, new);
    }
}
