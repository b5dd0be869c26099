//! Layers in eStargz: a gzip'd tar that can also be read file by file.
//!
//! Every file's payload (every [`CHUNK_SIZE`] bytes of it) begins a gzip member of its own, a table
//! of contents at the end says where, and a fixed-size footer says where the table is. A reader
//! that knows none of this sees an ordinary layer with one odd file. Source: the eStargz format
//! description of the stargz snapshotter.
//!
//! Members are compressed by all processors at once; the result does not depend on how many.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compression, GzBuilder};
use oci::{Descriptor, Digest, MediaType, annotation};
use serde::Serialize;

use super::tree::{EPOCH, EPOCH_TEXT, Kind, Node, Tree};

/// Bytes of a file per gzip member. Small enough that running a large program fetches what it
/// touches, large enough that compression and the table do not suffer.
pub const CHUNK_SIZE: usize = 256 << 10;
/// Marks the end of the files worth fetching before anything runs.
pub const PREFETCH_LANDMARK: &str = ".prefetch.landmark";
/// Says that nothing is worth fetching beforehand.
pub const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";
const TOC_NAME: &str = "stargz.index.json";
/// Footer size in bytes.
pub const FOOTER_SIZE: usize = 51;

const LEVEL: u32 = 9;

/// A finished layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The compressed bytes.
    pub blob: Vec<u8>,
    /// How a manifest names it.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Size of the uncompressed tar.
    pub raw_size: u64,
    /// Bytes from the start up to the landmark: what a first run fetches. Zero without one.
    pub prefetch_size: u64,
    /// Number of entries.
    pub entries: usize,
}

#[derive(Serialize)]
struct Toc {
    version: u32,
    entries: Vec<TocEntry>,
}

/// One line of the table. Field names and order are the format's.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TocEntry {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    modtime: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    chunk_digest: String,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Writes `tree` as a layer; the files named in `prefetch` (and their directories) come first.
pub fn write(tree: &Tree, prefetch: &[String]) -> anyhow::Result<Layer> {
    let mut writer = Writer::default();
    let first: Vec<&String> = prefetch.iter().filter(|path| tree.contains(path)).collect();
    let mut done = std::collections::BTreeSet::new();
    for path in &first {
        for (index, _) in path.match_indices('/') {
            writer.add_once(&path[..index], tree, &mut done)?;
        }
        writer.add_once(path, tree, &mut done)?;
    }
    let landmark = if first.is_empty() {
        NO_PREFETCH_LANDMARK
    } else {
        PREFETCH_LANDMARK
    };
    let mark = Node {
        kind: Kind::File([0xf][..].into()),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: EPOCH,
    };
    let landmark_entry = writer.entries.len();
    writer.add(landmark, &mark)?;
    // Hard links after everything else: their file may sort behind them.
    let is_link = |node: &Node| matches!(node.kind, Kind::Hardlink(_));
    for links in [false, true] {
        for (path, _) in tree.iter().filter(|(_, node)| is_link(node) == links) {
            writer.add_once(path, tree, &mut done)?;
        }
    }
    writer.finish((!first.is_empty()).then_some(landmark_entry))
}

/// The tar as pieces, each to become a gzip member.
#[derive(Default)]
struct Writer {
    members: Vec<Vec<u8>>,
    entries: Vec<TocEntry>,
    /// The member in which each entry's payload begins, in step with `entries`.
    entry_members: Vec<Option<usize>>,
}

