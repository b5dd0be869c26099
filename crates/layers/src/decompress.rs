//! Layer compressions: plain, gzip (also of many members, as eStargz is) and zstd.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use oci::{Compression, Hasher};
use ruzstd::decoding::StreamingDecoder;

/// A decompressor over bytes that are there.
pub(crate) enum Decompressor<'a> {
    None(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Zstd(Box<StreamingDecoder<&'a [u8], ruzstd::decoding::FrameDecoder>>),
}

impl<'a> Decompressor<'a> {
    /// Chooses by the first bytes, as Docker does; the media type is only what somebody said.
    pub(crate) fn new(bytes: &'a [u8]) -> io::Result<Decompressor<'a>> {
        Ok(match Compression::detect(bytes) {
            Compression::None => Decompressor::None(bytes),
            Compression::Gzip => Decompressor::Gzip(Box::new(MultiGzDecoder::new(bytes))),
            Compression::Zstd => {
                let decoder = StreamingDecoder::new(bytes);
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
            Decompressor::None(bytes) => bytes.read(buf),
            Decompressor::Gzip(decoder) => decoder.read(buf),
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
            let mut reader = Decompressor::new(&blob).expect("a known format");
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
