//! Mount points: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the volumes of the image.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::{MountPoint, MountSpec};
use os::{Errno, MountFlags, OpenFlags, OsExt, View, ext};
use runtime::path::{clean, secure_join};

use crate::Engine;
use crate::state::{Container, Data, Mount};

/// Options of a tmpfs that says nothing else.
const TMPFS_OPTIONS: [&str; 3] = ["noexec", "nosuid", "nodev"];
/// Options `-v` takes behind the second colon; of each line one may be given.
const MODES: [&[&str]; 5] = [
    &["ro", "rw"],
    &["z", "Z"],
    &["nocopy"],
    &[
        "private", "rprivate", "slave", "rslave", "shared", "rshared",
    ],
    &["consistent", "cached", "delegated"],
];

fn mode_fits(mode: &str) -> bool {
    let given: Vec<&str> = mode.split(',').collect();
    mode.is_empty()
        || given
            .iter()
            .all(|option| MODES.iter().any(|line| line.contains(option)))
            && MODES
                .iter()
                .all(|line| given.iter().filter(|option| line.contains(option)).count() <= 1)
}

/// `source:target[:options]` or `target`, in parts.
fn parse_bind(text: &str) -> Result<(Option<&str>, &str, Vec<&str>)> {
    // Docker gives these no class, so they are errors of the server.
    let invalid = || ApiError::system(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, ""),
        // A volume without a source has no mode.
        [_, second] if mode_fits(second) => return Err(invalid()),
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(invalid()),
    };
    if parts[0].is_empty() {
        return Err(invalid());
    }
    if !mode_fits(mode) {
        return Err(ApiError::system(format!("invalid mode: {mode}")));
    }
    let modes: Vec<&str> = mode.split(',').filter(|mode| !mode.is_empty()).collect();
    let refused = |why: &str| {
        let kind = match source {
            Some(source) if source.starts_with('/') => "bind",
            _ => "volume",
        };
        ApiError::system(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {why}"
        ))
    };
    target_fits(target).map_err(|why| refused(&why))?;
    Ok((source, target, modes))
}

/// Whether something may be mounted there.
fn target_fits(target: &str) -> std::result::Result<(), String> {
    if target.is_empty() {
        return Err("field Target must not be empty".to_string());
    }
    if clean(target) == "/" {
        return Err("invalid specification: destination can't be '/'".to_string());
    }
    match target.starts_with('/') {
        true => Ok(()),
        false => Err(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )),
    }
}

/// There is one volume driver.
fn check_driver(driver: &str, volume: &str) -> Result<()> {
    match driver {
        "" | "local" => Ok(()),
        other => Err(ApiError::not_found(format!(
            "create {volume}: error looking up volume plugin {other}: plugin \"{other}\" not found"
        ))),
    }
}

fn propagation(modes: &[&str]) -> String {
    modes
        .iter()
        .find(|mode| {
            mode.ends_with("private") || mode.ends_with("slave") || mode.ends_with("shared")
        })
        .map_or_else(|| "rprivate".to_string(), ToString::to_string)
}

fn bind_mount(source: &str, target: &str, modes: &[&str]) -> Mount {
    Mount {
        point: MountPoint {
            kind: "bind".to_string(),
            source: clean(source),
            destination: clean(target),
            mode: modes.join(","),
            rw: !modes.contains(&"ro"),
            propagation: propagation(modes),
            ..MountPoint::default()
        },
        ..Mount::default()
    }
}

fn tmpfs_mount(target: &str, options: Vec<String>) -> Mount {
    let rw = !options.iter().any(|option| option == "ro");
    Mount {
        point: MountPoint {
            kind: "tmpfs".to_string(),
            destination: clean(target),
            rw,
            ..MountPoint::default()
        },
        tmpfs_options: options,
        ..Mount::default()
    }
}