impl Writer {
    fn add_once(
        &mut self,
        path: &str,
        tree: &Tree,
        done: &mut std::collections::BTreeSet<String>,
    ) -> anyhow::Result<()> {
        match tree.get(path) {
            Some(node) if done.insert(path.to_string()) => {
                // The file before its other names.
                if let Kind::Hardlink(target) = &node.kind {
                    self.add_once(target, tree, done)?;
                }
                self.add(path, node)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, path: &str, node: &Node) -> anyhow::Result<()> {
        let name = tar_name(path, node);
        self.current().extend_from_slice(&header(&name, node)?);
        let mut entry = TocEntry {
            modtime: rfc3339(node.mtime),
            mode: u64::from(node.mode),
            uid: u64::from(node.uid),
            gid: u64::from(node.gid),
            name: name.clone(),
            ..TocEntry::default()
        };
        match &node.kind {
            Kind::Dir => entry.kind = "dir",
            Kind::Symlink(target) => {
                entry.kind = "symlink";
                entry.link_name = target.clone();
            }
            Kind::Hardlink(target) => {
                entry.kind = "hardlink";
                entry.link_name = target.clone();
            }
            Kind::Whiteout => entry.kind = "reg",
            Kind::File(bytes) => {
                entry.kind = "reg";
                entry.size = bytes.len() as u64;
                entry.digest = Digest::of(bytes).to_string();
                self.add_payload(entry, bytes);
                return Ok(());
            }
        }
        if entry.kind == "reg" {
            entry.digest = Digest::of(b"").to_string();
        }
        self.entries.push(entry);
        self.entry_members.push(None);
        Ok(())
    }

    fn add_payload(&mut self, mut entry: TocEntry, bytes: &[u8]) {
        if bytes.is_empty() {
            self.entries.push(entry);
            self.entry_members.push(None);
            return;
        }
        let name = entry.name.clone();
        for (index, chunk) in bytes.chunks(CHUNK_SIZE).enumerate() {
            entry.chunk_offset = (index * CHUNK_SIZE) as u64;
            // A file in one piece needs no chunk size: it is the file's.
            entry.chunk_size = if bytes.len() > CHUNK_SIZE {
                chunk.len() as u64
            } else {
                0
            };
            entry.chunk_digest = Digest::of(chunk).to_string();
            self.entries.push(entry);
            self.entry_members.push(Some(self.members.len()));
            self.members.push(chunk.to_vec());
            entry = TocEntry {
                name: name.clone(),
                kind: "chunk",
                ..TocEntry::default()
            };
        }
        let padding = bytes.len().next_multiple_of(512) - bytes.len();
        self.current().resize_with_zeroes(padding);
    }

    /// The member that headers and padding go to.
    fn current(&mut self) -> &mut Vec<u8> {
        if self.members.is_empty() {
            self.members.push(Vec::new());
        }
        let last = self.members.len() - 1;
        &mut self.members[last]
    }

    fn finish(mut self, landmark: Option<usize>) -> anyhow::Result<Layer> {
        // What a first visit downloads is worth the time it takes to make it smaller.
        let first = landmark.and_then(|index| self.entry_members[index]);
        let compressed = compress_all(&self.members, first.unwrap_or(0));
        let mut offsets = Vec::with_capacity(compressed.len());
        let mut blob = Vec::with_capacity(compressed.iter().map(Vec::len).sum::<usize>());
        for member in &compressed {
            offsets.push(blob.len() as u64);
            blob.extend_from_slice(member);
        }
        for (entry, member) in self.entries.iter_mut().zip(&self.entry_members) {
            if let Some(member) = member {
                entry.offset = offsets[*member];
            }
        }
        let prefetch_size = landmark.map_or(0, |index| self.entries[index].offset);
        let entries = self.entries.len();
        let toc = serde_json::to_vec(&Toc {
            version: 1,
            entries: self.entries,
        })?;
        let toc_digest = Digest::of(&toc);
        let toc_offset = blob.len() as u64;
        let size = toc.len();
        let node = Node {
            kind: Kind::File(toc.into()),
            mode: 0o444,
            uid: 0,
            gid: 0,
            mtime: EPOCH,
        };
        let mut tail = header(TOC_NAME, &node)?.to_vec();
        if let Kind::File(toc) = &node.kind {
            tail.extend_from_slice(toc);
        }
        tail.resize_with_zeroes(size.next_multiple_of(512) - size);
        // Two empty blocks end a tar.
        tail.resize_with_zeroes(1024);
        blob.extend_from_slice(&match landmark {
            Some(_) => gzip_small(&tail),
            None => gzip(&tail),
        });
        blob.extend_from_slice(&footer(toc_offset));

        let mut hasher = oci::Hasher::new();
        self.members.iter().for_each(|member| hasher.update(member));
        hasher.update(&tail);
        let raw_size = hasher.size();
        let mut descriptor = Descriptor::of(MediaType::LAYER_GZIP, &blob);
        let annotations = &mut descriptor.annotations;
        annotations.insert(annotation::TOC_DIGEST.to_string(), toc_digest.to_string());
        annotations.insert(
            annotation::UNCOMPRESSED_SIZE.to_string(),
            raw_size.to_string(),
        );
        Ok(Layer {
            blob,
            descriptor,
            diff_id: hasher.finish(),
            raw_size,
            prefetch_size,
            entries,
        })
    }
}

trait ResizeWithZeroes {
    fn resize_with_zeroes(&mut self, more: usize);
}

impl ResizeWithZeroes for Vec<u8> {
    fn resize_with_zeroes(&mut self, more: usize) {
        self.resize(self.len() + more, 0);
    }
}

/// The members compressed, the first `small` of them as much as can be.
fn compress_all(members: &[Vec<u8>], small: usize) -> Vec<Vec<u8>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![Vec::new(); members.len()]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(member) = members.get(index) else {
                        return;
                    };
                    let compressed = match index < small {
                        true => gzip_small(member),
                        false => gzip(member),
                    };
                    done.lock().unwrap_or_else(|poison| poison.into_inner())[index] = compressed;
                }
            });
        }
    });
    done.into_inner()
        .unwrap_or_else(|poison| poison.into_inner())
}

