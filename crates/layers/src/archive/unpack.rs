//! Tar in: layers, and what `docker cp` and `docker load` bring.
//!
//! An archive is hostile until shown otherwise: no entry is written outside the root, through a link
//! of the archive's own or by `..`; sizes are what the archive's bytes are; the file system's own
//! limits (ENOSPC) bound the rest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::rc::Rc;

use os::{Errno, OpenFlags, Os, OsExt, TimeSpec, View};
use tar::{Entry, EntryType};

use super::split::Recorder;
use super::{OPAQUE_MARKER, WHITEOUT_PREFIX, is_layer_metadata};
use crate::decompress::Decompressor;
use crate::scope;

/// Bytes written at a time.
const CHUNK: usize = 256 * 1024;
/// Bytes unpacked before others get their turn.
const PAUSE_BYTES: u64 = 1024 * 1024;
/// Entries unpacked before others get their turn.
const PAUSE_ENTRIES: u64 = 200;
/// How to unpack.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnpackOptions {
    /// The archive is a layer: whiteouts become overlayfs's, eStargz's own entries are left out.
    pub layer: bool,
    /// Refuse to put a directory where something else is, and the other way round (`docker cp`).
    pub no_overwrite_dir_non_dir: bool,
    /// Owner of everything, in place of the archive's.
    pub owner: Option<(u32, u32)>,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of regular files.
    pub size: u64,
    /// Entries.
    pub entries: u64,
}

/// Why an archive could not be unpacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnpackError {
    /// The bytes are not an archive.
    Malformed(String),
    /// An entry would be written outside the root, or link to what is there: what of it is invalid.
    Breakout(String),
    /// The kernel refused something.
    Os {
        /// What was tried, as Go writes it: `mkdir /path`.
        operation: String,
        /// Why not.
        error: Errno,
    },
    /// See [`UnpackOptions::no_overwrite_dir_non_dir`].
    Overwrite(String),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Malformed(reason) => f.write_str(reason),
            UnpackError::Breakout(what) => write!(f, "invalid {what}"),
            UnpackError::Os { operation, error } => {
                write!(f, "{operation}: {}", error.go_description())
            }
            UnpackError::Overwrite(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for UnpackError {}

struct Unpacker<'a> {
    os: &'a Rc<dyn Os>,
    view: View,
    root: &'a [u8],
    options: UnpackOptions,
    /// Directories known to be real directories inside the root.
    known: BTreeSet<Vec<u8>>,
    /// Times of directories, set when nothing is written into them any more.
    times: BTreeMap<Vec<u8>, TimeSpec>,
    unpacked: Unpacked,
    recorder: Option<&'a RefCell<Recorder>>,
}

/// Unpacks a tar archive below `root` of `view`, which must exist.
pub async fn unpack(
    os: &Rc<dyn Os>,
    view: View,
    root: &[u8],
    mut tar: impl Read,
    options: UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    unpack_recording(os, view, root, &mut tar, options, None).await
}

/// The same for an archive that may be compressed.
pub async fn unpack_compressed(
    os: &Rc<dyn Os>,
    view: View,
    root: &[u8],
    archive: impl Read,
    options: UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let mut tar = Decompressor::new(archive).map_err(malformed)?;
    unpack_recording(os, view, root, &mut tar, options, None).await
}

