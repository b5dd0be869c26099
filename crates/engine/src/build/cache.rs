//! The build cache of BuildKit's way: what a step made before, by everything it was made from.
//!
//! An entry is a layer of the store that no image need have; as long as the entry is there the layer stays.
//! The table lies in `/var/lib/docker/buildkit/cache.json`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use engine_api::json;
use oci::Digest;
use os::{OsExt, View};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::lock::Lock;

/// Entries that are kept; the ones not used for longest go first.
const ENTRIES_MAX: usize = 1_000;

/// What a step made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// The layer the step added; `None`: it changed no file.
    pub(crate) layer: Option<Digest>,
    /// The top layer after it.
    pub(crate) top: Option<Digest>,
    /// What it was, as it is shown.
    pub(crate) description: String,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    pub(crate) used: u64,
    pub(crate) usage_count: u64,
}

/// See the module's comment.
#[derive(Default)]
pub(crate) struct BuildCache {
    entries: RefCell<BTreeMap<Digest, Entry>>,
    loaded: Cell<bool>,
    /// Whose turn it is with a `RUN --mount=type=cache,sharing=locked`.
    locks: RefCell<BTreeMap<String, Lock>>,
}

impl BuildCache {
    pub(super) fn lock(&self, name: &str) -> Lock {
        let mut locks = self.locks.borrow_mut();
        locks.entry(name.to_string()).or_default().clone()
    }
}

impl Engine {
    fn cache_path(&self) -> String {
        format!("{}/buildkit/cache.json", self.config.root)
    }

    /// Directories of `RUN --mount=type=cache`.
    pub(super) fn cache_mounts(&self) -> String {
        format!("{}/buildkit/cache-mounts", self.config.root)
    }

    /// Contexts that clients sent file by file.
    pub(crate) fn local_contexts(&self) -> String {
        format!("{}/buildkit/local", self.config.root)
    }

    /// What is kept of builds' sources: name, what it is, BuildKit's type, bytes, and when it was used.
    pub(crate) fn kept_sources(&self) -> Vec<(String, String, &'static str, u64, u64)> {
        let mut kept = Vec::new();
        for (root, kind) in [
            (self.local_contexts(), "source.local"),
            (self.git_mirrors(), "regular"),
        ] {
            let entries = self.os.read_dir(View::Host, root.as_bytes());
            for entry in entries.unwrap_or_default() {
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                let path = format!("{root}/{name}");
                let Ok(found) = self.os.metadata(View::Host, path.as_bytes(), false) else {
                    continue;
                };
                let config = format!("{path}/config");
                let config = self.os.read_file_now(View::Host, config.as_bytes());
                let config = String::from_utf8(config.unwrap_or_default()).unwrap_or_default();
                let url = config
                    .lines()
                    .find_map(|line| line.trim().strip_prefix("url = "));
                let description = match (kind, url) {
                    ("regular", Some(url)) => format!("shared git repo for {url}"),
                    _ => "local source for context".to_string(),
                };
                let used = found.ctime.sec as u64 * 1_000_000_000 + u64::from(found.ctime.nsec);
                kept.push((
                    name,
                    description,
                    kind,
                    self.tree_size(path.as_bytes()),
                    used,
                ));
            }
        }
        kept
    }

    /// Removes contexts that no build is using, if there are more than so many; gives names and bytes.
    pub(crate) fn forget_contexts(&self, most: usize) -> Vec<(String, u64)> {
        let root = self.local_contexts();
        let entries = self.os.read_dir(View::Host, root.as_bytes());
        let entries = entries.unwrap_or_default();
        let mut removed = Vec::new();
        if entries.len() <= most {
            return removed;
        }
        for entry in entries {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let path = format!("{root}/{name}");
            if self.buildkit.in_use(&path) {
                continue;
            }
            let bytes = self.tree_size(path.as_bytes());
            if self.os.remove_all(View::Host, path.as_bytes()).is_ok() {
                removed.push((name, bytes));
            }
        }
        removed
    }

    /// Reads what an earlier engine kept.
    fn load_cache(&self) {
        if self.build_cache.loaded.replace(true) {
            return;
        }
        let read = self
            .os
            .read_file_now(View::Host, self.cache_path().as_bytes());
        let read: BTreeMap<Digest, Entry> = read
            .ok()
            .and_then(|bytes| json::parse(&bytes).ok())
            .unwrap_or_default();
        let there = |top: &Option<Digest>| match top {
            Some(top) => self.store.graph().get(top).is_some(),
            None => true,
        };
        let mut entries = self.build_cache.entries.borrow_mut();
        entries.extend(read.into_iter().filter(|(_, entry)| there(&entry.top)));
        drop(entries);
        self.pin();
    }

