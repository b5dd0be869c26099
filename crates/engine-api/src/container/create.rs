//! `POST /containers/create`.

use oci::Platform;

use crate::error::{ApiError, Result};
use crate::image::platform::specifier;
use crate::query::Query;
use crate::types::{CreateBody, MountSpec};
use crate::version::Version;

/// The parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// `--name`, or empty.
    pub name: String,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// The document.
    pub body: CreateBody,
}

impl Create {
    /// Puts them together.
    pub fn parse(query: &Query, version: Version, mut body: CreateBody) -> Result<Create> {
        of_version(version, &mut body)?;
        Ok(Create {
            name: {
                let name = query.text("name");
                let bare = name.strip_prefix('/').unwrap_or(name);
                if !name.is_empty() {
                    check_name("container", bare)?;
                }
                bare.to_string()
            },
            platform: specifier(query.text("platform"))?,
            body,
        })
    }
}

/// What a client of an older version cannot have meant, and what it means without saying so.
fn of_version(version: Version, body: &mut CreateBody) -> Result<()> {
    let host = &mut body.host_config;
    if version < Version(1, 40) && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_string();
    }
    if version < Version(1, 42) {
        host.console_size = [0, 0];
    }
    if version < Version(1, 43) {
        host.annotations = None;
    }
    if version < Version(1, 44) {
        if let Some(check) = &mut body.config.healthcheck {
            check.start_interval = 0;
        }
        let endpoints = &body.networking_config.endpoints_config;
        if endpoints.len() > 1 {
            let networks: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            return Err(ApiError::invalid(format!(
                "Container cannot be created with multiple network endpoints: {}",
                networks.join(", ")
            )));
        }
    }
    host.mounts
        .iter_mut()
        .flatten()
        .try_for_each(|spec| mount_of_version(version, spec))
}

fn mount_of_version(version: Version, spec: &mut MountSpec) -> Result<()> {
    let needs = |what: &str, since: &str| {
        Err(ApiError::invalid(format!(
            "{what} needs API v{since} or newer"
        )))
    };
    if let Some(serde_json::Value::Object(options)) = &mut spec.bind_options {
        let set = |name: &str| options.get(name).and_then(serde_json::Value::as_bool);
        for name in ["ReadOnlyNonRecursive", "ReadOnlyForceRecursive"] {
            if version < Version(1, 44) && set(name) == Some(true) {
                return needs(&format!("BindOptions.{name}"), "1.44");
            }
        }
        if version < Version(1, 40) {
            options.remove("NonRecursive");
        }
        if version < Version(1, 42) {
            options.remove("CreateMountpoint");
        }
    }
    let subpath = spec.volume_options.as_ref();
    if version < Version(1, 45) && subpath.is_some_and(|options| !options.subpath.is_empty()) {
        return needs("VolumeOptions.Subpath", "1.45");
    }
    match spec.kind == "image" && version < Version(1, 48) {
        true => needs("Mount type \"Image\"", "1.48"),
        false => Ok(()),
    }
}

/// Refuses what is no name of a container or volume.
pub fn check_name(kind: &str, name: &str) -> Result<()> {
    const PATTERN: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";
    let mut bytes = name.bytes();
    let valid = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() >= 2
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    match (valid, kind) {
        (true, _) => Ok(()),
        (false, "container") => Err(ApiError::invalid(format!(
            "Invalid container name ({name}), only {PATTERN} are allowed"
        ))),
        (false, _) if name.len() == 1 => Err(ApiError::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        ))),
        (false, _) => Err(ApiError::invalid(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
             \"{PATTERN}\" are allowed. If you intended to pass a host directory, use absolute path"
        ))),
    }
}
