//! Tar out: `docker export`, `docker cp` from a container, layers of a commit.

use std::collections::BTreeMap;
use std::rc::Rc;

use os::{Errno, Metadata, OpenFlags, Os, View, ext};
use serve::BodySender;

use super::{OPAQUE_MARKER, WHITEOUT_PREFIX};
use crate::container::is_whiteout;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// Entries packed before others get their turn.
const PAUSE_ENTRIES: u32 = 100;
/// The overlay's mark of a directory that hides what is below it.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Size of a tar block.
pub(crate) const BLOCK: usize = 512;

/// Sends an archive of `path` (in `view`) to `out`; its root entry is called `name`, or with `name`
/// empty the archive has the directory's content at its top. Stops when nobody reads any more.
/// Files of other file systems below it (a container's /proc) are archived as empty directories.
pub async fn pack(
    os: &Rc<dyn Os>,
    view: View,
    path: &[u8],
    name: &[u8],
    out: &BodySender,
) -> os::Result<()> {
    pack_all(os, view, path, name, false, out).await
}

/// Sends what a container or a build step wrote, the overlay's upper directory `path`, as a layer: the
/// overlay's marks of what is gone become the layer's (OCI image-spec, layer.md).
pub async fn pack_layer(
    os: &Rc<dyn Os>,
    view: View,
    path: &[u8],
    out: &BodySender,
) -> os::Result<()> {
    pack_all(os, view, path, b"", true, out).await
}

async fn pack_all(
    os: &Rc<dyn Os>,
    view: View,
    path: &[u8],
    name: &[u8],
    layer: bool,
    out: &BodySender,
) -> os::Result<()> {
    let mut packer = Packer {
        os,
        view,
        out,
        layer,
        links: BTreeMap::new(),
    };
    let root = os.metadata(view, path, false)?;
    // Entries still to write, the next one last: (path in the machine, name in the archive).
    let mut pending = vec![(path.to_vec(), name.to_vec())];
    let mut done = 0_u32;
    while let Some((path, name)) = pending.pop() {
        let metadata = match os.metadata(view, &path, false) {
            // It went away while we were walking.
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if !name.is_empty() && packer.entry(&path, &name, &metadata).await?.is_break() {
            return Ok(());
        }
        if metadata.is_dir() && metadata.dev == root.dev {
            let mut entries = os.read_dir(view, &path)?;
            order::sort(&mut entries);
            for entry in entries.into_iter().rev() {
                let inner = match &name[..] {
                    b"" => entry.name.clone(),
                    // The root itself: names are absolute.
                    b"/" => [b"/", &entry.name[..]].concat(),
                    name => [name, b"/", &entry.name].concat(),
                };
                pending.push(([&path[..], b"/", &entry.name].concat(), inner));
            }
        }
        done += 1;
        if done.is_multiple_of(PAUSE_ENTRIES) {
            crate::pause(os).await;
        }
    }
    let _ = out.send(vec![0; 2 * BLOCK]).await;
    Ok(())
}

struct Packer<'a> {
    os: &'a Rc<dyn Os>,
    view: View,
    out: &'a BodySender,
    /// See [`pack_layer`].
    layer: bool,
    /// First names of files with several hard links.
    links: BTreeMap<(u64, u64), Vec<u8>>,
}

type Flow = std::ops::ControlFlow<()>;

