//! From a container's configuration to what the runtime makes.

use std::collections::BTreeMap;
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::types::HostConfig;
use os::{NamespaceKind, TaskId, View, WindowSize};
use runtime::{
    IoLimit, Mount, Namespace, ProcessSpec, Resources, Rlimit, Spec, capabilities, defaults,
};

use crate::Engine;
use crate::state::{Container, Data};

/// `PATH` of a container whose image sets none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the init of `--init` is in the container.
const INIT_TARGET: &str = "/sbin/docker-init";
/// Where it may be on the machine.
const INIT_SOURCES: [&str; 4] = [
    "/usr/libexec/docker/docker-init",
    "/usr/bin/docker-init",
    "/usr/bin/tini-static",
    "/usr/bin/tini",
];

/// Names of `--ulimit`, in the order of their numbers (`getrlimit(2)`, asm-generic).
const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// Limits of a host configuration.
pub(crate) fn resources(host: &HostConfig) -> Resources {
    let set = |value: i64| (value != 0).then_some(value);
    let (quota, period) = match host.nano_cpus {
        nano @ 1.. => (Some(nano / 10_000), Some(100_000)),
        _ => (
            set(host.cpu_quota),
            u64::try_from(host.cpu_period)
                .ok()
                .filter(|&period| period > 0),
        ),
    };
    Resources {
        memory: set(host.memory),
        memory_swap: set(host.memory_swap),
        memory_reservation: set(host.memory_reservation),
        cpu_shares: u64::try_from(host.cpu_shares)
            .ok()
            .filter(|&shares| shares > 0),
        cpu_quota: quota,
        cpu_period: period,
        cpuset_cpus: Some(host.cpuset_cpus.clone()).filter(|text| !text.is_empty()),
        cpuset_mems: Some(host.cpuset_mems.clone()).filter(|text| !text.is_empty()),
        pids: host.pids_limit.filter(|&limit| limit != 0),
        blkio_weight: Some(u64::from(host.blkio_weight)).filter(|&weight| weight != 0),
        io: Vec::new(),
    }
}

/// Kernel parameters: in a network of its own a container may ping and listen on any port without
/// capabilities, and then what the user asked for.
fn sysctls(host: &HostConfig) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    let shared = host.network_mode == "host" || host.network_mode.starts_with("container:");
    if !shared {
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            sysctls.insert(name.to_string(), value.to_string());
        }
    }
    sysctls.extend(host.sysctls.clone().unwrap_or_default());
    sysctls
}

/// `no-new-privileges` among the security options; `default` is the daemon's.
fn no_new_privileges(host: &HostConfig, default: bool) -> bool {
    let said = host.security_opt.iter().flatten().rev().find_map(|option| {
        let rest = option.strip_prefix("no-new-privileges")?;
        Some(matches!(rest, "" | ":true" | "=true"))
    });
    said.unwrap_or(default)
}

/// The environment: Docker's own, that of links, then the container's, later ones winning.
pub(crate) fn environment(data: &Data, links: &[String]) -> Vec<String> {
    let mut env = vec![
        DEFAULT_PATH.to_string(),
        format!("HOSTNAME={}", data.config.hostname),
    ];
    if data.config.tty {
        env.push("TERM=xterm".to_string());
    }
    env.extend(links.iter().cloned());
    merge_env(&mut env, data.config.env.iter().flatten());
    env
}

/// Replaces or adds `NAME=value` entries; `NAME` alone removes.
pub(crate) fn merge_env<'a>(env: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for entry in more {
        let name = entry.split('=').next().unwrap_or_default();
        let place = env
            .iter()
            .position(|known| known.split('=').next() == Some(name));
        match (place, entry.contains('=')) {
            (Some(at), true) => env[at] = entry.clone(),
            (Some(at), false) => {
                env.remove(at);
            }
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
}

