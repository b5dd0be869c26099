//! eStargz: a gzip layer that can be read file by file.
//!
//! A blob is a row of gzip members, one per file or chunk; the last but one is a tar entry
//! `stargz.index.json`, the table of contents, and the last is a footer that says where it is.
//! Source: docs/estargz.md of containerd's stargz-snapshotter.
//!
//! Only the format: who fetches ranges and mounts the files is above (crate `playground`).

use std::fmt;
use std::io::Read;

use flate2::read::{GzDecoder, MultiGzDecoder};
use oci::Digest;
use serde::{Deserialize, Serialize};

/// Bytes of the footer.
pub const FOOTER_BYTES: u64 = 51;
/// Name of the entry that ends the files worth having before the first prompt.
pub const PREFETCH_LANDMARK: &str = ".prefetch.landmark";
/// Name of the entry that says nothing is to be fetched beforehand.
pub const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";
/// Name of the table's entry.
pub const TOC_NAME: &str = "stargz.index.json";
/// Largest table that is read.
const TOC_BYTES_MAX: u64 = 64 << 20;
/// Largest chunk that is unpacked.
const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// Why a blob is not eStargz, or not what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EstargzError {
    /// No footer at the end.
    NoFooter,
    /// The footer points outside the blob.
    BadOffset(u64),
    /// The table is not readable.
    BadToc(String),
    /// Bytes that are not the chunk the table promises.
    BadChunk(String),
}

impl fmt::Display for EstargzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EstargzError::NoFooter => f.write_str("not an eStargz layer: no footer"),
            EstargzError::BadOffset(offset) => {
                write!(f, "eStargz footer points to {offset}, outside the layer")
            }
            EstargzError::BadToc(reason) => write!(f, "eStargz table of contents: {reason}"),
            EstargzError::BadChunk(name) => write!(
                f,
                "eStargz chunk of {name:?} is not what the table promises"
            ),
        }
    }
}

impl std::error::Error for EstargzError {}

/// An entry of the table: a file, or a further chunk of the file before it.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TocEntry {
    /// Path without a leading slash; directories end in one.
    pub name: String,
    /// `dir`, `reg`, `symlink`, `hardlink`, `char`, `block`, `fifo` or `chunk`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// RFC 3339.
    #[serde(rename = "modtime")]
    pub mod_time: String,
    /// Target of a link.
    pub link_name: String,
    /// Permission bits, in Go's or tar's numbering (the low twelve agree but for the special ones).
    pub mode: i64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Where its gzip member begins in the blob.
    pub offset: u64,
    /// Device.
    pub dev_major: u64,
    /// Device.
    pub dev_minor: u64,
    /// Extended attributes, values in base64.
    pub xattrs: std::collections::BTreeMap<String, String>,
    /// Digest of the file.
    pub digest: String,
    /// Where the chunk begins in the file.
    pub chunk_offset: u64,
    /// Bytes of the chunk; 0: up to the end of the file.
    pub chunk_size: u64,
    /// Digest of the chunk.
    pub chunk_digest: String,
    /// Where the chunk begins in the uncompressed member.
    pub inner_offset: u64,
    /// Not in the format: before the landmark, but not worth fetching before somebody reads it.
    pub later: bool,
}

/// The table of contents.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Toc {
    /// Always 1.
    pub version: u32,
    /// Entries in the order of the blob.
    pub entries: Vec<TocEntry>,
}

/// Where the table begins, read from the last [`FOOTER_BYTES`] of a blob of `blob_size` bytes.
pub fn parse_footer(footer: &[u8], blob_size: u64) -> Result<u64, EstargzError> {
    let tail = footer
        .len()
        .checked_sub(FOOTER_BYTES as usize)
        .ok_or(EstargzError::NoFooter)?;
    let footer = &footer[tail..];
    // gzip magic, an extra field of 26 bytes, its subfield "SG" of 22.
    let extra = &footer[12..38];
    if footer[..4] != [0x1f, 0x8b, 8, 4] || footer[10..12] != [26, 0] || extra[..4] != *b"SG\x16\0"
    {
        return Err(EstargzError::NoFooter);
    }
    let digits = extra[4..]
        .strip_suffix(b"STARGZ")
        .and_then(|digits| std::str::from_utf8(digits).ok());
    let offset = digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(EstargzError::NoFooter)?;
    if offset >= blob_size.saturating_sub(FOOTER_BYTES) {
        return Err(EstargzError::BadOffset(offset));
    }
    Ok(offset)
}

