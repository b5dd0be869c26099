//! The root file system of machines: an image whose files are downloaded when somebody reads them.
//!
//! All machines of a playground share one [`NodeImage`]: what one has read is there for the others.
//! Each has an overlay of its own over it. A layer's table of contents is fetched at once, the files
//! before its prefetch landmark (what a shell needs up to its prompt) in a few downloads after that, without
//! the chunks marked `later` (what of them no shell's start reads), and everything else chunk by chunk. A host
//! that knows no ranges sends a layer whole, once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use abi::Errno;
use bytes::Bytes;
use clock::{Clock, Executor, WaitQueue};
use layers::estargz::{self, Toc, TocEntry};
use layers::registry::Registry;
use mem::{Account, PAGE_SIZE};
use oci::{Descriptor, ManifestDocument, Platform, Reference, blob_path};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use vfs::inode::{
    Attr, FileSystem, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, Timestamp,
};
use vfs::lazy::{Chunk, ContentSource, LazyEntry, LazyTree};
use vfs::mount::{MountFlags, MountNamespace};
use vfs::overlay::Overlay;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

use crate::fetch::{Fetched, Fetcher};
use crate::registry::StaticRegistry;

/// Bytes at the end of a layer that are fetched first where nothing says where the table begins: footer, and
/// most often the whole table.
const TAIL_BYTES: u64 = 192 * 1024;
/// Bytes between two wanted chunks that are fetched with them, to save a round trip. At 20 Mbit/s they take
/// 2 ms.
const GAP_BYTES: u64 = 4 * 1024;
/// Most bytes in one download of chunks.
const RANGE_BYTES_MAX: u64 = 1 << 20;
/// A file of this size is most often a Go program, of which nearly all is read: its chunks are fetched
/// in blocks, for it is the round trips that take long. So are chunks for later.
const LARGE_BYTES: u64 = 8 << 20;
/// Chunks of a block.
const BLOCK_CHUNKS: u64 = 4;
/// Tries per download before those who wait get an I/O error.
const TRIES: u32 = 3;
/// Nanoseconds between tries.
const RETRY_NS: u64 = 500_000_000;

/// A chunk of a layer.
struct Member {
    layer: usize,
    /// First and last byte of its gzip member in the blob.
    range: (u64, u64),
    /// What the table says of it.
    entry: TocEntry,
    size: u64,
    /// The first chunk of its block.
    block: u64,
    /// Downloaded, or on its way.
    asked: Cell<bool>,
}

/// Neighbouring chunks that are fetched together.
struct Download {
    layer: usize,
    range: (u64, u64),
    keys: Vec<u64>,
}

/// The image machines boot from.
pub struct NodeImage {
    tree: Rc<LazyTree>,
    source: Rc<Source>,
}

/// Chunks to download, collected until the playground's executor gets to it.
struct Source {
    fetcher: Fetcher,
    executor: Executor,
    clock: Clock,
    label: String,
    /// Where each layer's blob is.
    layers: Vec<String>,
    /// Where in each layer the files end that a prompt needs, if it says so.
    landmarks: Vec<Option<u64>>,
    members: Vec<Member>,
    /// Chunks to look at: wanted, or worth having.
    queue: RefCell<Vec<u64>>,
    /// Chunks somebody waits for.
    wanted: RefCell<BTreeSet<u64>>,
    /// Compressed chunks that came before anybody asked.
    kept: RefCell<BTreeMap<u64, Bytes>>,
    wake: WaitQueue,
    tree: RefCell<Weak<LazyTree>>,
}

/// What the tree asks. It holds the source weakly, for the source's answers go to the tree.
struct Requests(Weak<Source>);

impl ContentSource for Requests {
    fn request(&self, chunk: Chunk) {
        if let Some(source) = self.0.upgrade() {
            source.wanted.borrow_mut().insert(chunk.key);
            let mut queue = source.queue.borrow_mut();
            queue.extend(block(&source.members, chunk.key));
            drop(queue);
            source.wake.wake_all();
        }
    }
}

