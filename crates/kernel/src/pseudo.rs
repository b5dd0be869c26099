//! Toolkit for file systems whose content is made when it is looked at: procfs, sysfs, cgroup2, nsfs.
//!
//! A [`Node`] is an inode with a [`Body`]: a directory that answers look-ups, a file that generates
//! text and takes writes, or a link. Text is generated when a file is read at offset 0 and kept for the
//! reads that follow, so readers that rewind (procps keeps `/proc/stat` open) see new values and
//! readers of pieces see one consistent text.
//!
//! Nodes are made anew by look-ups and hold no state but what the body refers to. Directories that last
//! ([`Maker::dir`]) stay the same object as long as anybody holds them, so that mounts on what is below
//! them are found again.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use vfs::file::{DirFile, Events, File, OpenFlags};
use vfs::inode::{
    Attr, DirEntry, FileSystem, Inode, InodeRef, NewNode, S_IFDIR, S_IFLNK, S_IFREG, SetAttr,
    Timestamp,
};
use vfs::path::Path;

/// Largest text a write may carry.
const WRITE_MAX: usize = 64 * 1024;

/// An entry of a pseudo directory.
pub struct Entry {
    /// Name.
    pub name: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Type bits.
    pub file_type: u32,
}

/// What a pseudo directory does.
pub trait Dir: 'static {
    /// The entry of that name.
    fn lookup(&self, name: &[u8]) -> Result<InodeRef>;
    /// All entries, in a stable order.
    fn entries(&self) -> Result<Vec<Entry>>;
    /// `mkdir(2)`, for the file systems that have it.
    fn mkdir(&self, _name: &[u8], _node: &NewNode<'_>) -> Result<InodeRef> {
        Err(Errno::EPERM)
    }
    /// `rmdir(2)`.
    fn rmdir(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Changes owner or mode.
    fn set_attr(&self, _change: &SetAttr) -> Result<()> {
        Err(Errno::EPERM)
    }
}

/// What a pseudo file does.
pub trait Content: 'static {
    /// The text.
    fn read(&self) -> Result<Vec<u8>>;
    /// Takes one write.
    fn write(&self, _text: &[u8]) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// Asked when it is opened: a check of its own, besides the mode bits.
    fn check_open(&self, _flags: OpenFlags) -> Result<()> {
        Ok(())
    }
    /// A number that differs when the text has changed, for `poll`; registers `waker` for the change.
    /// `None`: the file never tells.
    fn version(&self, _waker: Option<&Waker>) -> Option<u64> {
        None
    }
    /// Changes owner or mode.
    fn set_attr(&self, _change: &SetAttr) -> Result<()> {
        Err(Errno::EPERM)
    }
}

/// A link that leads to an object.
pub trait Magic: 'static {
    /// What `readlink` shows.
    fn text(&self) -> Result<Vec<u8>>;
    /// Where following it leads.
    fn target(&self) -> Result<Path>;
}

/// What a node is.
pub enum Body {
    /// A directory.
    Dir(Box<dyn Dir>),
    /// A file of text.
    File(Rc<dyn Content>),
    /// A symbolic link, read anew each time.
    Link(Box<dyn Fn() -> Result<Vec<u8>>>),
    /// A magic link.
    Magic(Box<dyn Magic>),
    /// A file that is not text (`/proc/PID/mem`, namespace files): opening gives what it does.
    Special(Box<dyn Fn(OpenFlags) -> Result<Rc<dyn File>>>),
}

/// An inode of a pseudo file system.
pub struct Node {
    fs: Rc<dyn FileSystem>,
    ino: u64,
    perm: u32,
    owner: (u32, u32),
    size: u64,
    time: Timestamp,
    nlink: u32,
    body: Body,
}

/// The directories of a file system that somebody holds, by inode number.
#[derive(Default)]
pub struct NodeCache(RefCell<HashMap<u64, Weak<Node>>>);

impl NodeCache {
    fn get(&self, ino: u64) -> Option<InodeRef> {
        let node = self.0.borrow().get(&ino)?.upgrade()?;
        Some(node)
    }

    fn put(&self, ino: u64, node: &Rc<Node>) {
        let mut nodes = self.0.borrow_mut();
        if nodes.len() >= 1024 {
            nodes.retain(|_, node| node.strong_count() > 0);
        }
        nodes.insert(ino, Rc::downgrade(node));
    }
}

/// What all nodes made by one call share.
#[derive(Clone)]
pub struct Maker {
    /// Directories that are in use.
    pub cache: Rc<NodeCache>,
    /// The file system they are on.
    pub fs: Rc<dyn FileSystem>,
    /// Owner of what is made.
    pub owner: (u32, u32),
    /// Size that `stat` shows for files (0 in procfs, 4096 in sysfs).
    pub size: u64,
    /// Time stamps.
    pub time: Timestamp,
}

