//! Volumes: directories below `/var/lib/docker/volumes`, a verb a file.

mod create;
mod delete;
mod inspect;
mod list;
mod mount;
mod prune;

use std::collections::BTreeMap;

use engine_api::container::create::check_name;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::timestamp;
use engine_api::types::{Volume, VolumeUsage};
use os::{OsExt, View};

use crate::Engine;

/// File beside `_data` with what is known of a volume.
const RECORD: &str = "volume.json";

impl Engine {
    fn volumes_path(&self) -> String {
        format!("{}/volumes", self.config.root)
    }

    /// Reads the volumes an earlier engine left.
    pub(crate) fn load_volumes(&self) {
        let root = self.volumes_path();
        let _ = self.os.mkdir_all(View::Host, root.as_bytes(), 0o701);
        for entry in self
            .os
            .read_dir(View::Host, root.as_bytes())
            .unwrap_or_default()
        {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let path = format!("{root}/{name}/{RECORD}");
            let record = self.os.read_file_now(View::Host, path.as_bytes()).ok();
            let volume = record.and_then(|bytes| json::parse::<Volume>(&bytes).ok());
            if let Some(volume) = volume.filter(|volume| volume.name == name) {
                self.volumes.borrow_mut().insert(name, volume);
            }
        }
    }

    /// A volume that is there, or a new one.
    pub(crate) fn ensure_volume(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume> {
        if let Some(volume) = self.volumes.borrow().get(name) {
            return Ok(volume.clone());
        }
        check_name("volume", name)?;
        let directory = format!("{}/{name}", self.volumes_path());
        let failed = |errno: os::Errno| {
            ApiError::system(format!(
                "create {name}: mkdir {directory}: {}",
                errno.go_description()
            ))
        };
        let volume = Volume {
            created_at: timestamp::format(self.now() - self.now() % 1_000_000_000),
            driver: "local".to_string(),
            labels: (!labels.is_empty()).then_some(labels),
            mountpoint: format!("{directory}/_data"),
            name: name.to_string(),
            options: (!options.is_empty()).then_some(options),
            scope: "local".to_string(),
            usage_data: None,
        };
        self.os
            .mkdir_all(View::Host, volume.mountpoint.as_bytes(), 0o755)
            .map_err(failed)?;
        let record = serde_json::to_vec(&volume).unwrap_or_default();
        self.os
            .write_file(
                View::Host,
                format!("{directory}/{RECORD}").as_bytes(),
                &record,
                0o600,
            )
            .map_err(failed)?;
        self.volumes
            .borrow_mut()
            .insert(name.to_string(), volume.clone());
        self.volume_event("create", name, &[]);
        Ok(volume)
    }

    fn find_volume(&self, name: &str) -> Result<Volume> {
        let found = self.volumes.borrow().get(name).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("get {name}: no such volume")))
    }

    /// Ids of containers that have a volume.
    fn users_of(&self, name: &str) -> Vec<String> {
        self.all_containers()
            .iter()
            .filter(|container| {
                container
                    .data
                    .borrow()
                    .mounts
                    .iter()
                    .any(|mount| mount.point.kind == "volume" && mount.point.name == name)
            })
            .map(|container| container.id.clone())
            .collect()
    }

    /// Removes a volume that no container has.
    pub(crate) fn remove_volume(&self, name: &str) -> Result<()> {
        self.find_volume(name)?;
        let users = self.users_of(name);
        if !users.is_empty() {
            return Err(ApiError::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        let directory = format!("{}/{name}", self.volumes_path());
        self.os
            .remove_all(View::Host, directory.as_bytes())
            .map_err(|errno| {
                ApiError::system(format!("remove {name}: {}", errno.go_description()))
            })?;
        self.volumes.borrow_mut().remove(name);
        self.volume_event("destroy", name, &[]);
        Ok(())
    }

    /// Bytes of files below a directory.
    fn directory_size(&self, path: &str) -> u64 {
        let mut total = 0;
        let mut pending = vec![path.as_bytes().to_vec()];
        while let Some(directory) = pending.pop() {
            for entry in self.os.read_dir(View::Host, &directory).unwrap_or_default() {
                let path = [&directory[..], b"/", &entry.name].concat();
                match self.os.metadata(View::Host, &path, false) {
                    Ok(metadata) if metadata.is_dir() => pending.push(path),
                    Ok(metadata) => total += metadata.size,
                    Err(_) => {}
                }
            }
        }
        total
    }

    /// A volume with its use.
    pub(crate) fn with_usage(&self, mut volume: Volume) -> Volume {
        volume.usage_data = Some(VolumeUsage {
            ref_count: self.users_of(&volume.name).len() as i64,
            size: self.directory_size(&volume.mountpoint) as i64,
        });
        volume
    }
}