impl Engine {
    /// The task whose namespace `container:NAME` means.
    fn namespace_of(&self, kind: NamespaceKind, name: &str) -> Result<TaskId> {
        let other = self.find_container(name)?;
        let live = other.live.borrow();
        let init = live.as_ref().map(|live| live.runtime.init());
        match (kind, init) {
            (NamespaceKind::Net, None) => Err(ApiError::conflict(format!(
                "cannot join network of a non running container: {}",
                other.id
            ))),
            (_, None) => Err(ApiError::conflict(format!(
                "failed to join {} namespace: container {} is not running",
                if kind == NamespaceKind::Ipc {
                    "IPC"
                } else {
                    "PID"
                },
                other.id
            ))),
            (NamespaceKind::Ipc, _) if self.shm_of(&other).is_none() => {
                Err(ApiError::invalid(format!(
                    "failed to join IPC namespace: container {}: non-shareable IPC (hint: use IpcMode:shareable \
                     for the donor container)",
                    other.id
                )))
            }
            (_, Some(init)) => Ok(init),
        }
    }

    /// The directory that a container shares as `/dev/shm` with those that join its IPC namespace.
    pub(crate) fn shm_of(&self, container: &Container) -> Option<String> {
        let mode = container.data.borrow().host_config.ipc_mode.clone();
        match mode.split_once(':') {
            Some((_, other)) => self
                .find_container(other)
                .ok()
                .filter(|found| found.id != container.id)
                .and_then(|found| self.shm_of(&found)),
            None if mode == "shareable" => Some(format!("{}/mounts/shm", container.directory)),
            None if mode == "host" => Some("/dev/shm".to_string()),
            None => None,
        }
    }

    fn namespaces(&self, host: &HostConfig) -> Result<Vec<Namespace>> {
        let mut list = vec![Namespace {
            kind: NamespaceKind::Mount,
            join: None,
        }];
        for (kind, mode) in [
            (NamespaceKind::Uts, &host.uts_mode),
            (NamespaceKind::Ipc, &host.ipc_mode),
            (NamespaceKind::Pid, &host.pid_mode),
            (NamespaceKind::Net, &host.network_mode),
            (NamespaceKind::Cgroup, &host.cgroupns_mode),
        ] {
            match mode.split_once(':') {
                _ if mode == "host" => {}
                Some(("container", name)) => {
                    let join = Some(self.namespace_of(kind, name)?);
                    list.push(Namespace { kind, join });
                }
                _ => list.push(Namespace { kind, join: None }),
            }
        }
        Ok(list)
    }

    /// The whole specification, for a root mounted at `rootfs`.
    pub(crate) fn runtime_spec(&self, container: &Rc<Container>, rootfs: &str) -> Result<Spec> {
        let data = container.data.borrow().clone();
        let host = &data.host_config;
        if let Some(request) = host.device_requests.iter().flatten().next() {
            return Err(no_device_driver(request));
        }
        if host.cpu_shares < 0 {
            return Err(ApiError::system("shares: invalid argument"));
        }
        let capabilities = capabilities::tweak(
            host.cap_add.as_deref().unwrap_or_default(),
            host.cap_drop.as_deref().unwrap_or_default(),
            host.privileged,
        )
        .map_err(|name| {
            ApiError::invalid(format!("invalid CapAdd: unknown capability: \"{name}\""))
        })?;
        let mut args = vec![data.path.clone()];
        args.extend(data.args.iter().cloned());
        self.check_running_links(&data)?;
        let mut mounts = self.mounts(container, &data);
        if host.init == Some(true) {
            let source = self.find_init()?;
            args.splice(0..0, [INIT_TARGET.to_string(), "--".to_string()]);
            mounts.push(bind(source, INIT_TARGET, true));
        }
        let [rows, cols] = host.console_size;
        Ok(Spec {
            process: ProcessSpec {
                terminal: data.config.tty,
                console_size: (rows > 0 && cols > 0).then_some(WindowSize { rows, cols }),
                user: data.config.user.clone(),
                additional_groups: host.group_add.clone().unwrap_or_default(),
                args,
                env: environment(&data, &self.link_environment(&data)),
                cwd: runtime::path::clean(&data.config.working_dir),
                capabilities,
                no_new_privileges: no_new_privileges(
                    host,
                    self.settings.borrow().no_new_privileges,
                ),
                seccomp: self.seccomp(host, capabilities)?.map(Rc::from),
                rlimits: self.rlimits(host)?,
                oom_score_adj: host.oom_score_adj,
            },
            rootfs: rootfs.to_string(),
            readonly_rootfs: host.readonly_rootfs,
            hostname: data.config.hostname.clone(),
            domainname: data.config.domainname.clone(),
            mounts,
            namespaces: self.namespaces(host)?,
            cgroup: container.cgroup(),
            resources: Resources {
                io: self.io_limits(host)?,
                ..resources(host)
            },
            masked_paths: host.masked_paths.clone().unwrap_or_default(),
            readonly_paths: host.readonly_paths.clone().unwrap_or_default(),
            devices: self.devices(host)?,
            sysctl: sysctls(host),
        })
    }

