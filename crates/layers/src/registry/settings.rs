//! What the daemon is told about registries in `/etc/docker/daemon.json`.

use std::net::{IpAddr, Ipv4Addr};

use oci::DEFAULT_DOMAIN;
use serde::Deserialize;

/// Where the daemon's configuration is.
pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// See the module's comment.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `HOST[:PORT]` or networks that may be spoken to without TLS.
    #[serde(rename = "insecure-registries")]
    pub insecure: Vec<String>,
    /// URLs that are asked before Docker Hub.
    #[serde(rename = "registry-mirrors")]
    pub mirrors: Vec<String>,
    /// Why the file could not be used.
    #[serde(skip)]
    pub problem: Option<String>,
}

impl Settings {
    /// Reads the file's text. What cannot be used leaves everything as if there were no file.
    #[must_use]
    pub fn parse(text: &[u8]) -> Settings {
        let refused = |why: String| Settings {
            problem: Some(format!(
                "unable to configure the Docker daemon with file {DAEMON_JSON}: {why}"
            )),
            ..Settings::default()
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Settings::default();
        }
        let mut settings: Settings = match serde_json::from_slice(text) {
            Ok(settings) => settings,
            Err(error) => return refused(error.to_string()),
        };
        let named = settings.insecure.iter();
        if let Some(url) = named.into_iter().find(|name| name.contains("://")) {
            return refused(format!("insecure registry {url} should not contain '://'"));
        }
        for mirror in &mut settings.mirrors {
            let valid = mirror
                .strip_prefix("http://")
                .or_else(|| mirror.strip_prefix("https://"))
                .is_some_and(|rest| !rest.is_empty() && !rest.trim_end_matches('/').contains('/'));
            if !valid {
                return refused(format!(
                    "invalid mirror: \"{mirror}\" is not a URL of a registry"
                ));
            }
            *mirror = mirror.trim_end_matches('/').to_string() + "/";
        }
        settings
    }

    /// Networks that need no TLS, the computer itself first.
    #[must_use]
    pub fn insecure_networks(&self) -> Vec<String> {
        let mut networks = vec!["127.0.0.0/8".to_string()];
        let given = self.insecure.iter();
        networks.extend(given.filter(|name| network(name).is_some()).cloned());
        networks
    }

    /// Registries that need no TLS, by name.
    pub fn insecure_names(&self) -> impl Iterator<Item = &String> {
        self.insecure
            .iter()
            .filter(|name| network(name).is_none() && *name != DEFAULT_DOMAIN)
    }

    /// Whether a registry (`HOST[:PORT]`) at these addresses may be spoken to without TLS.
    #[must_use]
    pub fn allows_plain(&self, domain: &str, addresses: &[IpAddr]) -> bool {
        if domain == DEFAULT_DOMAIN {
            return false;
        }
        if self.insecure_names().any(|name| name == domain) {
            return true;
        }
        let networks: Vec<_> = self.insecure_networks();
        let networks: Vec<_> = networks.iter().filter_map(|name| network(name)).collect();
        addresses.iter().any(|address| match address {
            IpAddr::V4(address) => networks
                .iter()
                .any(|(base, mask)| u32::from(*address) & mask == u32::from(*base) & mask),
            IpAddr::V6(address) => address.is_loopback(),
        })
    }
}

/// `10.0.0.0/8` as address and mask.
fn network(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (base, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Some((base.parse().ok()?, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_no_tls() {
        let settings = Settings::parse(
            br#"{"insecure-registries": ["192.168.0.13:5000", "10.0.0.0/8", "node1:5000"], "log-level": "debug"}"#,
        );
        assert_eq!(settings.problem, None);
        let cases = [
            ("localhost:5000", "127.0.0.1", true),
            ("localhost:5000", "::1", true),
            ("127.0.0.2", "127.0.0.2", true),
            ("192.168.0.13:5000", "192.168.0.13", true),
            ("192.168.0.13:5001", "192.168.0.13", false),
            ("192.168.0.13", "192.168.0.13", false),
            ("node1:5000", "192.168.0.13", true),
            ("mine:1", "10.255.0.1", true),
            ("mine:1", "11.0.0.1", false),
            ("docker.io", "127.0.0.1", false),
        ];
        for (domain, address, expected) in cases {
            let address = address.parse().unwrap();
            assert_eq!(
                settings.allows_plain(domain, &[address]),
                expected,
                "{domain} {address}"
            );
        }
        assert_eq!(settings.insecure_networks(), ["127.0.0.0/8", "10.0.0.0/8"]);
    }

    #[test]
    fn files_that_cannot_be_used() {
        for (text, why) in [
            ("{", "EOF"),
            (r#"{"insecure-registries": "a"}"#, "invalid type"),
            (
                r#"{"insecure-registries": ["http://a:1"]}"#,
                "should not contain",
            ),
            (r#"{"registry-mirrors": ["a:1"]}"#, "invalid mirror"),
        ] {
            let settings = Settings::parse(text.as_bytes());
            let problem = settings.problem.clone().unwrap_or_default();
            assert!(problem.contains(why), "{text}: {problem}");
            assert!(settings.insecure.is_empty() && settings.mirrors.is_empty());
        }
        assert_eq!(Settings::parse(b" \n"), Settings::default());
    }
}
