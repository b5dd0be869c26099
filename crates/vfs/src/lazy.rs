//! A read-only file system whose file content is fetched when someone reads it.
//!
//! The tree (names, attributes, links) is built at once with [`LazyTree::insert`]; a regular file
//! has a list of [`Chunk`]s. Reading a chunk that is not here asks the [`ContentSource`] for it and
//! returns `Errno::NOT_HERE_YET`; the owner of the source hands the bytes to [`LazyTree::arrived`],
//! which wakes the queue of arrivals. Whoever was told to wait registers there and tries again.
//!
//! A source that holds the tree holds it weakly, or neither is ever freed.
//!
//! Pages that are here stay, and are shared by all who read or map the file. What a chunk is (a gzip
//! member of an eStargz layer) and how it is verified is the source's business: bytes that reach
//! [`LazyTree::arrived`] are taken as right.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use mem::{Account, Kind, PAGE_SIZE, Page};

use crate::file::{DirFile, Events, File, OpenFlags};
use crate::inode::{
    Attachments, Attr, DirEntry, FileSystem, Inode, InodeRef, NewNode, S_IFDIR, S_IFLNK, S_IFMT,
    S_IFREG, SetAttr, StatFs,
};
use crate::tmpfs::content::Content;
use crate::tmpfs::dir::Entries;
use crate::tmpfs::xattrs::Xattrs;
use crate::walk::{NAME_MAX, PATH_MAX};

/// Magic number that `statfs` shows: erofs, the usual file system for read-only layers.
const MAGIC: u64 = 0xe0f5_e1e2;

/// A piece of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Where it is in the file.
    pub offset: u64,
    /// Its length in the file.
    pub len: u64,
    /// What the source knows it by. Chunks of different files may have the same key: same content.
    pub key: u64,
}

/// Where content comes from.
pub trait ContentSource {
    /// Somebody needs this chunk. Answer now or later with [`LazyTree::arrived`]. It is not asked for
    /// again before that.
    fn request(&self, chunk: Chunk);
}

/// An entry to put into a tree.
#[derive(Clone, Debug, Default)]
pub struct LazyEntry<'a> {
    /// Path from the root of the tree, with or without a slash in front.
    pub path: &'a [u8],
    /// Type, permission, owner, device, size, times. `ino` and `nlink` are given by the tree.
    pub attr: Attr,
    /// For symbolic links: the target.
    pub target: &'a [u8],
    /// Another name of this file, which is in the tree; all else but `path` is then ignored.
    pub hard_link: Option<&'a [u8]>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// For regular files: the content in order. What no chunk covers is zeros.
    pub chunks: Vec<Chunk>,
}

/// The file system.
pub struct LazyTree {
    core: Rc<Core>,
    root: Rc<Node>,
    /// Where the last entry was put, by path: the next one is most often beside it.
    last: RefCell<Option<(Vec<u8>, Rc<Node>)>>,
}

struct Core {
    source: Rc<dyn ContentSource>,
    arrivals: Rc<WaitQueue>,
    /// Pays for content.
    account: RefCell<Rc<Account>>,
    fs: RefCell<Weak<LazyTree>>,
    next_ino: Cell<u64>,
    pages: Cell<u64>,
    /// Files with a chunk that was asked for, by its key.
    wanted: RefCell<HashMap<u64, Vec<Weak<Node>>>>,
}

struct Node {
    core: Rc<Core>,
    me: Weak<Node>,
    attr: RefCell<Attr>,
    data: Data,
    xattrs: Xattrs,
    attachments: Attachments,
}

enum Data {
    Dir(RefCell<Entries<Rc<Node>>>),
    File(RefCell<Body>),
    Link(Box<[u8]>),
    Special,
}

#[derive(Default)]
struct Body {
    content: Content,
    chunks: Vec<(Chunk, State)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Requested,
    Here,
    Failed(Errno),
}

impl LazyTree {
    /// An empty tree. `arrivals` is woken whenever content came; one queue may serve all trees of a
    /// machine (see [`crate::mount::MountTable::arrivals`]).
    #[must_use]
    pub fn new(source: Rc<dyn ContentSource>, arrivals: Rc<WaitQueue>) -> Rc<LazyTree> {
        let core = Rc::new(Core {
            source,
            arrivals,
            account: RefCell::new(Account::new(None)),
            fs: RefCell::default(),
            next_ino: Cell::new(1),
            pages: Cell::new(0),
            wanted: RefCell::default(),
        });
        core.with_root()
    }