/// The same as [`gzip`] in a twentieth fewer bytes and a hundred times the time.
fn gzip_small(bytes: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    zopfli::compress(
        zopfli::Options::default(),
        zopfli::Format::Gzip,
        bytes,
        &mut written,
    )
    .expect("writing to memory does not fail");
    written
}

/// A gzip member without a time or a name in it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::new(LEVEL));
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail")
}

/// An empty gzip member whose extra field says where the table of contents begins.
fn footer(toc_offset: u64) -> [u8; FOOTER_SIZE] {
    let mut footer = [0; FOOTER_SIZE];
    // Magic, deflate, flags: extra field present, no time, no level, unknown system.
    footer[..10].copy_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
    footer[10..12].copy_from_slice(&26u16.to_le_bytes());
    footer[12..14].copy_from_slice(b"SG");
    footer[14..16].copy_from_slice(&22u16.to_le_bytes());
    footer[16..38].copy_from_slice(format!("{toc_offset:016x}STARGZ").as_bytes());
    // A final stored block of length zero; checksum and size of nothing are zero.
    footer[38..43].copy_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer
}

fn tar_name(path: &str, node: &Node) -> String {
    match node.kind {
        Kind::Dir => format!("{path}/"),
        Kind::Whiteout => match path.rsplit_once('/') {
            Some((parent, name)) => format!("{parent}/.wh.{name}"),
            None => format!(".wh.{path}"),
        },
        _ => path.to_string(),
    }
}

/// A ustar header, preceded by a pax header when a name does not fit.
fn header(name: &str, node: &Node) -> anyhow::Result<Vec<u8>> {
    let (kind, size, link) = match &node.kind {
        Kind::Dir => (b'5', 0, ""),
        Kind::File(bytes) => (b'0', bytes.len() as u64, ""),
        Kind::Whiteout => (b'0', 0, ""),
        Kind::Symlink(target) => (b'2', 0, target.as_str()),
        Kind::Hardlink(target) => (b'1', 0, target.as_str()),
    };
    let mut out = Vec::with_capacity(512);
    let mut records = String::new();
    if name.len() > 100 || !name.is_ascii() {
        pax_record(&mut records, "path", name);
    }
    if link.len() > 100 || !link.is_ascii() {
        pax_record(&mut records, "linkpath", link);
    }
    if !records.is_empty() {
        out.extend_from_slice(&block(
            "PaxHeaders/entry",
            b'x',
            records.len() as u64,
            "",
            node,
        )?);
        out.extend_from_slice(records.as_bytes());
        out.resize_with_zeroes(records.len().next_multiple_of(512) - records.len());
    }
    out.extend_from_slice(&block(name, kind, size, link, node)?);
    Ok(out)
}

/// `length key=value\n`, where the length counts itself.
fn pax_record(records: &mut String, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    records.push_str(&format!("{length} {key}={value}\n"));
}

fn block(name: &str, kind: u8, size: u64, link: &str, node: &Node) -> anyhow::Result<[u8; 512]> {
    let mut block = [0u8; 512];
    put_text(&mut block[0..100], name);
    put_octal(&mut block[100..108], u64::from(node.mode))?;
    put_octal(&mut block[108..116], u64::from(node.uid))?;
    put_octal(&mut block[116..124], u64::from(node.gid))?;
    put_octal(&mut block[124..136], size)?;
    put_octal(&mut block[136..148], node.mtime)?;
    block[156] = kind;
    put_text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    // The checksum is taken with its own field full of blanks.
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    put_octal(&mut block[148..155], u64::from(sum))?;
    Ok(block)
}

