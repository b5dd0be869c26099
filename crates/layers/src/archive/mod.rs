//! Tar archives: [`unpack`] into a directory of the machine, [`pack`] out of one.
//!
//! Formats read: ustar, GNU and pax, whatever crate `tar` reads; written: ustar with pax records
//! where ustar has no room (`tar(5)`).

use crate::estargz;

pub mod pack;
pub(crate) mod split;
pub mod unpack;

pub use pack::{pack, pack_layer};
pub use split::LayerTar;
pub use unpack::{UnpackError, UnpackOptions, Unpacked, unpack};

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
