//! Layers in eStargz: a gzip'd tar that can also be read file by file.
//!
//! Every file's content, in chunks, begins gzip members of its own, a table of contents at the end says
//! where, and a fixed-size footer says where the table is. A reader that knows none of this sees an
//! ordinary layer with one odd file. Source: the eStargz format description of the stargz snapshotter.
//!
//! What is ours in the table is `later`: a chunk before the prefetch landmark that need not be fetched
//! before somebody reads it. Other readers skip the field, and fetch it with the rest.
//!
//! Members are compressed by all processors at once; the result does not depend on how many.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compression, GzBuilder};
use oci::{Descriptor, Digest, MediaType, annotation};
use serde::Serialize;

/// Bytes of a file per gzip member. Small enough that running a large program fetches what it
/// touches, large enough that compression and the table do not suffer.
pub const CHUNK_SIZE: usize = 256 << 10;
/// Of a large file, which is most often a Go program and nearly all read, more: half the table was of those.
const LARGE_CHUNK_SIZE: usize = 512 << 10;
/// What is a large file.
const LARGE_SIZE: usize = 8 << 20;
/// Of what is not read at first, less: it is fetched because of one page of it.
const LATER_SIZE: usize = 64 << 10;
/// What [`Pages`] count in.
pub const PAGE_SIZE: usize = 4 << 10;
/// Pages that nobody reads between two that somebody does, and are no chunk of their own for it: that would
/// cost a place in the table and a request.
const GAP_PAGES: usize = 1;
/// Marks the end of the files worth fetching before anything runs.
pub const PREFETCH_LANDMARK: &str = ".prefetch.landmark";
/// Says that nothing is worth fetching beforehand.
pub const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";
/// The table's name in the tar.
pub const TOC_NAME: &str = "stargz.index.json";
/// What a landmark has in it.
pub const LANDMARK_CONTENT: [u8; 1] = [0xf];
/// Footer size in bytes.
pub const FOOTER_SIZE: usize = 51;
/// Bytes of a tar's block.
pub const BLOCK: usize = 512;

/// Level of a layer that many download.
const LEVEL: u32 = 9;

/// Runs of a file's pages.
pub type Pages = [Range<usize>];

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
    /// Bytes before the landmark that a first run fetches. Zero without one.
    pub prefetch_size: u64,
    /// Number of entries.
    pub entries: usize,
}

#[derive(Serialize)]
struct Toc {
    version: u32,
    entries: Vec<Entry>,
}

/// One line of the table. Field names and order are the format's; where the content is, [`Members::add`] and
/// [`Members::finish`] say.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    pub size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub modtime: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub link_name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub uid: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub gid: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub offset: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub dev_major: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    #[serde(skip_serializing_if = "is_default")]
    pub chunk_offset: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub chunk_size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub chunk_digest: String,
    #[serde(skip_serializing_if = "is_default")]
    pub later: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A chunk of a file, and whether it may come later.
type Cut = (Range<usize>, bool);

/// Where a file is cut, of which those pages are read at first; all of it, if none are named.
fn cuts(size: usize, pages: &Pages) -> Vec<Cut> {
    let mut runs: Vec<Cut> = Vec::new();
    let mut done = 0;
    for run in pages {
        let (start, end) = (run.start * PAGE_SIZE, (run.end * PAGE_SIZE).min(size));
        match runs.last_mut() {
            Some((last, false)) if start - last.end <= GAP_PAGES * PAGE_SIZE => last.end = end,
            _ => {
                runs.push((done..start, true));
                runs.push((start..end, false));
            }
        }
        done = end;
    }
    runs.push((done..size, !pages.is_empty()));
    let mut cuts = Vec::new();
    for (run, later) in runs {
        let most = match later {
            true => LATER_SIZE,
            false if size >= LARGE_SIZE => LARGE_CHUNK_SIZE,
            false => CHUNK_SIZE,
        };
        let starts = run.clone().step_by(most);
        cuts.extend(starts.map(|start| (start..(start + most).min(run.end), later)));
    }
    cuts
}

/// The tar as pieces, each to become a gzip member.
#[derive(Default)]
pub struct Members {
    members: Vec<Vec<u8>>,
    /// Each with the member in which its content is.
    entries: Vec<(Entry, Option<usize>)>,
    /// The landmark's place among the entries, where there is something before it.
    landmark: Option<usize>,
}

impl Members {
    /// Headers and padding go behind what came last.
    pub fn append(&mut self, bytes: &[u8]) {
        match self.members.last_mut() {
            Some(last) => last.extend_from_slice(bytes),
            None => self.members.push(bytes.to_vec()),
        }
    }