impl Engine {
    /// All mount points of a container, volumes made where they are missing.
    pub(crate) fn mount_points(&self, data: &Data) -> Result<Vec<Mount>> {
        let mut found: Vec<Mount> = Vec::new();
        let host = &data.host_config;
        for text in host.volumes_from.iter().flatten() {
            if text.is_empty() {
                return Err(ApiError::invalid(
                    "volumes-from specification cannot be an empty string",
                ));
            }
            let (name, mode) = text.split_once(':').unwrap_or((text, ""));
            let inherited =
                |option: &str| ["nocopy"].contains(&option) || MODES[3].contains(&option);
            if !mode_fits(mode) || mode.split(',').any(inherited) {
                return Err(ApiError::invalid(format!("invalid mode: {mode}")));
            }
            let other = self
                .find_container(name)
                .map_err(|error| ApiError::invalid(error.message))?;
            for mount in &other.data.borrow().mounts {
                let mut mount = mount.clone();
                mount.point.rw &= !mode.split(',').any(|option| option == "ro");
                mount.point.mode = String::new();
                mount.copy = false;
                replace(&mut found, mount);
            }
        }
        let mut own: Vec<Mount> = Vec::new();
        for text in host.binds.iter().flatten() {
            let mount = self.bind(text, &host.volume_driver)?;
            add(&mut own, mount)?;
        }
        for spec in host.mounts.iter().flatten() {
            let mount = self.mount_spec(spec)?;
            add(&mut own, mount)?;
        }
        for (target, options) in host.tmpfs.iter().flatten() {
            let mut all: Vec<String> = TMPFS_OPTIONS.map(str::to_string).to_vec();
            for option in options.split(',').filter(|option| !option.is_empty()) {
                // `exec` takes `noexec` back, and so on.
                all.retain(|known| known.strip_prefix("no") != Some(option));
                all.push(option.to_string());
            }
            target_fits(target).map_err(ApiError::invalid)?;
            add(&mut own, tmpfs_mount(target, all))?;
        }
        for mount in own {
            replace(&mut found, mount);
        }
        for target in data
            .config
            .volumes
            .iter()
            .flat_map(std::collections::BTreeMap::keys)
        {
            let (source, target, modes) = parse_bind(target)?;
            let target = clean(target);
            if source.is_some() || found.iter().any(|mount| mount.point.destination == target) {
                continue;
            }
            let name = self.os.rng().hex(32);
            found.push(self.volume_mount(&name, &target, &modes, true)?);
        }
        Ok(found)
    }

    fn bind(&self, text: &str, driver: &str) -> Result<Mount> {
        let (source, target, modes) = parse_bind(text)?;
        match source {
            Some(path) if path.starts_with('/') => {
                let mut mount = bind_mount(path, target, &modes);
                // As Docker does for -v (and not for --mount).
                mount.create_source = true;
                Ok(mount)
            }
            Some(name) => {
                check_driver(driver, name)?;
                self.volume_mount(name, target, &modes, false)
            }
            None => self.volume_mount(&self.os.rng().hex(32), target, &modes, true),
        }
    }

    /// Whether an image's volume would be over a file.
    pub(crate) fn check_volume_paths(&self, container: &Container, merged: &str) -> Result<()> {
        let data = container.data.borrow();
        let anonymous = data.mounts.iter().filter(|mount| mount.anonymous);
        for target in anonymous.map(|mount| &mount.point.destination) {
            let path = format!("{merged}{target}");
            let found = secure_join(&self.os, View::Host, merged.as_bytes(), target.as_bytes())
                .and_then(|path| self.os.metadata(View::Host, &path, true));
            if found.is_ok_and(|found| !found.is_dir()) {
                return Err(ApiError::system(format!(
                    "cannot mount volume over existing file, file exists {path}"
                )));
            }
        }
        Ok(())
    }

