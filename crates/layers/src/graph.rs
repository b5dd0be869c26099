//! Layers on disk: Docker's layer database and `overlay2` directories.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use oci::{Digest, Hasher};
use os::{Errno, Os, OsExt, View};

use crate::archive::split::{Recorder, Recording};
use crate::archive::unpack::unpack_recording;
use crate::archive::{LayerTar, UnpackError, UnpackOptions};
use crate::decompress::{Decompressor, Hashing};

/// The file beside a layer's that its tar is written again from.
const SPLIT: &str = "tar-split.gz";

/// A read-only layer, named by its chain id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// Digest of its uncompressed tar.
    pub diff_id: Digest,
    /// The layer below.
    pub parent: Option<Digest>,
    /// Bytes of its files.
    pub size: u64,
    /// Directory below `overlay2`.
    pub cache_id: String,
}

/// All layers of a store.
pub struct Graph {
    os: Rc<dyn Os>,
    root: String,
    layers: RefCell<BTreeMap<Digest, Layer>>,
}

/// The chain id of a layer on top of `parent` (OCI image-spec, config.md).
#[must_use]
pub fn chain_id(parent: Option<Digest>, diff_id: Digest) -> Digest {
    match parent {
        None => diff_id,
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

/// The chain ids of an image's layers, base first.
#[must_use]
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain = Vec::with_capacity(diff_ids.len());
    for &diff_id in diff_ids {
        chain.push(chain_id(chain.last().copied(), diff_id));
    }
    chain
}

/// A layer that is being unpacked: unless it gets finished, by an error or because nobody wants it any more,
/// nothing of it stays.
struct Unfinished<'a> {
    graph: &'a Graph,
    cache_id: Option<String>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(cache_id) = &self.cache_id {
            // What cannot be removed costs room; why the layer is not there is the error that counts.
            let _ = self.graph.remove_directories(cache_id);
        }
    }
}

impl Graph {
    /// Opens the graph below `root`, reading what is there.
    pub fn open(os: &Rc<dyn Os>, root: &str) -> os::Result<Graph> {
        let graph = Graph {
            os: Rc::clone(os),
            root: root.to_string(),
            layers: RefCell::default(),
        };
        let database = graph.database();
        os.mkdir_all(View::Host, database.as_bytes(), 0o700)?;
        os.mkdir_all(View::Host, format!("{root}/overlay2/l").as_bytes(), 0o700)?;
        for entry in os.read_dir(View::Host, database.as_bytes())? {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            // A layer whose files are not all there was being written when the machine stopped.
            if let Some((chain, layer)) = graph.read(&name) {
                graph.layers.borrow_mut().insert(chain, layer);
            }
        }
        Ok(graph)
    }

    fn database(&self) -> String {
        format!("{}/image/overlay2/layerdb/sha256", self.root)
    }

    fn read(&self, name: &str) -> Option<(Digest, Layer)> {
        let chain = Digest::from_hex(name).ok()?;
        let field = |field: &str| -> Option<String> {
            let path = format!("{}/{name}/{field}", self.database());
            let bytes = self.os.read_file_now(View::Host, path.as_bytes()).ok()?;
            String::from_utf8(bytes).ok()
        };
        let layer = Layer {
            diff_id: field("diff")?.parse().ok()?,
            parent: field("parent").and_then(|text| text.parse().ok()),
            size: field("size")?.parse().ok()?,
            cache_id: field("cache-id")?,
        };
        Some((chain, layer))
    }

    /// The layer with a chain id.
    #[must_use]
    pub fn get(&self, chain: &Digest) -> Option<Layer> {
        self.layers.borrow().get(chain).cloned()
    }

    /// Chain ids of all layers.
    #[must_use]
    pub fn chains(&self) -> Vec<Digest> {
        self.layers.borrow().keys().copied().collect()
    }

    /// Where the files of a cache id are.
    #[must_use]
    pub fn directory(&self, cache_id: &str) -> String {
        format!("{}/overlay2/{cache_id}", self.root)
    }

    /// The `lowerdir` option for a mount over `top`: layers from the top down.
    #[must_use]
    pub fn lower_directories(&self, top: Option<Digest>) -> Vec<String> {
        let layers = self.layers.borrow();
        let mut lower = Vec::new();
        let mut next = top;
        while let Some(layer) = next.and_then(|chain| layers.get(&chain)) {
            lower.push(format!("{}/diff", self.directory(&layer.cache_id)));
            next = layer.parent;
        }
        lower
    }

    /// Unpacks a layer blob on top of `parent` and checks that it is the layer `diff_id`.
    pub async fn register(
        &self,
        parent: Option<Digest>,
        diff_id: Digest,
        blob: impl Read,
    ) -> Result<Digest, UnpackError> {
        let chain = chain_id(parent, diff_id);
        if self.layers.borrow().contains_key(&chain) {
            return Ok(chain);
        }
        let mut unfinished = Unfinished {
            graph: self,
            cache_id: Some(self.os.rng().hex(32)),
        };
        let cache_id = unfinished.cache_id.clone().unwrap_or_default();
        let (size, records) = self.unpack(&cache_id, parent, diff_id, blob).await?;
        let layer = Layer {
            diff_id,
            parent,
            size,
            cache_id,
        };
        self.write(&chain, &layer, &records)
            .map_err(|error| failed("write layer", error))?;
        unfinished.cache_id = None;
        self.layers.borrow_mut().insert(chain, layer);
        Ok(chain)
    }