    /// An entry and its content, which is not padded. Of a file in chunks, `pages` are read first.
    pub fn add(&mut self, mut entry: Entry, content: &[u8], pages: &Pages) {
        if entry.kind == "reg" {
            entry.size = content.len() as u64;
            entry.digest = Digest::of(content).to_string();
        }
        if content.is_empty() {
            self.entries.push((entry, None));
            return;
        }
        let name = entry.name.clone();
        let cuts = cuts(content.len(), pages);
        // A file in one piece needs no chunk size: it is the file's.
        let whole = cuts.len() == 1;
        for (range, later) in cuts {
            let chunk = &content[range.clone()];
            entry.chunk_offset = range.start as u64;
            entry.chunk_size = if whole { 0 } else { chunk.len() as u64 };
            entry.chunk_digest = Digest::of(chunk).to_string();
            entry.later = later;
            self.entries.push((entry, Some(self.members.len())));
            self.members.push(chunk.to_vec());
            entry = Entry {
                name: name.clone(),
                kind: "chunk",
                ..Entry::default()
            };
        }
    }

    /// The next entry is the landmark behind what is worth fetching first.
    pub fn landmark_is_next(&mut self) {
        self.landmark = Some(self.entries.len());
    }

    /// The layer. `header` makes the table's, of its size.
    pub fn finish(
        mut self,
        header: impl Fn(usize) -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<Layer> {
        // What a first visit downloads is worth the time it takes to make it smaller.
        let first = self.landmark.and_then(|index| self.entries[index].1);
        let compressed = compress_all(&self.members, first.unwrap_or(0));
        let mut offsets = Vec::with_capacity(compressed.len());
        let mut blob = Vec::with_capacity(compressed.iter().map(Vec::len).sum::<usize>());
        for member in &compressed {
            offsets.push(blob.len() as u64);
            blob.extend_from_slice(member);
        }
        let mut prefetch_size = first.map_or(0, |member| offsets[member]);
        for (entry, member) in &mut self.entries {
            let Some(member) = member else { continue };
            entry.offset = offsets[*member];
            if entry.later {
                prefetch_size -= compressed[*member].len() as u64;
            }
        }
        let entries = self.entries.len();
        let toc = serde_json::to_vec(&Toc {
            version: 1,
            entries: self.entries.into_iter().map(|(entry, _)| entry).collect(),
        })?;
        // Two empty blocks end a tar.
        let zeroes = vec![0; padding(toc.len()) + 2 * BLOCK];
        let tail = [&header(toc.len())?[..], &toc, &zeroes].concat();
        let toc_offset = blob.len() as u64;
        blob.extend_from_slice(&match first {
            Some(_) => gzip_small(&tail),
            None => gzip(&tail),
        });
        blob.extend_from_slice(&footer(toc_offset));

        let mut hasher = oci::Hasher::new();
        self.members.iter().for_each(|member| hasher.update(member));
        hasher.update(&tail);
        let raw_size = hasher.size();
        let mut descriptor = Descriptor::of(MediaType::LAYER_GZIP, &blob);
        descriptor.annotations = [
            (annotation::TOC_DIGEST, Digest::of(&toc).to_string()),
            (annotation::TOC_OFFSET, toc_offset.to_string()),
            (annotation::UNCOMPRESSED_SIZE, raw_size.to_string()),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into();
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

/// Zeroes behind content of that size.
pub fn padding(size: usize) -> usize {
    size.next_multiple_of(BLOCK) - size
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

/// Seconds since 1970 as the table writes them.
pub fn rfc3339(seconds: u64) -> String {
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

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_793_491_200), "2026-11-01T00:00:00Z");
    }

    /// Chunks in pages, those that may come later in brackets.
    fn cut(pages: &[Range<usize>], size: usize) -> String {
        let mut end = 0;
        let mut text = Vec::new();
        for (range, later) in cuts(size, pages) {
            assert_eq!(range.start, end);
            end = range.end;
            let (first, last) = (range.start / PAGE_SIZE, range.end.div_ceil(PAGE_SIZE));
            text.push(match later {
                true => format!("[{first}-{last}]"),
                false => format!("{first}-{last}"),
            });
        }
        assert_eq!(end, size);
        text.join(" ")
    }

    #[test]
    fn a_file_is_cut_where_it_is_read() {
        let pages = |count: usize| count * PAGE_SIZE;
        assert_eq!(cut(&[], 7), "0-1");
        assert_eq!(cut(&[], pages(130)), "0-64 64-128 128-130");
        let one = |run: Range<usize>, size| cut(std::slice::from_ref(&run), size);
        assert_eq!(one(0..2, pages(2)), "0-2");
        assert_eq!(one(0..2, pages(3) - 1), "0-2 [2-3]");
        assert_eq!(
            cut(&[0..2, 3..4, 6..90], pages(120)),
            "0-4 [4-6] 6-70 70-90 [90-106] [106-120]"
        );
        assert_eq!(one(5..6, pages(5) + 9), "[0-5] 5-6");
        assert!(cut(&[], LARGE_SIZE).starts_with("0-128 128-256 "));
    }
}
