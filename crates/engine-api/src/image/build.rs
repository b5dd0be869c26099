//! `POST /build`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::error::{ApiError, Result};
use crate::query::Query;
use crate::types::{HostConfig, Ulimit};

/// The parameters; the body is the context, unless `remote` says where it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    /// Path of the Dockerfile in the context.
    pub dockerfile: String,
    /// URL of the context, or empty.
    pub remote: String,
    /// Names of the new image.
    pub tags: Vec<String>,
    /// Only the id is told.
    pub quiet: bool,
    /// Nothing comes from the cache.
    pub no_cache: bool,
    /// Base images are pulled again.
    pub pull: bool,
    /// Intermediate containers go.
    pub remove: bool,
    /// Also after a failure.
    pub force_remove: bool,
    /// `--squash`.
    pub squash: bool,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, Option<String>>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--cache-from`.
    pub cache_from: Vec<String>,
    /// `--target`.
    pub target: String,
    /// `os/arch`, or empty.
    pub platform: String,
    /// 2: BuildKit is to build.
    pub version: String,
    /// What BuildKit's builds are known by.
    pub id: String,
    /// The session that has the context.
    pub session: String,
    /// Limits, network and so on of the containers.
    pub host: HostConfig,
}

fn document<T: DeserializeOwned + Default>(query: &Query, name: &str) -> Result<T> {
    match query.text(name) {
        "" | "null" => Ok(T::default()),
        text => serde_json::from_slice(text.as_bytes())
            .map_err(|error| ApiError::invalid(format!("error reading {name}: {error}"))),
    }
}

impl Build {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Build> {
        let number = |name: &str| query.number(name).map(Option::unwrap_or_default);
        let list = |name: &str| {
            let list: Vec<String> = query.all(name).to_vec();
            (!list.is_empty()).then_some(list)
        };
        let ulimits: Vec<Ulimit> = document(query, "ulimits")?;
        let security: Vec<String> = document(query, "securityopt")?;
        let host = HostConfig {
            memory: number("memory")?,
            memory_swap: number("memswap")?,
            cpu_shares: number("cpushares")?,
            cpu_period: number("cpuperiod")?,
            cpu_quota: number("cpuquota")?,
            cpuset_cpus: query.text("cpusetcpus").to_string(),
            cpuset_mems: query.text("cpusetmems").to_string(),
            cgroup_parent: query.text("cgroupparent").to_string(),
            network_mode: query.text("networkmode").to_string(),
            shm_size: number("shmsize")?,
            ulimits: (!ulimits.is_empty()).then_some(ulimits),
            security_opt: (!security.is_empty()).then_some(security),
            extra_hosts: list("extrahosts"),
            ..HostConfig::default()
        };
        Ok(Build {
            dockerfile: match query.text("dockerfile") {
                "" => "Dockerfile".to_string(),
                name => name.to_string(),
            },
            remote: query.text("remote").to_string(),
            tags: query.all("t").to_vec(),
            quiet: query.flag("q"),
            no_cache: query.flag("nocache"),
            pull: query.flag("pull"),
            remove: query.flag_or("rm", true),
            force_remove: query.flag("forcerm"),
            squash: query.flag("squash"),
            build_args: document(query, "buildargs")?,
            labels: document(query, "labels")?,
            cache_from: document(query, "cachefrom")?,
            target: query.text("target").to_string(),
            platform: query.text("platform").to_string(),
            version: query.text("version").to_string(),
            id: query.text("buildid").to_string(),
            session: query.text("session").to_string(),
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::parse(
            "t=a&t=b:1&q=1&rm=0&buildargs=%7B%22A%22%3A%22x%22%2C%22B%22%3Anull%7D&memory=1000&\
             labels=%7B%22l%22%3A%22v%22%7D&cachefrom=%5B%22c%22%5D&extrahosts=h%3A1.2.3.4",
        );
        let build = Build::parse(&query).expect("valid");
        assert_eq!(build.tags, ["a", "b:1"]);
        assert!(build.quiet && !build.remove && !build.no_cache);
        assert_eq!(build.build_args["A"].as_deref(), Some("x"));
        assert_eq!(build.build_args["B"], None);
        assert_eq!((build.host.memory, build.labels.len()), (1000, 1));
        assert_eq!(build.cache_from, ["c"]);
        assert_eq!(build.dockerfile, "Dockerfile");
        assert!(Build::parse(&Query::parse("buildargs=x")).is_err());
    }
}