impl Maker {
    /// A node.
    #[must_use]
    pub fn node(&self, ino: u64, perm: u32, body: Body) -> InodeRef {
        self.make(ino, perm, body)
    }

    fn make(&self, ino: u64, perm: u32, body: Body) -> Rc<Node> {
        let nlink = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        Rc::new(Node {
            fs: Rc::clone(&self.fs),
            ino,
            perm,
            owner: self.owner,
            size: if matches!(body, Body::File(_)) {
                self.size
            } else {
                0
            },
            time: self.time,
            nlink,
            body,
        })
    }

    /// A directory that lasts and that everybody may list: the same inode number gives the same node.
    #[must_use]
    pub fn dir(&self, ino: u64, dir: impl Dir) -> InodeRef {
        self.lasting_dir(ino, 0o555, dir)
    }

    /// As [`Maker::dir`], with a mode.
    #[must_use]
    pub fn lasting_dir(&self, ino: u64, perm: u32, dir: impl Dir) -> InodeRef {
        if let Some(known) = self.cache.get(ino) {
            return known;
        }
        let node = self.make(ino, perm, Body::Dir(Box::new(dir)));
        self.cache.put(ino, &node);
        node
    }

    /// A file with fixed text.
    #[must_use]
    pub fn text(&self, ino: u64, perm: u32, text: impl Into<Vec<u8>>) -> InodeRef {
        self.node(ino, perm, Body::File(Rc::new(Fixed(text.into()))))
    }

    /// A file that `read` fills.
    #[must_use]
    pub fn read_only(
        &self,
        ino: u64,
        perm: u32,
        read: impl Fn() -> Result<Vec<u8>> + 'static,
    ) -> InodeRef {
        self.node(ino, perm, Body::File(Rc::new(Generated(read))))
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(&self, ino: u64, target: impl Fn() -> Result<Vec<u8>> + 'static) -> InodeRef {
        self.node(ino, 0o777, Body::Link(Box::new(target)))
    }
}

struct Fixed(Vec<u8>);

impl Content for Fixed {
    fn read(&self) -> Result<Vec<u8>> {
        Ok(self.0.clone())
    }
}

struct Generated<F>(F);

impl<F: Fn() -> Result<Vec<u8>> + 'static> Content for Generated<F> {
    fn read(&self) -> Result<Vec<u8>> {
        (self.0)()
    }
}

impl Node {
    fn file_type(&self) -> u32 {
        match self.body {
            Body::Dir(_) => S_IFDIR,
            Body::File(_) | Body::Special(_) => S_IFREG,
            Body::Link(_) | Body::Magic(_) => S_IFLNK,
        }
    }

    fn directory(&self) -> Result<&dyn Dir> {
        match &self.body {
            Body::Dir(dir) => Ok(&**dir),
            _ => Err(Errno::ENOTDIR),
        }
    }
}