/// The same, telling a recorder (through whose reader `tar` goes) what is a file's content.
pub(crate) async fn unpack_recording(
    os: &Rc<dyn Os>,
    view: View,
    root: &[u8],
    tar: &mut dyn Read,
    options: UnpackOptions,
    recorder: Option<&RefCell<Recorder>>,
) -> Result<Unpacked, UnpackError> {
    let mut unpacker = Unpacker {
        os,
        view,
        root,
        options,
        known: BTreeSet::from([root.to_vec()]),
        times: BTreeMap::new(),
        unpacked: Unpacked::default(),
        recorder,
    };
    let mut archive = tar::Archive::new(super::Bounded::new(tar));
    let entries = archive.entries().map_err(malformed)?;
    let mut pause_at = (PAUSE_BYTES, PAUSE_ENTRIES);
    for entry in entries {
        let entry = match entry {
            // What came last is complete but for what fills its block up: so ends what Docker's client sends
            // for a Dockerfile outside of the context.
            Err(error) if error.to_string().contains("unexpected EOF during skip") => break,
            other => other.map_err(malformed)?,
        };
        unpacker.entry(entry)?;
        let done = unpacker.unpacked;
        if done.size >= pause_at.0 || done.entries >= pause_at.1 {
            pause_at = (done.size + PAUSE_BYTES, done.entries + PAUSE_ENTRIES);
            crate::pause(os).await;
        }
    }
    // The rest of the stream belongs to it too: a layer's digest is over every byte.
    let rest = archive.into_inner().into_inner();
    let mut buf = vec![0; CHUNK];
    while rest.read(&mut buf).map_err(malformed)? > 0 {}
    for (path, mtime) in unpacker.times.iter().rev() {
        unpacker.call("utimensat", path, os.set_times(view, path, *mtime, *mtime))?;
    }
    Ok(unpacker.unpacked)
}

fn breakout(what: &str, name: &[u8]) -> UnpackError {
    let name = String::from_utf8_lossy(name);
    UnpackError::Breakout(format!("{what} {name:?}"))
}

pub(crate) fn malformed(error: std::io::Error) -> UnpackError {
    let text = error.to_string();
    // Crate tar says what it met; Go's reader, whose words people search for, says less.
    let short = error.kind() == std::io::ErrorKind::UnexpectedEof
        || text.contains("failed to read entire block")
        || text.contains("unexpected EOF during skip");
    UnpackError::Malformed(if short { "unexpected EOF".into() } else { text })
}