    /// `--device-read-bps` and its kin: paths of devices become their numbers.
    fn io_limits(&self, host: &HostConfig) -> Result<Vec<IoLimit>> {
        let mut limits = Vec::new();
        for (key, list) in [
            ("rbps", &host.blkio_device_read_bps),
            ("wbps", &host.blkio_device_write_bps),
            ("riops", &host.blkio_device_read_iops),
            ("wiops", &host.blkio_device_write_iops),
        ] {
            for throttle in list.iter().flatten() {
                let path = throttle["Path"].as_str().unwrap_or_default();
                let device = self
                    .os
                    .metadata(View::Host, path.as_bytes(), true)
                    .map_err(|errno| {
                        ApiError::system(format!("stat {path}: {}", errno.go_description()))
                    })?;
                limits.push(IoLimit {
                    major: defaults::major(device.rdev),
                    minor: defaults::minor(device.rdev),
                    key,
                    rate: throttle["Rate"].as_u64().unwrap_or_default(),
                });
            }
        }
        Ok(limits)
    }

    fn find_init(&self) -> Result<&'static str> {
        INIT_SOURCES
            .into_iter()
            .find(|path| self.os.metadata(View::Host, path.as_bytes(), true).is_ok())
            .ok_or_else(|| {
                ApiError::invalid("exec: \"docker-init\": executable file not found in $PATH")
            })
    }

    fn devices(&self, host: &HostConfig) -> Result<Vec<runtime::Device>> {
        if host.privileged {
            return Ok(defaults::host_devices(&self.os));
        }
        let mut devices = defaults::devices();
        for mapping in host.devices.iter().flatten() {
            let device =
                defaults::host_device(&self.os, &mapping.path_on_host, &mapping.path_in_container);
            devices.push(device.ok_or_else(|| {
                ApiError::system(format!(
                    "error gathering device information while adding custom device \"{}\": no such file or \
                     directory",
                    mapping.path_on_host
                ))
            })?);
        }
        Ok(devices)
    }

    /// Docker's mounts without those the user replaces, then the user's and the files of the daemon, by
    /// depth.
    fn mounts(&self, container: &Container, data: &Data) -> Vec<Mount> {
        let host = &data.host_config;
        let mut own: Vec<Mount> = data
            .mounts
            .iter()
            .map(|mount| {
                let point = &mount.point;
                match point.kind.as_str() {
                    "tmpfs" => Mount {
                        destination: point.destination.clone(),
                        kind: "tmpfs".to_string(),
                        source: "tmpfs".to_string(),
                        options: mount.tmpfs_options.clone(),
                    },
                    _ => {
                        let source = match mount.subpath.as_str() {
                            "" => point.source.clone(),
                            subpath => format!("{}/{subpath}", point.source),
                        };
                        let mut bind = bind(&source, &point.destination, !point.rw);
                        if !point.propagation.is_empty() {
                            bind.options.push(point.propagation.clone());
                        }
                        bind
                    }
                }
            })
            .collect();
        // Who is in another container's network namespace sees its names too.
        let directory = match host.network_mode.strip_prefix("container:") {
            Some(other) => self
                .find_container(other)
                .map_or(container.directory.clone(), |found| found.directory.clone()),
            None => container.directory.clone(),
        };
        for name in ["resolv.conf", "hostname", "hosts"] {
            let target = format!("/etc/{name}");
            if !own.iter().any(|mount| mount.destination == target) {
                own.push(bind(
                    &format!("{directory}/{name}"),
                    &target,
                    host.readonly_rootfs,
                ));
            }
        }
        order::sort_by_key(&mut own, |mount| {
            mount
                .destination
                .split('/')
                .filter(|part| !part.is_empty())
                .count()
        });
        let replaced = |mount: &Mount| {
            own.iter().any(|other| {
                mount.destination == other.destination
                    || other.destination == "/dev" && mount.destination.starts_with("/dev/")
            })
        };
        let mut all: Vec<Mount> = defaults::mounts(host.privileged, host.shm_size)
            .into_iter()
            .filter(|mount| !replaced(mount))
            .filter(|mount| host.ipc_mode != "none" || mount.destination != "/dev/shm")
            .collect();
        if let Some(shared) = self.shm_of(container) {
            for mount in all
                .iter_mut()
                .filter(|mount| mount.destination == "/dev/shm")
            {
                *mount = bind(&shared, "/dev/shm", false);
            }
        }
        all.extend(own);
        all
    }
}

