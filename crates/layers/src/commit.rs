//! New layers: what a container changed (`docker commit`), and tars from elsewhere (`docker import`).

use std::io::Read;

use futures_util::future::join;
use oci::{Digest, Hasher};
use os::View;
use serve::Body;

use crate::archive::{UnpackError, pack_layer};
use crate::decompress::Decompressor;
use crate::download::Download;
use crate::store::Store;

/// Bytes of an archive without entries: its end alone. Such a layer is none.
const EMPTY_TAR: [u8; 1024] = [0; 1024];
/// Bytes copied at a time.
const CHUNK: usize = 256 * 1024;

fn failed((operation, error): (String, os::Errno)) -> UnpackError {
    UnpackError::Os { operation, error }
}

impl Store {
    /// A layer of what the container `id` changed, on top of its image's. `None`: it changed nothing.
    pub async fn commit_container(&self, id: &str) -> Result<Option<Digest>, UnpackError> {
        let corrupt = |error: crate::StoreError| UnpackError::Malformed(error.to_string());
        let mount = self.container_paths(id).map_err(corrupt)?;
        let parent = self
            .writable()
            .borrow()
            .get(id)
            .and_then(|writable| writable.parent);
        let (sender, mut body) = Body::channel();
        let packing = async {
            let packed = pack_layer(self.os(), View::Host, mount.upper.as_bytes(), &sender).await;
            drop(sender);
            packed
        };
        let keeping = async {
            let mut tar = Download::new(self.os(), self.root()).map_err(failed)?;
            let mut hasher = Hasher::new();
            while let Some(Ok(chunk)) = body.next().await {
                tar.write(&chunk).map_err(failed)?;
                hasher.update(&chunk);
            }
            drop(body);
            Ok((tar, hasher.finish()))
        };
        let (packed, kept) = join(packing, keeping).await;
        let (tar, diff_id) = kept?;
        packed.map_err(|error| failed((format!("archive {}", mount.upper), error)))?;
        if diff_id == Digest::of(&EMPTY_TAR) {
            return Ok(None);
        }
        self.graph().register(parent, diff_id, tar.reader()).await?;
        Ok(Some(diff_id))
    }

    /// A first layer of a tar, compressed or not. `None`: there is nothing in it.
    pub async fn import_layer(&self, tar: &Download) -> Result<Option<Digest>, UnpackError> {
        let malformed = |error: std::io::Error| UnpackError::Malformed(error.to_string());
        let mut reader = Decompressor::new(tar.reader()).map_err(malformed)?;
        let mut hasher = Hasher::new();
        let mut buf = vec![0; CHUNK];
        loop {
            let count = reader.read(&mut buf).map_err(malformed)?;
            if count == 0 {
                break;
            }
            hasher.update(&buf[..count]);
            crate::pause(self.os()).await;
        }
        let diff_id = hasher.finish();
        if diff_id == Digest::of(&EMPTY_TAR) {
            return Ok(None);
        }
        self.graph().register(None, diff_id, tar.reader()).await?;
        Ok(Some(diff_id))
    }
}