    fn volume_mount(
        &self,
        name: &str,
        target: &str,
        modes: &[&str],
        anonymous: bool,
    ) -> Result<Mount> {
        let mut labels = std::collections::BTreeMap::new();
        if anonymous {
            labels.insert("com.docker.volume.anonymous".to_string(), String::new());
        }
        let volume = self.ensure_volume(name, labels, Default::default())?;
        let mut modes = modes.to_vec();
        if modes.is_empty() && !anonymous {
            modes.push("z");
        }
        Ok(Mount {
            point: MountPoint {
                kind: "volume".to_string(),
                name: volume.name,
                source: volume.mountpoint,
                destination: clean(target),
                driver: "local".to_string(),
                rw: !modes.contains(&"ro"),
                mode: modes.join(","),
                propagation: String::new(),
            },
            anonymous,
            copy: !modes.contains(&"nocopy"),
            ..Mount::default()
        })
    }

    fn mount_spec(&self, spec: &MountSpec) -> Result<Mount> {
        let invalid = |what: String| {
            ApiError::invalid(format!(
                "invalid mount config for type \"{}\": {what}",
                spec.kind
            ))
        };
        for (set, kind, name) in [
            (spec.volume_options.is_some(), "volume", "VolumeOptions"),
            (spec.bind_options.is_some(), "bind", "BindOptions"),
            (spec.tmpfs_options.is_some(), "tmpfs", "TmpfsOptions"),
        ] {
            if set && spec.kind != kind {
                return Err(ApiError::invalid(format!(
                    "{name} must not be specified on mount type \"{}\"",
                    spec.kind
                )));
            }
        }
        if spec.image_options.is_some() && spec.kind != "image" {
            return Err(invalid(
                "field ImageOptions must not be specified".to_string(),
            ));
        }
        target_fits(&spec.target).map_err(invalid)?;
        let readonly: &[&str] = if spec.read_only { &["ro"] } else { &[] };
        match spec.kind.as_str() {
            "bind" => {
                if spec.source.is_empty() {
                    return Err(invalid("field Source must not be empty".to_string()));
                }
                if !spec.source.starts_with('/') {
                    return Err(invalid(format!(
                        "invalid mount path: '{}' mount path must be absolute",
                        spec.source
                    )));
                }
                let options = spec.bind_options.as_ref();
                let create = options
                    .and_then(|options| options.get("CreateMountpoint")?.as_bool())
                    .unwrap_or(false);
                if !create && !self.os.exists(View::Host, spec.source.as_bytes()) {
                    return Err(invalid(format!(
                        "bind source path does not exist: {}",
                        spec.source
                    )));
                }
                let mut mount = bind_mount(&spec.source, &spec.target, readonly);
                mount.point.mode = String::new();
                mount.create_source = create;
                if let Some(text) = options.and_then(|options| options.get("Propagation")?.as_str())
                    && !text.is_empty()
                {
                    if !MODES[3].contains(&text) {
                        return Err(invalid(format!("invalid propagation mode: {text}")));
                    }
                    mount.point.propagation = text.to_string();
                }
                Ok(mount)
            }
            "volume" => {
                let anonymous = spec.source.is_empty();
                let driver = spec
                    .volume_options
                    .as_ref()
                    .and_then(|options| options.driver_config.as_ref()?.get("Name")?.as_str());
                check_driver(driver.unwrap_or_default(), &spec.source)?;
                if anonymous && spec.read_only {
                    return Err(invalid(
                        "must not set ReadOnly mode when using anonymous volumes".to_string(),
                    ));
                }
                let name = match anonymous {
                    true => self.os.rng().hex(32),
                    false => spec.source.clone(),
                };
                let options = spec.volume_options.clone().unwrap_or_default();
                if !is_local(&options.subpath) {
                    return Err(invalid(
                        "subpath must be a relative path within the volume".to_string(),
                    ));
                }
                let driver = options.driver_config.as_ref();
                let driver: std::collections::BTreeMap<String, String> = driver
                    .and_then(|config| json::fit(config.get("Options")?).ok())
                    .unwrap_or_default();
                if !options.labels.is_empty() || !driver.is_empty() {
                    self.ensure_volume(&name, options.labels, driver)?;
                }
                let mut mount = self.volume_mount(&name, &spec.target, readonly, anonymous)?;
                // Only a whole volume is filled from the image.
                mount.copy &= !options.no_copy && options.subpath.is_empty();
                if !options.subpath.is_empty() {
                    let subpath = clean(&options.subpath);
                    mount.subpath = subpath.trim_start_matches('/').to_string();
                }
                Ok(mount)
            }
            "tmpfs" => {
                if !spec.source.is_empty() {
                    return Err(invalid("field Source must not be specified".to_string()));
                }
                let mut options: Vec<String> = TMPFS_OPTIONS.map(str::to_string).to_vec();
                if let Some(tmpfs) = &spec.tmpfs_options {
                    if tmpfs.size_bytes > 0 {
                        options.push(format!("size={}", tmpfs.size_bytes));
                    }
                    if tmpfs.mode > 0 {
                        options.push(format!("mode={:o}", tmpfs.mode));
                    }
                    for option in tmpfs.options.iter().flatten() {
                        options.push(tmpfs_option(option).map_err(invalid)?);
                    }
                }
                if spec.read_only {
                    options.push("ro".to_string());
                }
                Ok(tmpfs_mount(&spec.target, options))
            }
            "image" => self.image_mount(spec),
            _ => Err(invalid("mount type unknown".to_string())),
        }
    }