/// There are no devices but those of the kernel; `--gpus` asks for more.
fn no_device_driver(request: &serde_json::Value) -> ApiError {
    let words = |value: &serde_json::Value| {
        let words = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str);
        format!("[{}]", words.collect::<Vec<_>>().join(" "))
    };
    let all = request["Capabilities"].as_array().into_iter().flatten();
    ApiError::system(format!(
        "could not select device driver \"{}\" with capabilities: [{}]",
        request["Driver"].as_str().unwrap_or_default(),
        all.map(words).collect::<Vec<_>>().join(" ")
    ))
}

fn bind(source: &str, destination: &str, readonly: bool) -> Mount {
    let mut options = vec!["rbind".to_string()];
    options.extend(readonly.then(|| "ro".to_string()));
    Mount {
        destination: destination.to_string(),
        kind: "bind".to_string(),
        source: source.to_string(),
        options,
    }
}

impl Engine {
    /// The limits of `--ulimit` and those of the daemon, for a container's first process and for what is run in
    /// it later.
    pub(crate) fn rlimits(&self, host: &HostConfig) -> Result<Vec<Rlimit>> {
        let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
        let own = host.ulimits.as_deref().unwrap_or_default();
        let settings = self.settings.borrow();
        let others = settings.default_ulimits.iter();
        let others = others.filter(|(name, _)| !own.iter().any(|limit| limit.name == **name));
        let own = own.iter().map(|limit| (&limit.name, limit));
        own.chain(others)
            .map(|(name, limit)| {
                let resource = RLIMITS
                    .iter()
                    .position(|known| known == name)
                    .ok_or_else(|| ApiError::invalid(format!("invalid ulimit type: {name}")))?;
                Ok(Rlimit {
                    resource: resource as u32,
                    soft: value(limit.soft),
                    hard: value(limit.hard),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_merge_by_name() {
        let mut env = vec!["A=1".to_string(), "B=2".to_string()];
        let more = ["B=3", "C=4", "A"].map(str::to_string);
        merge_env(&mut env, more.iter());
        assert_eq!(env, ["B=3", "C=4"]);
    }

    #[test]
    fn cpus_become_quota() {
        let host = HostConfig {
            nano_cpus: 1_500_000_000,
            ..HostConfig::default()
        };
        let resources = resources(&host);
        assert_eq!(
            (resources.cpu_quota, resources.cpu_period),
            (Some(150_000), Some(100_000))
        );
    }
}
