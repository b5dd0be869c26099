//! Tar archives: [`unpack`] into a directory of the machine, [`pack`] out of one.
//!
//! Formats read: ustar, GNU and pax, whatever crate `tar` reads; written: ustar with pax records
//! where ustar has no room (`tar(5)`).

use std::io::Read;
use std::rc::Rc;

use os::{OpenFlags, Os, View};

use crate::decompress::Decompressor;
use crate::download::Reader;
use crate::estargz;

mod bounded;
pub mod pack;
pub(crate) mod split;
pub mod unpack;

pub(crate) use bounded::Bounded;
pub use pack::{pack, pack_layer};
pub use split::LayerTar;
pub use unpack::{UnpackError, UnpackOptions, Unpacked, unpack, unpack_compressed};

/// True for the entries of an eStargz layer that are about the layer and not in it.
#[must_use]
pub fn is_layer_metadata(path: &[u8]) -> bool {
    let names = [
        estargz::TOC_NAME,
        estargz::PREFETCH_LANDMARK,
        estargz::NO_PREFETCH_LANDMARK,
    ];
    names.iter().any(|name| name.as_bytes() == path)
}

/// Prefix of a whiteout in a layer (OCI image-spec, layer.md).
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Marks a directory of a layer as opaque.
pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Reads a file of the machine from its beginning.
pub fn open(os: &Rc<dyn Os>, path: &[u8]) -> os::Result<impl Read + use<>> {
    let flags = OpenFlags {
        read: true,
        no_follow: true,
        ..OpenFlags::default()
    };
    let handle = os.open(View::Host, path, flags, 0)?;
    Ok(Reader::new(handle))
}

/// Whether a file is an archive that [`unpack_compressed`] reads: a tar with at least one entry.
pub fn is_archive(os: &Rc<dyn Os>, path: &[u8]) -> bool {
    let Ok(file) = open(os, path) else {
        return false;
    };
    let Ok(tar) = Decompressor::new(file) else {
        return false;
    };
    let mut archive = tar::Archive::new(tar);
    let first = archive.entries().map(|mut entries| entries.next());
    matches!(first, Ok(Some(Ok(_))))
}