/// Loads an image's tables. The error says what to do.
pub async fn load(
    fetcher: &Fetcher,
    executor: &Executor,
    clock: &Clock,
    image: &str,
) -> Result<Rc<NodeImage>, String> {
    let reference = Reference::parse(image)
        .map_err(|error| format!("{image}: {error}"))?
        .with_default_tag();
    let registry = Registry::new(Rc::new(StaticRegistry {
        fetcher: fetcher.clone(),
        executor: executor.clone(),
    }));
    let explain = |error: &dyn std::fmt::Display| {
        format!(
            "the machine's image {image} could not be loaded: {error}. Was `cargo xtask images` run, and is v2/ served?"
        )
    };
    let (document, ..) = registry
        .manifest(&reference)
        .await
        .map_err(|error| explain(&error))?;
    let manifest = match document {
        ManifestDocument::Manifest(manifest) => manifest,
        ManifestDocument::Index(index) => {
            let chosen = index
                .select(&Platform::host())
                .ok_or_else(|| explain(&"no variant for linux/riscv64"))?;
            match registry
                .manifest(&reference.with_digest(chosen.digest))
                .await
                .map_err(|error| explain(&error))?
                .0
            {
                ManifestDocument::Manifest(manifest) => manifest,
                ManifestDocument::Index(_) => return Err(explain(&"an index in an index")),
            }
        }
    };
    let mut tables = Vec::new();
    for layer in &manifest.layers {
        tables.push(
            table(fetcher, layer, image)
                .await
                .map_err(|error| explain(&error))?,
        );
    }
    let image = NodeImage::new(fetcher, executor, clock, image, &manifest.layers, tables)
        .map_err(|error| explain(&error))?;
    image.source.prefetch();
    Ok(image)
}

/// Downloads, again when it fails; `Err` is why it cannot be had.
async fn download(
    fetcher: &Fetcher,
    path: &str,
    range: (u64, u64),
    label: &str,
) -> Result<Fetched, String> {
    let wanted = range.1 - range.0 + 1;
    let fetched = fetcher.get(path, Some(range), true, label).await?;
    match fetched.status {
        200 | 206 if fetched.body.len() as u64 == wanted => Ok(fetched),
        200 | 206 => Err(format!(
            "{path}: {} bytes instead of {wanted}",
            fetched.body.len()
        )),
        status => Err(format!("{path}: HTTP status {status}")),
    }
}

/// A layer's table of contents and where it begins.
async fn table(fetcher: &Fetcher, layer: &Descriptor, label: &str) -> Result<(Toc, u64), String> {
    let path = blob_path(&layer.digest);
    let last = layer.size.checked_sub(1).ok_or("an empty layer")?;
    let known = layer.toc_offset().filter(|&offset| offset < last);
    let start = known.unwrap_or(layer.size.saturating_sub(TAIL_BYTES));
    let mut tail = download(fetcher, &path, (start, last), label)
        .await?
        .body
        .to_vec();
    let toc_offset = estargz::parse_footer(&tail, layer.size).map_err(|error| error.to_string())?;
    if toc_offset < start {
        let mut before = download(fetcher, &path, (toc_offset, start - 1), label)
            .await?
            .body
            .to_vec();
        before.extend_from_slice(&tail);
        tail = before;
    }
    let begin = toc_offset.saturating_sub(start.min(toc_offset)) as usize;
    let toc = estargz::parse_toc(&tail[begin..], layer.toc_digest())
        .map_err(|error| error.to_string())?;
    Ok((toc, toc_offset))
}

