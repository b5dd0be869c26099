//! `/etc/docker/daemon.json`: what of it the daemon follows. What it says of registries is read by the layers'
//! client at each use.

use std::collections::BTreeMap;

use engine_api::json;
use serde::Deserialize;

use crate::network::settings::{FOLLOWED as NETWORK, NetworkSettings};

/// What dockerd has an option for. Those not in [`Settings`] and not of registries have no effect here.
const KNOWN: &str = "allow-nondistributable-artifacts api-cors-header authorization-plugins bip bridge builder \
    cgroup-parent cluster-advertise cluster-store cluster-store-opts config-file containerd containerd-namespace \
    containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug \
    default-address-pools default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode \
    default-network-opts default-runtime default-shm-size default-ulimits dns dns-opts dns-search exec-opts \
    exec-root experimental features fixed-cidr fixed-cidr-v6 group host-gateway-ip hosts http-proxy https-proxy \
    icc init init-path insecure-registries ip ip-forward ip-masq ip6tables iptables ipv6 labels live-restore \
    log-driver log-format log-level log-opts max-concurrent-downloads max-concurrent-uploads \
    max-download-attempts metrics-addr mtu no-new-privileges no-proxy node-generic-resources oom-score-adjust \
    pidfile proxies raw-logs registry-mirrors runtimes seccomp-profile selinux-enabled shutdown-timeout \
    storage-driver storage-opts swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify \
    userland-proxy userland-proxy-path userns-remap";

/// What has an effect.
const FOLLOWED: &str = "debug experimental hosts insecure-registries labels log-driver log-opts pidfile \
                        registry-mirrors";

/// See the module's comment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// Shown by `docker info`.
    pub debug: bool,
    /// Shown by `docker info`.
    pub labels: Vec<String>,
    /// The driver of containers that name none.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// Where the daemon listens.
    pub hosts: Vec<String>,
    /// Keys that are known and have no effect.
    #[serde(skip)]
    pub ignored: Vec<String>,
    /// What it says of networks.
    #[serde(skip)]
    pub network: NetworkSettings,
}

impl Settings {
    /// Reads the file's text; the error says why the daemon cannot be started with it.
    pub fn parse(text: &[u8]) -> Result<Settings, String> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Settings::default());
        }
        let document = json::parse_value(text).map_err(|error| go_text(&error.message))?;
        let keys = document.as_object().map(|members| members.keys());
        let is_in = |list: &str, key: &str| list.split_whitespace().any(|known| known == key);
        let mut unknown: Vec<&str> = Vec::new();
        let mut ignored = Vec::new();
        for key in keys.into_iter().flatten() {
            match () {
                () if !is_in(KNOWN, key) => unknown.push(key),
                () if !is_in(FOLLOWED, key) && !is_in(NETWORK, key) => ignored.push(key.clone()),
                () => {}
            }
        }
        if !unknown.is_empty() {
            return Err(format!(
                "the following directives don't match any configuration option: {}",
                unknown.join(", ")
            ));
        }
        let settings: Settings = json::fit(&document).map_err(|error| go_text(&error.message))?;
        let network: NetworkSettings =
            json::fit(&document).map_err(|error| go_text(&error.message))?;
        network.check()?;
        let driver = engine_api::types::LogConfig {
            kind: settings.log_driver.clone(),
            config: settings.log_opts.clone(),
        };
        crate::container::validate::log_config(&driver).map_err(|error| error.message)?;
        Ok(Settings {
            ignored,
            network,
            ..settings
        })
    }
}

/// What Go's decoder says, without the words of the API.
fn go_text(message: &str) -> String {
    message.trim_start_matches("invalid JSON: ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_can_be_told() {
        let good = Settings::parse(
            br#"{"log-opts": {"max-size": "1m"}, "labels": ["a=b"], "mtu": 1400, "tls": false}"#,
        );
        let good = good.unwrap_or_default();
        assert_eq!(good.labels, ["a=b"]);
        assert_eq!(good.log_opts["max-size"], "1m");
        assert_eq!(good.ignored, ["tls"]);
        assert_eq!(good.network.mtu, 1400);
        assert_eq!(Settings::parse(b" \n"), Ok(Settings::default()));
        for (text, expected) in [
            (
                r#"{"foo": 1, "debug": true}"#,
                "the following directives don't match any configuration option: foo",
            ),
            (r#"{"dns": ["foo"]}"#, "invalid IP address: foo"),
            (r#"{"bip": "10.0.0.1"}"#, "invalid CIDR address: 10.0.0.1"),
            (
                r#"{"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}"#,
                "invalid pools size: 8",
            ),
            (
                r#"{"log-driver": "nosuch"}"#,
                "error looking up logging plugin nosuch: plugin \"nosuch\" not found",
            ),
        ] {
            assert_eq!(Settings::parse(text.as_bytes()), Err(expected.to_string()));
        }
        assert!(
            Settings::parse(br#"{"debug": true,}"#)
                .is_err_and(|why| why.contains("invalid character"))
        );
    }
}
