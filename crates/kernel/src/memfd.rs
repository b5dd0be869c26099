//! Files in memory without a name, and their seals (`memfd_create(2)`, `F_ADD_SEALS` of `fcntl(2)`).
//!
//! They are files of a tmpfs that is mounted nowhere. Seals hang on the inode, so a file opened again
//! through /proc has them too.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use abi::{Errno, Result};
use mem::Page;
use vfs::file::{File, OpenFile, OpenFlags};
use vfs::inode::{FileSystem, InodeRef};
use vfs::mount::{Mount, MountFlags};
use vfs::path::Path;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

use crate::kernel::Kernel;
use crate::task::Task;

/// `MFD_CLOEXEC`.
pub const MFD_CLOEXEC: u64 = 1;
/// `MFD_ALLOW_SEALING`.
const MFD_ALLOW_SEALING: u64 = 2;
/// `MFD_NOEXEC_SEAL`.
const MFD_NOEXEC_SEAL: u64 = 8;
/// `MFD_EXEC`.
const MFD_EXEC: u64 = 16;
/// All flags there are here.
pub const KNOWN_FLAGS: u64 = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;

const SEAL_SEAL: u32 = 1;
const SEAL_SHRINK: u32 = 2;
const SEAL_GROW: u32 = 4;
const SEAL_WRITE: u32 = 8;
const SEAL_FUTURE_WRITE: u32 = 16;
const SEAL_EXEC: u32 = 32;

/// The seals of an inode.
struct Seals(Cell<u32>);

/// The tmpfs such files are on.
struct Hidden {
    mount: Rc<Mount>,
}

impl Hidden {
    fn of(k: &Kernel) -> Rc<Hidden> {
        k.extension(|| {
            // No limit but the memory's.
            let options = TmpfsOptions {
                size: None,
                inodes: None,
                ..TmpfsOptions::in_memory(&k.payer, k.config.memory)
            };
            let fs = Tmpfs::new(&k.clock, options) as Rc<dyn FileSystem>;
            Hidden {
                mount: k
                    .init_ns
                    .mnt
                    .mounts
                    .table()
                    .mount(&fs, b"tmpfs", MountFlags::empty()),
            }
        })
    }
}

/// An open memory file.
struct MemFile {
    inode: InodeRef,
    name: String,
    seals: Rc<Seals>,
}

impl File for MemFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.inode.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        let seals = self.seals.0.get();
        if seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        let mut buf = buf;
        if seals & SEAL_GROW != 0 {
            let room = self.inode.attr()?.size.saturating_sub(offset);
            if room == 0 && !buf.is_empty() {
                return Err(Errno::EPERM);
            }
            buf = &buf[..buf.len().min(room as usize)];
        }
        self.inode.write_at(offset, buf)
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        if write && self.seals.0.get() & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        self.inode.page(index, write)
    }

    fn anonymous_name(&self) -> Option<String> {
        Some(format!("/memfd:{} (deleted)", self.name))
    }
}

/// A new, empty memory file.
pub fn create(k: &Rc<Kernel>, t: &Task, name: &[u8], flags: u64) -> Result<Rc<OpenFile>> {
    let hidden = Hidden::of(k);
    let place = hidden.mount.root_path();
    let mode = if flags & MFD_NOEXEC_SEAL != 0 {
        0o666
    } else {
        0o777
    };
    let open = k.with_host_fs(|fs| {
        fs.open(
            Some(&place),
            b".",
            OpenFlags::TMPFILE | OpenFlags::RDWR,
            mode,
        )
    })?;
    let path = open.path.clone().ok_or(Errno::EIO)?;
    let creds = t.creds();
    let owner = vfs::inode::SetAttr {
        uid: Some(creds.fsuid),
        gid: Some(creds.fsgid),
        ..Default::default()
    };
    path.inode().set_attr(&owner)?;
    let sealing = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) != 0;
    let first = if flags & MFD_NOEXEC_SEAL != 0 {
        SEAL_EXEC
    } else {
        0
    };
    let seals = Rc::new(Seals(Cell::new(if sealing { first } else { SEAL_SEAL })));
    if let Some(attachments) = path.inode().attachments() {
        attachments.set(Rc::clone(&seals));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let file = MemFile {
        inode: path.inode(),
        name,
        seals,
    };
    Ok(OpenFile::new(Rc::new(file), Some(path), OpenFlags::RDWR))
}

fn seals_of(inode: &InodeRef) -> Option<Rc<Seals>> {
    inode.attachments()?.get::<Seals>()
}

/// What a seal says about a shared mapping: `EPERM` for one that writes, and whether one that reads may
/// never become one that writes.
pub fn forbids_writing(file: &OpenFile) -> bool {
    let seals = file.inode().as_ref().and_then(seals_of);
    seals.is_some_and(|seals| seals.0.get() & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0)
}

/// `F_ADD_SEALS`.
pub fn add_seals(k: &Kernel, file: &OpenFile, seals: u32) -> Result<u64> {
    let known = file
        .inode()
        .as_ref()
        .and_then(seals_of)
        .ok_or(Errno::EINVAL)?;
    if seals & !0x3f != 0 {
        return Err(Errno::EINVAL);
    }
    if !file.flags.get().writable() || known.0.get() & SEAL_SEAL != 0 {
        return Err(Errno::EPERM);
    }
    if seals & SEAL_WRITE != 0 && k.is_mapped_writable(&file.inode().ok_or(Errno::EINVAL)?) {
        return Err(Errno::EBUSY);
    }
    known.0.set(known.0.get() | seals);
    Ok(0)
}

/// `F_GET_SEALS`.
pub fn get_seals(file: &OpenFile) -> Result<u64> {
    file.inode()
        .as_ref()
        .and_then(seals_of)
        .map(|seals| u64::from(seals.0.get()))
        .ok_or(Errno::EINVAL)
}

/// `EPERM` when a seal forbids the new size.
pub fn check_resize(path: &Path, size: u64) -> Result<()> {
    let inode = path.inode();
    let Some(seals) = seals_of(&inode) else {
        return Ok(());
    };
    let now = inode.attr()?.size;
    let forbidden = if size < now { SEAL_SHRINK } else { SEAL_GROW };
    if size != now && seals.0.get() & forbidden != 0 {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}
