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