impl NodeImage {
    fn new(
        fetcher: &Fetcher,
        executor: &Executor,
        clock: &Clock,
        label: &str,
        descriptors: &[Descriptor],
        tables: Vec<(Toc, u64)>,
    ) -> Result<Rc<NodeImage>, String> {
        let mut members = Vec::new();
        let mut merged: BTreeMap<Vec<u8>, Planned> = BTreeMap::new();
        let landmark = |toc: &Toc| {
            let entry = toc
                .entries
                .iter()
                .find(|entry| entry.name == estargz::PREFETCH_LANDMARK);
            entry.map(|entry| entry.offset)
        };
        let landmarks = tables.iter().map(|(toc, _)| landmark(toc)).collect();
        for (layer, (toc, toc_offset)) in tables.into_iter().enumerate() {
            plan(layer, toc, toc_offset, &mut members, &mut merged)?;
        }
        let source = Rc::new(Source {
            fetcher: fetcher.clone(),
            executor: executor.clone(),
            clock: clock.clone(),
            label: label.to_string(),
            layers: descriptors
                .iter()
                .map(|layer| blob_path(&layer.digest))
                .collect(),
            landmarks,
            members,
            queue: RefCell::default(),
            wanted: RefCell::default(),
            kept: RefCell::default(),
            wake: WaitQueue::new(),
            tree: RefCell::default(),
        });
        let requests = Requests(Rc::downgrade(&source));
        let tree = LazyTree::new(Rc::new(requests), Rc::new(WaitQueue::new()));
        *source.tree.borrow_mut() = Rc::downgrade(&tree);
        // Hard links come after what they link to.
        let (links, files): (Vec<_>, Vec<_>) = merged
            .iter()
            .partition(|(_, planned)| planned.hard_link.is_some());
        for (path, planned) in files.into_iter().chain(links) {
            let entry = LazyEntry {
                path,
                attr: planned.attr,
                target: &planned.target,
                hard_link: planned.hard_link.as_deref(),
                xattrs: Vec::new(),
                chunks: planned.chunks.clone(),
            };
            tree.insert(&entry)
                .map_err(|error| format!("{}: {error}", String::from_utf8_lossy(path)))?;
        }
        executor.spawn(downloads(Rc::downgrade(&source)));
        Ok(Rc::new(NodeImage { tree, source }))
    }

    /// Woken when file content arrived: tasks that wait for it look again.
    #[must_use]
    pub fn arrivals(&self) -> &Rc<WaitQueue> {
        self.tree.arrivals()
    }

    /// Bytes of all its files: each piece of them is here unpacked, or packed until it is asked for.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        let members = self.source.members.iter();
        members
            .map(|member| {
                let page = PAGE_SIZE as u64;
                let packed = member.range.1 - member.range.0;
                ((member.size.div_ceil(page) + 1) * page).max(packed)
            })
            .sum()
    }

    /// Bytes of its files that are here.
    #[must_use]
    pub fn bytes_here(&self) -> u64 {
        self.tree.pages_here() * PAGE_SIZE as u64
    }

    /// Says who pays for content from now on.
    pub fn charge_to(&self, account: Rc<Account>) {
        self.tree.set_account(account);
    }

    /// A fresh root file system over the image, for a machine with that disk.
    pub fn new_root(
        &self,
        clock: &Clock,
        disk: &Rc<Account>,
    ) -> Result<Rc<dyn FileSystem>, String> {
        let failed = |error: Errno| format!("mounting the root file system: {error}");
        let lower_fs: Rc<dyn FileSystem> = Rc::<LazyTree>::clone(&self.tree);
        let lower = MountNamespace::new(&lower_fs, b"image", MountFlags::RDONLY).root();
        let upper_fs: Rc<dyn FileSystem> = Tmpfs::new(clock, TmpfsOptions::on_disk(disk));
        let upper = MountNamespace::new(&upper_fs, b"tmpfs", MountFlags::empty()).root();
        let mut node = vfs::inode::NewNode {
            mode: S_IFDIR | 0o755,
            uid: 0,
            gid: 0,
            rdev: 0,
            target: b"",
        };
        upper.inode().create(b"upper", &node).map_err(failed)?;
        node.mode = S_IFDIR | 0o700;
        upper.inode().create(b"work", &node).map_err(failed)?;
        let child = |name: &[u8]| upper.child(name).map_err(failed);
        Ok(
            Overlay::mount(vec![lower], Some(child(b"upper")?), Some(child(b"work")?))
                .map_err(failed)?,
        )
    }
}

/// An entry of the tree before it is built.
struct Planned {
    attr: Attr,
    target: Vec<u8>,
    hard_link: Option<Vec<u8>>,
    chunks: Vec<Chunk>,
}

