//! `--cache-from` and `--cache-to type=inline`: an image carries what its layers are made from, so that where it
//! is known a build need not make them again.
//!
//! It lies in the image's configuration under BuildKit's name for it. The layers come when the first of them is
//! wanted.

use std::collections::BTreeMap;
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::timestamp;
use layers::graph::chain_ids;
use layers::registry::auth;
use layers::{PullError, RemoteImage};
use oci::{Digest, Reference};
use serde_json::{Value, json};

use super::cache::Entry;
use super::solve::Solver;
use crate::once::Once;

/// The key in a configuration.
const KEY: &str = "moby.buildkit.cache.v0";
/// Records that are read of one image.
const RECORDS_MAX: usize = 1_000;

/// A step whose result can be had from somewhere else.
#[derive(Clone)]
pub(super) struct Imported {
    entry: Entry,
    image: Rc<Source>,
}

/// Where from.
struct Source {
    reference: Reference,
    /// It is not one of the images here.
    remote: Option<RemoteImage>,
    brought: Once<bool>,
}

/// A step of the stage that was asked for, as it is told to others.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) key: Digest,
    /// How many layers there are with this step's.
    pub(super) layers: usize,
    /// It made the last of them.
    pub(super) own: bool,
    pub(super) created: u64,
}

/// Puts the records into a configuration.
pub(super) fn embed(document: &mut Value, records: &[Record]) {
    let diff_ids = document["rootfs"]["diff_ids"].as_array().cloned();
    let layers: Vec<Value> = diff_ids
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(index, blob)| json!({ "blob": blob, "parent": index as i64 - 1 }))
        .collect();
    let records: Vec<Value> = records
        .iter()
        .map(|record| {
            let own = record.own.then(|| {
                let created = timestamp::format(record.created);
                json!({ "layer": record.layers - 1, "createdAt": created })
            });
            let own: Vec<Value> = own.into_iter().collect();
            json!({ "digest": record.key.to_string(), "layers": own, "after": record.layers })
        })
        .collect();
    let text = json!({ "layers": layers, "records": records }).to_string();
    document[KEY] = Value::String(auth::encode(text.as_bytes()));
}

/// The records of a configuration.
fn read(document: &Value) -> Vec<Record> {
    let text = document[KEY].as_str().and_then(auth::decode);
    let Some(cache) = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else {
        return Vec::new();
    };
    let records = cache["records"].as_array().cloned().unwrap_or_default();
    let one = |record: Value| {
        let own = &record["layers"][0]["createdAt"];
        Some(Record {
            key: record["digest"].as_str()?.parse().ok()?,
            layers: usize::try_from(record["after"].as_u64()?).ok()?,
            own: own.is_string(),
            created: own
                .as_str()
                .and_then(timestamp::parse_rfc3339)
                .unwrap_or_default(),
        })
    };
    records
        .into_iter()
        .filter_map(one)
        .take(RECORDS_MAX)
        .collect()
}

impl Solver<'_> {
    /// Finds out what the images of `--cache-from` know. One that cannot be had is no error of the build.
    pub(super) async fn import_caches(&self) {
        for name in &self.request.cache_from {
            let text = format!("importing cache manifest from {name}");
            let vertex = self.vertex(text, Vec::new());
            self.start(&vertex);
            let outcome = self.import_cache(name).await;
            self.end(&vertex, &outcome, false);
        }
    }

    async fn import_cache(&self, name: &str) -> Result<()> {
        let failed = |why: String| {
            ApiError::system(format!(
                "failed to configure registry cache importer: {why}"
            ))
        };
        let reference = Reference::parse(name)
            .map_err(|error| failed(error.to_string()))?
            .with_default_tag();
        let store = &self.engine.store;
        let (raw, remote) = match store.resolve(&reference.familiar()) {
            Ok(image) => (store.raw_config(&image.id).unwrap_or_default(), None),
            Err(_) => {
                let registry = self.registry(&reference).await;
                let found = store.look_up(&registry, &reference, &self.request.platform);
                let found = found.await.map_err(|error| {
                    failed(match &error {
                        PullError::Registry(why) if why.is_not_found() => {
                            format!("{reference}: not found")
                        }
                        error => error.to_string(),
                    })
                })?;
                (found.raw.clone(), Some(found))
            }
        };
        let document: Value = serde_json::from_slice(&raw).unwrap_or_default();
        let diff_ids: Vec<Digest> = document["rootfs"]["diff_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str()?.parse().ok())
            .collect();
        let chain = chain_ids(&diff_ids);
        let image = Rc::new(Source {
            reference,
            remote,
            brought: Once::default(),
        });
        let mut imported = self.imported.borrow_mut();
        for record in read(&document) {
            let Some(last) = record
                .layers
                .checked_sub(1)
                .filter(|&last| last < chain.len())
            else {
                continue;
            };
            let entry = Entry {
                layer: record.own.then(|| diff_ids[last]),
                top: Some(chain[last]),
                description: format!("imported from {name}"),
                created: record.created,
                ..Entry::default()
            };
            let image = Rc::clone(&image);
            imported.insert(record.key, Imported { entry, image });
        }
        Ok(())
    }

    /// Takes a step's result from where it was imported from into the cache, if it is there and fits on `below`.
    pub(super) async fn take_imported(&self, key: &Digest, below: Option<Digest>) {
        let found = self.imported.borrow().get(key).cloned();
        let Some(Imported { entry, image }) = found else {
            return;
        };
        let fits = match entry.layer {
            Some(layer) => Some(layers::graph::chain_id(below, layer)) == entry.top,
            None => below == entry.top,
        };
        if !fits || !image.brought.get(self.bring_imported(&image)).await {
            return;
        }
        self.engine.keep(*key, entry);
    }

    async fn bring_imported(&self, image: &Source) -> bool {
        let Some(remote) = &image.remote else {
            return true;
        };
        let registry = self.registry(&image.reference).await;
        let store = &self.engine.store;
        let pulled = store.pull_layers(&registry, &image.reference, remote, &|_| {});
        match pulled.await {
            // Until the build is over: what it uses is the cache's by then.
            Ok(pin) => {
                self.pins.borrow_mut().push(pin);
                true
            }
            Err(_) => false,
        }
    }
}

/// By key.
pub(super) type Imports = BTreeMap<Digest, Imported>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_is_read() {
        let layer = Digest::of(b"layer").to_string();
        let mut document = json!({ "rootfs": { "diff_ids": [layer] } });
        let record = Record {
            key: Digest::of(b"key"),
            layers: 1,
            own: true,
            created: 1_700_000_000_000_000_000,
        };
        embed(&mut document, &[record]);
        let back = read(&document);
        assert_eq!(back.len(), 1);
        let back = back[0];
        assert_eq!(
            (back.key, back.layers, back.own, back.created),
            (record.key, 1, true, record.created)
        );
        assert!(read(&json!({ KEY: "no base64" })).is_empty());
    }
}