impl Unpacker<'_> {
    fn call<T>(
        &self,
        operation: &str,
        path: &[u8],
        outcome: os::Result<T>,
    ) -> Result<T, UnpackError> {
        outcome.map_err(|error| UnpackError::Os {
            operation: format!("{operation} {}", String::from_utf8_lossy(path)),
            error,
        })
    }

    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let name = self.clean("entry name", &raw)?;
        let Some((last, parents)) = name.split_last() else {
            // The root itself: its mode and times count, it exists.
            return self.finish_directory(&mut entry, self.root);
        };
        if self.options.layer && parents.is_empty() && is_layer_metadata(last) {
            return Ok(());
        }
        self.unpacked.entries += 1;
        let parent = self.parent(parents)?;
        if self.options.layer && last == OPAQUE_MARKER {
            let outcome = self
                .os
                .set_xattr(self.view, &parent, b"trusted.overlay.opaque", b"y");
            return self.call("setxattr", &parent, outcome);
        }
        if self.options.layer
            && let Some(hidden) = last.strip_prefix(WHITEOUT_PREFIX)
        {
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(breakout("entry name", &raw));
            }
            let path = child(&parent, hidden);
            self.clear(&path, false)?;
            return self.call(
                "mknod",
                &path,
                self.os.mknod(self.view, &path, 0o020_000, 0),
            );
        }
        let path = child(&parent, last);
        if kind == EntryType::Directory {
            self.directory(&path)?;
            self.finish_directory(&mut entry, &path)
        } else {
            self.clear(&path, true)?;
            self.create(&mut entry, kind, &path)
        }
    }

    /// The components of an entry's name. Absolute names are below the root; `..` must not leave it.
    fn clean(&self, what: &str, name: &[u8]) -> Result<Vec<Vec<u8>>, UnpackError> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for part in scope::components(name) {
            match part {
                b"." => {}
                b".." => {
                    if parts.pop().is_none() {
                        return Err(breakout(what, name));
                    }
                }
                _ if part.contains(&0) => {
                    return Err(UnpackError::Malformed(
                        "archive/tar: invalid tar header".into(),
                    ));
                }
                _ => parts.push(part.to_vec()),
            }
        }
        Ok(parts)
    }

    /// The directory an entry goes into: made when missing, and never outside the root.
    fn parent(&mut self, parts: &[Vec<u8>]) -> Result<Vec<u8>, UnpackError> {
        let plain = scope::join(self.root, parts);
        if self.known.contains(&plain) {
            return Ok(plain);
        }
        let wanted = parts.join(&b'/');
        let outcome = scope::resolve(self.os, self.view, self.root, &wanted, true);
        let real = self.call("lstat", &plain, outcome)?;
        self.call("mkdir", &real, self.os.mkdir_all(self.view, &real, 0o755))?;
        if real == plain {
            self.known.insert(plain);
        }
        Ok(real)
    }

    /// Makes room for an entry at `path`.
    fn clear(&mut self, path: &[u8], keep_directory: bool) -> Result<(), UnpackError> {
        let Ok(metadata) = self.os.metadata(self.view, path, false) else {
            return Ok(());
        };
        if metadata.is_dir() && keep_directory && self.options.no_overwrite_dir_non_dir {
            let path = String::from_utf8_lossy(path);
            return Err(UnpackError::Overwrite(format!(
                "cannot overwrite directory {path:?} with non-directory {path:?}"
            )));
        }
        if metadata.is_dir() {
            self.known.retain(|known| !known.starts_with(path));
            self.times.retain(|known, _| !known.starts_with(path));
        }
        self.call("remove", path, self.os.remove_all(self.view, path))
    }

    fn directory(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        match self.os.metadata(self.view, path, false) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) if self.options.no_overwrite_dir_non_dir => {
                let path = String::from_utf8_lossy(path);
                return Err(UnpackError::Overwrite(format!(
                    "cannot overwrite non-directory {path:?} with directory {path:?}"
                )));
            }
            Ok(_) => {
                self.call("remove", path, self.os.remove_all(self.view, path))?;
                self.call("mkdir", path, self.os.mkdir(self.view, path, 0o755))?;
            }
            Err(_) => self.call("mkdir", path, self.os.mkdir(self.view, path, 0o755))?,
        }
        self.known.insert(path.to_vec());
        Ok(())
    }

    fn finish_directory(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &[u8],
    ) -> Result<(), UnpackError> {
        let mtime = self.attributes(entry, path, false)?;
        self.times.insert(path.to_vec(), mtime);
        Ok(())
    }

    fn create(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        kind: EntryType,
        path: &[u8],
    ) -> Result<(), UnpackError> {
        let header = entry.header();
        let device = || -> Result<u64, UnpackError> {
            let major = header.device_major().map_err(malformed)?.unwrap_or(0);
            let minor = header.device_minor().map_err(malformed)?.unwrap_or(0);
            Ok(makedev(u64::from(major), u64::from(minor)))
        };
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, path)?
            }
            EntryType::Symlink => {
                let target = link_name(entry)?;
                self.call("symlink", path, self.os.symlink(self.view, &target, path))?;
            }
            EntryType::Link => {
                let target = self.clean("hardlink target", &link_name(entry)?)?;
                let Some((last, parents)) = target.split_last() else {
                    return Err(UnpackError::Malformed("hard link without a target".into()));
                };
                let old = child(&self.parent(parents)?, last);
                // A hard link shares the attributes of what it links to.
                return self.call("link", path, self.os.link(self.view, &old, path));
            }
            EntryType::Char => self.call(
                "mknod",
                path,
                self.os.mknod(self.view, path, 0o020_600, device()?),
            )?,
            EntryType::Block => self.call(
                "mknod",
                path,
                self.os.mknod(self.view, path, 0o060_600, device()?),
            )?,
            EntryType::Fifo => {
                self.call("mknod", path, self.os.mknod(self.view, path, 0o010_600, 0))?
            }
            other => {
                let text = format!("unhandled tar header type {}", other.as_byte());
                return Err(UnpackError::Malformed(text));
            }
        }
        let mtime = self.attributes(entry, path, kind == EntryType::Symlink)?;
        self.call(
            "utimensat",
            path,
            self.os.set_times(self.view, path, mtime, mtime),
        )
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, path: &[u8]) -> Result<(), UnpackError> {
        let flags = OpenFlags {
            write: true,
            create: true,
            exclusive: true,
            no_follow: true,
            ..OpenFlags::default()
        };
        let handle = self.call("open", path, self.os.open(self.view, path, flags, 0o600))?;
        let size = entry.size();
        if let Some(recorder) = self.recorder
            && entry.header().entry_type() != EntryType::GNUSparse
        {
            let name = &path[self.root.len()..];
            let name = name.strip_prefix(b"/").unwrap_or(name);
            recorder.borrow_mut().file(name, size);
        }
        let mut buf = vec![0; CHUNK.min(size as usize).max(1)];
        let mut offset = 0;
        loop {
            let count = entry.read(&mut buf).map_err(malformed)?;
            if count == 0 {
                break;
            }
            let mut done = 0;
            while done < count {
                done += self.call(
                    "write",
                    path,
                    handle.write_at(offset + done as u64, &buf[done..count]),
                )?;
            }
            offset += count as u64;
        }
        if offset != size {
            return Err(UnpackError::Malformed("unexpected EOF".into()));
        }
        self.unpacked.size += size;
        Ok(())
    }

    /// Owner, mode and extended attributes; gives the time of modification.
    fn attributes(
        &self,
        entry: &mut Entry<'_, impl Read>,
        path: &[u8],
        symlink: bool,
    ) -> Result<TimeSpec, UnpackError> {
        let header = entry.header();
        let id = |value: std::io::Result<u64>| value.map_err(malformed).map(|id| id as u32);
        let mut owner = (id(header.uid())?, id(header.gid())?);
        let mode = header.mode().map_err(malformed)? & 0o7777;
        let mut mtime = TimeSpec {
            sec: header.mtime().map_err(malformed)? as i64,
            nsec: 0,
        };
        let mut xattrs = Vec::new();
        for record in entry
            .pax_extensions()
            .map_err(malformed)?
            .into_iter()
            .flatten()
        {
            let record = record.map_err(malformed)?;
            let text = std::str::from_utf8(record.value_bytes()).unwrap_or_default();
            match record.key_bytes() {
                b"uid" => owner.0 = text.parse().unwrap_or(owner.0),
                b"gid" => owner.1 = text.parse().unwrap_or(owner.1),
                b"mtime" => mtime = parse_time(text).unwrap_or(mtime),
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        xattrs.push((name.to_vec(), record.value_bytes().to_vec()));
                    }
                }
            }
        }
        let (uid, gid) = self.options.owner.unwrap_or(owner);
        self.call("lchown", path, self.os.lchown(self.view, path, uid, gid))?;
        if !symlink {
            self.call("chmod", path, self.os.chmod(self.view, path, mode))?;
        }
        for (name, value) in xattrs {
            // The overlay's own marks are not an image's to set.
            if name.starts_with(b"trusted.overlay.") {
                continue;
            }
            match self.os.set_xattr(self.view, path, &name, &value) {
                Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EPERM) => {}
                Err(error) => return self.call("lsetxattr", path, Err(error)),
            }
        }
        Ok(mtime)
    }
}

fn link_name(entry: &Entry<'_, impl Read>) -> Result<Vec<u8>, UnpackError> {
    let name = entry
        .link_name_bytes()
        .ok_or_else(|| UnpackError::Malformed("link without a target".into()))?;
    Ok(name.into_owned())
}

fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    [parent.strip_suffix(b"/").unwrap_or(parent), b"/", name].concat()
}

/// `1700000000.25` (pax).
fn parse_time(text: &str) -> Option<TimeSpec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    Some(TimeSpec {
        sec: whole.parse().ok()?,
        nsec: digits.parse().ok()?,
    })
}

/// Device number as `stat(2)` gives it (`makedev(3)`).
fn makedev(major: u64, minor: u64) -> u64 {
    ((major & 0xffff_f000) << 32)
        | ((major & 0xfff) << 8)
        | ((minor & 0xffff_ff00) << 12)
        | (minor & 0xff)
}
