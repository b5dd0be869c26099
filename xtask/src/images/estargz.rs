//! A tree as a layer in eStargz (`crate::estargz`), the files named first before everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::tree::{EPOCH, Kind, Node, Tree};
use crate::estargz::{
    BLOCK, Entry, LANDMARK_CONTENT, Layer, Members, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK,
    TOC_NAME, padding, rfc3339,
};

/// A file worth fetching before anything runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    pub path: String,
    /// What of it is read, in pages; nothing here is all of it.
    pub pages: Vec<Range<usize>>,
}

/// Writes `tree` as a layer; the files named in `prefetch` (and their directories) come first.
pub fn write(tree: &Tree, prefetch: &[First]) -> anyhow::Result<Layer> {
    let first: BTreeMap<&str, &First> = prefetch
        .iter()
        .filter(|first| tree.contains(&first.path))
        .map(|first| (&first.path[..], first))
        .collect();
    let mut writer = Writer {
        tree,
        first,
        done: BTreeSet::new(),
        members: Members::default(),
    };
    for First { path, .. } in prefetch {
        for (index, _) in path.match_indices('/') {
            writer.add_once(&path[..index])?;
        }
        writer.add_once(path)?;
    }
    let landmark = match writer.first.is_empty() {
        true => NO_PREFETCH_LANDMARK,
        false => {
            writer.members.landmark_is_next();
            PREFETCH_LANDMARK
        }
    };
    writer.add(landmark, &own(&LANDMARK_CONTENT[..], 0o644))?;
    // Hard links after everything else: their file may sort behind them.
    let is_link = |node: &Node| matches!(node.kind, Kind::Hardlink(_));
    for links in [false, true] {
        for (path, _) in tree.iter().filter(|(_, node)| is_link(node) == links) {
            writer.add_once(path)?;
        }
    }
    writer.members.finish(|size| {
        // Only its size is in the header.
        header(TOC_NAME, &own(vec![0; size], 0o444))
    })
}

/// A file of ours.
fn own(content: impl Into<Arc<[u8]>>, mode: u32) -> Node {
    Node {
        kind: Kind::File(content.into()),
        mode,
        uid: 0,
        gid: 0,
        mtime: EPOCH,
    }
}

struct Writer<'a> {
    tree: &'a Tree,
    first: BTreeMap<&'a str, &'a First>,
    done: BTreeSet<String>,
    members: Members,
}

impl Writer<'_> {
    fn add_once(&mut self, path: &str) -> anyhow::Result<()> {
        match self.tree.get(path) {
            Some(node) if self.done.insert(path.to_string()) => {
                // The file before its other names.
                if let Kind::Hardlink(target) = &node.kind {
                    self.add_once(target)?;
                }
                self.add(path, node)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, path: &str, node: &Node) -> anyhow::Result<()> {
        let name = tar_name(path, node);
        self.members.append(&header(&name, node)?);
        let (kind, link_name, content): (_, _, &[u8]) = match &node.kind {
            Kind::Dir => ("dir", "", &[]),
            Kind::Symlink(target) => ("symlink", &target[..], &[]),
            Kind::Hardlink(target) => ("hardlink", &target[..], &[]),
            Kind::Whiteout => ("reg", "", &[]),
            Kind::File(bytes) => ("reg", "", bytes),
        };
        let entry = Entry {
            name,
            kind,
            modtime: rfc3339(node.mtime),
            link_name: link_name.to_string(),
            mode: u64::from(node.mode),
            uid: u64::from(node.uid),
            gid: u64::from(node.gid),
            ..Entry::default()
        };
        let first = self.first.get(path);
        let pages = first.map_or(&[][..], |first| &first.pages);
        self.members.add(entry, content, pages);
        self.members.append(&vec![0; padding(content.len())]);
        Ok(())
    }
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
    let mut out = Vec::with_capacity(BLOCK);
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
        out.resize(out.len() + padding(records.len()), 0);
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

fn block(name: &str, kind: u8, size: u64, link: &str, node: &Node) -> anyhow::Result<[u8; BLOCK]> {
    let mut block = [0u8; BLOCK];
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    use oci::Digest;

    use crate::estargz::{CHUNK_SIZE, FOOTER_SIZE};

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
        let first = First {
            path: "usr/big".to_string(),
            pages: Vec::new(),
        };
        let layer = write(&sample(), &[first]).unwrap();
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
