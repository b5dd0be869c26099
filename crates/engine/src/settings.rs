//! `/etc/docker/daemon.json` and dockerd's options: what of them the daemon follows. What the file says of
//! registries is read by the layers' client at each use.

use std::collections::BTreeMap;

use engine_api::json;
use engine_api::types::Ulimit;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::network::settings::{FOLLOWED as NETWORK, NetworkSettings};

/// What dockerd has an option for. Those not in [`Settings`] and not of registries have no effect here.
const KNOWN: &str = "allow-nondistributable-artifacts api-cors-header authorization-plugins bip bridge builder \
    cdi-spec-dirs cgroup-parent config-file containerd containerd-namespace containerd-plugins-namespace \
    cpu-rt-period cpu-rt-runtime cri-containerd data-root debug default-address-pools default-cgroupns-mode \
    default-gateway default-gateway-v6 default-ipc-mode default-network-opts default-runtime default-shm-size \
    default-ulimits dns dns-opts dns-search exec-opts exec-root experimental features fixed-cidr fixed-cidr-v6 \
    group host-gateway-ip hosts http-proxy https-proxy icc init init-path insecure-registries ip ip-forward \
    ip-masq ip6tables iptables ipv6 labels live-restore log-driver log-format log-level log-opts \
    max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu \
    network-control-plane-mtu no-new-privileges no-proxy node-generic-resources oom-score-adjust pidfile proxies \
    raw-logs registry-mirrors runtimes seccomp-profile selinux-enabled shutdown-timeout storage-driver \
    storage-opts swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy \
    userland-proxy-path userns-remap";

/// What has an effect, of what [`Settings`] does not have.
const FOLLOWED: &str = "insecure-registries pidfile registry-mirrors";

/// What is checked and has no effect, of what [`Settings`] has.
const CHECKED: &str = "features log-format log-level max-concurrent-downloads max-concurrent-uploads \
    max-download-attempts shutdown-timeout";

/// What a daemon that runs takes from a file that is read again; the rest waits for the next start.
const RELOADED: [&str; 3] = ["debug", "labels", "live-restore"];

/// See the module's comment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// Shown by `docker info`.
    pub debug: bool,
    /// Whether checkpoints are tried.
    pub experimental: bool,
    /// Containers go on while the daemon is away.
    pub live_restore: bool,
    /// Containers may not gain privileges, unless they say otherwise.
    pub no_new_privileges: bool,
    /// Shown by `docker info`.
    pub labels: Vec<String>,
    /// The driver of containers that name none.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// What is logged by the daemon: checked only.
    log_level: String,
    log_format: String,
    /// Where the daemon listens.
    pub hosts: Vec<String>,
    /// Limits of containers that do not say others.
    pub default_ulimits: BTreeMap<String, Ulimit>,
    default_shm_size: String,
    default_runtime: String,
    default_cgroupns_mode: String,
    default_ipc_mode: String,
    exec_opts: Vec<String>,
    storage_driver: String,
    userns_remap: String,
    data_root: String,
    max_concurrent_downloads: i64,
    max_concurrent_uploads: i64,
    max_download_attempts: i64,
    shutdown_timeout: i64,
    features: BTreeMap<String, bool>,
    /// TLS was thought of, if only to do without it.
    tls: Option<bool>,
    tlsverify: Option<bool>,
    /// Keys that are known and have no effect.
    #[serde(skip)]
    pub ignored: Vec<String>,
    /// What it says of networks.
    #[serde(skip)]
    pub network: NetworkSettings,
    /// Keys that are said.
    #[serde(skip)]
    said: Vec<String>,
}

