//! By which digests registries know the layers that are here: a layer's own digest is that of its tar, a
//! registry's that of the compressed blob, which cannot be had again from the files.
//!
//! Kept where Docker keeps it:
//!
//! ```text
//! image/overlay2/distribution/diffid-by-digest/sha256/<blob>           the layer
//! image/overlay2/distribution/v2metadata-by-diffid/sha256/<diff id>    blobs, and where each was seen
//! ```

use oci::Digest;
use os::{OsExt, View};
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// Places remembered for a layer, newest last.
const PLACES_MAX: usize = 50;

/// A blob that a layer was seen as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Seen {
    /// Digest of the blob.
    pub(crate) digest: Digest,
    /// The repository it was seen in: `docker.io/library/busybox`.
    pub(crate) source_repository: String,
    /// Docker's proof of who saw it; only ever empty here.
    #[serde(default, rename = "HMAC")]
    pub(crate) hmac: String,
}

impl Store {
    fn distribution(&self, kind: &str, digest: &Digest) -> (String, String) {
        let root = self.root();
        let directory = format!("{root}/image/overlay2/distribution/{kind}/sha256");
        let file = format!("{directory}/{}", digest.hex());
        (directory, file)
    }

    /// The blobs that a layer was seen as, newest last.
    pub(crate) fn seen_as(&self, diff_id: &Digest) -> Vec<Seen> {
        let (_, file) = self.distribution("v2metadata-by-diffid", diff_id);
        let bytes = self.os().read_file_now(View::Host, file.as_bytes());
        let known = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        known.unwrap_or_default()
    }

    /// Notes where a layer was seen, and as which blob. What cannot be noted costs one more upload.
    pub(crate) fn note_seen(&self, diff_id: &Digest, digest: Digest, repository: String) {
        let seen = Seen {
            digest,
            source_repository: repository,
            hmac: String::new(),
        };
        let mut known = self.seen_as(diff_id);
        known.retain(|other| *other != seen);
        known.push(seen);
        let surplus = known.len().saturating_sub(PLACES_MAX);
        known.drain(..surplus);
        self.write_seen(diff_id, &known);
        let layer = diff_id.to_string();
        self.put_distribution("diffid-by-digest", &digest, layer.as_bytes());
    }

    /// A registry does not know a blob any more.
    pub(crate) fn forget_seen(&self, diff_id: &Digest, gone: &Seen) {
        let mut known = self.seen_as(diff_id);
        known.retain(|other| other != gone);
        self.write_seen(diff_id, &known);
    }

    fn write_seen(&self, diff_id: &Digest, known: &[Seen]) {
        let bytes = serde_json::to_vec(known).unwrap_or_default();
        self.put_distribution("v2metadata-by-diffid", diff_id, &bytes);
    }

    fn put_distribution(&self, kind: &str, digest: &Digest, bytes: &[u8]) {
        let (directory, file) = self.distribution(kind, digest);
        let os = self.os();
        let made = os.mkdir_all(View::Host, directory.as_bytes(), 0o700);
        let _ = made.and_then(|()| os.write_file(View::Host, file.as_bytes(), bytes, 0o644));
    }
}