impl Packer<'_> {
    async fn send(&self, bytes: Vec<u8>) -> Flow {
        match self.out.send(bytes).await {
            Ok(()) => Flow::Continue(()),
            Err(_) => Flow::Break(()),
        }
    }

    /// An empty file of the layer's that stands for something that is not there.
    fn mark(&self, directory: &[u8], name: &[&[u8]], metadata: &Metadata) -> Header {
        let path = [directory, &name.concat()].concat();
        Header {
            device: (0, 0),
            ..Header::new(
                &path,
                &Metadata {
                    mode: 0o100_000,
                    ..*metadata
                },
            )
        }
    }

    async fn entry(&mut self, path: &[u8], name: &[u8], metadata: &Metadata) -> os::Result<Flow> {
        if self.layer && is_whiteout(metadata) {
            let cut = name
                .iter()
                .rposition(|&byte| byte == b'/')
                .map_or(0, |at| at + 1);
            let header = self.mark(&name[..cut], &[WHITEOUT_PREFIX, &name[cut..]], metadata);
            return Ok(self.send(header.emit()).await);
        }
        let mut header = Header::new(name, metadata);
        for attribute in self.os.list_xattr(self.view, path).unwrap_or_default() {
            if !attribute.starts_with(b"trusted.overlay.") {
                let value = self.os.get_xattr(self.view, path, &attribute)?;
                header
                    .records
                    .push(([b"SCHILY.xattr.", &attribute[..]].concat(), value));
            }
        }
        match metadata.file_type() {
            0o120_000 => header.link(b'2', self.os.read_link(self.view, path)?),
            0o040_000 => {
                header.kind = b'5';
                let opaque = self.layer
                    && matches!(self.os.get_xattr(self.view, path, OPAQUE), Ok(value) if value == b"y");
                let mut bytes = header.emit();
                if opaque {
                    let directory = [name, b"/"].concat();
                    bytes.extend(self.mark(&directory, &[OPAQUE_MARKER], metadata).emit());
                }
                return Ok(self.send(bytes).await);
            }
            0o020_000 => header.device(b'3', metadata.rdev),
            0o060_000 => header.device(b'4', metadata.rdev),
            0o010_000 => header.kind = b'6',
            0o140_000 => return Ok(Flow::Continue(())),
            _ => {
                let key = (metadata.dev, metadata.ino);
                if metadata.nlink > 1
                    && let Some(first) = self.links.get(&key)
                {
                    header.link(b'1', first.clone());
                } else {
                    self.links.insert(key, name.to_vec());
                    return self.file(path, header, metadata.size).await;
                }
            }
        }
        Ok(self.send(header.emit()).await)
    }

    async fn file(&self, path: &[u8], mut header: Header, size: u64) -> os::Result<Flow> {
        let handle = self.os.open(
            self.view,
            path,
            OpenFlags {
                read: true,
                ..OpenFlags::default()
            },
            0,
        )?;
        header.size = size;
        if self.send(header.emit()).await.is_break() {
            return Ok(Flow::Break(()));
        }
        let mut offset = 0;
        while offset < size {
            let mut buf = vec![0; CHUNK.min((size - offset) as usize)];
            let count = ext::read_at(&handle, offset, &mut buf).await?;
            // A file that became shorter is filled up with zeros: its size is in the header.
            let count = if count == 0 { buf.len() } else { count };
            buf.truncate(count);
            offset += count as u64;
            if self.send(buf).await.is_break() {
                return Ok(Flow::Break(()));
            }
        }
        let padding = (BLOCK - (size as usize % BLOCK)) % BLOCK;
        Ok(self.send(vec![0; padding]).await)
    }
}