/// Puts a layer's entries over those of the layers below it.
fn plan(
    layer: usize,
    toc: Toc,
    toc_offset: u64,
    members: &mut Vec<Member>,
    merged: &mut BTreeMap<Vec<u8>, Planned>,
) -> Result<(), String> {
    let ends = estargz::member_ends(&toc, toc_offset);
    let mut last_file: Option<Vec<u8>> = None;
    let mut file_size = 0;
    let mut times = Times::default();
    for entry in toc.entries {
        let path = entry.name.trim_matches('/').as_bytes().to_vec();
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if layers::archive::is_layer_metadata(&path) {
            continue;
        }
        if let Some(hidden) = name.strip_prefix(layers::archive::WHITEOUT_PREFIX) {
            let parent = &path[..path.len() - name.len()];
            if name == layers::archive::OPAQUE_MARKER {
                remove_below(merged, parent);
            } else {
                let gone = [parent, hidden].concat();
                merged.remove(&gone);
                remove_below(merged, &[&gone[..], b"/"].concat());
            }
            continue;
        }
        if entry.kind != "chunk" {
            let planned = describe(&entry, &mut times)?;
            if !planned.attr.is_dir() {
                remove_below(merged, &[&path[..], b"/"].concat());
            }
            merged.insert(path.clone(), planned);
            last_file = Some(path);
            file_size = entry.size;
        }
        if estargz::has_content(&entry) {
            let target = last_file.as_ref().and_then(|path| merged.get_mut(path));
            let planned =
                target.ok_or_else(|| format!("{}: a chunk without a file", entry.name))?;
            let end = *ends
                .get(&entry.offset)
                .ok_or_else(|| format!("{}: offset outside the layer", entry.name))?;
            let size = match entry.chunk_size {
                0 => file_size.saturating_sub(entry.chunk_offset),
                size => size,
            };
            let key = members.len() as u64;
            let block = match file_size >= LARGE_BYTES || entry.later {
                true => key - planned.chunks.len() as u64 % BLOCK_CHUNKS,
                false => key,
            };
            planned.chunks.push(Chunk {
                offset: entry.chunk_offset,
                len: size,
                key,
            });
            let range = (entry.offset, end.saturating_sub(1));
            members.push(Member {
                layer,
                range,
                entry,
                size,
                block,
                asked: Cell::new(false),
            });
        }
    }
    Ok(())
}

/// Drops what is inside a directory. `prefix` is its path with the slash, so that what begins with it
/// lies together; the root's is empty.
fn remove_below<T>(merged: &mut BTreeMap<Vec<u8>, T>, prefix: &[u8]) {
    let inside = merged.range(prefix.to_vec()..);
    let gone: Vec<Vec<u8>> = inside
        .map(|(path, _)| path)
        .take_while(|path| path.starts_with(prefix))
        .cloned()
        .collect();
    for path in gone {
        merged.remove(&path);
    }
}

/// Reads times; most entries have that of the one before.
#[derive(Default)]
struct Times {
    text: String,
    seconds: i64,
}

impl Times {
    fn seconds(&mut self, text: &str) -> i64 {
        if self.text != text {
            text.clone_into(&mut self.text);
            let parsed = OffsetDateTime::parse(text, &Rfc3339);
            self.seconds = parsed.map_or(0, OffsetDateTime::unix_timestamp);
        }
        self.seconds
    }
}

fn describe(entry: &TocEntry, times: &mut Times) -> Result<Planned, String> {
    let file_type = match entry.kind.as_str() {
        "dir" => S_IFDIR,
        "reg" | "hardlink" => S_IFREG,
        "symlink" => S_IFLNK,
        "char" => S_IFCHR,
        "block" => S_IFBLK,
        "fifo" => S_IFIFO,
        other => return Err(format!("{}: unknown type {other:?}", entry.name)),
    };
    let time = Timestamp {
        sec: times.seconds(&entry.mod_time),
        nsec: 0,
    };
    let (major, minor) = (entry.dev_major, entry.dev_minor);
    let attr = Attr {
        mode: file_type | (entry.mode as u32 & 0o7777),
        uid: entry.uid,
        gid: entry.gid,
        rdev: ((major & 0xffff_f000) << 32)
            | ((major & 0xfff) << 8)
            | ((minor & 0xffff_ff00) << 12)
            | (minor & 0xff),
        size: if file_type == S_IFREG { entry.size } else { 0 },
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        ..Attr::default()
    };
    let link = entry.link_name.as_bytes().to_vec();
    let hard_link =
        (entry.kind == "hardlink").then(|| entry.link_name.trim_matches('/').as_bytes().to_vec());
    Ok(Planned {
        attr,
        target: link,
        hard_link,
        chunks: Vec::new(),
    })
}

