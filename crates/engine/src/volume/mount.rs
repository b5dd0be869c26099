//! Volumes with options: `type`, `device` and `o` are a mount on the volume's directory, made when the
//! first container that has the volume starts and taken away behind the last.

use std::collections::BTreeMap;

use engine_api::error::{ApiError, Result};
use engine_api::types::Volume;
use os::{OsExt, View};

use crate::Engine;

/// What the local driver refuses.
pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    let wrong = |why: String| Err(ApiError::invalid(why));
    for option in options.keys() {
        if !["type", "o", "device", "size"].contains(&option.as_str()) {
            return wrong(format!("invalid option: \"{option}\""));
        }
    }
    if options.contains_key("size") {
        return wrong("quota size requested but no quota support".to_string());
    }
    for (option, needed) in [
        ("device", "type"),
        ("type", "device"),
        ("o", "device"),
        ("o", "type"),
    ] {
        if options.contains_key(option) && !options.contains_key(needed) {
            return wrong(format!("missing required option: \"{needed}\""));
        }
    }
    Ok(())
}

impl Engine {
    fn is_volume_mounted(&self, volume: &Volume) -> bool {
        let mounts = self
            .os
            .read_file_now(View::Host, b"/proc/mounts")
            .unwrap_or_default();
        String::from_utf8_lossy(&mounts)
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(volume.mountpoint.as_str()))
    }

    /// Mounts what the volume's options say, if they say something.
    pub(crate) fn mount_volume(&self, name: &str) -> Result<()> {
        let Some(volume) = self.volumes.borrow().get(name).cloned() else {
            return Ok(());
        };
        let options = volume.options.clone().unwrap_or_default();
        let Some(device) = options.get("device") else {
            return Ok(());
        };
        if self.is_volume_mounted(&volume) {
            return Ok(());
        }
        let text = |name: &str| options.get(name).map_or("", String::as_str);
        let (flags, data) = runtime::mount_options(text("o"));
        let target = &volume.mountpoint;
        self.os
            .mount(
                View::Host,
                device.as_bytes(),
                target.as_bytes(),
                text("type"),
                flags,
                data.as_bytes(),
            )
            .map_err(|errno| {
                let data = match data.as_str() {
                    "" => String::new(),
                    data => format!(", data: {data}"),
                };
                ApiError::system(format!(
                    "error while mounting volume '{target}': failed to mount local volume: mount \
                     {device}:{target}, flags: {:#x}{data}: {}",
                    flags.0,
                    errno.go_description()
                ))
            })
    }

    /// Takes the mount away when no container that runs has the volume.
    pub(crate) fn unmount_volume(&self, name: &str) {
        let Some(volume) = self.volumes.borrow().get(name).cloned() else {
            return;
        };
        let mounts = |options: &BTreeMap<String, String>| options.contains_key("device");
        if !volume.options.as_ref().is_some_and(mounts) {
            return;
        }
        let used = self.all_containers().iter().any(|container| {
            let has = |mount: &crate::state::Mount| {
                mount.point.kind == "volume" && mount.point.name == name
            };
            container.live.borrow().is_some() && container.data.borrow().mounts.iter().any(has)
        });
        if !used && self.is_volume_mounted(&volume) {
            let _ = self
                .os
                .umount(View::Host, volume.mountpoint.as_bytes(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_options;

    #[test]
    fn options() {
        for (given, refused) in [
            ("", ""),
            ("type device", ""),
            ("type device o", ""),
            ("foo", "invalid option: \"foo\""),
            ("type", "missing required option: \"device\""),
            ("device", "missing required option: \"type\""),
            ("size", "quota size requested but no quota support"),
        ] {
            let options = given
                .split_whitespace()
                .map(|name| (name.to_string(), String::new()))
                .collect();
            let message = check_options(&options).err().map(|error| error.message);
            assert_eq!(message.unwrap_or_default(), refused);
        }
    }
}
