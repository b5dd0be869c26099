//! An ordinary layer as eStargz: the same tar, entry for entry and header for header, in gzip members that a
//! table of contents names.
//!
//! The tar's end moves behind the table, so its digest is another; see `images/estargz.rs` for the format.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use anyhow::{Context, ensure};
use flate2::{Compression, GzBuilder};
use oci::{Descriptor, Digest, MediaType, annotation};
use serde::Serialize;
use tar::EntryType;

/// Bytes of a file in a gzip member.
const CHUNK_SIZE: usize = 256 << 10;
const BLOCK: usize = 512;
const TOC_NAME: &str = "stargz.index.json";
const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";
/// Level of a layer that many download.
const LEVEL: u32 = 9;

/// A converted layer.
pub struct Converted {
    pub blob: Vec<u8>,
    pub descriptor: Descriptor,
    /// Digest of its tar.
    pub diff_id: Digest,
}

#[derive(Serialize)]
struct Toc {
    version: u32,
    entries: Vec<Entry>,
}

/// A line of the table. Names are the format's.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
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
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
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

/// A layer's tar.
pub fn decompress(blob: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut tar = Vec::new();
    match oci::Compression::detect(blob) {
        oci::Compression::None => tar.extend_from_slice(blob),
        oci::Compression::Gzip => {
            flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut tar)?;
        }
        oci::Compression::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(blob);
            decoder.context("a zstd layer")?.read_to_end(&mut tar)?;
        }
    }
    Ok(tar)
}

/// Seconds since 1970 in RFC 3339.
fn rfc3339(seconds: u64) -> String {
    // Days to a date (H. Hinnant's algorithm, for dates after 1970).
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for index in 0..4 {
            match index > chunk.len() {
                true => text.push('='),
                false => text.push(ALPHABET[(bits >> (18 - 6 * index) & 63) as usize].into()),
            }
        }
    }
    text
}

fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let builder = GzBuilder::new().mtime(0).operating_system(255);
    let mut encoder = builder.write(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// An empty gzip member whose extra field says where the table begins.
fn footer(toc_offset: u64) -> Vec<u8> {
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
    footer.extend([26, 0, b'S', b'G', 22, 0]);
    footer.extend(format!("{toc_offset:016x}STARGZ").into_bytes());
    // A last stored block of nothing, its checksum and its length.
    footer.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    footer
}

/// The tar as pieces, each to become a gzip member.
#[derive(Default)]
struct Members {
    members: Vec<Vec<u8>>,
    /// Each with the member in which its content is.
    entries: Vec<(Entry, Option<usize>)>,
}

impl Members {
    /// Headers and padding go behind what came last.
    fn append(&mut self, bytes: &[u8]) {
        match self.members.last_mut() {
            Some(last) => last.extend_from_slice(bytes),
            None => self.members.push(bytes.to_vec()),
        }
    }

    fn content(&mut self, mut entry: Entry, content: &[u8]) {
        let name = entry.name.clone();
        let chunks = content.len().div_ceil(CHUNK_SIZE);
        for (index, chunk) in content.chunks(CHUNK_SIZE).enumerate() {
            entry.chunk_offset = (index * CHUNK_SIZE) as u64;
            entry.chunk_size = if chunks > 1 { chunk.len() as u64 } else { 0 };
            entry.chunk_digest = Digest::of(chunk).to_string();
            self.entries.push((entry, Some(self.members.len())));
            self.members.push(chunk.to_vec());
            entry = Entry {
                name: name.clone(),
                kind: "chunk",
                ..Entry::default()
            };
        }
    }

    /// An entry of ours: a small file.
    fn own(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let (header, padding) = own_header(name, content.len())?;
        self.append(&header);
        let entry = Entry {
            name: name.to_string(),
            kind: "reg",
            size: content.len() as u64,
            mode: 0o644,
            digest: Digest::of(content).to_string(),
            ..Entry::default()
        };
        self.content(entry, content);
        self.append(&vec![0; padding]);
        Ok(())
    }
}

fn own_header(name: &str, size: usize) -> anyhow::Result<([u8; BLOCK], usize)> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Ok((*header.as_bytes(), size.next_multiple_of(BLOCK) - size))
}

