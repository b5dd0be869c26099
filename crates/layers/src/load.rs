//! `docker load`: images from an archive that `docker save` wrote: an OCI image layout, or the format of
//! Docker before 25, compressed or not.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use oci::{
    Descriptor, Digest, ImageConfig, Index, Manifest, ManifestDocument, Platform, Reference,
    annotation,
};
use os::Errno;
use tar::EntryType;

use crate::archive::{self, UnpackError};
use crate::decompress::Decompressor;
use crate::download::Download;
use crate::graph::{chain_id, chain_ids};
use crate::save::Entry;
use crate::store::{Store, StoreError};

/// Bytes of a document of the archive at most.
const DOCUMENT_MAX: u64 = 4 << 20;
/// Bytes copied at a time.
const CHUNK: usize = 256 * 1024;
/// Links followed to what a path of the archive stands for.
const LINKS_MAX: usize = 8;
/// Files and links of an archive.
const FILES_MAX: usize = 100_000;
/// Indexes in indexes.
const DEPTH_MAX: usize = 4;

/// What happens during a load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadEvent {
    /// A layer that was not there: so many bytes of so many.
    Layer {
        /// Its diff id.
        diff_id: Digest,
        /// Bytes done, and in all.
        progress: (u64, u64),
    },
    /// A name was another image's.
    Renamed {
        /// The name.
        name: String,
        /// That image.
        old: Digest,
    },
    /// An image is there.
    Loaded {
        /// It.
        id: Digest,
        /// Its name; `None` for an image without.
        name: Option<Reference>,
    },
}

/// Why an archive was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// The archive.
    Malformed(String),
    /// A layer.
    Layer(UnpackError),
    /// The store.
    Store(StoreError),
    /// No image in it is of the platform that was asked for.
    OtherPlatform,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Malformed(text) => f.write_str(text),
            LoadError::Layer(error) => error.fmt(f),
            LoadError::Store(error) => error.fmt(f),
            LoadError::OtherPlatform => f.write_str("no image of the requested platform"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> LoadError {
        LoadError::Store(error)
    }
}

impl From<(String, Errno)> for LoadError {
    fn from((operation, error): (String, Errno)) -> LoadError {
        LoadError::Layer(UnpackError::Os { operation, error })
    }
}

fn malformed(error: impl ToString) -> LoadError {
    LoadError::Malformed(error.to_string())
}

fn broken(error: std::io::Error) -> LoadError {
    LoadError::Layer(archive::unpack::malformed(error))
}

/// Where the archive's files are.
struct Contents<'a> {
    archive: &'a Download,
    /// Where Docker would have unpacked it, for its errors.
    place: String,
    files: BTreeMap<String, (u64, u64)>,
    links: BTreeMap<String, String>,
}

