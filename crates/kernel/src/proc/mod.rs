//! procfs: what the kernel knows, as files (`proc(5)`).
//!
//! Reading order: this file (the file system and its root), [`system`] (files about the machine),
//! [`task`] (the directory of a task: one table), then what is in there: [`status`] (`stat`, `status`,
//! `limits`, …), [`maps`], [`fd`], [`links`] (magic links), `net`, and [`sysctl`] (`/proc/sys`).
//!
//! Each pid namespace has its own procfs: numbers are those of the namespace of whoever mounted it.
//!
//! Not here: hidepid, `/proc/kcore`, `/proc/config.gz`, `/proc/kallsyms`.

pub mod fd;
pub mod links;
pub mod maps;
pub mod net;
pub mod status;
pub mod sysctl;
pub mod system;
pub mod task;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use vfs::inode::{FileSystem, InodeRef, S_IFDIR, S_IFLNK, S_IFREG, StatFs, Timestamp};

use crate::Kernel;
use crate::namespaces::PidNamespace;
use crate::pseudo::{Body, Content, Dir, Entry, Maker, NodeCache, ino_of};
use crate::task::Task;

/// `PROC_SUPER_MAGIC`.
pub const MAGIC: u64 = 0x9fa0;
/// Clock ticks per second that times are counted in (`sysconf(_SC_CLK_TCK)`).
pub const TICKS_PER_SEC: u64 = 100;

/// Clock ticks in `nanos`.
#[must_use]
pub fn ticks(nanos: u64) -> u64 {
    nanos / (clock::NANOS_PER_SEC / TICKS_PER_SEC)
}

/// procfs of one pid namespace.
pub struct ProcFs {
    kernel: Weak<Kernel>,
    /// Whose numbers it shows.
    pub ns: Rc<PidNamespace>,
    cache: Rc<NodeCache>,
    time: Timestamp,
    me: Weak<ProcFs>,
}

/// The procfs of each pid namespace that has one mounted.
#[derive(Default)]
struct Mounted(RefCell<Vec<Weak<ProcFs>>>);

impl ProcFs {
    /// The procfs of a pid namespace; the same one each time.
    #[must_use]
    pub fn of(kernel: &Rc<Kernel>, ns: &Rc<PidNamespace>) -> Rc<ProcFs> {
        let mounted = kernel.extension(Mounted::default);
        mounted.0.borrow_mut().retain(|fs| fs.strong_count() > 0);
        let known = mounted
            .0
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .find(|fs| Rc::ptr_eq(&fs.ns, ns));
        known.unwrap_or_else(|| {
            let fs = Rc::new_cyclic(|me| ProcFs {
                kernel: Rc::downgrade(kernel),
                ns: Rc::clone(ns),
                cache: Rc::default(),
                time: vfs::context::timestamp(&kernel.clock),
                me: me.clone(),
            });
            mounted.0.borrow_mut().push(Rc::downgrade(&fs));
            fs
        })
    }

    /// The kernel; `ENODEV` after the machine was switched off.
    pub fn kernel(&self) -> Result<Rc<Kernel>> {
        self.kernel.upgrade().ok_or(Errno::ENODEV)
    }

    /// Makes nodes owned by root.
    #[must_use]
    pub fn maker(self: &Rc<Self>) -> Maker {
        self.maker_for((0, 0))
    }

    /// Makes nodes with this owner.
    #[must_use]
    pub fn maker_for(self: &Rc<Self>, owner: (u32, u32)) -> Maker {
        let fs: Rc<dyn FileSystem> = self.clone();
        Maker {
            cache: Rc::clone(&self.cache),
            fs,
            owner,
            size: 0,
            time: self.time,
        }
    }

    /// The number of the task that looks, process and thread. `ENOENT` for who is not in this namespace;
    /// daemons of the machine look as its init.
    fn own_numbers(&self) -> Result<(u32, u32)> {
        let kernel = self.kernel()?;
        let current = match kernel.current() {
            Some(task) => task,
            None => kernel
                .init()
                .and_then(|init| init.leader())
                .ok_or(Errno::ENOENT)?,
        };
        match (current.group.tgid_in(&self.ns), current.tid_in(&self.ns)) {
            (0, _) | (_, 0) => Err(Errno::ENOENT),
            numbers => Ok(numbers),
        }
    }
}