/// Reads the table from its gzip member and checks it against the digest of the layer's annotation.
pub fn parse_toc(member: &[u8], expected: Option<Digest>) -> Result<Toc, EstargzError> {
    let bad = |error: &dyn fmt::Display| EstargzError::BadToc(error.to_string());
    let mut archive = tar::Archive::new(GzDecoder::new(member).take(TOC_BYTES_MAX));
    let mut entries = archive.entries().map_err(|error| bad(&error))?;
    let mut entry = entries
        .next()
        .ok_or_else(|| bad(&"empty"))?
        .map_err(|error| bad(&error))?;
    if *entry.path_bytes() != *TOC_NAME.as_bytes() {
        return Err(bad(&"another entry in its place"));
    }
    let mut json = Vec::new();
    entry.read_to_end(&mut json).map_err(|error| bad(&error))?;
    if expected.is_some_and(|expected| Digest::of(&json) != expected) {
        return Err(bad(&"digest mismatch"));
    }
    serde_json::from_slice(&json).map_err(|error| bad(&error))
}

/// Where in the blob the member that begins at `offset` ends: where the next one begins.
#[must_use]
pub fn member_ends(toc: &Toc, toc_offset: u64) -> std::collections::BTreeMap<u64, u64> {
    let mut starts: Vec<u64> = toc
        .entries
        .iter()
        .filter(|entry| has_content(entry))
        .map(|entry| entry.offset)
        .collect();
    starts.extend(
        toc.entries
            .iter()
            .filter(|entry| !has_content(entry) && entry.offset > 0)
            .map(|entry| entry.offset),
    );
    starts.push(toc_offset);
    starts.sort_unstable();
    starts.dedup();
    starts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// True for entries that have bytes in the blob.
#[must_use]
pub fn has_content(entry: &TocEntry) -> bool {
    (entry.kind == "reg" && entry.size > 0) || entry.kind == "chunk"
}

/// Unpacks and verifies a chunk from the bytes of its member (more may follow them).
pub fn unpack_chunk(
    member: &[u8],
    entry: &TocEntry,
    chunk_size: u64,
) -> Result<Vec<u8>, EstargzError> {
    let bad = || EstargzError::BadChunk(entry.name.clone());
    if chunk_size > CHUNK_BYTES_MAX {
        return Err(bad());
    }
    let mut decoder = MultiGzDecoder::new(member);
    std::io::copy(
        &mut (&mut decoder).take(entry.inner_offset),
        &mut std::io::sink(),
    )
    .map_err(|_| bad())?;
    let mut bytes = Vec::with_capacity(chunk_size as usize);
    decoder
        .take(chunk_size)
        .read_to_end(&mut bytes)
        .map_err(|_| bad())?;
    let digest = if entry.chunk_digest.is_empty() {
        &entry.digest
    } else {
        &entry.chunk_digest
    };
    let expected: Digest = digest.parse().map_err(|_| bad())?;
    if bytes.len() as u64 != chunk_size || Digest::of(&bytes) != expected {
        return Err(bad());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(offset: u64) -> Vec<u8> {
        let mut bytes = vec![
            0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0,
        ];
        bytes.extend(format!("{offset:016x}STARGZ").bytes());
        bytes.extend([1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn footers() {
        assert_eq!(footer(7).len() as u64, FOOTER_BYTES);
        assert_eq!(parse_footer(&footer(0x1234), 0x2000), Ok(0x1234));
        assert_eq!(
            parse_footer(&footer(0x1234), 0x1234 + 51),
            Err(EstargzError::BadOffset(0x1234))
        );
        assert_eq!(
            parse_footer(&footer(1)[1..], 100),
            Err(EstargzError::NoFooter)
        );
        assert_eq!(parse_footer(&[0; 51], 100), Err(EstargzError::NoFooter));
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        assert!(matches!(parse_toc(b"", None), Err(EstargzError::BadToc(_))));
        assert!(matches!(
            parse_toc(&[0x1f, 0x8b, 8, 0], None),
            Err(EstargzError::BadToc(_))
        ));
    }
}