    async fn unpack(
        &self,
        cache_id: &str,
        parent: Option<Digest>,
        diff_id: Digest,
        blob: impl Read,
    ) -> Result<(u64, Vec<u8>), UnpackError> {
        let directory = self.directory(cache_id);
        let diff = format!("{directory}/diff");
        self.make_directories(cache_id, parent)
            .map_err(|error| failed("mkdir", error))?;
        let malformed = |error: std::io::Error| UnpackError::Malformed(error.to_string());
        let recorder = Recorder::new();
        let mut reader = Hashing {
            inner: Recording {
                inner: Decompressor::new(blob).map_err(malformed)?,
                recorder: Rc::clone(&recorder),
            },
            hasher: Hasher::new(),
        };
        let options = UnpackOptions {
            layer: true,
            ..UnpackOptions::default()
        };
        let unpacked = unpack_recording(
            &self.os,
            View::Host,
            diff.as_bytes(),
            &mut reader,
            options,
            Some(&recorder),
        )
        .await?;
        let actual = reader.hasher.finish();
        if actual != diff_id {
            return Err(UnpackError::Malformed(
                "layers from manifest don't match image configuration".into(),
            ));
        }
        let committed = format!("{directory}/committed");
        self.os
            .write_file(View::Host, committed.as_bytes(), b"", 0o600)
            .map_err(|error| failed("write", error))?;
        let records = recorder.borrow_mut().finish();
        Ok((unpacked.size, records))
    }

    /// The tar a layer is the digest of, written again.
    pub fn tar(&self, chain: &Digest) -> io::Result<LayerTar> {
        let missing = || io::Error::other(format!("layer does not exist: {chain}"));
        let layer = self.get(chain).ok_or_else(missing)?;
        let path = format!("{}/{}/{SPLIT}", self.database(), chain.hex());
        let records = self.os.read_file_now(View::Host, path.as_bytes());
        let records = records.map_err(|error| {
            io::Error::other(format!("open {path}: {}", error.go_description()))
        })?;
        let root = format!("{}/diff", self.directory(&layer.cache_id));
        LayerTar::open(&self.os, root, records)
    }

    /// `diff`, the short `link` and the `lower` list, as the overlay2 driver makes them.
    pub(crate) fn make_directories(
        &self,
        cache_id: &str,
        parent: Option<Digest>,
    ) -> os::Result<()> {
        let directory = self.directory(cache_id);
        self.os
            .mkdir_all(View::Host, format!("{directory}/diff").as_bytes(), 0o755)?;
        self.os.chmod(View::Host, directory.as_bytes(), 0o710)?;
        let link = self.os.rng().hex(13).to_uppercase();
        let short = format!("{}/overlay2/l/{link}", self.root);
        self.os.symlink(
            View::Host,
            format!("../{cache_id}/diff").as_bytes(),
            short.as_bytes(),
        )?;
        self.os.write_file(
            View::Host,
            format!("{directory}/link").as_bytes(),
            link.as_bytes(),
            0o644,
        )?;
        let mut lower = Vec::new();
        let mut next = parent;
        while let Some(layer) = next.and_then(|chain| self.get(&chain)) {
            let path = format!("{}/link", self.directory(&layer.cache_id));
            let link = self.os.read_file_now(View::Host, path.as_bytes())?;
            lower.push(format!("l/{}", String::from_utf8_lossy(&link)));
            next = layer.parent;
        }
        if !lower.is_empty() {
            let path = format!("{directory}/lower");
            self.os.write_file(
                View::Host,
                path.as_bytes(),
                lower.join(":").as_bytes(),
                0o600,
            )?;
            self.os
                .mkdir_all(View::Host, format!("{directory}/work").as_bytes(), 0o700)?;
        }
        Ok(())
    }

    fn write(&self, chain: &Digest, layer: &Layer, records: &[u8]) -> os::Result<()> {
        let directory = format!("{}/{}", self.database(), chain.hex());
        self.os.mkdir_all(View::Host, directory.as_bytes(), 0o755)?;
        let split = format!("{directory}/{SPLIT}");
        self.os
            .write_file(View::Host, split.as_bytes(), records, 0o644)?;
        let mut fields = vec![
            ("diff", layer.diff_id.to_string()),
            ("size", layer.size.to_string()),
        ];
        fields.extend(layer.parent.map(|parent| ("parent", parent.to_string())));
        // The cache id comes last: a layer that has one is complete.
        fields.push(("cache-id", layer.cache_id.clone()));
        for (name, value) in fields {
            let path = format!("{directory}/{name}");
            self.os
                .write_file(View::Host, path.as_bytes(), value.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    /// Removes the files of a cache id.
    pub(crate) fn remove_directories(&self, cache_id: &str) -> os::Result<()> {
        let directory = self.directory(cache_id);
        if let Ok(link) = self
            .os
            .read_file_now(View::Host, format!("{directory}/link").as_bytes())
        {
            let short = format!(
                "{}/overlay2/l/{}",
                self.root,
                String::from_utf8_lossy(&link)
            );
            match self.os.unlink(View::Host, short.as_bytes()) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        self.os.remove_all(View::Host, directory.as_bytes())
    }

    /// Removes a layer that nothing is mounted over.
    pub fn remove(&self, chain: &Digest) -> os::Result<()> {
        let Some(layer) = self.layers.borrow_mut().remove(chain) else {
            return Ok(());
        };
        self.os.remove_all(
            View::Host,
            format!("{}/{}", self.database(), chain.hex()).as_bytes(),
        )?;
        self.remove_directories(&layer.cache_id)
    }
}

fn failed(operation: &str, error: Errno) -> UnpackError {
    UnpackError::Os {
        operation: operation.to_string(),
        error,
    }
}
