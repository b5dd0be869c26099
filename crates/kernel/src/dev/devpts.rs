//! The file system of pseudo-terminals (`devpts`, `pts(4)`): `ptmx` makes one, numbers are the slaves.
//!
//! Each mount is an instance of its own, so a container numbers its terminals from 0 and sees only its own.
//! A slave's inode lives as long as its master; the number is free again when the master is closed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use clock::Clock;
use vfs::context::timestamp;
use vfs::file::{DirFile, File, OpenFlags};
use vfs::inode::{Attr, DirEntry, FileSystem, Inode, InodeRef, S_IFCHR, S_IFDIR, SetAttr, StatFs};
use vfs::mountinfo::makedev;
use vfs::path::Path;
use vfs::registry::{MountRequest, split_options};

use super::KernelJobs;
use crate::kernel::Kernel;
use crate::tty::{JobControl, PtyMaster, PtySlave, Tty};

/// `DEVPTS_SUPER_MAGIC`.
const MAGIC: u64 = 0x1cd1;
/// Most terminals of one instance (`/proc/sys/kernel/pty/max`).
const PTYS_MAX: u32 = 4096;
/// Inode numbers: root, ptmx, then the slaves.
const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;
const FIRST_INO: u64 = 3;

/// Mount options.
#[derive(Clone, Copy, Debug)]
struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    ptmx_mode: u32,
    max: u32,
}