impl FileSystem for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn root(&self) -> InodeRef {
        match self.me.upgrade() {
            Some(fs) => fs.maker().dir(1, Root(Rc::clone(&fs))),
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

/// The root directory: files of the machine, `self`, `thread-self`, and a directory per process.
struct Root(Rc<ProcFs>);

const LINKS: [(&str, &str); 2] = [("mounts", "self/mounts"), ("net", "self/net")];

impl Dir for Root {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let Root(fs) = self;
        if let Some(number) = parse_pid(name) {
            let task = fs.ns.task(number).ok_or(Errno::ENOENT)?;
            return Ok(task::process_dir(fs, &task));
        }
        let maker = fs.maker();
        let ino = ino_of(name, 1);
        let fs = Rc::clone(fs);
        match name {
            b"self" => {
                return Ok(maker.link(ino, move || {
                    Ok(fs.own_numbers()?.0.to_string().into_bytes())
                }));
            }
            b"thread-self" => {
                return Ok(maker.link(ino, move || {
                    let (tgid, tid) = fs.own_numbers()?;
                    Ok(format!("{tgid}/task/{tid}").into_bytes())
                }));
            }
            b"sys" => return Ok(sysctl::root(&fs)),
            _ => {}
        }
        if let Some((_, target)) = LINKS.iter().find(|(link, _)| link.as_bytes() == name) {
            return Ok(maker.link(ino, move || Ok(target.as_bytes().to_vec())));
        }
        system::lookup(&fs, "", name)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let Root(fs) = self;
        let mut entries = system::entries("");
        for (name, kind) in [
            ("self", S_IFLNK),
            ("thread-self", S_IFLNK),
            ("sys", S_IFDIR),
        ] {
            entries.push(Entry {
                name: name.into(),
                ino: ino_of(name.as_bytes(), 1),
                file_type: kind,
            });
        }
        for (name, _) in LINKS {
            entries.push(Entry {
                name: name.into(),
                ino: ino_of(name.as_bytes(), 1),
                file_type: S_IFLNK,
            });
        }
        for group in fs.ns.processes() {
            let number = group.tgid_in(&fs.ns);
            entries.push(Entry {
                name: number.to_string().into_bytes(),
                ino: task::ino(group.tgid(), ""),
                file_type: S_IFDIR,
            });
        }
        Ok(entries)
    }
}

/// A pid as a directory name: decimal, without a leading 0.
#[must_use]
pub fn parse_pid(name: &[u8]) -> Option<u32> {
    if name.first() == Some(&b'0') || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// A text file of the machine or of a task: generated by `read`, written by `write`.
pub struct TextFile<R, W> {
    /// Makes the text.
    pub read: R,
    /// Takes a write.
    pub write: W,
}

impl<R, W> Content for TextFile<R, W>
where
    R: Fn() -> Result<Vec<u8>> + 'static,
    W: Fn(&[u8]) -> Result<()> + 'static,
{
    fn read(&self) -> Result<Vec<u8>> {
        (self.read)()
    }

    fn write(&self, text: &[u8]) -> Result<()> {
        (self.write)(text)
    }
}

/// A node for a [`TextFile`].
pub fn read_write(
    maker: &Maker,
    ino: u64,
    perm: u32,
    read: impl Fn() -> Result<Vec<u8>> + 'static,
    write: impl Fn(&[u8]) -> Result<()> + 'static,
) -> InodeRef {
    maker.node(ino, perm, Body::File(Rc::new(TextFile { read, write })))
}

/// May whoever looks see what only the owner of a task may (`ptrace(2)`, "Ptrace access mode
/// checking")? Daemons may.
pub fn may_inspect(kernel: &Kernel, target: &Task) -> Result<()> {
    let Some(looker) = kernel.current() else {
        return Ok(());
    };
    if Rc::ptr_eq(&looker.group, &target.group) {
        return Ok(());
    }
    let (mine, theirs) = (looker.creds(), target.creds());
    let same_user = [theirs.uid, theirs.euid, theirs.suid]
        .iter()
        .all(|&uid| uid == mine.fsuid)
        && [theirs.gid, theirs.egid, theirs.sgid]
            .iter()
            .all(|&gid| gid == mine.fsgid);
    let dumpable = target.group.dumpable.get() == 1;
    let no_more_power = theirs.permitted & !mine.permitted == 0;
    if same_user && dumpable && no_more_power
        || kernel.capable_over(&looker, target, vfs::Capability::SysPtrace)
    {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// Type bits of a table entry that is a directory or a file.
pub(crate) fn kind(is_dir: bool) -> u32 {
    if is_dir { S_IFDIR } else { S_IFREG }
}
