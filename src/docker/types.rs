//! The documents' types: members of the Engine API's documents by their own names, as far as they are shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::units;

/// `null` is as good as nothing: the API writes it for empty lists.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A row of `docker ps`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name, behind a slash.
    pub names: Vec<String>,
    /// The image by the name it was made with.
    pub image: String,
    /// The image's id.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// Path and arguments.
    pub command: String,
    /// `running`, `exited`, …
    pub state: String,
    /// `Up 3 minutes (healthy)`.
    pub status: String,
    /// Exposed and published ports.
    pub ports: Vec<Port>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// More of it.
    #[serde(deserialize_with = "or_default")]
    pub inspect: Inspect,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Port {
    /// The host's address; empty for a port that is only exposed.
    #[serde(rename = "IP")]
    pub ip: String,
    /// In the container.
    pub private_port: u16,
    /// On the host.
    pub public_port: Option<u16>,
    /// `tcp`, `udp`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name.
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// It may be written.
    #[serde(rename = "RW")]
    pub rw: bool,
}

/// What `inspect` has beyond the list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Inspect {
    /// How often it was started again.
    pub restart_count: u32,
    /// How it ended, and its health.
    #[serde(deserialize_with = "or_default")]
    pub state: State,
    /// Limits.
    #[serde(deserialize_with = "or_default")]
    pub host_config: HostConfig,
    /// By network.
    #[serde(deserialize_with = "or_default")]
    pub networks: BTreeMap<String, Endpoint>,
}

/// State of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct State {
    /// How it ended.
    pub exit_code: i32,
    /// For want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Why it did not start.
    pub error: String,
    /// `healthy`, `unhealthy`, `starting`.
    #[serde(deserialize_with = "or_default")]
    pub health: String,
}

/// Limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// Bytes; 0 is no limit.
    #[serde(deserialize_with = "or_default")]
    pub memory: u64,
    /// Billionths of a processor.
    #[serde(deserialize_with = "or_default")]
    pub nano_cpus: u64,
    /// Microseconds of `cpu_period`.
    #[serde(deserialize_with = "or_default")]
    pub cpu_quota: i64,
    /// Microseconds.
    #[serde(deserialize_with = "or_default")]
    pub cpu_period: u64,
    /// Tasks.
    #[serde(deserialize_with = "or_default")]
    pub pids_limit: i64,
    /// When it is started again.
    #[serde(deserialize_with = "or_default")]
    pub restart_policy: RestartPolicy,
}

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `on-failure`, `unless-stopped`.
    pub name: String,
    /// For `on-failure`.
    pub maximum_retry_count: u32,
}

/// How a container is on a network.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Endpoint {
    /// Its address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// More names.
    #[serde(deserialize_with = "or_default")]
    pub aliases: Vec<String>,
}

/// The twelve digits that Docker shows of an id.
pub fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

impl Container {
    /// Its name.
    pub fn name(&self) -> &str {
        let name = self.names.first().map(String::as_str).unwrap_or_default();
        name.strip_prefix('/').unwrap_or(name)
    }

    /// Its limits in a few words each.
    pub fn limits(&self) -> Vec<String> {
        let config = &self.inspect.host_config;
        let mut limits = Vec::new();
        let mut cpus = config.nano_cpus / 10_000_000;
        if let (0, 1.., quota) = (cpus, config.cpu_period, config.cpu_quota) {
            cpus = u64::try_from(quota).unwrap_or(0) * 100 / config.cpu_period;
        }
        if cpus > 0 {
            let text = format!("{}.{:02}", cpus / 100, cpus % 100);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            limits.push(format!("{text} CPU"));
        }
        if config.memory > 0 {
            limits.push(units::size(config.memory));
        }
        if config.pids_limit > 0 {
            limits.push(format!("{} PIDs", config.pids_limit));
        }
        limits
    }

    /// Published ports: the host's port, and what it leads to. Of both address families once.
    pub fn published(&self) -> Vec<(u16, String)> {
        let of = |port: &Port| {
            let public = port.public_port?;
            Some((public, format!("{}/{}", port.private_port, port.kind)))
        };
        let mut ports: Vec<_> = self.ports.iter().filter_map(of).collect();
        ports.sort();
        ports.dedup();
        ports
    }

    /// When it is started again, as `--restart` takes it; empty for never.
    pub fn restart_policy(&self) -> String {
        let policy = &self.inspect.host_config.restart_policy;
        match (policy.name.as_str(), policy.maximum_retry_count) {
            ("no", _) => String::new(),
            (name, 0) => name.to_owned(),
            (name, most) => format!("{name}:{most}"),
        }
    }

    /// It does not run any more.
    pub fn ended(&self) -> bool {
        matches!(self.state.as_str(), "exited" | "dead")
    }
}

/// What a running container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Load {
    /// The container.
    pub id: String,
    /// Hundredths of a percent of a processor.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes it may have.
    pub limit: u64,
    /// Tasks.
    pub pids: u64,
}

