//! An ordinary layer as eStargz: the same tar, entry for entry and header for header, in gzip members that a
//! table of contents names.
//!
//! The tar's end moves behind the table, so its digest is another; see `crate::estargz` for the format.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, ensure};
use tar::EntryType;

use crate::estargz::{
    BLOCK, Entry, LANDMARK_CONTENT, Layer, Members, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK,
    TOC_NAME, padding, rfc3339,
};

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

fn own_header(name: &str, size: usize) -> anyhow::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// What the table says of an entry.
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
pub fn estargz(tar: &[u8]) -> anyhow::Result<Layer> {
    let mut members = Members::default();
    let mut done = 0;
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let described = describe(&mut entry)?;
        let (start, size) = (entry.raw_file_position() as usize, entry.size() as usize);
        let name = described.name.trim_start_matches("./");
        // A layer that is eStargz already has a table, which speaks of another tar.
        let ours = [TOC_NAME, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK].contains(&name);
        let end = start + size.next_multiple_of(BLOCK);
        ensure!(end <= tar.len(), "unexpected EOF");
        if ours {
            done = end;
            continue;
        }
        members.append(&tar[done..start]);
        let listed = if described.kind == "reg" { size } else { 0 };
        members.add(described, &tar[start..start + listed], &[]);
        members.append(&tar[start + listed..end]);
        done = end;
    }
    members.append(&own_header(NO_PREFETCH_LANDMARK, LANDMARK_CONTENT.len())?);
    let landmark = Entry {
        name: NO_PREFETCH_LANDMARK.to_string(),
        kind: "reg",
        mode: 0o644,
        ..Entry::default()
    };
    members.add(landmark, &LANDMARK_CONTENT, &[]);
    members.append(&vec![0; padding(LANDMARK_CONTENT.len())]);
    members.finish(|size| own_header(TOC_NAME, size))
}