/// A chunk and those that come with it. One that is read at first brings none for later along.
fn block(members: &[Member], key: u64) -> impl Iterator<Item = u64> {
    let of = |key: u64| members.get(key as usize).map(|m| (m.block, m.entry.later));
    let (block, later) = of(key).unwrap_or((key, false));
    (block..block + BLOCK_CHUNKS).filter(move |&other| of(other) == Some((block, later)))
}

impl Source {
    /// Downloads what is before the landmark and not for later, to be there when it is asked for.
    fn prefetch(&self) {
        for layer in 0..self.layers.len() {
            let Some(landmark) = self.landmarks[layer] else {
                continue;
            };
            let members = self.members.iter().enumerate();
            let before = members.filter(|(_, member)| {
                member.layer == layer && member.range.0 < landmark && !member.entry.later
            });
            self.queue
                .borrow_mut()
                .extend(before.map(|(key, _)| key as u64));
        }
        self.wake.wake_all();
    }

    /// Gives out what is kept already, and takes the rest of the queue as downloads, neighbours together.
    fn take(&self) -> Vec<Download> {
        let mut keys = std::mem::take(&mut *self.queue.borrow_mut());
        keys.retain(|&key| {
            let kept = self
                .wanted
                .borrow()
                .contains(&key)
                .then(|| self.kept.borrow_mut().remove(&key))
                .flatten();
            if let Some(bytes) = kept {
                self.deliver(key, Some(&bytes));
                return false;
            }
            self.members
                .get(key as usize)
                .is_some_and(|member| !member.asked.replace(true))
        });
        keys.sort_unstable_by_key(|&key| {
            let member = &self.members[key as usize];
            (member.layer, member.range.0)
        });
        let mut downloads: Vec<Download> = Vec::new();
        for key in keys {
            let member = &self.members[key as usize];
            match downloads.last_mut() {
                Some(last)
                    if last.layer == member.layer
                        && member.range.0 <= last.range.1 + GAP_BYTES
                        && member.range.1.saturating_sub(last.range.0) < RANGE_BYTES_MAX =>
                {
                    last.range.1 = last.range.1.max(member.range.1);
                    last.keys.push(key);
                }
                _ => downloads.push(Download {
                    layer: member.layer,
                    range: member.range,
                    keys: vec![key],
                }),
            }
        }
        downloads
    }

    /// Hands a chunk to those who wait for it; without bytes they get an I/O error, and may ask again.
    fn deliver(&self, key: u64, bytes: Option<&[u8]>) {
        self.wanted.borrow_mut().remove(&key);
        let member = &self.members[key as usize];
        let unpacked =
            bytes.and_then(|bytes| estargz::unpack_chunk(bytes, &member.entry, member.size).ok());
        if unpacked.is_none() {
            member.asked.set(false);
        }
        if let Some(tree) = self.tree.borrow().upgrade() {
            tree.arrived(key, unpacked.as_deref().ok_or(Errno::EIO));
        }
    }