/// A container in detail.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Details {
    /// More of `inspect`.
    pub inspect: Whole,
    /// What it changed: the first of `changes_in_all`.
    pub changes: Vec<Change>,
    /// How many changes there are.
    pub changes_in_all: usize,
    /// The end of its log.
    pub logs: String,
    /// Its image's diff ids, base first.
    #[serde(deserialize_with = "or_default")]
    pub layers: Vec<String>,
    /// Its image's history, newest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<Step>,
}

/// `inspect` as far as the details show it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Whole {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// The image's id.
    pub image: String,
    /// Mounts.
    #[serde(deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// What is the same wherever it runs.
    pub config: Config,
    /// By network.
    #[serde(deserialize_with = "or_default")]
    pub networks: BTreeMap<String, Endpoint>,
}

/// Configuration of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// Environment.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// Who it runs as.
    pub user: String,
    /// Where it runs.
    pub working_dir: String,
}

/// A line of `docker diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Change {
    /// The path.
    pub path: String,
    /// 0, 1, 2: changed, added, deleted.
    pub kind: u8,
    /// It is a directory.
    pub directory: bool,
    /// Bytes of a file.
    pub size: Option<u64>,
    /// The file that was there before.
    pub below: Option<Below>,
}

impl Change {
    /// As `docker diff` writes it.
    pub fn letter(&self) -> &'static str {
        ["C", "A", "D"].get(usize::from(self.kind)).unwrap_or(&"?")
    }
}

/// The file below a changed one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Below {
    /// The number of its layer, from the base; `None` is Docker's own.
    pub layer: Option<usize>,
    /// Its bytes.
    pub size: u64,
    /// It was copied up, and then changed.
    pub copied: bool,
}

/// A row of `docker images`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Names.
    #[serde(deserialize_with = "or_default")]
    pub repo_tags: Vec<String>,
    /// Bytes of all layers.
    pub size: u64,
    /// Bytes it shares with others.
    pub shared_size: i64,
    /// Diff ids, base first.
    #[serde(deserialize_with = "or_default")]
    pub layers: Vec<String>,
    /// Newest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<Step>,
}

impl Image {
    /// Its first name, or its id.
    pub fn name(&self) -> &str {
        self.repo_tags
            .first()
            .map_or(short(&self.id), String::as_str)
    }
}

/// A row of `docker history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Step {
    /// The instruction.
    pub created_by: String,
    /// Bytes.
    pub size: u64,
    /// A remark.
    pub comment: String,
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// It leads nowhere else.
    pub internal: bool,
    /// Its ranges.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// By container's id.
    #[serde(deserialize_with = "or_default")]
    pub containers: BTreeMap<String, Attached>,
    /// Driver options.
    #[serde(deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
}

impl Network {
    /// The link of the host, as `ip link` has it; `None` for networks without a bridge.
    pub fn bridge(&self) -> Option<String> {
        if self.driver != "bridge" {
            return None;
        }
        let named = self.options.get("com.docker.network.bridge.name");
        let own = || format!("br-{}", short(&self.id));
        Some(named.cloned().unwrap_or_else(own))
    }
}

/// Where a network's addresses come from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ipam {
    /// Ranges.
    #[serde(deserialize_with = "or_default")]
    pub config: Vec<Range>,
}

/// A range of addresses.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Range {
    /// `172.18.0.0/16`.
    pub subnet: String,
    /// The bridge's address.
    pub gateway: String,
}

/// A container on a network.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Attached {
    /// The container.
    pub name: String,
    /// With its prefix.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// Its hardware address.
    pub mac_address: String,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `local`.
    pub driver: String,
    /// Where it is on the host.
    pub mountpoint: String,
    /// How large it is.
    #[serde(deserialize_with = "or_default")]
    pub usage_data: Usage,
}

/// Disk use of a volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Usage {
    /// Bytes; -1 is not known.
    pub size: i64,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Event {
    /// `container`, `image`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// `start`, `die`, …
    pub action: String,
    /// Whom it happened to.
    pub actor: Actor,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: u64,
}

/// Whom an event happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Actor {
    /// Id or name.
    #[serde(rename = "ID")]
    pub id: String,
    /// More.
    #[serde(deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// The name of whom it happened to, or the id.
    pub fn subject(&self) -> &str {
        let name = self.actor.attributes.get("name").map(String::as_str);
        name.unwrap_or_else(|| short(&self.actor.id))
    }

    /// What else is told: `exitCode=137 image=nginx`. Labels of images are not.
    pub fn attributes(&self) -> String {
        const TOLD: [&str; 12] = [
            "container",
            "destination",
            "driver",
            "execID",
            "exitCode",
            "image",
            "newName",
            "oldName",
            "reclaimed",
            "signal",
            "type",
            "comment",
        ];
        let all = self.actor.attributes.iter();
        let told = all.filter(|(name, _)| TOLD.contains(&name.as_str()));
        let words = told.map(|(name, value)| match name.as_str() {
            "container" | "execID" => format!("{name}={}", short(value)),
            _ => format!("{name}={value}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}
