//! `POST /containers/create`: an image's configuration and the user's become a container.

use engine_api::container::create::Create;
use engine_api::error::{ApiError, Result};
use engine_api::image::platform::mismatch;
use engine_api::types::{Config, CreateBody, CreateResponse, HostConfig, State};
use engine_api::{json, timestamp};
use layers::Image;
use os::{OsExt, View};
use runtime::defaults;
use serve::Response;

use crate::Engine;
use crate::container::validate;
use crate::dispatch::Context;
use crate::state::{Container, Data};

/// The image's defaults under the user's wishes.
fn merge(config: &mut Config, image: &oci::ContainerConfig) {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    let ports = config.exposed_ports.get_or_insert_default();
    for (port, value) in &image.exposed_ports {
        ports.entry(port.clone()).or_insert(*value);
    }
    // The user's come first. `-e NAME` without a value stays: it takes away what is there at the start.
    let own = config.env.get_or_insert_default();
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_string();
    let names: Vec<String> = own.iter().map(|entry| name_of(entry)).collect();
    own.extend(
        image
            .env
            .iter()
            .filter(|entry| !names.contains(&name_of(entry)))
            .cloned(),
    );
    config.env = config.env.take().filter(|env| !env.is_empty());
    for (name, value) in &image.labels {
        config
            .labels
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    } else if config.entrypoint.as_ref().is_some_and(|list| *list == [""]) {
        // `--entrypoint ""` takes the image's away.
        config.entrypoint = None;
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    config.volumes = config.volumes.take().filter(|volumes| !volumes.is_empty());
    if !image.volumes.is_empty() {
        let volumes = config.volumes.get_or_insert_default();
        for (path, value) in &image.volumes {
            volumes.entry(path.clone()).or_insert(*value);
        }
    }
    if config.stop_signal.is_empty() {
        config.stop_signal = image.stop_signal.clone().unwrap_or_default();
    }
    merge_health(config, image);
}

/// A health check of which the user said only a part takes the rest from the image's.
fn merge_health(config: &mut Config, image: &oci::ContainerConfig) {
    let Some(theirs) = &image.healthcheck else {
        return;
    };
    let Some(own) = &mut config.healthcheck else {
        config.healthcheck = Some(theirs.clone());
        return;
    };
    if own.test.is_empty() {
        own.test.clone_from(&theirs.test);
    }
    for (value, other) in [
        (&mut own.interval, theirs.interval),
        (&mut own.timeout, theirs.timeout),
        (&mut own.start_period, theirs.start_period),
        (&mut own.start_interval, theirs.start_interval),
        (&mut own.retries, theirs.retries),
    ] {
        if *value == 0 {
            *value = other;
        }
    }
}

/// What Docker fills in.
pub(crate) fn host_defaults(host: &mut HostConfig) {
    let fill = |text: &mut String, default: &str| {
        if text.is_empty() {
            *text = default.to_string();
        }
    };
    fill(&mut host.network_mode, "bridge");
    if host.network_mode == "default" {
        host.network_mode = "bridge".to_string();
    }
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.cgroupns_mode, "private");
    fill(&mut host.restart_policy.name, "no");
    fill(&mut host.runtime, "runc");
    if host.shm_size == 0 {
        host.shm_size = defaults::SHM_SIZE;
    }
    // Docker's default: as much swap as memory.
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.privileged {
        host.masked_paths = None;
        host.readonly_paths = None;
    } else {
        host.masked_paths.get_or_insert_with(defaults::masked_paths);
        host.readonly_paths
            .get_or_insert_with(defaults::readonly_paths);
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_create(&self, mut context: Context) -> Result<Response> {
        let body = CreateBody::parse(&context.document().await?)?;
        let create = Create::parse(&context.query, context.version, body)?;
        let (id, warnings) = self.create(create).await?;
        Ok(json::emit(201, &CreateResponse { id, warnings }))
    }

    async fn create(&self, create: Create) -> Result<(String, Vec<String>)> {
        let CreateBody {
            mut config,
            mut host_config,
            networking_config,
        } = create.body;
        if let Some(wanted) = networking_config
            .endpoints_config
            .keys()
            .next()
            .filter(|_| matches!(host_config.network_mode.as_str(), "" | "default"))
        {
            host_config.network_mode.clone_from(wanted);
        }
        validate::modes(&config, &host_config)?;
        // What is no limit is shown as none.
        host_config.pids_limit = host_config.pids_limit.filter(|&limit| limit > 0);
        validate::config(&mut config)?;
        let mut warnings = validate::host_config(self, &mut host_config, false)?;
        self.daemon_defaults(&mut host_config);
        host_defaults(&mut host_config);
        self.name_namespaces_by_id(&mut host_config)?;
        let networking = self.networking(networking_config, &host_config, &config.mac_address)?;
        let image = self.image_for_container(&config.image, create.platform.as_ref())?;
        merge(&mut config, &image.config.config);
        validate::log_config(&host_config.log_config)?;
        validate::security_options(&host_config)?;
        let args: Vec<String> = config
            .entrypoint
            .iter()
            .chain(&config.cmd)
            .flatten()
            .cloned()
            .collect();
        let Some((path, args)) = args.split_first() else {
            return Err(ApiError::invalid("no command specified"));
        };
        let id = self.os.rng().hex(32);
        if config.hostname.is_empty() {
            config.hostname = match host_config.network_mode.split_once(':') {
                Some(("container", other)) => {
                    self.find_container(other).map_or(String::new(), |found| {
                        found.data.borrow().config.hostname.clone()
                    })
                }
                _ if host_config.network_mode == "host" => self.hostname(),
                _ => id[..12].to_string(),
            };
        }
        let name = self.reserve_name(&create.name, &id)?;
        let data = Data {
            id: id.clone(),
            created_nanos: self.now(),
            name: name.clone(),
            path: path.clone(),
            args: args.to_vec(),
            image: image.id.to_string(),
            config,
            state: State {
                status: "created".to_string(),
                started_at: timestamp::ZERO.to_string(),
                finished_at: timestamp::ZERO.to_string(),
                ..State::default()
            },
            networking,
            host_config,
            ..Data::default()
        };
        let outcome = self.make(data, &image).await;
        self.release_name(&name);
        if outcome.is_err() {
            self.remove_image_layers(&id);
            let _ = self.store.remove_container(&id);
            let directory = format!("{}/containers/{id}", self.config.root);
            let _ = self.os.remove_all(View::Host, directory.as_bytes());
        }
        outcome.map(|more| {
            warnings.extend(more);
            (id, warnings)
        })
    }

    /// What `daemon.json` says for who says nothing: modes of namespaces, the size of `/dev/shm`, the log driver,
    /// and its options for who uses that driver.
    fn daemon_defaults(&self, host: &mut HostConfig) {
        let settings = self.settings.borrow();
        if host.shm_size == 0 {
            host.shm_size = settings.shm_size().unwrap_or_default();
        }
        if host.ipc_mode.is_empty() {
            host.ipc_mode = settings.ipc_mode().to_string();
        }
        if host.cgroupns_mode.is_empty() && !host.privileged {
            host.cgroupns_mode = settings.cgroupns_mode().to_string();
        }
        let log = &mut host.log_config;
        let driver = match settings.log_driver.as_str() {
            "" => "json-file",
            driver => driver,
        };
        if log.kind.is_empty() {
            log.kind = driver.to_string();
        }
        if log.kind == driver {
            for (name, value) in &settings.log_opts {
                let place = log.config.entry(name.clone());
                place.or_insert_with(|| value.clone());
            }
        }
    }

    /// `container:NAME` becomes `container:ID`, which a rename does not break.
    fn name_namespaces_by_id(&self, host: &mut HostConfig) -> Result<()> {
        for mode in [&host.pid_mode, &host.ipc_mode] {
            if let Some(name) = mode.strip_prefix("container:") {
                self.find_container(name)
                    .map_err(|error| ApiError::invalid(error.message))?;
            }
        }
        for mode in [
            &mut host.pid_mode,
            &mut host.ipc_mode,
            &mut host.network_mode,
        ] {
            let found = mode
                .strip_prefix("container:")
                .and_then(|name| self.find_container(name).ok());
            if let Some(found) = found {
                *mode = format!("container:{}", found.id);
            }
        }
        Ok(())
    }

    async fn make(&self, data: Data, image: &Image) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        if image.config.architecture != oci::Platform::host().architecture {
            warnings.push(format!(
                "The requested image's platform ({}/{}) does not match the detected host platform ({}) and no \
                 specific platform was requested",
                image.config.os,
                image.config.architecture,
                oci::Platform::host()
            ));
        }
        let mounts = data.host_config.mounts.as_deref().unwrap_or_default();
        if mounts.iter().any(|spec| spec.kind == "image") {
            warnings.push("Image mount is an experimental feature".to_string());
        }
        self.make_over(data, image.chain.last().copied()).await?;
        Ok(warnings)
    }

    /// Makes a container whose files are those of the layer `top`.
    pub(crate) async fn make_over(
        &self,
        mut data: Data,
        top: Option<oci::Digest>,
    ) -> Result<std::rc::Rc<Container>> {
        let failed = |what: String| ApiError::system(what);
        let directory = format!("{}/containers/{}", self.config.root, data.id);
        self.os
            .mkdir_all(View::Host, directory.as_bytes(), 0o710)
            .map_err(|errno| failed(format!("mkdir {directory}: {}", errno.go_description())))?;
        self.store
            .create_layer(&data.id, top)
            .map_err(|error| failed(error.to_string()))?;
        let storage = data.host_config.storage_opt.as_ref();
        if let Some(name) = storage.into_iter().flatten().next().map(|(name, _)| name) {
            if !name.eq_ignore_ascii_case("size") {
                return Err(failed(format!(
                    "Unknown option {}",
                    name.to_ascii_lowercase()
                )));
            }
            return Err(failed(
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
                    .to_string(),
            ));
        }
        let mut mounts = self.mount_points(&data)?;
        mounts.append(&mut data.mounts);
        data.mounts = mounts;
        self.make_image_layers(&mut data)?;
        self.check_links(&data.host_config)?;
        let container = Container::new(&self.os, &self.config.root, data);
        self.first_contents(&container).await?;
        let all = match container.data.borrow().hidden {
            true => &self.build_containers,
            false => &self.containers,
        };
        all.borrow_mut()
            .insert(container.id.clone(), std::rc::Rc::clone(&container));
        container.update(&self.os, |_| {});
        self.container_event(&container, "create", &[]);
        Ok(container)
    }

    /// Containers of `--link` have to be there.
    fn check_links(&self, host: &HostConfig) -> Result<()> {
        for link in host.links.iter().flatten() {
            if link.is_empty() {
                return Err(ApiError::system("empty string specified for links"));
            }
            if link.split(':').count() > 2 {
                return Err(ApiError::system(format!("bad format for links: {link}")));
            }
            let name = link.split(':').next().unwrap_or_default();
            let child = self.find_container(name).map_err(|error| {
                ApiError::invalid(format!(
                    "could not get container for {name}: {}",
                    error.message
                ))
            })?;
            if child.data.borrow().host_config.network_mode == "host" {
                return Err(ApiError::invalid(
                    "conflicting options: host type networking can't be used with links. This would result in \
                     undefined behavior",
                ));
            }
        }
        Ok(())
    }

    /// What a container has before it first runs: its working directory, and in its new volumes what the
    /// image has there.
    async fn first_contents(&self, container: &Container) -> Result<()> {
        let workdir = container.data.borrow().config.working_dir.clone();
        let copies = |mount: &crate::state::Mount| mount.point.kind == "volume" && mount.copy;
        let copied = container.data.borrow().mounts.iter().any(copies);
        if matches!(workdir.as_str(), "" | "/") && !copied {
            return Ok(());
        }
        let mount = self
            .store
            .mount_container(&container.id)
            .map_err(|error| ApiError::system(error.to_string()))?;
        let outcome = match self.make_workdir(&mount.merged, &workdir) {
            Ok(()) => match self.check_volume_paths(container, &mount.merged) {
                Ok(()) => self.fill_volumes(container, &mount.merged).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let _ = self.store.unmount_container(&container.id);
        outcome
    }

    pub(crate) fn make_workdir(&self, merged: &str, workdir: &str) -> Result<()> {
        if workdir.is_empty() {
            return Ok(());
        }
        let os = &self.os;
        let made =
            runtime::path::secure_join(os, View::Host, merged.as_bytes(), workdir.as_bytes())
                .and_then(|path| match os.metadata(View::Host, &path, true) {
                    Ok(found) if !found.is_dir() => Err(os::Errno::ENOTDIR),
                    Ok(_) => Ok(()),
                    Err(_) => os.mkdir_all(View::Host, &path, 0o755),
                });
        made.map_err(|errno| {
            ApiError::system(match errno {
                os::Errno::ENOTDIR => format!("Cannot mkdir: {workdir} is not a directory"),
                errno => format!("mkdir {workdir}: {}", errno.go_description()),
            })
        })
    }

    fn image_for_container(&self, name: &str, wanted: Option<&oci::Platform>) -> Result<Image> {
        if name.is_empty() {
            return Err(ApiError::invalid("no command specified"));
        }
        let image = self.find_image(name)?;
        match wanted {
            Some(wanted)
                if wanted.os != image.config.os
                    || wanted.architecture != image.config.architecture =>
            {
                Err(mismatch(
                    name,
                    &crate::image::image_platform(&image),
                    wanted,
                ))
            }
            _ => Ok(image),
        }
    }

    /// The machine's own name.
    pub(crate) fn hostname(&self) -> String {
        let text = self
            .os
            .read_file_now(View::Host, b"/proc/sys/kernel/hostname");
        String::from_utf8_lossy(&text.unwrap_or_default())
            .trim()
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entrypoint_and_command() {
        let list = |items: &[&str]| Some(items.iter().map(ToString::to_string).collect::<Vec<_>>());
        let image = oci::ContainerConfig {
            entrypoint: list(&["/entry"]),
            cmd: list(&["default"]),
            env: vec!["PATH=/bin".to_string(), "A=1".to_string()],
            ..oci::ContainerConfig::default()
        };
        type Row = (
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
        );
        let cases: [Row; 4] = [
            (&[], &[], &["/entry", "default"]),
            (&[], &["own"], &["/entry", "own"]),
            (&["/mine"], &[], &["/mine"]),
            (&[""], &["sh"], &["sh"]),
        ];
        for (entrypoint, cmd, expected) in cases {
            let mut config = Config {
                entrypoint: list(entrypoint).filter(|list| !list.is_empty()),
                cmd: list(cmd).filter(|list| !list.is_empty()),
                env: list(&["A=2"]),
                ..Config::default()
            };
            merge(&mut config, &image);
            let args: Vec<String> = config
                .entrypoint
                .iter()
                .chain(&config.cmd)
                .flatten()
                .cloned()
                .collect();
            assert_eq!(args, expected);
            assert_eq!(config.env, list(&["A=2", "PATH=/bin"]));
        }
    }
}