    /// Adds an entry. Missing directories on the way are made; an entry of the same name is replaced,
    /// but a directory only gets the new attributes. Paths that lead out of the tree are `EINVAL`.
    pub fn insert(&self, entry: &LazyEntry<'_>) -> Result<()> {
        let names = split(entry.path)?;
        let Some((name, above)) = names.split_last() else {
            self.root.describe(entry)?;
            return Ok(());
        };
        // What stands before the name.
        let above_len = name.as_ptr().addr() - entry.path.as_ptr().addr();
        let dir = self.dir(&entry.path[..above_len], above)?;
        let known = dir.entries()?.borrow().get(name).cloned();
        if known.as_ref().is_some_and(|known| known.is_dir()) {
            // It may be replaced by something else, and what was put into it then goes with it.
            *self.last.borrow_mut() = None;
        }
        if let Some(other) = entry.hard_link {
            let target = self.find(other)?;
            if target.is_dir() {
                return Err(Errno::EPERM);
            }
            dir.put(name, target)?;
            return Ok(());
        }
        if let Some(known) = known.filter(|known| known.is_dir() && entry.attr.is_dir()) {
            return known.describe(entry);
        }
        let node = Node::new(&self.core, entry)?;
        node.describe(entry)?;
        dir.put(name, node)
    }