    async fn fetch(self: Rc<Self>, download: Download) {
        let Download { layer, range, keys } = download;
        let path = &self.layers[layer];
        let mut outcome = Err(String::new());
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.clock.sleep(RETRY_NS).await;
            }
            outcome = self::download(&self.fetcher, path, range, &self.label).await;
            if outcome.is_ok() {
                break;
            }
        }
        for key in keys {
            let member = &self.members[key as usize];
            let bytes = outcome.as_ref().ok().map(|fetched| {
                let first = (member.range.0 - range.0) as usize;
                let last = (member.range.1 - range.0) as usize;
                fetched
                    .body
                    .slice(first..(last + 1).min(fetched.body.len()))
            });
            let wanted = self.wanted.borrow().contains(&key);
            match bytes {
                Some(bytes) if !wanted => {
                    self.kept.borrow_mut().insert(key, bytes);
                }
                bytes => self.deliver(key, bytes.as_deref()),
            }
        }
    }
}

/// Starts downloads as chunks are asked for, until the image is dropped.
async fn downloads(source: Weak<Source>) {
    loop {
        let Some(strong) = source.upgrade() else {
            return;
        };
        for download in strong.take() {
            strong.executor.spawn(Rc::clone(&strong).fetch(download));
        }
        let weak = Weak::clone(&source);
        let wait = std::future::poll_fn(move |cx| match weak.upgrade() {
            None => std::task::Poll::Ready(()),
            Some(source) if !source.queue.borrow().is_empty() => std::task::Poll::Ready(()),
            Some(source) => {
                source.wake.register(cx.waker());
                std::task::Poll::Pending
            }
        });
        drop(strong);
        wait.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_a_large_file_and_those_for_later_are_fetched_in_blocks() {
        let entry = |name: &str, kind: &str, size: u64, chunk_offset: u64, offset: u64| TocEntry {
            name: name.to_string(),
            kind: kind.to_string(),
            size,
            chunk_offset,
            chunk_size: 2 << 20,
            offset,
            ..TocEntry::default()
        };
        let mut toc = Toc::default();
        toc.entries.push(entry("small", "reg", 3 << 20, 0, 1));
        toc.entries.push(entry("small", "chunk", 0, 2 << 20, 2));
        toc.entries.push(entry("large", "reg", 11 << 20, 0, 3));
        for chunk in 1..6 {
            toc.entries
                .push(entry("large", "chunk", 0, chunk * (2 << 20), 3 + chunk));
        }
        toc.entries.push(entry("after", "reg", 1 << 20, 0, 9));
        // The first and the third of these are read at first, the others are for later.
        toc.entries.push(entry("partly", "reg", 9, 0, 10));
        for chunk in 1..6 {
            toc.entries.push(TocEntry {
                later: chunk != 2,
                ..entry("partly", "chunk", 0, chunk, 10 + chunk)
            });
        }
        let (mut members, mut merged) = (Vec::new(), BTreeMap::new());
        plan(0, toc, 16, &mut members, &mut merged).unwrap();
        let blocks: Vec<u64> = members.iter().map(|member| member.block).collect();
        assert_eq!(blocks, [0, 1, 2, 2, 2, 2, 6, 6, 8, 9, 9, 11, 9, 13, 13]);
        let together = |key| block(&members, key).collect::<Vec<_>>();
        assert_eq!(together(1), [1]);
        assert_eq!(together(4), [2, 3, 4, 5]);
        assert_eq!(together(7), [6, 7]);
        assert_eq!(together(8), [8]);
        assert_eq!(together(9), [9]);
        assert_eq!(together(10), [10, 12]);
        assert_eq!(together(11), [11]);
        assert_eq!(together(14), [13, 14]);
    }

    #[test]
    fn a_directory_goes_with_what_is_in_it_and_its_neighbours_stay() {
        let left = |prefix: &[u8]| {
            let paths = ["a", "a.b", "a/b", "a/b/c", "a0", "ab/c", "b"];
            let mut merged: BTreeMap<Vec<u8>, ()> = paths
                .iter()
                .map(|path| (path.as_bytes().to_vec(), ()))
                .collect();
            remove_below(&mut merged, prefix);
            let left = merged
                .into_keys()
                .map(|path| String::from_utf8(path).unwrap());
            left.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left(b"a/"), "a a.b a0 ab/c b");
        assert_eq!(left(b"a/b/"), "a a.b a/b a0 ab/c b");
        assert_eq!(left(b"c/"), "a a.b a/b a/b/c a0 ab/c b");
        assert_eq!(left(b""), "");
    }
}
