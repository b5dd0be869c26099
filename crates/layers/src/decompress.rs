//! Compressions of layers and other archives: plain, gzip (also of many members, as eStargz is), zstd and, for
//! archives only, bzip2 and xz.

use std::io::{self, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use oci::{Compression, Hasher};
use ruzstd::decoding::StreamingDecoder;

use crate::bzip2::Bzip2;
use crate::xz::Xz;

/// Bytes at the start that tell compressions apart.
const MAGIC_BYTES: u64 = 4;

/// A blob whose first bytes were looked at. Of whatever kind it is, the decompressors stand in the program once.
type Whole<'a> = Chain<Cursor<Vec<u8>>, Box<dyn Read + 'a>>;

/// A decompressor over a blob.
pub(crate) enum Decompressor<'a> {
    None(Whole<'a>),
    Gzip(Box<MultiGzDecoder<Whole<'a>>>),
    Bzip2(Box<Bzip2<Whole<'a>>>),
    Xz(Box<Xz<Whole<'a>>>),
    Zstd(Box<StreamingDecoder<Whole<'a>, ruzstd::decoding::FrameDecoder>>),
}

impl<'a> Decompressor<'a> {
    /// Chooses by the first bytes, as Docker does; the media type is only what somebody said.
    pub(crate) fn new(blob: impl Read + 'a) -> io::Result<Decompressor<'a>> {
        let mut blob: Box<dyn Read + 'a> = Box::new(blob);
        let mut start = Vec::new();
        blob.by_ref().take(MAGIC_BYTES).read_to_end(&mut start)?;
        let compression = Compression::detect(&start);
        let (bzip2, xz) = (start.starts_with(b"BZh"), start.starts_with(b"\xfd7zX"));
        let whole = Cursor::new(start).chain(blob);
        if bzip2 {
            return Ok(Decompressor::Bzip2(Box::new(Bzip2::new(whole))));
        }
        if xz {
            return Ok(Decompressor::Xz(Box::new(Xz::new(whole))));
        }
        Ok(match compression {
            Compression::None => Decompressor::None(whole),
            Compression::Gzip => Decompressor::Gzip(Box::new(MultiGzDecoder::new(whole))),
            Compression::Zstd => {
                let decoder = StreamingDecoder::new(whole);
                Decompressor::Zstd(Box::new(
                    decoder.map_err(|error| io::Error::other(error.to_string()))?,
                ))
            }
        })
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Decompressor::None(whole) => whole.read(buf),
            Decompressor::Gzip(decoder) => decoder.read(buf),
            Decompressor::Bzip2(decoder) => decoder.read(buf),
            Decompressor::Xz(decoder) => decoder.read(buf),
            Decompressor::Zstd(decoder) => decoder.read(buf),
        }
    }
}

/// Hashes what passes: the digest of an uncompressed layer is its diff id.
pub(crate) struct Hashing<R> {
    pub(crate) inner: R,
    pub(crate) hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.hasher.update(&buf[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_compression_gives_the_same_bytes() {
        let gzip = |bytes: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).expect("to memory");
            encoder.finish().expect("to memory")
        };
        // RFC 8878: magic, a single segment of five bytes, one last raw block of five.
        let zstd = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello".to_vec();
        let members = [gzip(b"he"), gzip(b"llo")].concat();
        for blob in [b"hello".to_vec(), gzip(b"hello"), members, zstd] {
            let mut bytes = Vec::new();
            let mut reader = Decompressor::new(&blob[..]).expect("a known format");
            reader.read_to_end(&mut bytes).expect("intact");
            assert_eq!(bytes, b"hello");
        }
    }

    #[test]
    fn broken_streams_are_errors() {
        for blob in [
            &b"\x1f\x8b\x08\0"[..],
            b"\x1f\x8bnoise",
            b"\x28\xb5\x2f\xfd",
        ] {
            let read = Decompressor::new(blob).and_then(|mut reader| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes)
            });
            assert!(read.is_err(), "{blob:?}");
        }
    }
}