impl Settings {
    /// Reads the file's text and what options say; the error says why the daemon cannot be started with them.
    pub fn parse(text: &[u8], options: &Map<String, Value>) -> Result<Settings, String> {
        let mut document = match text.iter().all(u8::is_ascii_whitespace) {
            true => Value::Object(Map::new()),
            false => json::parse_value(text).map_err(|error| go_text(&error.message))?,
        };
        let Some(members) = document.as_object_mut() else {
            return Err(
                "json: cannot unmarshal array into Go value of type map[string]interface {}"
                    .to_string(),
            );
        };
        let unknown = |key: &&String| !is_in(KNOWN, key);
        let unknown: Vec<&str> = members.keys().filter(unknown).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(format!(
                "the following directives don't match any configuration option: {}",
                unknown.join(", ")
            ));
        }
        let twice: Vec<String> = options
            .iter()
            .filter_map(|(key, option)| Some((key, option, members.get(key)?)))
            .map(|(key, option, own)| {
                let (option, own) = (go_value(option), go_value(own));
                format!("{key}: (from flag: {option}, from file: {own})")
            })
            .collect();
        if !twice.is_empty() {
            return Err(format!(
                "the following directives are specified both as a flag and in the configuration file: {}",
                twice.join(", ")
            ));
        }
        members.extend(options.clone());
        let said: Vec<String> = members.keys().cloned().collect();
        let settings: Settings = json::fit(&document).map_err(|error| go_text(&error.message))?;
        let network: NetworkSettings =
            json::fit(&document).map_err(|error| go_text(&error.message))?;
        network.check()?;
        settings.check()?;
        let own = Settings::keys();
        let ignored = said.iter().filter(|key| {
            let followed = [FOLLOWED, NETWORK, own].iter().any(|list| is_in(list, key));
            !followed || is_in(CHECKED, key)
        });
        Ok(Settings {
            ignored: ignored.cloned().collect(),
            said,
            network,
            ..settings
        })
    }

    /// Names of the fields.
    fn keys() -> &'static str {
        "debug experimental live-restore no-new-privileges labels log-driver log-opts log-level log-format hosts \
         default-ulimits default-shm-size default-runtime default-cgroupns-mode default-ipc-mode exec-opts \
         storage-driver userns-remap data-root max-concurrent-downloads max-concurrent-uploads \
         max-download-attempts shutdown-timeout features tls tlsverify"
    }

    /// What is wrong in itself.
    fn check(&self) -> Result<(), String> {
        let wrong = |why: String| {
            Err(format!(
                "merged configuration validation from file and command line flags failed: {why}"
            ))
        };
        if !self.default_shm_size.is_empty() && bytes(&self.default_shm_size).is_none() {
            return Err(format!("invalid size: '{}'", self.default_shm_size));
        }
        let levels = "panic fatal error warn warning info debug trace";
        if !self.log_level.is_empty() && !is_in(levels, &self.log_level) {
            return wrong(format!("invalid logging level: {}", self.log_level));
        }
        if !self.log_format.is_empty() && !is_in("text json", &self.log_format) {
            return wrong(format!("invalid log format: {}", self.log_format));
        }
        if let Some(label) = self.labels.iter().find(|label| !label.contains('=')) {
            return wrong(format!("bad attribute format: {label}"));
        }
        for (what, count) in [
            ("downloads", self.max_concurrent_downloads),
            ("uploads", self.max_concurrent_uploads),
        ] {
            if count < 0 {
                return wrong(format!("invalid max concurrent {what}: {count}"));
            }
        }
        if self.max_download_attempts < 0 {
            let attempts = self.max_download_attempts;
            return wrong(format!("invalid max download attempts: {attempts}"));
        }
        let mode = &self.default_cgroupns_mode;
        if !mode.is_empty() && !is_in("host private", mode) {
            return wrong(format!(
                "default cgroup namespace mode ({mode}) is invalid; use \"host\" or \"private\""
            ));
        }
        let mode = &self.default_ipc_mode;
        if !mode.is_empty() && !is_in("shareable private", mode) {
            return wrong(format!(
                "default IPC mode setting ({mode}) is invalid; use \"shareable\" or \"private\""
            ));
        }
        Ok(())
    }

    /// What keeps the daemon from starting although it can be read.
    pub fn refused(&self) -> Option<String> {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        for label in &self.labels {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            if let Some(other) = labels.insert(key, value).filter(|other| *other != value) {
                return Some(format!(
                    "conflict labels for {key}={value} and {key}={other}"
                ));
            }
        }
        let failed = |why: String| Some(format!("failed to start daemon: {why}"));
        if !["", "0"].contains(&self.userns_remap.as_str()) {
            return failed("userns-remap is not in this version of Drydock".to_string());
        }
        if !["", crate::Config::default().root.as_str()].contains(&self.data_root.as_str()) {
            return failed(format!(
                "data-root {}: this version of Drydock keeps its data in /var/lib/docker, which is a disk of its own",
                self.data_root
            ));
        }
        if self.tls == Some(true) || self.tlsverify == Some(true) {
            return failed("TLS is not in this version of Drydock".to_string());
        }
        let driver = crate::container::validate::log_config(&engine_api::types::LogConfig {
            kind: match self.log_driver.as_str() {
                "" => "json-file".to_string(),
                driver => driver.to_string(),
            },
            config: self.log_opts.clone(),
        });
        // A driver that is not there is missed by the first container.
        if let Err(error) = driver
            && !self.log_opts.is_empty()
        {
            let why = error.message;
            return failed(format!(
                "failed to set log opts: failed to set log opts: {why}"
            ));
        }
        let runtime = &self.default_runtime;
        if !["", "runc", "io.containerd.runc.v2"].contains(&runtime.as_str()) {
            return failed(format!(
                "specified default runtime '{runtime}' does not exist"
            ));
        }
        for option in &self.exec_opts {
            match option.split_once('=') {
                Some(("native.cgroupdriver", "cgroupfs")) => {}
                Some(("native.cgroupdriver", driver)) => {
                    return failed(format!("native.cgroupdriver option {driver} not supported"));
                }
                _ => {}
            }
        }
        match self.storage_driver.as_str() {
            "" | "overlay2" => None,
            driver @ ("btrfs" | "zfs" | "fuse-overlayfs" | "vfs") => failed(format!(
                "error initializing graphdriver: prerequisites for driver not satisfied (wrong filesystem?): {driver}"
            )),
            driver => failed(format!(
                "error initializing graphdriver: driver not supported: {driver}"
            )),
        }
    }

    /// Takes over what a running daemon can from a file that was read again, and says so.
    pub(crate) fn reload(&mut self, read: Settings) {
        for key in RELOADED {
            if !read.said.iter().any(|said| said == key) {
                continue;
            }
            match key {
                "debug" => self.debug = read.debug,
                "labels" => self.labels.clone_from(&read.labels),
                _ => self.live_restore = read.live_restore,
            }
        }
    }

    /// Bytes of `/dev/shm` of containers that do not say.
    pub(crate) fn shm_size(&self) -> Option<i64> {
        bytes(&self.default_shm_size)
    }

    /// The cgroup namespace of containers that do not say.
    pub(crate) fn cgroupns_mode(&self) -> &str {
        match self.default_cgroupns_mode.as_str() {
            "" => "private",
            mode => mode,
        }
    }

    /// The IPC namespace of containers that do not say.
    pub(crate) fn ipc_mode(&self) -> &str {
        match self.default_ipc_mode.as_str() {
            "" => "private",
            mode => mode,
        }
    }

    /// Whether TLS is done without on purpose.
    #[must_use]
    pub fn knows_of_tls(&self) -> bool {
        self.tls.is_some() || self.tlsverify.is_some()
    }

    /// What everybody is told who asks: who can reach the daemon.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let open = self.hosts.iter().filter(|host| host.starts_with("tcp://"));
        open.map(|host| {
            let address = host.trim_start_matches("tcp://");
            format!(
                "[DEPRECATION NOTICE]: API is accessible on http://{address} without encryption.\n         Access to \
                 the remote API is equivalent to root access on the host. Refer\n         to the 'Docker daemon \
                 attack surface' section in the documentation for\n         more information: \
                 https://docs.docker.com/go/attack-surface/\nIn future versions this will be a hard failure \
                 preventing the daemon from starting! Learn more at: https://docs.docker.com/go/api-security/"
            )
        })
        .collect()
    }
}

