//! Images and their names.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use oci::{Digest, ImageConfig, Reference};
use os::{Errno, Os, OsExt, View};
use serde::{Deserialize, Serialize};

use crate::container::Writable;
use crate::graph::{Graph, chain_ids};
use crate::transfer::Transfers;

/// Shortest id prefix that is looked up.
const PREFIX_MIN: usize = 1;

/// An image of the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of its config.
    pub id: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// The image it was made from here, by `docker commit`.
    pub parent: Option<Digest>,
    /// Names with tags, familiar form: `busybox:latest`.
    pub repo_tags: Vec<String>,
    /// Names with digests: `busybox@sha256:…`.
    pub repo_digests: Vec<String>,
    /// Bytes of all its layers.
    pub size: u64,
    /// Chain ids of its layers, base first.
    pub chain: Vec<Digest>,
}

/// What `docker rmi` reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removed {
    /// A name is gone.
    Untagged(String),
    /// An image or layer is gone.
    Deleted(Digest),
}

/// Why the store refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// `No such image: …`.
    NoSuchImage(String),
    /// Several images begin with this id.
    Ambiguous(String),
    /// The kernel refused; what was tried, and why not.
    Os(String, Errno),
    /// A file of the store is not what it should be.
    Corrupt(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NoSuchImage(name) => write!(f, "No such image: {name}"),
            StoreError::Ambiguous(prefix) => {
                write!(f, "Multiple IDs found with provided prefix: {prefix}")
            }
            StoreError::Os(operation, error) => {
                write!(f, "{operation}: {}", error.go_description())
            }
            StoreError::Corrupt(what) => write!(f, "image store: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// `repositories.json`: repository → name → image id.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    repositories: BTreeMap<String, BTreeMap<String, Digest>>,
}

struct Inner {
    os: Rc<dyn Os>,
    root: String,
    graph: Graph,
    images: RefCell<BTreeMap<Digest, ImageConfig>>,
    parents: RefCell<BTreeMap<Digest, Digest>>,
    names: RefCell<Names>,
    /// Writable layers of containers.
    pub(crate) writable: RefCell<BTreeMap<String, Writable>>,
    transfers: Transfers,
    /// Layers that stay although nothing may be made of them.
    kept: RefCell<BTreeSet<Digest>>,
}

/// The image store of a machine. Clones share it.
#[derive(Clone)]
pub struct Store(Rc<Inner>);

impl Store {
    /// Opens the store below `root` (`/var/lib/docker`), reading what is there.
    pub fn open(os: Rc<dyn Os>, root: &str) -> Result<Store, StoreError> {
        let failed = |error| StoreError::Os(format!("open {root}"), error);
        let graph = Graph::open(&os, root).map_err(failed)?;
        let store = Store(Rc::new(Inner {
            os,
            root: root.to_string(),
            graph,
            images: RefCell::default(),
            parents: RefCell::default(),
            names: RefCell::default(),
            writable: RefCell::default(),
            transfers: Transfers::default(),
            kept: RefCell::default(),
        }));
        store.load()?;
        Ok(store)
    }

    fn load(&self) -> Result<(), StoreError> {
        let content = self.content();
        let os = self.os();
        let failed = |error| StoreError::Os(format!("open {content}"), error);
        os.mkdir_all(View::Host, content.as_bytes(), 0o700)
            .map_err(failed)?;
        for entry in os
            .read_dir(View::Host, content.as_bytes())
            .map_err(failed)?
        {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let path = format!("{content}/{name}");
            let bytes = os
                .read_file_now(View::Host, path.as_bytes())
                .map_err(failed)?;
            // A config that is not its digest, or whose layers are missing, is as good as not there.
            let intact = Digest::from_hex(&name)
                .ok()
                .filter(|id| Digest::of(&bytes) == *id);
            if let (Some(id), Ok(config)) = (intact, serde_json::from_slice::<ImageConfig>(&bytes))
            {
                let complete = chain_ids(&config.rootfs.diff_ids)
                    .iter()
                    .all(|chain| self.graph().get(chain).is_some());
                if complete {
                    self.0.images.borrow_mut().insert(id, config);
                    let parent = os.read_file_now(View::Host, self.parent_path(&id).as_bytes());
                    let parent = parent.ok().and_then(|text| String::from_utf8(text).ok());
                    if let Some(parent) = parent.and_then(|text| text.parse().ok()) {
                        self.0.parents.borrow_mut().insert(id, parent);
                    }
                }
            }
        }
        if let Ok(bytes) = os.read_file_now(View::Host, self.names_path().as_bytes()) {
            let names: Names = serde_json::from_slice(&bytes)
                .map_err(|error| StoreError::Corrupt(format!("{}: {error}", self.names_path())))?;
            *self.0.names.borrow_mut() = names;
        }
        self.load_containers()
    }

    /// The machine.
    pub(crate) fn os(&self) -> &Rc<dyn Os> {
        &self.0.os
    }

    /// The layers.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.0.graph
    }

    pub(crate) fn root(&self) -> &str {
        &self.0.root
    }

    pub(crate) fn writable(&self) -> &RefCell<BTreeMap<String, Writable>> {
        &self.0.writable
    }

    pub(crate) fn transfers(&self) -> &Transfers {
        &self.0.transfers
    }

    fn content(&self) -> String {
        format!("{}/image/overlay2/imagedb/content/sha256", self.0.root)
    }

    fn parent_path(&self, id: &Digest) -> String {
        let metadata = format!("{}/image/overlay2/imagedb/metadata/sha256", self.0.root);
        format!("{metadata}/{}/parent", id.hex())
    }

    /// Says what an image was made from, for `docker history` and `docker rmi`.
    pub fn set_parent(&self, id: &Digest, parent: Digest) -> Result<(), StoreError> {
        let path = self.parent_path(id);
        let directory = path.trim_end_matches("/parent");
        let written = self
            .os()
            .mkdir_all(View::Host, directory.as_bytes(), 0o700)
            .and_then(|()| {
                let text = parent.to_string();
                self.os()
                    .write_file(View::Host, path.as_bytes(), text.as_bytes(), 0o600)
            });
        written.map_err(|error| StoreError::Os(format!("write {path}"), error))?;
        self.0.parents.borrow_mut().insert(*id, parent);
        Ok(())
    }

    /// Images made from this one here.
    #[must_use]
    pub fn children(&self, id: &Digest) -> Vec<Digest> {
        let parents = self.0.parents.borrow();
        let children = parents.iter().filter(|(_, parent)| *parent == id);
        children.map(|(child, _)| *child).collect()
    }

    fn names_path(&self) -> String {
        format!("{}/image/overlay2/repositories.json", self.0.root)
    }

    /// Adds an image whose layers are there. `raw` is its config as its digest has it.
    pub fn add_image(&self, id: Digest, raw: &[u8]) -> Result<(), StoreError> {
        let config: ImageConfig = serde_json::from_slice(raw).map_err(|error| {
            StoreError::Corrupt(format!("invalid image configuration: {error}"))
        })?;
        let path = format!("{}/{}", self.content(), id.hex());
        self.os()
            .write_file(View::Host, path.as_bytes(), raw, 0o600)
            .map_err(|error| StoreError::Os(format!("write {path}"), error))?;
        self.0.images.borrow_mut().insert(id, config);
        Ok(())
    }

    fn save_names(&self) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(&*self.0.names.borrow())
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let path = self.names_path();
        self.os()
            .write_file(View::Host, path.as_bytes(), &bytes, 0o600)
            .map_err(|error| StoreError::Os(format!("write {path}"), error))
    }

    /// Points the pulled names at an image; true when that is news.
    pub(crate) fn add_pulled_names(
        &self,
        reference: &Reference,
        id: Digest,
        digest: Digest,
    ) -> Result<bool, StoreError> {
        let by_digest = reference.with_digest(digest).familiar();
        let mut newer = self.set_name(reference, by_digest, id);
        if reference.digest().is_none() {
            // A new digest for the image that has the tag already is no news, as in Docker.
            newer = self.set_name(reference, reference.familiar(), id);
        }
        self.save_names()?;
        Ok(newer)
    }

    /// Notes the digest by which a registry knows a repository's image now.
    pub(crate) fn add_digest(
        &self,
        reference: &Reference,
        id: Digest,
        digest: Digest,
    ) -> Result<(), StoreError> {
        let by_digest = reference.with_digest(digest).familiar();
        self.set_name(reference, by_digest, id);
        self.save_names()
    }

    fn set_name(&self, reference: &Reference, name: String, id: Digest) -> bool {
        let mut names = self.0.names.borrow_mut();
        let repository = names
            .repositories
            .entry(reference.familiar_name())
            .or_default();
        repository.insert(name, id) != Some(id)
    }

    /// `docker tag`: gives an image one more name; another image that had it loses it.
    pub fn tag(&self, id: &Digest, reference: &Reference) -> Result<(), StoreError> {
        let reference = reference.clone().with_default_tag();
        self.set_name(&reference, reference.familiar(), *id);
        self.save_names()
    }

    /// Takes a name away; gives what was untagged. With the last tag of a repository its digests go too.
    pub fn untag(&self, name: &str) -> Result<Vec<Removed>, StoreError> {
        let mut removed = Vec::new();
        {
            let mut names = self.0.names.borrow_mut();
            for repository in names.repositories.values_mut() {
                let Some(id) = repository.remove(name) else {
                    continue;
                };
                removed.push(Removed::Untagged(name.to_string()));
                let tagged = repository
                    .iter()
                    .any(|(name, other)| *other == id && !name.contains('@'));
                if !tagged {
                    let digests: Vec<String> = repository
                        .iter()
                        .filter(|(_, other)| **other == id)
                        .map(|(name, _)| name.clone())
                        .collect();
                    for digest in digests {
                        repository.remove(&digest);
                        removed.push(Removed::Untagged(digest));
                    }
                }
            }
            names
                .repositories
                .retain(|_, repository| !repository.is_empty());
        }
        self.save_names()?;
        Ok(removed)
    }

    /// All images, oldest id first.
    #[must_use]
    pub fn images(&self) -> Vec<Image> {
        let ids: Vec<Digest> = self.0.images.borrow().keys().copied().collect();
        ids.iter().filter_map(|id| self.image(id)).collect()
    }

    /// The image with an id.
    #[must_use]
    pub fn image(&self, id: &Digest) -> Option<Image> {
        let config = self.0.images.borrow().get(id)?.clone();
        let chain = chain_ids(&config.rootfs.diff_ids);
        let size = chain
            .iter()
            .filter_map(|chain| self.graph().get(chain))
            .map(|layer| layer.size)
            .sum();
        let names = self.0.names.borrow();
        let mine = names
            .repositories
            .values()
            .flatten()
            .filter(|(_, other)| *other == id)
            .map(|(name, _)| name.clone());
        let (repo_digests, repo_tags) = mine.partition(|name: &String| name.contains('@'));
        Some(Image {
            id: *id,
            config,
            parent: self.0.parents.borrow().get(id).copied(),
            repo_tags,
            repo_digests,
            size,
            chain,
        })
    }

    /// The config as its digest has it.
    pub fn raw_config(&self, id: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = format!("{}/{}", self.content(), id.hex());
        let bytes = self.os().read_file_now(View::Host, path.as_bytes());
        bytes.map_err(|error| StoreError::Os(format!("open {path}"), error))
    }

    /// Finds an image by name, id or the beginning of an id, as the commands take it.
    pub fn resolve(&self, typed: &str) -> Result<Image, StoreError> {
        let missing = || StoreError::NoSuchImage(typed.to_string());
        if let Ok(id) = typed.parse::<Digest>() {
            return self.image(&id).ok_or_else(missing);
        }
        if let Ok(reference) = Reference::parse(typed) {
            let names = self.0.names.borrow();
            let wanted = match reference.digest() {
                Some(digest) => reference.with_digest(digest).familiar(),
                None => reference.clone().with_default_tag().familiar(),
            };
            let found = names
                .repositories
                .get(&reference.familiar_name())
                .and_then(|names| names.get(&wanted))
                .copied();
            drop(names);
            if let Some(image) = found.and_then(|id| self.image(&id)) {
                return Ok(image);
            }
        }
        let prefix = typed.strip_prefix("sha256:").unwrap_or(typed);
        let hexadecimal = prefix
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if prefix.len() < PREFIX_MIN || !hexadecimal {
            return Err(missing());
        }
        let images = self.0.images.borrow();
        let mut fitting = images.keys().filter(|id| id.hex().starts_with(prefix));
        match (fitting.next().copied(), fitting.next()) {
            (Some(_), Some(_)) => Err(StoreError::Ambiguous(typed.to_string())),
            (Some(id), None) => {
                drop(images);
                self.image(&id).ok_or_else(missing)
            }
            (None, _) => Err(missing()),
        }
    }

    /// Removes an image without names, and its layers that nothing else uses. Who calls has checked
    /// that no container needs it.
    pub fn remove_image(&self, id: &Digest) -> Result<Vec<Removed>, StoreError> {
        let Some(image) = self.image(id) else {
            return Err(StoreError::NoSuchImage(id.to_string()));
        };
        self.0.images.borrow_mut().remove(id);
        let path = format!("{}/{}", self.content(), id.hex());
        let failed = |error| StoreError::Os(format!("remove {path}"), error);
        self.os()
            .unlink(View::Host, path.as_bytes())
            .map_err(failed)?;
        if self.0.parents.borrow_mut().remove(id).is_some() {
            let path = self.parent_path(id);
            self.os()
                .remove_all(View::Host, path.trim_end_matches("/parent").as_bytes())
                .map_err(failed)?;
        }
        let mut removed = vec![Removed::Deleted(*id)];
        let used = self.used_chains();
        for chain in image
            .chain
            .iter()
            .rev()
            .filter(|chain| !used.contains(chain))
        {
            self.graph().remove(chain).map_err(failed)?;
            removed.push(Removed::Deleted(*chain));
        }
        Ok(removed)
    }

    /// These layers and those below them stay, whether an image has them or not; others kept before do not.
    pub fn keep_layers(&self, tops: BTreeSet<Digest>) {
        *self.0.kept.borrow_mut() = tops;
    }

    /// Removes these top layers and those below them as far as nothing is made of them.
    pub fn drop_layers(&self, tops: &[Digest]) {
        for top in tops {
            let mut chain = Vec::new();
            let mut next = Some(*top);
            while let Some(layer) = next {
                chain.insert(0, layer);
                next = self.graph().get(&layer).and_then(|layer| layer.parent);
            }
            self.drop_unused(&chain);
        }
    }

    /// Removes those of these layers (base first) that nothing is made of.
    pub(crate) fn drop_unused(&self, chains: &[Digest]) {
        let used = self.used_chains();
        for chain in chains.iter().rev().filter(|chain| !used.contains(chain)) {
            // What cannot be removed stays, and costs room.
            let _ = self.graph().remove(chain);
        }
    }

    /// Chain ids that images or containers are made of, or are to be.
    fn used_chains(&self) -> BTreeSet<Digest> {
        let mut used: BTreeSet<Digest> = order::set(self.pinned());
        for config in self.0.images.borrow().values() {
            used.extend(chain_ids(&config.rootfs.diff_ids));
        }
        let writable = self.0.writable.borrow();
        let tops = writable.values().filter_map(|writable| writable.parent);
        for top in tops.chain(self.0.kept.borrow().iter().copied()) {
            let mut next = Some(top);
            while let Some(chain) = next {
                used.insert(chain);
                next = self.graph().get(&chain).and_then(|layer| layer.parent);
            }
        }
        used
    }

    /// Bytes of an image's layers that other images have too.
    #[must_use]
    pub fn shared_size(&self, image: &Image) -> u64 {
        let others: BTreeSet<Digest> = {
            let images = self.0.images.borrow();
            let others = images.iter().filter(|(id, _)| **id != image.id);
            order::set(others.flat_map(|(_, config)| chain_ids(&config.rootfs.diff_ids)))
        };
        let shared = image.chain.iter().filter(|chain| others.contains(chain));
        shared
            .filter_map(|chain| self.graph().get(chain))
            .map(|layer| layer.size)
            .sum()
    }

    /// Bytes of all layers, each counted once (`docker system df`).
    #[must_use]
    pub fn layers_size(&self) -> u64 {
        self.graph()
            .chains()
            .iter()
            .filter_map(|chain| self.graph().get(chain))
            .map(|layer| layer.size)
            .sum()
    }
}