    /// The directory at `path`, made if missing; `names` are its parts.
    fn dir(&self, path: &[u8], names: &[&[u8]]) -> Result<Rc<Node>> {
        if let Some((known, dir)) = &*self.last.borrow()
            && known == path
        {
            return Ok(Rc::clone(dir));
        }
        let mut dir = Rc::clone(&self.root);
        for name in names {
            dir = dir.child_dir(name)?;
        }
        *self.last.borrow_mut() = Some((path.to_vec(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn find(&self, path: &[u8]) -> Result<Rc<Node>> {
        let mut here = Rc::clone(&self.root);
        for name in split(path)? {
            let next = here.entries()?.borrow().get(name).cloned();
            here = next.ok_or(Errno::ENOENT)?;
        }
        Ok(here)
    }

    /// The bytes of a chunk came, or cannot come. Wakes all who wait.
    pub fn arrived(&self, key: u64, bytes: Result<&[u8]>) {
        let files = self
            .core
            .wanted
            .borrow_mut()
            .remove(&key)
            .unwrap_or_default();
        for file in files.iter().filter_map(Weak::upgrade) {
            file.fill(key, bytes);
        }
        self.core.arrivals.wake_all();
    }

    /// Woken whenever content came.
    #[must_use]
    pub fn arrivals(&self) -> &Rc<WaitQueue> {
        &self.core.arrivals
    }

    /// From now on `account` pays for content; when it is full, reading fails.
    pub fn set_account(&self, account: Rc<Account>) {
        *self.core.account.borrow_mut() = account;
    }

    /// Pages of content that are here.
    #[must_use]
    pub fn pages_here(&self) -> u64 {
        self.core.pages.get()
    }
}

/// The names of a path; `EINVAL` when it is not one within the tree.
fn split(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let parts = path.split(|&byte| byte == b'/');
    let names: Vec<&[u8]> = parts
        .filter(|name| !name.is_empty() && *name != b".")
        .collect();
    if names.iter().any(|name| name.len() > NAME_MAX) {
        return Err(Errno::ENAMETOOLONG);
    }
    if names.iter().any(|name| *name == b".." || name.contains(&0)) {
        return Err(Errno::EINVAL);
    }
    Ok(names)
}

impl Core {
    fn with_root(self: &Rc<Self>) -> Rc<LazyTree> {
        let root = Node::make(self, S_IFDIR | 0o755, Data::Dir(RefCell::default()));
        let fs = Rc::new(LazyTree {
            core: Rc::clone(self),
            root,
            last: RefCell::default(),
        });
        *self.fs.borrow_mut() = Rc::downgrade(&fs);
        fs
    }
}

impl Node {
    fn new(core: &Rc<Core>, entry: &LazyEntry<'_>) -> Result<Rc<Node>> {
        let data = match entry.attr.file_type() {
            S_IFDIR => Data::Dir(RefCell::default()),
            S_IFLNK => Data::Link(entry.target.into()),
            S_IFREG => Data::File(RefCell::new(Body::new(entry)?)),
            0 => return Err(Errno::EINVAL),
            _ => Data::Special,
        };
        Ok(Node::make(core, entry.attr.mode, data))
    }

    fn make(core: &Rc<Core>, mode: u32, data: Data) -> Rc<Node> {
        let ino = core.next_ino.get();
        core.next_ino.set(ino + 1);
        let nlink = if matches!(data, Data::Dir(_)) { 2 } else { 0 };
        let attr = Attr {
            ino,
            mode,
            nlink,
            blksize: PAGE_SIZE as u32,
            ..Attr::default()
        };
        Rc::new_cyclic(|me| Node {
            core: Rc::clone(core),
            me: me.clone(),
            attr: RefCell::new(attr),
            data,
            xattrs: Xattrs::default(),
            attachments: Attachments::default(),
        })
    }

    /// Takes over what an entry says.
    fn describe(&self, entry: &LazyEntry<'_>) -> Result<()> {
        let mut attr = self.attr.borrow_mut();
        let size = match &self.data {
            Data::Dir(_) => 4096,
            Data::Link(target) => target.len() as u64,
            Data::File(_) => entry.attr.size,
            Data::Special => 0,
        };
        let mode = attr.mode & S_IFMT | entry.attr.mode & 0o7777;
        let (ino, nlink, blksize) = (attr.ino, attr.nlink, attr.blksize);
        *attr = Attr {
            ino,
            nlink,
            blksize,
            mode,
            size,
            blocks: size.div_ceil(512),
            ..entry.attr
        };
        drop(attr);
        for (name, value) in &entry.xattrs {
            self.xattrs.set(name, value, 0)?;
        }
        Ok(())
    }

    fn is_dir(&self) -> bool {
        matches!(self.data, Data::Dir(_))
    }

    fn entries(&self) -> Result<&RefCell<Entries<Rc<Node>>>> {
        match &self.data {
            Data::Dir(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The directory `name`, made when there is none.
    fn child_dir(&self, name: &[u8]) -> Result<Rc<Node>> {
        let known = self.entries()?.borrow().get(name).cloned();
        match known {
            Some(node) if node.is_dir() => Ok(node),
            Some(_) => Err(Errno::ENOTDIR),
            None => {
                let node = Node::make(&self.core, S_IFDIR | 0o755, Data::Dir(RefCell::default()));
                self.put(name, Rc::clone(&node))?;
                Ok(node)
            }
        }
    }

    fn put(&self, name: &[u8], node: Rc<Node>) -> Result<()> {
        let adds = i32::from(node.is_dir());
        node.add_link(if node.is_dir() { 0 } else { 1 });
        let old = self.entries()?.borrow_mut().insert(name, node);
        let removes = i32::from(old.as_ref().is_some_and(|old| old.is_dir()));
        if let Some(old) = old {
            old.add_link(-1);
        }
        self.add_link(adds - removes);
        Ok(())
    }

    fn add_link(&self, more: i32) {
        let mut attr = self.attr.borrow_mut();
        attr.nlink = attr.nlink.saturating_add_signed(more);
    }

    /// Makes sure that `len` bytes from `offset` are here.
    fn ensure(&self, offset: u64, len: u64) -> Result<()> {
        let Data::File(body) = &self.data else {
            return Ok(());
        };
        if body.borrow().has(offset, len) {
            return Ok(());
        }
        // Not more than one chunk is looked at per borrow: a source may answer within the request.
        let mut index = 0;
        while let Some(chunk) = self.next_missing(body, &mut index, offset, len)? {
            let mut wanted = self.core.wanted.borrow_mut();
            let files = wanted.entry(chunk.key).or_default();
            let is_first = files.is_empty();
            files.push(self.me.clone());
            drop(wanted);
            if is_first {
                self.core.source.request(chunk);
            }
        }
        if body.borrow().has(offset, len) {
            Ok(())
        } else {
            Err(Errno::NOT_HERE_YET)
        }
    }

    fn next_missing(
        &self,
        body: &RefCell<Body>,
        index: &mut usize,
        offset: u64,
        len: u64,
    ) -> Result<Option<Chunk>> {
        let mut body = body.borrow_mut();
        *index = (*index).max(body.first_at(offset));
        while let Some((chunk, state)) = body.chunks.get_mut(*index) {
            if chunk.offset >= offset.saturating_add(len) {
                break;
            }
            *index += 1;
            match *state {
                State::Missing => {
                    *state = State::Requested;
                    return Ok(Some(*chunk));
                }
                State::Failed(errno) => {
                    // Told once; who tries again asks for it again.
                    *state = State::Missing;
                    return Err(errno);
                }
                State::Requested | State::Here => {}
            }
        }
        Ok(None)
    }

    fn fill(&self, key: u64, bytes: Result<&[u8]>) {
        let Data::File(body) = &self.data else { return };
        let mut body = body.borrow_mut();
        let Body { content, chunks } = &mut *body;
        let before = content.page_count();
        for (chunk, state) in chunks.iter_mut().filter(|(chunk, _)| chunk.key == key) {
            *state = match bytes {
                Ok(bytes) if bytes.len() as u64 == chunk.len => {
                    match fill_pages(content, chunk.offset, bytes, &self.core.account.borrow()) {
                        Ok(()) => State::Here,
                        Err(errno) => State::Failed(errno),
                    }
                }
                Ok(_) => State::Failed(Errno::EIO),
                Err(errno) => State::Failed(errno),
            };
        }
        self.core
            .pages
            .set(self.core.pages.get() + content.page_count() - before);
    }
}

/// Writes bytes, leaving pages of zeros out.
fn fill_pages(
    content: &mut Content,
    offset: u64,
    bytes: &[u8],
    account: &Rc<Account>,
) -> Result<()> {
    let size = content.size();
    let make = || Page::new_in(account, Kind::Disk).map_err(|_| Errno::EIO);
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = PAGE_SIZE - (at % PAGE_SIZE as u64) as usize;
        let (part, behind) = rest.split_at(room.min(rest.len()));
        if part.iter().any(|&byte| byte != 0) {
            content.write(at, part, make)?;
        }
        at += part.len() as u64;
        rest = behind;
    }
    // The size is the entry's, whatever the chunks say.
    debug_assert_eq!(content.size(), size);
    Ok(())
}

impl Body {
    /// Checks that the chunks are in order, do not overlap, and are within the file.
    fn new(entry: &LazyEntry<'_>) -> Result<Body> {
        let size = entry.attr.size;
        if i64::try_from(size).is_err() {
            return Err(Errno::EFBIG);
        }
        let mut end = 0;
        for chunk in &entry.chunks {
            let chunk_end = chunk.offset.checked_add(chunk.len).ok_or(Errno::EINVAL)?;
            if chunk.offset < end || chunk_end > size {
                return Err(Errno::EINVAL);
            }
            end = chunk_end;
        }
        let mut content = Content::default();
        content.truncate(size);
        let chunks = entry.chunks.iter().filter(|chunk| chunk.len > 0);
        Ok(Body {
            content,
            chunks: chunks.map(|chunk| (*chunk, State::Missing)).collect(),
        })
    }

    /// Index of the first chunk that ends behind `offset`.
    fn first_at(&self, offset: u64) -> usize {
        self.chunks
            .partition_point(|(chunk, _)| chunk.offset + chunk.len <= offset)
    }

    fn has(&self, offset: u64, len: u64) -> bool {
        let end = offset.saturating_add(len);
        let mut chunks = self.chunks[self.first_at(offset)..].iter();
        chunks
            .by_ref()
            .take_while(|(chunk, _)| chunk.offset < end)
            .all(|(_, state)| *state == State::Here)
    }
}

impl FileSystem for LazyTree {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn is_on_disk(&self) -> bool {
        true
    }

    fn root(&self) -> InodeRef {
        Rc::<Node>::clone(&self.root)
    }

    fn statfs(&self) -> StatFs {
        let (blocks, files) = (self.core.pages.get(), self.core.next_ino.get() - 1);
        let bsize = PAGE_SIZE as u64;
        StatFs {
            magic: MAGIC,
            bsize,
            blocks,
            files,
            namelen: 255,
            ..StatFs::default()
        }
    }
}

impl Inode for Node {
    fn fs(&self) -> Rc<dyn FileSystem> {
        let known = self.core.fs.borrow().upgrade();
        known.unwrap_or_else(|| self.core.with_root())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        Ok(*self.attr.borrow())
    }

    fn set_attr(&self, _change: &SetAttr) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        match self.entries()?.borrow().get(name) {
            Some(node) => Ok(Rc::<Node>::clone(node)),
            None => Err(Errno::ENOENT),
        }
    }

    fn create(&self, _name: &[u8], _node: &NewNode<'_>) -> Result<InodeRef> {
        Err(Errno::EROFS)
    }

    fn ensure_content(&self, offset: u64, len: u64) -> Result<()> {
        self.ensure(offset, len)
    }

    fn link(&self, _name: &[u8], _target: &InodeRef) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn unlink(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn rmdir(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn rename(&self, _: &[u8], _: &InodeRef, _: &[u8], _: u32) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        for (next, name, node) in self.entries()?.borrow().after(cursor) {
            let attr = node.attr.borrow();
            let entry = DirEntry {
                name,
                ino: attr.ino,
                file_type: attr.file_type(),
                next,
            };
            if !emit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match &self.data {
            Data::Link(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>> {
        match &self.data {
            Data::Dir(_) => Ok(Rc::new(DirFile(self))),
            Data::Link(_) => Err(Errno::ELOOP),
            Data::Special => Err(Errno::ENXIO),
            Data::File(_) if flags.writable() => Err(Errno::EROFS),
            Data::File(_) => Ok(Rc::new(LazyFile(self))),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        match &self.data {
            Data::File(body) => {
                self.ensure(offset, buf.len() as u64)?;
                Ok(body.borrow().content.read(offset, buf))
            }
            Data::Dir(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        Err(Errno::EROFS)
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        let Data::File(body) = &self.data else {
            return Err(Errno::ENODEV);
        };
        if write {
            return Err(Errno::EROFS);
        }
        let offset = index.checked_mul(PAGE_SIZE as u64).ok_or(Errno::EFAULT)?;
        if offset >= body.borrow().content.size() {
            return Err(Errno::EFAULT);
        }
        self.ensure(offset, PAGE_SIZE as u64)?;
        body.borrow_mut()
            .content
            .page(index, false, || Err(Errno::EROFS))
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.xattrs.get(name)
    }

    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: u32) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.xattrs.list())
    }

    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn attachments(&self) -> Option<&Attachments> {
        Some(&self.attachments)
    }
}

impl Drop for Node {
    /// Frees a tree of directories one by one, however deep it is.
    fn drop(&mut self) {
        match &mut self.data {
            Data::File(body) => {
                let here = body.get_mut().content.page_count();
                self.core
                    .pages
                    .set(self.core.pages.get().saturating_sub(here));
            }
            Data::Dir(entries) => {
                let mut work: Vec<Rc<Node>> = entries.get_mut().take().collect();
                while let Some(child) = work.pop() {
                    if let Ok(mut node) = Rc::try_unwrap(child)
                        && let Data::Dir(entries) = &mut node.data
                    {
                        work.extend(entries.get_mut().take());
                    }
                }
            }
            _ => {}
        }
    }
}

/// An open file of a lazy tree.
struct LazyFile(Rc<Node>);

impl File for LazyFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.0.read_at(offset, buf)
    }

    /// Ready as any regular file; the waker is woken when content came.
    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.0.core.arrivals.register(waker);
        }
        Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        self.0.page(index, write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers what was asked for.
    #[derive(Default)]
    struct Asked(RefCell<Vec<u64>>);

    impl ContentSource for Asked {
        fn request(&self, chunk: Chunk) {
            self.0.borrow_mut().push(chunk.key);
        }
    }

    fn tree() -> (Rc<LazyTree>, Rc<Asked>) {
        let asked = Rc::new(Asked::default());
        let tree = LazyTree::new(Rc::<Asked>::clone(&asked), Rc::default());
        (tree, asked)
    }

    fn file(path: &[u8], sizes: &[u64]) -> LazyEntry<'static> {
        let mut offset = 0;
        let chunk = |(key, &len): (usize, &u64)| {
            let chunk = Chunk {
                offset,
                len,
                key: key as u64,
            };
            offset += len;
            chunk
        };
        let chunks: Vec<Chunk> = sizes.iter().enumerate().map(chunk).collect();
        let attr = Attr {
            mode: S_IFREG | 0o644,
            size: sizes.iter().sum(),
            ..Attr::default()
        };
        let path: &'static [u8] = path.to_vec().leak();
        LazyEntry {
            path,
            attr,
            chunks,
            ..LazyEntry::default()
        }
    }

    #[test]
    fn what_replaces_a_directory_replaces_what_is_in_it() {
        let (tree, _) = tree();
        tree.insert(&file(b"etc/ssl/certs", &[])).unwrap();
        tree.insert(&file(b"etc/ssl/keys", &[])).unwrap();
        tree.insert(&file(b"etc", &[])).unwrap();
        assert_eq!(tree.find(b"etc/ssl/keys").err(), Some(Errno::ENOTDIR));
        // The directory that the last file but one was put into is not there any more.
        assert_eq!(
            tree.insert(&file(b"etc/ssl/more", &[])),
            Err(Errno::ENOTDIR)
        );
        assert!(tree.find(b"etc").is_ok_and(|etc| !etc.is_dir()));
    }

    #[test]
    fn content_is_asked_for_once_and_shared_when_it_is_here() {
        let (tree, asked) = tree();
        tree.insert(&file(b"usr/bin/tool", &[5000, 5000, 3]))
            .unwrap();
        let link = LazyEntry {
            path: b"tool",
            hard_link: Some(b"/usr/bin/tool"),
            ..LazyEntry::default()
        };
        tree.insert(&link).unwrap();
        let node = tree.root().lookup(b"tool").unwrap();
        assert_eq!(node.attr().unwrap().nlink, 2);
        let mut buf = [0; 16];
        assert_eq!(node.read_at(4990, &mut buf), Err(Errno::NOT_HERE_YET));
        assert_eq!(node.read_at(4990, &mut buf), Err(Errno::NOT_HERE_YET));
        assert_eq!(*asked.0.borrow(), [0, 1]);
        let woken = tree.arrivals().generation();
        tree.arrived(0, Ok(&[b'a'; 5000]));
        assert!(tree.arrivals().generation() > woken);
        assert_eq!(node.read_at(4990, &mut buf), Err(Errno::NOT_HERE_YET));
        assert_eq!(node.read_at(4980, &mut buf), Ok(16));
        tree.arrived(1, Ok(&[b'b'; 5000]));
        assert_eq!(
            (node.read_at(4990, &mut buf), &buf),
            (Ok(16), b"aaaaaaaaaabbbbbb")
        );
        let (one, two) = (node.page(0, false).unwrap(), node.page(0, false).unwrap());
        assert!(one.unwrap().is_same(&two.unwrap()));
        assert_eq!(node.page(2, false).map(|_| ()), Err(Errno::NOT_HERE_YET));
        assert_eq!(node.page(3, false).map(|_| ()), Err(Errno::EFAULT));
        tree.arrived(2, Ok(b"xyz"));
        assert_eq!(
            (node.read_at(9999, &mut buf), &buf[..4]),
            (Ok(4), &b"bxyz"[..])
        );
        assert_eq!(asked.0.borrow().len(), 3);
    }

    #[test]
    fn a_failed_chunk_is_an_error_once_and_then_asked_for_again() {
        let (tree, asked) = tree();
        tree.insert(&file(b"f", &[10])).unwrap();
        let node = tree.root().lookup(b"f").unwrap();
        let mut buf = [0; 4];
        for answer in [Err(Errno::EIO), Ok(&b"short"[..])] {
            assert_eq!(node.read_at(0, &mut buf), Err(Errno::NOT_HERE_YET));
            tree.arrived(0, answer);
            assert_eq!(node.read_at(0, &mut buf), Err(Errno::EIO));
        }
        assert_eq!(*asked.0.borrow(), [0, 0]);
    }

    #[test]
    fn paths_and_chunks_that_cannot_be_are_refused() {
        let (tree, _) = tree();
        for path in [&b"../x"[..], b"a/../../x", b"a\0b"] {
            assert_eq!(tree.insert(&file(path, &[])), Err(Errno::EINVAL));
        }
        assert_eq!(
            tree.insert(&file(&[b'n'; 256], &[])),
            Err(Errno::ENAMETOOLONG)
        );
        tree.insert(&file(b"f", &[])).unwrap();
        assert_eq!(tree.insert(&file(b"f/x", &[])), Err(Errno::ENOTDIR));
        let mut wild = file(b"w", &[10, 10]);
        wild.chunks[1].offset = 5;
        assert_eq!(tree.insert(&wild), Err(Errno::EINVAL));
        wild.chunks[1].offset = u64::MAX;
        assert_eq!(tree.insert(&wild), Err(Errno::EINVAL));
        wild.chunks[1].offset = 15;
        assert_eq!(tree.insert(&wild), Err(Errno::EINVAL));
    }
}