fn is_in(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|known| known == word)
}

/// A size with a unit, as `64M`.
fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// A value as Go prints it.
fn go_value(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(go_value).collect();
            format!("[{}]", list.join(" "))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_value(value)))
                .collect();
            format!("map[{}]", members.join(" "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What Go's decoder says, without the words of the API.
fn go_text(message: &str) -> String {
    message.trim_start_matches("invalid JSON: ").replace(
        "Go struct field Settings.",
        "Go struct field Config.CommonConfig.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text.as_bytes(), &Map::new())
    }

    #[test]
    fn what_a_daemon_can_be_told() {
        let good = parse(
            r#"{"log-opts": {"max-size": "1m"}, "labels": ["a=b"], "mtu": 1400, "raw-logs": true}"#,
        );
        let good = good.unwrap_or_default();
        assert_eq!(good.labels, ["a=b"]);
        assert_eq!(good.log_opts["max-size"], "1m");
        assert_eq!(good.ignored, ["raw-logs"]);
        assert_eq!(good.network.mtu, 1400);
        assert_eq!(good.refused(), None);
        let checked =
            parse(r#"{"default-gateway": "10.0.0.1", "shutdown-timeout": 5, "debug": true}"#);
        let checked = checked.unwrap_or_default();
        assert_eq!(checked.ignored, ["default-gateway", "shutdown-timeout"]);
        assert_eq!(parse(" \n"), Ok(Settings::default()));
        let failed = "merged configuration validation from file and command line flags failed: ";
        for (text, expected) in [
            (
                r#"{"foo": 1, "debug": true}"#,
                "the following directives don't match any configuration option: foo".to_string(),
            ),
            (
                r#"{"debug": "yes"}"#,
                "json: cannot unmarshal string into Go struct field Config.CommonConfig.debug of type bool".to_string(),
            ),
            (
                r#"{"bip": "10.0.0.1"}"#,
                "invalid CIDR address: 10.0.0.1".to_string(),
            ),
            (
                r#"{"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}"#,
                "invalid pools size: 8".to_string(),
            ),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type map[string]interface {}".to_string(),
            ),
            (r#"{"labels": ["a"]}"#, format!("{failed}bad attribute format: a")),
            (
                r#"{"max-concurrent-downloads": -1}"#,
                format!("{failed}invalid max concurrent downloads: -1"),
            ),
            (r#"{"log-level": "loud"}"#, format!("{failed}invalid logging level: loud")),
            (r#"{"default-shm-size": "x"}"#, "invalid size: 'x'".to_string()),
            (r#"{"dns": ["x"]}"#, "invalid IP address: x".to_string()),
        ] {
            assert_eq!(parse(text), Err(expected));
        }
        assert!(parse(r#"{"debug": true,}"#).is_err_and(|why| why.contains("invalid character")));
    }

    #[test]
    fn what_keeps_a_daemon_from_starting() {
        for (text, expected) in [
            (r#"{"log-driver": "nosuch"}"#, None),
            (r#"{"exec-opts": ["foo=bar"]}"#, None),
            (
                r#"{"labels": ["a=b", "a=c"]}"#,
                Some("conflict labels for a=c and a=b"),
            ),
            (
                r#"{"log-opts": {"nosuch": "1"}}"#,
                Some(
                    "failed to start daemon: failed to set log opts: failed to set log opts: unknown log opt 'nosuch' for json-file log driver",
                ),
            ),
            (
                r#"{"default-runtime": "nosuch"}"#,
                Some("failed to start daemon: specified default runtime 'nosuch' does not exist"),
            ),
            (
                r#"{"exec-opts": ["native.cgroupdriver=foo"]}"#,
                Some("failed to start daemon: native.cgroupdriver option foo not supported"),
            ),
            (
                r#"{"storage-driver": "zfs"}"#,
                Some(
                    "failed to start daemon: error initializing graphdriver: prerequisites for driver not satisfied (wrong filesystem?): zfs",
                ),
            ),
        ] {
            let settings = parse(text).unwrap_or_default();
            assert_eq!(settings.refused().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn options_and_a_file() {
        let mut options = Map::new();
        options.insert("debug".to_string(), Value::Bool(true));
        let parsed = Settings::parse(br#"{"labels": ["a=b"]}"#, &options).unwrap_or_default();
        assert!(parsed.debug);
        assert_eq!(
            Settings::parse(br#"{"debug": false}"#, &options),
            Err("the following directives are specified both as a flag and in the configuration file: debug: (from \
                 flag: true, from file: false)"
                .to_string())
        );
    }

    #[test]
    fn a_reload_takes_what_is_said() {
        let mut settings =
            parse(r#"{"live-restore": true, "labels": ["a=b"]}"#).unwrap_or_default();
        settings.reload(parse(r#"{"debug": true, "log-driver": "local"}"#).unwrap_or_default());
        assert!(settings.debug && settings.live_restore && settings.log_driver.is_empty());
        assert_eq!(settings.labels, ["a=b"]);
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("64M", Some(64 << 20)),
            ("1g", Some(1 << 30)),
            ("5", Some(5)),
            ("10 kb", Some(10 << 10)),
            ("x", None),
            ("1x", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