/// As much as fits; a longer name has a pax record that overrides this one.
fn put_text(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn put_octal(field: &mut [u8], value: u64) -> anyhow::Result<()> {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    anyhow::ensure!(text.len() == digits, "{value} does not fit a tar header");
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
    Ok(())
}

/// Times as the table writes them.
fn rfc3339(seconds: u64) -> String {
    if seconds == EPOCH {
        return EPOCH_TEXT.to_string();
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date of a day counted from 1970-01-01, by years of 365.2425 days that begin in
/// March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn sample() -> Tree {
        let mut tree = Tree::new();
        tree.dir("etc", 0o755);
        tree.file("etc/hosts", 0o644, "127.0.0.1 localhost\n");
        tree.file("etc/empty", 0o644, "");
        tree.file(
            &format!("usr/{}", "long/".repeat(30) + "file"),
            0o644,
            "long",
        );
        tree.file("usr/big", 0o755, vec![7u8; CHUNK_SIZE * 2 + 5]);
        tree.hardlink("a-link", "usr/big").unwrap();
        tree.symlink("bin", "usr/bin");
        tree
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_end(&mut raw)
            .unwrap();
        raw
    }

    #[test]
    fn an_ordinary_reader_sees_an_ordinary_layer() {
        let layer = write(&sample(), &[]).unwrap();
        let raw = gunzip(&layer.blob);
        assert_eq!(Digest::of(&raw), layer.diff_id);
        let mut archive = tar::Archive::new(&raw[..]);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names[0], NO_PREFETCH_LANDMARK);
        assert!(names.contains(&format!("usr/{}file", "long/".repeat(30))));
        let place = |name: &str| names.iter().position(|n| n == name).unwrap();
        assert!(place("usr/big") < place("a-link"));
        assert_eq!(names.last().unwrap(), TOC_NAME);
    }

    #[test]
    fn every_chunk_is_where_the_table_says() {
        let layer = write(&sample(), &["usr/big".to_string()]).unwrap();
        let footer = &layer.blob[layer.blob.len() - FOOTER_SIZE..];
        assert_eq!(gunzip(footer), b"");
        let offset = std::str::from_utf8(&footer[16..32]).unwrap();
        let toc_offset = usize::from_str_radix(offset, 16).unwrap();
        let tail = gunzip(&layer.blob[toc_offset..]);
        let mut archive = tar::Archive::new(&tail[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut toc = Vec::new();
        entry.read_to_end(&mut toc).unwrap();
        assert_eq!(layer.descriptor.toc_digest(), Some(Digest::of(&toc)));
        let toc: serde_json::Value = serde_json::from_slice(&toc).unwrap();
        let entries = toc["entries"].as_array().unwrap();
        let names: Vec<&str> = entries
            .iter()
            .map(|e| e["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names[..5],
            ["usr/", "usr/big", "usr/big", "usr/big", PREFETCH_LANDMARK]
        );
        let mut chunks = 0;
        for entry in entries
            .iter()
            .filter(|entry| entry["chunkDigest"].is_string())
        {
            let offset = entry["offset"].as_u64().unwrap() as usize;
            let size = entry["chunkSize"]
                .as_u64()
                .or(entry["size"].as_u64())
                .unwrap() as usize;
            let raw = gunzip(&layer.blob[offset..]);
            assert_eq!(entry["chunkDigest"], Digest::of(&raw[..size]).to_string());
            chunks += 1;
        }
        assert_eq!(chunks, 6);
        assert!(layer.prefetch_size > 0);
    }

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(EPOCH - 1), "2026-10-31T23:59:59Z");
        assert_eq!(rfc3339(EPOCH), EPOCH_TEXT);
    }

    #[test]
    fn pax_lengths_count_themselves() {
        let mut records = String::new();
        pax_record(&mut records, "path", &"x".repeat(90));
        assert_eq!(records.len(), 99);
        assert!(records.starts_with("99 path="));
        records.clear();
        pax_record(&mut records, "path", &"x".repeat(91));
        assert!(records.starts_with("101 path="));
        assert_eq!(records.len(), 101);
    }
}