impl Options {
    fn parse(data: &[u8]) -> Result<Options> {
        let mut options = Options {
            uid: None,
            gid: None,
            mode: 0o600,
            ptmx_mode: 0,
            max: PTYS_MAX,
        };
        for (name, value) in split_options(data) {
            let text = std::str::from_utf8(value).map_err(|_| Errno::EINVAL)?;
            let octal = || {
                u32::from_str_radix(text, 8)
                    .map(|mode| mode & 0o777)
                    .map_err(|_| Errno::EINVAL)
            };
            let decimal = || text.parse::<u32>().map_err(|_| Errno::EINVAL);
            match name {
                b"uid" => options.uid = Some(decimal()?),
                b"gid" => options.gid = Some(decimal()?),
                b"mode" => options.mode = octal()?,
                b"ptmxmode" => options.ptmx_mode = octal()?,
                b"max" => options.max = decimal()?.min(PTYS_MAX),
                b"newinstance" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// One instance.
pub struct DevPts {
    me: Weak<DevPts>,
    clock: Clock,
    options: Cell<Options>,
    jobs: Rc<dyn JobControl>,
    ptys: RefCell<BTreeMap<u32, Rc<Slave>>>,
    ptmx: RefCell<Weak<Ptmx>>,
}

/// Registers the type.
pub(super) fn register(k: &Rc<Kernel>) {
    let jobs = KernelJobs::new(k) as Rc<dyn JobControl>;
    k.registry
        .register("devpts", move |request: &MountRequest<'_>| {
            let fs = DevPts::new(request.context.clock, request.data, Rc::clone(&jobs))?;
            Ok(fs as Rc<dyn FileSystem>)
        });
}

impl DevPts {
    /// An instance without terminals; `options` as in `mount(8)`.
    pub fn new(clock: &Clock, options: &[u8], jobs: Rc<dyn JobControl>) -> Result<Rc<DevPts>> {
        let options = Options::parse(options)?;
        Ok(Rc::new_cyclic(|me| DevPts {
            me: Weak::clone(me),
            clock: clock.clone(),
            options: Cell::new(options),
            jobs,
            ptys: RefCell::default(),
            ptmx: RefCell::default(),
        }))
    }

    /// The instance whose root directory is at `path`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Rc<DevPts>> {
        path.inode()
            .as_any()
            .downcast_ref::<Root>()
            .map(|root| Rc::clone(&root.0))
    }

    /// Opens a new terminal's master.
    pub fn open_master(self: &Rc<Self>) -> Result<Rc<PtyMaster>> {
        let options = self.options.get();
        let index = {
            let ptys = self.ptys.borrow();
            (0..options.max)
                .find(|index| !ptys.contains_key(index))
                .ok_or(Errno::ENOSPC)?
        };
        let rdev = makedev(136 + u64::from(index / 256), u64::from(index % 256));
        let tty = Tty::new(rdev, Some(index), Rc::clone(&self.jobs));
        let now = timestamp(&self.clock);
        let attr = Attr {
            ino: FIRST_INO + u64::from(index),
            mode: S_IFCHR | options.mode,
            nlink: 1,
            uid: options.uid.unwrap_or(0),
            gid: options.gid.unwrap_or(0),
            rdev,
            blksize: 1024,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            ..Attr::default()
        };
        let slave = Rc::new(Slave {
            fs: Rc::clone(self),
            tty: Rc::clone(&tty),
            attr: Cell::new(attr),
        });
        self.ptys.borrow_mut().insert(index, slave);
        let fs = Rc::downgrade(self);
        let on_close = move || {
            let fs = fs.upgrade();
            let slave = fs
                .as_ref()
                .and_then(|fs| fs.ptys.borrow_mut().remove(&index));
            drop(slave);
        };
        Ok(Rc::new(PtyMaster::new(&tty, Some(Box::new(on_close)))))
    }

    fn strong(&self) -> Option<Rc<DevPts>> {
        self.me.upgrade()
    }
}

/// The terminal whose slave is at `path`.
#[must_use]
pub fn tty_of(path: &Path) -> Option<Rc<Tty>> {
    path.inode()
        .as_any()
        .downcast_ref::<Slave>()
        .map(|slave| Rc::clone(&slave.tty))
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> InodeRef {
        match self.strong() {
            Some(fs) => Rc::new(Root(fs)),
            // Never: whoever calls has a counted reference.
            None => Rc::new(NoRoot),
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

    fn show_options(&self) -> String {
        let options = self.options.get();
        let mut shown = Vec::new();
        shown.extend(options.uid.map(|uid| format!("uid={uid}")));
        shown.extend(options.gid.map(|gid| format!("gid={gid}")));
        shown.push(format!("mode={:03o}", options.mode));
        shown.push(format!("ptmxmode={:03o}", options.ptmx_mode));
        if options.max < PTYS_MAX {
            shown.push(format!("max={}", options.max));
        }
        shown.join(",")
    }

    fn remount(&self, data: &[u8]) -> Result<()> {
        self.options.set(Options::parse(data)?);
        Ok(())
    }
}

/// The root directory.
struct Root(Rc<DevPts>);

impl Inode for Root {
    fn fs(&self) -> Rc<dyn FileSystem> {
        Rc::clone(&self.0) as Rc<dyn FileSystem>
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        Ok(Attr {
            ino: ROOT_INO,
            mode: S_IFDIR | 0o755,
            nlink: 2,
            blksize: 1024,
            ..Attr::default()
        })
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        if name == b"ptmx" {
            let known = self.0.ptmx.borrow().upgrade();
            let ptmx = known.unwrap_or_else(|| {
                let ptmx = Rc::new(Ptmx(Rc::clone(&self.0)));
                *self.0.ptmx.borrow_mut() = Rc::downgrade(&ptmx);
                ptmx
            });
            return Ok(ptmx);
        }
        let text = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let index: u32 = text.parse().map_err(|_| Errno::ENOENT)?;
        if index.to_string() != text {
            return Err(Errno::ENOENT);
        }
        let ptys = self.0.ptys.borrow();
        ptys.get(&index)
            .map(|slave| Rc::clone(slave) as InodeRef)
            .ok_or(Errno::ENOENT)
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let mut more = true;
        if cursor == 0 {
            more = emit(DirEntry {
                name: b"ptmx",
                ino: PTMX_INO,
                file_type: S_IFCHR,
                next: 1,
            });
        }
        let first = cursor.saturating_sub(1) as u32;
        let indices: Vec<u32> = self
            .0
            .ptys
            .borrow()
            .range(first..)
            .map(|(&index, _)| index)
            .collect();
        for index in indices {
            if !more {
                break;
            }
            let name = index.to_string();
            let ino = FIRST_INO + u64::from(index);
            more = emit(DirEntry {
                name: name.as_bytes(),
                ino,
                file_type: S_IFCHR,
                next: u64::from(index) + 2,
            });
        }
        Ok(())
    }

    fn open(self: Rc<Self>, _flags: OpenFlags) -> Result<Rc<dyn File>> {
        Ok(Rc::new(DirFile(self)))
    }
}

/// Stands for the root of an instance that is gone.
struct NoRoot;

impl Inode for NoRoot {
    fn fs(&self) -> Rc<dyn FileSystem> {
        Rc::new(GoneFs)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        Err(Errno::ESTALE)
    }

    fn open(self: Rc<Self>, _flags: OpenFlags) -> Result<Rc<dyn File>> {
        Err(Errno::ESTALE)
    }
}

struct GoneFs;

impl FileSystem for GoneFs {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> InodeRef {
        Rc::new(NoRoot)
    }

    fn statfs(&self) -> StatFs {
        StatFs::default()
    }
}

/// `ptmx`: opening it makes a terminal.
struct Ptmx(Rc<DevPts>);

impl Inode for Ptmx {
    fn fs(&self) -> Rc<dyn FileSystem> {
        Rc::clone(&self.0) as Rc<dyn FileSystem>
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        let options = self.0.options.get();
        Ok(Attr {
            ino: PTMX_INO,
            mode: S_IFCHR | options.ptmx_mode,
            nlink: 1,
            rdev: makedev(5, 2),
            blksize: 1024,
            ..Attr::default()
        })
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if let Some(perm) = change.perm {
            self.0.options.set(Options {
                ptmx_mode: perm & 0o777,
                ..self.0.options.get()
            });
        }
        Ok(())
    }

    fn open(self: Rc<Self>, _flags: OpenFlags) -> Result<Rc<dyn File>> {
        Ok(self.0.open_master()?)
    }
}

/// A slave's inode.
struct Slave {
    fs: Rc<DevPts>,
    tty: Rc<Tty>,
    attr: Cell<Attr>,
}

impl Inode for Slave {
    fn fs(&self) -> Rc<dyn FileSystem> {
        Rc::clone(&self.fs) as Rc<dyn FileSystem>
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        Ok(self.attr.get())
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let mut attr = self.attr.get();
        if let Some(perm) = change.perm {
            attr.mode = S_IFCHR | (perm & 0o7777);
        }
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.atime = change.atime.unwrap_or(attr.atime);
        attr.mtime = change.mtime.unwrap_or(attr.mtime);
        attr.ctime = timestamp(&self.fs.clock);
        self.attr.set(attr);
        Ok(())
    }

    fn open(self: Rc<Self>, _flags: OpenFlags) -> Result<Rc<dyn File>> {
        Ok(PtySlave::open(&self.tty)?)
    }
}