/// `./a/../b` as `b`.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Contents<'_> {
    fn read(archive: &Download, place: String) -> Result<Contents<'_>, LoadError> {
        let mut contents = Contents {
            archive,
            place,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let mut tar = tar::Archive::new(archive::Bounded::new(archive.reader()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for entry in tar.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = clean(&text(&entry.path_bytes()));
            if contents.files.len() + contents.links.len() >= FILES_MAX {
                return Err(malformed("too many files in the archive"));
            }
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let place = (entry.raw_file_position(), entry.size());
                    contents.files.insert(name, place);
                }
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let target = text(&entry.link_name_bytes().unwrap_or_default());
                    let base = match (kind, name.rfind('/')) {
                        (EntryType::Symlink, Some(cut)) => &name[..cut],
                        _ => "",
                    };
                    let target = clean(&format!("{base}/{target}"));
                    contents.links.insert(name, target);
                }
                _ => {}
            }
        }
        Ok(contents)
    }

    /// Where a file of the archive is, and how long.
    fn find(&self, path: &str) -> Option<(u64, u64)> {
        if self.outside(path).is_some() {
            return None;
        }
        let mut path = clean(path);
        for _ in 0..LINKS_MAX {
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => break,
            }
        }
        self.files.get(&path).copied()
    }

    /// The place a path leads to, if that is not in the archive.
    fn outside(&self, path: &str) -> Option<String> {
        let joined = format!("/{}", clean(&format!("{}/{path}", self.place)));
        (!joined.starts_with(&self.place)).then_some(joined)
    }

    fn missing(&self, path: &str) -> LoadError {
        if let Some(joined) = self.outside(path) {
            let place = &self.place;
            return malformed(format!("evalSymlinksInScope: {joined} is not in {place}"));
        }
        let (place, path) = (&self.place, clean(path));
        malformed(format!("open {place}/{path}: no such file or directory"))
    }

    /// A whole document.
    fn document(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let (offset, size) = self.find(path).ok_or_else(|| self.missing(path))?;
        if size > DOCUMENT_MAX {
            return Err(LoadError::Malformed(format!(
                "{path} has {size} bytes: too many"
            )));
        }
        let mut bytes = Vec::new();
        let mut part = self.archive.part(offset, size);
        part.read_to_end(&mut bytes).map_err(malformed)?;
        Ok(bytes)
    }

    /// The images, as Docker's own list has them or else the layout's index.
    fn entries(&self) -> Result<Vec<Entry>, LoadError> {
        if self.find("manifest.json").is_some() {
            return serde_json::from_slice(&self.document("manifest.json")?).map_err(malformed);
        }
        if self.find("index.json").is_none() {
            return Err(self.missing("repositories"));
        }
        let index: Index = parse(&self.document("index.json")?)?;
        let named = index.manifests.iter().any(|one| name_of(one).is_some());
        let mut entries: Vec<Entry> = Vec::new();
        // An index whose manifests have no names and different platforms is one image.
        let platforms = index.manifests.iter().filter(|one| one.platform.is_some());
        if !named && platforms.count() > 1 {
            self.add(chosen(&index)?, None, 0, &mut entries)?;
            return Ok(entries);
        }
        for descriptor in index.manifests.iter().filter(|one| is_image(one)) {
            self.add(descriptor, name_of(descriptor), 0, &mut entries)?;
        }
        Ok(entries)
    }

    /// Adds the image of a manifest, or of the part of an index that fits this machine.
    fn add(
        &self,
        descriptor: &Descriptor,
        name: Option<&String>,
        depth: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<(), LoadError> {
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let document = self.document(&blob(&descriptor.digest))?;
        if Digest::of(&document) != descriptor.digest {
            let digest = descriptor.digest;
            return Err(malformed(format!(
                "manifest verification failed for digest {digest}"
            )));
        }
        let manifest: Manifest = match ManifestDocument::parse(&document).map_err(malformed)? {
            ManifestDocument::Manifest(manifest) => manifest,
            ManifestDocument::Index(_) if depth >= DEPTH_MAX => {
                return Err(malformed("too many indexes in each other"));
            }
            ManifestDocument::Index(index) => {
                let chosen = chosen(&index)?;
                return self.add(chosen, name.or(name_of(chosen)), depth + 1, entries);
            }
        };
        let layers = manifest.layers.iter().map(|layer| blob(&layer.digest));
        entries.push(Entry {
            config: blob(&manifest.config.digest),
            repo_tags: name.map(|name| vec![name.clone()]),
            layers: layers.collect(),
            ..Entry::default()
        });
        Ok(())
    }
}

/// The name in full that an index gives a manifest. A name that is a tag alone says too little.
fn name_of(descriptor: &Descriptor) -> Option<&String> {
    ["io.containerd.image.name", annotation::REF_NAME]
        .iter()
        .find_map(|key| descriptor.annotations.get(*key))
        .filter(|name| name.contains(['/', ':']))
}

/// False for what is about an image and none itself (BuildKit's attestations).
fn is_image(descriptor: &Descriptor) -> bool {
    let unknown = |platform: &Platform| platform.os == "unknown";
    !descriptor
        .annotations
        .contains_key("vnd.docker.reference.type")
        && !descriptor.platform.as_ref().is_some_and(unknown)
}