impl Inode for Node {
    fn fs(&self) -> Rc<dyn FileSystem> {
        Rc::clone(&self.fs)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        Ok(Attr {
            ino: self.ino,
            mode: self.file_type() | self.perm,
            nlink: self.nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            size: self.size,
            blksize: if self.size == 0 { 1024 } else { 4096 },
            atime: self.time,
            mtime: self.time,
            ctime: self.time,
            btime: self.time,
            ..Attr::default()
        })
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        // `echo 1 > file` truncates first; times are nobody's business here.
        let owner_or_mode = change.perm.is_some() || change.uid.is_some() || change.gid.is_some();
        match &self.body {
            _ if !owner_or_mode => Ok(()),
            Body::Dir(dir) => dir.set_attr(change),
            Body::File(content) => content.set_attr(change),
            _ => Err(Errno::EPERM),
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        self.directory()?.lookup(name)
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<InodeRef> {
        let made = match node.mode & vfs::inode::S_IFMT {
            S_IFDIR => self.directory()?.mkdir(name, node),
            S_IFREG => Err(Errno::EACCES),
            _ => Err(Errno::EPERM),
        };
        match made {
            // procfs does not even look for names that are not there.
            Err(Errno::EPERM | Errno::EACCES) if self.fs().name() == "proc" => Err(Errno::ENOENT),
            made => made,
        }
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.directory()?.rmdir(name)
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let entries = self.directory()?.entries()?;
        let start = usize::try_from(cursor).map_err(|_| Errno::EINVAL)?;
        for (index, entry) in entries.iter().enumerate().skip(start) {
            let next = index as u64 + 1;
            let entry = DirEntry {
                name: &entry.name,
                ino: entry.ino,
                file_type: entry.file_type,
                next,
            };
            if !emit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match &self.body {
            Body::Link(target) => target(),
            Body::Magic(magic) => magic.text(),
            _ => Err(Errno::EINVAL),
        }
    }

    fn magic_link(&self) -> Option<Result<Path>> {
        match &self.body {
            Body::Magic(magic) => Some(magic.target()),
            _ => None,
        }
    }

    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>> {
        match &self.body {
            Body::Dir(_) => Ok(Rc::new(DirFile(self))),
            Body::File(content) => {
                content.check_open(flags)?;
                Ok(Rc::new(TextFile {
                    content: Rc::clone(content),
                    text: RefCell::new(None),
                    seen: RefCell::new(content.version(None)),
                }))
            }
            Body::Special(open) => open(flags),
            Body::Link(_) | Body::Magic(_) => Err(Errno::ELOOP),
        }
    }
}

/// An open pseudo file.
struct TextFile {
    content: Rc<dyn Content>,
    /// What was generated at the last read from the beginning.
    text: RefCell<Option<Vec<u8>>>,
    /// The version last read, for `poll`.
    seen: RefCell<Option<u64>>,
}

impl File for TextFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if offset == 0 || self.text.borrow().is_none() {
            // Generated outside the borrow: it may look at open files, this one among them.
            let version = self.content.version(None);
            let text = self.content.read()?;
            *self.seen.borrow_mut() = version;
            *self.text.borrow_mut() = Some(text);
        }
        let text = self.text.borrow();
        let text = text.as_deref().unwrap_or_default();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(text.len());
        let count = buf.len().min(text.len() - start);
        buf[..count].copy_from_slice(&text[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        if buf.len() > WRITE_MAX {
            return Err(Errno::EINVAL);
        }
        self.content.write(buf)?;
        Ok(buf.len())
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        let ready = Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM;
        match self.content.version(waker) {
            Some(version) if Some(version) != *self.seen.borrow() => {
                ready | Events::ERR | Events::PRI
            }
            _ => ready,
        }
    }

    /// Files that tell of changes may be watched with epoll; Linux allows it for all of procfs that
    /// has a `poll` operation, and refuses the others.
    fn always_ready(&self) -> bool {
        self.content.version(None).is_none()
    }

    fn is_seekable(&self) -> bool {
        true
    }
}

/// An inode number for what a name stands for: the same name, the same number.
#[must_use]
pub fn ino_of(name: &[u8], salt: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ salt;
    for &byte in name {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // 40 bits: programs print inode numbers in columns.
    ((hash ^ (hash >> 40)) & 0xff_ffff_ffff) | 0x100
}

/// A number written as text: decimal, `0x…` or octal with a leading 0, white space around it.
pub fn parse_number(text: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Errno::EINVAL)?
        .trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    let value = value.map_err(|_| Errno::EINVAL)?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use vfs::inode::StatFs;

    use super::*;

    struct TestFs;

    impl FileSystem for TestFs {
        fn name(&self) -> &'static str {
            "test"
        }
        fn device(&self) -> u64 {
            1
        }
        fn root(&self) -> InodeRef {
            maker().text(1, 0o444, "")
        }
        fn statfs(&self) -> StatFs {
            StatFs::default()
        }
    }

    fn maker() -> Maker {
        Maker {
            cache: Rc::default(),
            fs: Rc::new(TestFs),
            owner: (0, 0),
            size: 0,
            time: Timestamp::default(),
        }
    }

    #[test]
    fn text_is_made_at_offset_0_and_kept_for_the_reads_that_follow() {
        let count = Cell::new(0);
        let node = maker().read_only(1, 0o444, move || {
            count.set(count.get() + 1);
            Ok(format!("text {}\n", count.get()).into_bytes())
        });
        let file = node.open(OpenFlags::empty()).unwrap();
        let mut buf = [0; 5];
        assert_eq!((file.read_at(0, &mut buf), &buf), (Ok(5), b"text "));
        assert_eq!((file.read_at(5, &mut buf), &buf[..2]), (Ok(2), &b"1\n"[..]));
        assert_eq!(file.read_at(7, &mut buf), Ok(0));
        file.read_at(0, &mut buf).unwrap();
        assert_eq!((file.read_at(5, &mut buf), buf[0]), (Ok(2), b'2'));
        assert_eq!(file.write_at(0, b"x"), Err(Errno::EINVAL));
    }

    #[test]
    fn numbers_as_sysctls_take_them() {
        for (text, value) in [
            ("5\n", Ok(5)),
            (" -7 ", Ok(-7)),
            ("0x10", Ok(16)),
            ("010", Ok(8)),
            ("0", Ok(0)),
        ] {
            assert_eq!(parse_number(text.as_bytes()), value, "{text:?}");
        }
        for text in ["", "x", "1 2", "99999999999999999999"] {
            assert_eq!(
                parse_number(text.as_bytes()),
                Err(Errno::EINVAL),
                "{text:?}"
            );
        }
    }
}