    /// Layers of the cache stay when their images go.
    fn pin(&self) {
        let entries = self.build_cache.entries.borrow();
        let tops = entries.values().filter_map(|entry| entry.top);
        self.store.keep_layers(tops.collect());
    }

    fn save_cache(&self) {
        let path = self.cache_path();
        let document = serde_json::to_vec(&*self.build_cache.entries.borrow());
        // What cannot be kept is built again.
        let _ = self.os.mkdir_all(
            View::Host,
            format!("{}/buildkit", self.config.root).as_bytes(),
            0o710,
        );
        if let Ok(document) = document {
            let _ = self
                .os
                .write_file(View::Host, path.as_bytes(), &document, 0o600);
        }
    }

    /// What a step made before.
    pub(super) fn cached(&self, key: &Digest) -> Option<Entry> {
        self.load_cache();
        let now = self.now();
        let mut entries = self.build_cache.entries.borrow_mut();
        let entry = entries.get_mut(key)?;
        entry.used = now;
        entry.usage_count += 1;
        Some(entry.clone())
    }

    /// Keeps what a step made.
    pub(super) fn keep(&self, key: Digest, mut entry: Entry) {
        self.load_cache();
        entry.used = self.now();
        if entry.created == 0 {
            entry.created = entry.used;
        }
        entry.usage_count = 1;
        {
            let mut entries = self.build_cache.entries.borrow_mut();
            entries.insert(key, entry);
            while entries.len() > ENTRIES_MAX {
                let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
                let Some(oldest) = oldest.map(|(key, _)| *key) else {
                    break;
                };
                entries.remove(&oldest);
            }
        }
        self.pin();
        self.save_cache();
    }

    /// All entries: id, entry, bytes of its own layer, whether an image has that layer too.
    pub(crate) fn build_cache_entries(&self) -> Vec<(Digest, Entry, u64, bool)> {
        self.load_cache();
        let shared: std::collections::BTreeSet<Digest> = order::set(
            self.store
                .images()
                .into_iter()
                .flat_map(|image| image.chain),
        );
        let entries = self.build_cache.entries.borrow();
        entries
            .iter()
            .map(|(key, entry)| {
                let layer = entry.layer.and(entry.top);
                let size = layer.and_then(|top| self.store.graph().get(&top));
                let in_image = layer.is_some_and(|top| shared.contains(&top));
                let size = size.map_or(0, |layer| layer.size);
                (*key, entry.clone(), size, in_image)
            })
            .collect()
    }

    /// Removes entries (without `all` only those whose layers no image has) and what is cached for `RUN`;
    /// gives their ids and the bytes that are free again.
    pub(crate) fn prune_build_cache(&self, all: bool) -> (Vec<String>, u64) {
        let mut removed = Vec::new();
        let mut bytes = 0;
        let mut tops = Vec::new();
        for (key, entry, size, in_image) in self.build_cache_entries() {
            if in_image && !all {
                continue;
            }
            self.build_cache.entries.borrow_mut().remove(&key);
            removed.push(key.hex()[..25].to_string());
            bytes += if in_image { 0 } else { size };
            tops.extend(entry.top);
        }
        for root in [self.cache_mounts(), self.git_mirrors()] {
            let entries = self.os.read_dir(View::Host, root.as_bytes());
            for entry in entries.unwrap_or_default() {
                let path = [root.as_bytes(), b"/", &entry.name].concat();
                bytes += self.tree_size(&path);
                if self.os.remove_all(View::Host, &path).is_ok() {
                    removed.push(String::from_utf8_lossy(&entry.name).into_owned());
                }
            }
        }
        for (name, size) in self.forget_contexts(0) {
            removed.push(name);
            bytes += size;
        }
        self.pin();
        self.save_cache();
        self.store.drop_layers(&tops);
        (removed, bytes)
    }

    fn tree_size(&self, path: &[u8]) -> u64 {
        let mut total = 0;
        let mut pending = vec![path.to_vec()];
        while let Some(path) = pending.pop() {
            match self.os.metadata(View::Host, &path, false) {
                Ok(found) if found.is_dir() => {
                    for entry in self.os.read_dir(View::Host, &path).unwrap_or_default() {
                        pending.push([&path[..], b"/", &entry.name].concat());
                    }
                }
                Ok(found) => total += found.size,
                Err(_) => {}
            }
        }
        total
    }
}