    /// Mounts what a container with shareable IPC shows as `/dev/shm`, so that others can have it too.
    pub(crate) fn mount_shm(&self, container: &Container) -> Result<()> {
        let host = container.data.borrow().host_config.clone();
        if host.ipc_mode != "shareable" {
            return Ok(());
        }
        let path = format!("{}/mounts/shm", container.directory);
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        let options = format!("mode=1777,size={}", host.shm_size);
        let os = &self.os;
        os.mkdir_all(View::Host, path.as_bytes(), 0o700)
            .and_then(|()| {
                let target = path.as_bytes();
                os.mount(
                    View::Host,
                    b"shm",
                    target,
                    "tmpfs",
                    flags,
                    options.as_bytes(),
                )
            })
            .map_err(|errno| {
                ApiError::system(format!("mounting shm tmpfs: {}", errno.go_description()))
            })
    }

    /// Takes it away when the container has ended; who still has it keeps it.
    pub(crate) fn unmount_shm(&self, container: &Container) {
        if container.data.borrow().host_config.ipc_mode == "shareable" {
            let path = format!("{}/mounts/shm", container.directory);
            let _ = self.os.umount(View::Host, path.as_bytes(), true);
        }
    }

    /// Whether what is mounted on a directory spreads as a bind of it is to spread.
    fn check_propagation(&self, point: &MountPoint) -> Result<()> {
        let (needs_shared, word) = match point.propagation.trim_start_matches('r') {
            "shared" => (true, "shared"),
            "slave" => (false, "shared or slave"),
            _ => return Ok(()),
        };
        let info = self
            .os
            .read_file_now(View::Host, b"/proc/self/mountinfo")
            .unwrap_or_default();
        let info = String::from_utf8_lossy(&info).into_owned();
        let above = |line: &&str| {
            let place = line.split(' ').nth(4).unwrap_or_default();
            let rest = point.source.strip_prefix(place.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let length = |line: &&str| line.split(' ').nth(4).map_or(0, str::len);
        let Some(mount) = info.lines().filter(above).max_by_key(length) else {
            return Ok(());
        };
        if mount.contains(" shared:") || !needs_shared && mount.contains(" master:") {
            return Ok(());
        }
        Err(ApiError::system(format!(
            "path {} is mounted on {} but it is not a {word} mount",
            point.source,
            mount.split(' ').nth(4).unwrap_or_default()
        )))
    }

    /// A directory in a volume has to be there, and in the volume.
    pub(super) fn check_subpath(&self, mount: &Mount) -> Result<()> {
        let (os, root) = (&self.os, mount.point.source.as_bytes());
        let path = format!("{}/{}", mount.point.source, mount.subpath);
        let why = match secure_join(os, View::Host, root, mount.subpath.as_bytes()) {
            Ok(inside) if inside == path.as_bytes() => {
                match os.metadata(View::Host, &inside, true) {
                    Ok(_) => return Ok(()),
                    Err(errno) => errno.go_description(),
                }
            }
            Ok(_) => "path is outside of the volume or a link".to_string(),
            Err(errno) => errno.go_description(),
        };
        Err(ApiError::system(format!(
            "cannot access path {path}: lstat {path}: {why}"
        )))
    }

    /// Makes directories that are to be mounted and are not there, those of volumes too.
    pub(crate) fn prepare_mounts(&self, container: &Container) -> Result<()> {
        let mounts = container.data.borrow().mounts.clone();
        for mount in mounts.iter().filter(|mount| mount.create_source) {
            let path = &mount.point.source;
            match self.os.mkdir_all(View::Host, path.as_bytes(), 0o755) {
                // A file is there: it is what is mounted.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(Errno::ENOTDIR) if self.os.exists(View::Host, path.as_bytes()) => {}
                Err(errno) => {
                    return Err(ApiError::system(format!(
                        "error while creating mount source path '{path}': mkdir {path}: {}",
                        errno.go_description()
                    )));
                }
            }
        }
        for mount in &mounts {
            if let Some(wrong) = mount
                .tmpfs_options
                .iter()
                .find(|one| !tmpfs_option_fits(one))
            {
                let parts: Vec<String> = wrong
                    .splitn(2, '=')
                    .map(|part| format!("\"{part}\""))
                    .collect();
                let parts = parts.join(" ");
                return Err(ApiError::invalid(format!("invalid tmpfs option [{parts}]")));
            }
            if mount.point.kind == "bind" {
                self.check_propagation(&mount.point)?;
            }
            if !mount.layer.is_empty() {
                self.mount_image(mount)?;
            }
        }
        for mount in mounts.iter().filter(|mount| mount.point.kind == "volume") {
            let source = mount.point.source.as_bytes();
            let failed = |errno: Errno| {
                ApiError::system(format!(
                    "failed to populate volume: error while mounting volume '{}': {}",
                    mount.point.source,
                    errno.go_description()
                ))
            };
            self.os
                .mkdir_all(View::Host, source, 0o755)
                .map_err(failed)?;
            self.mount_volume(&mount.point.name)?;
            if !mount.subpath.is_empty() {
                self.check_subpath(mount)?;
            }
        }
        Ok(())
    }

    /// Fills volumes that are empty with what the image has there.
    pub(crate) async fn fill_volumes(&self, container: &Container, merged: &str) -> Result<()> {
        let mounts = container.data.borrow().mounts.clone();
        for mount in mounts.iter().filter(|mount| mount.point.kind == "volume") {
            let source = mount.point.source.as_bytes();
            let failed = |errno: Errno| {
                ApiError::system(format!(
                    "failed to populate volume: error while mounting volume '{}': {}",
                    mount.point.source,
                    errno.go_description()
                ))
            };
            if !mount.copy
                || !self
                    .os
                    .read_dir(View::Host, source)
                    .map_err(failed)?
                    .is_empty()
            {
                continue;
            }
            let target = mount.point.destination.as_bytes();
            let from =
                secure_join(&self.os, View::Host, merged.as_bytes(), target).map_err(failed)?;
            if self
                .os
                .metadata(View::Host, &from, true)
                .is_ok_and(|found| found.is_dir())
            {
                self.mount_volume(&mount.point.name)?;
                let copied = match self.os.read_dir(View::Host, source) {
                    Ok(entries) if entries.is_empty() => self.copy_tree(&from, source).await,
                    other => other.map(|_| ()),
                };
                self.unmount_volume(&mount.point.name);
                copied.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// `cp -a from/. to` on the machine.
    async fn copy_tree(&self, from: &[u8], to: &[u8]) -> os::Result<()> {
        let os = &self.os;
        let mut pending = vec![(from.to_vec(), to.to_vec())];
        while let Some((from, to)) = pending.pop() {
            let metadata = os.metadata(View::Host, &from, false)?;
            match metadata.file_type() {
                0o040_000 => {
                    match os.mkdir(View::Host, &to, metadata.mode & 0o7777) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    for entry in os.read_dir(View::Host, &from)? {
                        pending.push((
                            [&from[..], b"/", &entry.name].concat(),
                            [&to[..], b"/", &entry.name].concat(),
                        ));
                    }
                }
                0o120_000 => os.symlink(View::Host, &os.read_link(View::Host, &from)?, &to)?,
                0o100_000 => {
                    let reading = OpenFlags {
                        read: true,
                        ..OpenFlags::default()
                    };
                    let writing = OpenFlags {
                        write: true,
                        create: true,
                        ..OpenFlags::default()
                    };
                    let source = os.open(View::Host, &from, reading, 0)?;
                    let target = os.open(View::Host, &to, writing, 0o600)?;
                    let mut buf = vec![0; 64 * 1024];
                    let mut offset = 0;
                    loop {
                        let count = ext::read_at(&source, offset, &mut buf).await?;
                        if count == 0 {
                            break;
                        }
                        let mut done = 0;
                        while done < count {
                            done += target.write_at(offset + done as u64, &buf[done..count])?;
                        }
                        offset += count as u64;
                    }
                }
                _ => os.mknod(View::Host, &to, metadata.mode, metadata.rdev)?,
            }
            os.lchown(View::Host, &to, metadata.uid, metadata.gid)?;
            if !metadata.is_symlink() {
                os.chmod(View::Host, &to, metadata.mode & 0o7777)?;
            }
            os.set_times(View::Host, &to, metadata.atime, metadata.mtime)?;
        }
        Ok(())
    }
}

/// Whether a path stays below where it begins, as it is written.
pub(super) fn is_local(path: &str) -> bool {
    let mut depth = 0;
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        depth += if part == ".." { -1 } else { 1 };
        if depth < 0 {
            return false;
        }
    }
    !path.starts_with('/')
}

/// An option of a tmpfs in a `--mount`, of which there are two.
fn tmpfs_option(option: &[String]) -> std::result::Result<String, String> {
    match option {
        [word] | [word, _] if !matches!(word.as_str(), "exec" | "noexec") => {
            Err(format!("invalid option: {word}"))
        }
        [word] => Ok(word.clone()),
        [word, value] => Ok(format!("{word}={value}")),
        _ => Err("invalid option array length".to_string()),
    }
}

/// Whether Docker lets it through to `mount(2)`.
fn tmpfs_option_fits(option: &str) -> bool {
    const FLAGS: [&str; 32] = [
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ];
    const VALUES: [&str; 7] = [
        "mode",
        "uid",
        "gid",
        "size",
        "nr_inodes",
        "nr_blocks",
        "mpol",
    ];
    match option.split_once('=') {
        Some((name, _)) => VALUES.contains(&name),
        None => FLAGS.contains(&option),
    }
}

fn add(list: &mut Vec<Mount>, mount: Mount) -> Result<()> {
    let target = &mount.point.destination;
    if list.iter().any(|known| known.point.destination == *target) {
        return Err(ApiError::invalid(format!(
            "Duplicate mount point: {target}"
        )));
    }
    list.push(mount);
    Ok(())
}

fn replace(list: &mut Vec<Mount>, mount: Mount) {
    list.retain(|known| known.point.destination != mount.point.destination);
    list.push(mount);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        assert_eq!(parse_bind("/a:/b:ro"), Ok((Some("/a"), "/b", vec!["ro"])));
        assert_eq!(parse_bind("name:/b"), Ok((Some("name"), "/b", vec![])));
        assert_eq!(parse_bind("/b"), Ok((None, "/b", vec![])));
        for bad in [
            "a:b:c:d",
            ":/x",
            "/a:/b:what",
            "/a:/b:ro,rw",
            "/a:b",
            "/a:/",
            "/b:ro",
        ] {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }
}