/// A tar header with the pax records it needs.
pub(crate) struct Header {
    name: Vec<u8>,
    kind: u8,
    target: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    pub(crate) size: u64,
    mtime: (i64, u32),
    device: (u32, u32),
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Header {
    pub(crate) fn new(name: &[u8], metadata: &Metadata) -> Header {
        let mut name = name.to_vec();
        if metadata.is_dir() && !name.ends_with(b"/") {
            name.push(b'/');
        }
        Header {
            name,
            kind: b'0',
            target: Vec::new(),
            mode: metadata.mode & 0o7777,
            owner: (metadata.uid, metadata.gid),
            size: 0,
            mtime: (metadata.mtime.sec, metadata.mtime.nsec),
            device: (0, 0),
            records: Vec::new(),
        }
    }

    pub(crate) fn directory(mut self) -> Header {
        self.kind = b'5';
        self
    }

    fn link(&mut self, kind: u8, target: Vec<u8>) {
        (self.kind, self.target) = (kind, target);
    }

    fn device(&mut self, kind: u8, rdev: u64) {
        self.kind = kind;
        let major = ((rdev >> 32) & 0xffff_f000) | ((rdev >> 8) & 0xfff);
        let minor = ((rdev >> 12) & 0xffff_ff00) | (rdev & 0xff);
        self.device = (major as u32, minor as u32);
    }

    pub(crate) fn emit(mut self) -> Vec<u8> {
        if self.name.len() > 100 {
            self.records.push((b"path".to_vec(), self.name.clone()));
        }
        if self.target.len() > 100 {
            self.records
                .push((b"linkpath".to_vec(), self.target.clone()));
        }
        if self.size > 0o777_7777_7777 {
            self.records
                .push((b"size".to_vec(), self.size.to_string().into_bytes()));
        }
        if self.mtime.1 != 0 || self.mtime.0 < 0 {
            let text = format!("{}.{:09}", self.mtime.0, self.mtime.1);
            self.records.push((b"mtime".to_vec(), text.into_bytes()));
        }
        if self.owner.0.max(self.owner.1) > 0o777_7777 {
            self.records
                .push((b"uid".to_vec(), self.owner.0.to_string().into_bytes()));
            self.records
                .push((b"gid".to_vec(), self.owner.1.to_string().into_bytes()));
        }
        let mut bytes = Vec::new();
        if !self.records.is_empty() {
            let mut content = Vec::new();
            for (key, value) in &self.records {
                content.extend(pax_record(key, value));
            }
            let mut name = b"PaxHeaders.0/".to_vec();
            name.extend(self.name.iter().rev().take(80).rev());
            bytes.extend(block(
                &name,
                b'x',
                0o644,
                (0, 0),
                content.len() as u64,
                0,
                b"",
                (0, 0),
            ));
            bytes.extend_from_slice(&content);
            bytes.resize(bytes.len().div_ceil(BLOCK) * BLOCK, 0);
        }
        let mtime = self.mtime.0.max(0) as u64;
        bytes.extend(block(
            &self.name,
            self.kind,
            self.mode,
            self.owner,
            self.size,
            mtime,
            &self.target,
            self.device,
        ));
        bytes
    }
}

/// `"<length> <key>=<value>\n"`, where the length counts itself (pax, IEEE 1003.1).
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} ").into_bytes();
    record.extend_from_slice(key);
    record.push(b'=');
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// One ustar header block.
fn block(
    name: &[u8],
    kind: u8,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: u64,
    target: &[u8],
    device: (u32, u32),
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], room: usize| {
        let count = bytes.len().min(room);
        block[at..at + count].copy_from_slice(&bytes[..count]);
    };
    let octal = |value: u64, digits: usize| {
        let bounded = value & ((1_u64 << (3 * digits)) - 1);
        format!("{bounded:0digits$o}").into_bytes()
    };
    put(0, name, 100);
    put(100, &octal(u64::from(mode), 7), 7);
    put(108, &octal(u64::from(owner.0), 7), 7);
    put(116, &octal(u64::from(owner.1), 7), 7);
    put(124, &octal(size, 11), 11);
    put(136, &octal(mtime, 11), 11);
    put(148, b"        ", 8);
    put(156, &[kind], 1);
    put(157, target, 100);
    put(257, b"ustar\x0000", 8);
    put(329, &octal(u64::from(device.0), 7), 7);
    put(337, &octal(u64::from(device.1), 7), 7);
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    let text = format!("{sum:06o}\0 ");
    block[148..156].copy_from_slice(text.as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn crate_tar_reads_what_we_write() {
        let long = vec![b'n'; 150];
        let metadata = Metadata {
            mode: 0o100_640,
            uid: 1000,
            gid: 5,
            size: 3,
            ..Metadata::default()
        };
        let mut header = Header::new(&long, &metadata);
        header.size = 3;
        header.mtime = (1_700_000_000, 250_000_000);
        let mut bytes = header.emit();
        bytes.extend(b"abc");
        bytes.resize(bytes.len().div_ceil(BLOCK) * BLOCK, 0);
        let mut link = Header::new(b"l", &metadata);
        link.link(b'2', b"target".to_vec());
        bytes.extend(link.emit());
        bytes.extend([0; 2 * BLOCK]);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entries = archive.entries().unwrap();
        let mut file = entries.next().unwrap().unwrap();
        assert_eq!(&*file.path_bytes(), &long[..]);
        assert_eq!(
            (file.header().mode().unwrap(), file.header().uid().unwrap()),
            (0o640, 1000)
        );
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
        let link = entries.next().unwrap().unwrap();
        assert_eq!(link.link_name_bytes().as_deref(), Some(&b"target"[..]));
        assert!(entries.next().is_none());
    }

    #[test]
    fn pax_record_counts_itself() {
        assert_eq!(pax_record(b"path", b"a"), b"9 path=a\n");
        let value = [b'x'; 91];
        let record = pax_record(b"path", &value);
        assert_eq!(record.len().to_string().as_bytes(), &record[..3]);
    }
}