/// The image of an index that runs here; the only one if there is but one.
fn chosen(index: &Index) -> Result<&Descriptor, LoadError> {
    let host = Platform::host();
    let mut images = index.manifests.iter().filter(|one| is_image(one));
    let fits = |one: &&Descriptor| one.platform.as_ref().is_some_and(|it| it.runs_on(&host));
    if let Some(found) = images.clone().find(fits) {
        return Ok(found);
    }
    match (images.next(), images.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(malformed(format!(
            "no matching manifest for {host} in the manifest list entries"
        ))),
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(bytes).map_err(malformed)
}

impl Store {
    /// Loads the images of an archive.
    pub async fn load_images(
        &self,
        archive: Download,
        wanted: Option<&oci::Platform>,
        tell: &dyn Fn(LoadEvent),
    ) -> Result<(), LoadError> {
        let archive = self.decompressed(archive).await?;
        let number = self.os().rng().next_u64() >> 32;
        let place = format!("{}/tmp/docker-import-{number}", self.root());
        let contents = Contents::read(&archive, place)?;
        for entry in contents.entries()? {
            let config: ImageConfig = parse(&contents.document(&entry.config)?)?;
            if wanted.is_some_and(|wanted| {
                wanted.os != config.os || wanted.architecture != config.architecture
            }) {
                return Err(LoadError::OtherPlatform);
            }
            let id = self.load_entry(&contents, &entry, tell).await?;
            let names = entry.repo_tags.unwrap_or_default();
            if names.is_empty() {
                tell(LoadEvent::Loaded { id, name: None });
            }
            for name in names {
                let reference = Reference::parse(&name)
                    .map_err(malformed)?
                    .with_default_tag();
                let old = self.resolve(&reference.familiar()).ok();
                if let Some(old) = old.map(|image| image.id).filter(|old| *old != id) {
                    let name = reference.familiar();
                    tell(LoadEvent::Renamed { name, old });
                }
                self.tag(&id, &reference)?;
                let name = Some(reference);
                tell(LoadEvent::Loaded { id, name });
            }
        }
        Ok(())
    }

    /// The archive as it is, or unpacked once: what is in it is read in any order.
    async fn decompressed(&self, archive: Download) -> Result<Download, LoadError> {
        let mut reader = match Decompressor::new(archive.reader()).map_err(broken)? {
            Decompressor::None(_) => return Ok(archive),
            reader => reader,
        };
        let mut plain = Download::new(self.os(), self.root())?;
        let mut buf = vec![0; CHUNK];
        loop {
            let count = reader.read(&mut buf).map_err(broken)?;
            if count == 0 {
                return Ok(plain);
            }
            plain.write(&buf[..count])?;
            crate::pause(self.os()).await;
        }
    }

    async fn load_entry(
        &self,
        contents: &Contents<'_>,
        entry: &Entry,
        tell: &dyn Fn(LoadEvent),
    ) -> Result<Digest, LoadError> {
        let raw = contents.document(&entry.config)?;
        let id = Digest::of(&raw);
        let config: ImageConfig = parse(&raw)?;
        if !matches!(config.os.as_str(), "" | "linux") {
            return Err(malformed(format!(
                "cannot load {} image on linux",
                config.os
            )));
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != entry.layers.len() {
            return Err(LoadError::Malformed(format!(
                "invalid manifest, layers length mismatch: expected {}, got {}",
                entry.layers.len(),
                diff_ids.len()
            )));
        }
        // What is loaded stays if it becomes an image.
        let pin = self.pin(&chain_ids(diff_ids));
        self.load_layers(contents, entry, diff_ids, tell).await?;
        self.add_image(id, &raw)?;
        drop(pin);
        Ok(id)
    }

    /// Loads the layers of an image that are not there, telling which are new.
    async fn load_layers(
        &self,
        contents: &Contents<'_>,
        entry: &Entry,
        diff_ids: &[Digest],
        tell: &dyn Fn(LoadEvent),
    ) -> Result<(), LoadError> {
        let mut parent = None;
        for (diff_id, path) in diff_ids.iter().zip(&entry.layers) {
            let chain = chain_id(parent, *diff_id);
            if self.graph().get(&chain).is_none() {
                let (offset, size) = contents.find(path).ok_or_else(|| contents.missing(path))?;
                let told = |done| {
                    tell(LoadEvent::Layer {
                        diff_id: *diff_id,
                        progress: (done, size),
                    });
                };
                told(0);
                let blob = contents.archive.part(offset, size);
                let registered = self.graph().register(parent, *diff_id, blob);
                registered.await.map_err(LoadError::Layer)?;
                told(size);
            }
            parent = Some(chain);
        }
        Ok(())
    }
}
