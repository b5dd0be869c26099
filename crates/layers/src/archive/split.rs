//! What a layer's tar has beside the files' content, so that the very same tar can be written again: a
//! layer's identity is the digest of that tar, and no two programs write the same one.
//!
//! Docker keeps `tar-split.json.gz` for this; ours is `tar-split.gz`, gzip of records:
//!
//! ```text
//! r LENGTH:u32 BYTES             bytes of the archive as they are: headers, padding, whiteouts
//! f SIZE:u64 LENGTH:u32 PATH     the content of a file of the layer's directory
//! ```
//!
//! Numbers are big-endian.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use os::{Handle, OpenFlags, Os, View};

/// Bytes of a record at most.
const RECORD_MAX: usize = 64 * 1024;

/// Writes the records while a layer is unpacked.
pub(crate) struct Recorder {
    records: GzEncoder<Vec<u8>>,
    raw: Vec<u8>,
    /// Bytes to come that are a file's content.
    content: u64,
}

impl Recorder {
    pub(crate) fn new() -> Rc<RefCell<Recorder>> {
        Rc::new(RefCell::new(Recorder {
            records: GzEncoder::new(Vec::new(), Compression::fast()),
            raw: Vec::new(),
            content: 0,
        }))
    }

    /// The next `size` bytes are the content of the file at `path` (below the layer's directory).
    pub(crate) fn file(&mut self, path: &[u8], size: u64) {
        self.flush();
        self.put(&[b"f", &size.to_be_bytes()[..]]);
        self.put(&[&(path.len() as u32).to_be_bytes()[..], path]);
        self.content = size;
    }

    fn seen(&mut self, mut bytes: &[u8]) {
        let content = self.content.min(bytes.len() as u64);
        self.content -= content;
        bytes = &bytes[content as usize..];
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(RECORD_MAX - self.raw.len()));
            self.raw.extend_from_slice(now);
            bytes = later;
            if self.raw.len() == RECORD_MAX {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if self.raw.is_empty() {
            return;
        }
        let raw = std::mem::take(&mut self.raw);
        self.put(&[b"r", &(raw.len() as u32).to_be_bytes()[..], &raw]);
        self.raw = raw;
        self.raw.clear();
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            // Writing to memory does not fail.
            let _ = self.records.write_all(part);
        }
    }

    /// The file.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.flush();
        let empty = GzEncoder::new(Vec::new(), Compression::fast());
        let records = std::mem::replace(&mut self.records, empty);
        records.finish().unwrap_or_default()
    }
}

/// A reader whose bytes a [`Recorder`] sees.
pub(crate) struct Recording<R> {
    pub(crate) inner: R,
    pub(crate) recorder: Rc<RefCell<Recorder>>,
}

impl<R: Read> Read for Recording<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.recorder.borrow_mut().seen(&buf[..count]);
        Ok(count)
    }
}

/// One record.
enum Record {
    Raw(Vec<u8>),
    File { path: Vec<u8>, size: u64 },
}

fn record(records: &mut impl Read) -> io::Result<Option<Record>> {
    let mut kind = [0];
    if records.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let mut size = [0; 8];
    match kind[0] {
        b'r' => {}
        b'f' => records.read_exact(&mut size)?,
        _ => return Err(damaged()),
    }
    let mut length = [0; 4];
    records.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > RECORD_MAX {
        return Err(damaged());
    }
    let mut bytes = vec![0; length];
    records.read_exact(&mut bytes)?;
    Ok(Some(match kind[0] {
        b'r' => Record::Raw(bytes),
        _ => Record::File {
            path: bytes,
            size: u64::from_be_bytes(size),
        },
    }))
}

fn damaged() -> io::Error {
    io::Error::other("tar-split.gz is damaged")
}

/// A layer's tar, written again while it is read.
pub struct LayerTar {
    os: Rc<dyn Os>,
    /// The layer's directory.
    root: String,
    records: GzDecoder<io::Cursor<Vec<u8>>>,
    raw: io::Cursor<Vec<u8>>,
    file: Option<(Rc<dyn Handle>, u64, u64)>,
    size: u64,
}

impl LayerTar {
    /// `records` is a file a [`Recorder`] finished, `root` where its layer's files are.
    pub(crate) fn open(os: &Rc<dyn Os>, root: String, records: Vec<u8>) -> io::Result<LayerTar> {
        let mut size = 0;
        let mut all = GzDecoder::new(&records[..]);
        while let Some(record) = record(&mut all)? {
            size += match record {
                Record::Raw(bytes) => bytes.len() as u64,
                Record::File { size, .. } => size,
            };
        }
        Ok(LayerTar {
            os: Rc::clone(os),
            root,
            records: GzDecoder::new(io::Cursor::new(records)),
            raw: io::Cursor::default(),
            file: None,
            size,
        })
    }

    /// Bytes of the tar.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    fn start(&mut self, path: &[u8], size: u64) -> io::Result<()> {
        let path = [self.root.as_bytes(), b"/", path].concat();
        let flags = OpenFlags {
            read: true,
            no_follow: true,
            ..OpenFlags::default()
        };
        let handle = self.os.open(View::Host, &path, flags, 0);
        let handle = handle.map_err(|error| {
            let path = String::from_utf8_lossy(&path);
            io::Error::other(format!("open {path}: {}", error.go_description()))
        })?;
        self.file = Some((handle, 0, size));
        Ok(())
    }
}

impl Read for LayerTar {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.raw.read(buf)?;
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            if let Some((handle, offset, size)) = &mut self.file {
                let room = buf.len().min((*size - *offset) as usize);
                if room > 0 {
                    let count = handle.read_at(*offset, &mut buf[..room]);
                    let count = count.map_err(|error| io::Error::other(error.go_description()))?;
                    if count == 0 {
                        return Err(io::Error::other(
                            "a file of the layer is shorter than it was",
                        ));
                    }
                    *offset += count as u64;
                    return Ok(count);
                }
                self.file = None;
            }
            match record(&mut self.records)? {
                None => return Ok(0),
                Some(Record::Raw(bytes)) => self.raw = io::Cursor::new(bytes),
                Some(Record::File { path, size }) => self.start(&path, size)?,
            }
        }
    }
}