/// What the table says of an entry; `None` for what it does not list.
fn describe<R: Read>(entry: &mut tar::Entry<'_, R>) -> anyhow::Result<Entry> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let kind = match entry.header().entry_type() {
        EntryType::Directory => "dir",
        EntryType::Symlink => "symlink",
        EntryType::Link => "hardlink",
        EntryType::Char => "char",
        EntryType::Block => "block",
        EntryType::Fifo => "fifo",
        EntryType::Regular | EntryType::Continuous => "reg",
        other => anyhow::bail!("an entry of type {other:?}"),
    };
    let mut xattrs = BTreeMap::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(name) = extension
            .key()
            .unwrap_or_default()
            .strip_prefix("SCHILY.xattr.")
        {
            xattrs.insert(name.to_string(), base64(extension.value_bytes()));
        }
    }
    let header = entry.header();
    Ok(Entry {
        kind,
        size: if kind == "reg" { entry.size() } else { 0 },
        modtime: rfc3339(header.mtime()?),
        link_name: entry
            .link_name_bytes()
            .map_or(String::new(), |name| text(&name)),
        mode: u64::from(header.mode()?),
        uid: header.uid()?,
        gid: header.gid()?,
        dev_major: u64::from(header.device_major().ok().flatten().unwrap_or(0)),
        dev_minor: u64::from(header.device_minor().ok().flatten().unwrap_or(0)),
        name: text(&entry.path_bytes()),
        xattrs,
        ..Entry::default()
    })
}

/// A layer's tar as eStargz.
pub fn estargz(tar: &[u8]) -> anyhow::Result<Converted> {
    let mut members = Members::default();
    let mut done = 0;
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut described = describe(&mut entry)?;
        let (start, size) = (entry.raw_file_position() as usize, entry.size() as usize);
        let name = described.name.trim_start_matches("./");
        // A layer that is eStargz already has a table, which speaks of another tar.
        let ours = [TOC_NAME, NO_PREFETCH_LANDMARK, ".prefetch.landmark"].contains(&name);
        let end = start + size.next_multiple_of(BLOCK);
        ensure!(end <= tar.len(), "unexpected EOF");
        if ours {
            done = end;
            continue;
        }
        members.append(&tar[done..start]);
        if described.kind == "reg" {
            described.digest = Digest::of(&tar[start..start + size]).to_string();
        }
        match described.kind == "reg" && size > 0 {
            true => members.content(described, &tar[start..start + size]),
            false => members.entries.push((described, None)),
        }
        done = start + size;
        if size > 0 {
            members.append(&tar[done..end]);
            done = end;
        }
    }
    members.own(NO_PREFETCH_LANDMARK, &[0xf])?;
    finish(members)
}

fn finish(members: Members) -> anyhow::Result<Converted> {
    let mut blob = Vec::new();
    let mut offsets = Vec::new();
    let mut hasher = oci::Hasher::new();
    for member in &members.members {
        offsets.push(blob.len() as u64);
        blob.extend(gzip(member)?);
        hasher.update(member);
    }
    let entries = members.entries.into_iter().map(|(mut entry, member)| {
        entry.offset = member.map_or(0, |member| offsets[member]);
        entry
    });
    let toc = serde_json::to_vec(&Toc {
        version: 1,
        entries: entries.collect(),
    })?;
    let (header, padding) = own_header(TOC_NAME, toc.len())?;
    // Two empty blocks end a tar.
    let tail = [&header[..], &toc, &vec![0; padding + 2 * BLOCK]].concat();
    let toc_offset = blob.len() as u64;
    blob.extend(gzip(&tail)?);
    blob.extend(footer(toc_offset));
    hasher.update(&tail);
    let mut descriptor = Descriptor::of(MediaType::LAYER_GZIP, &blob);
    descriptor.annotations = BTreeMap::from([
        (
            annotation::TOC_DIGEST.to_string(),
            Digest::of(&toc).to_string(),
        ),
        (
            annotation::UNCOMPRESSED_SIZE.to_string(),
            hasher.size().to_string(),
        ),
    ]);
    Ok(Converted {
        blob,
        descriptor,
        diff_id: hasher.finish(),
    })
}
