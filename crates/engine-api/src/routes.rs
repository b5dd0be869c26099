//! The one route table: what the API has, since when, and how much of it Drydock does.
//!
//! Dispatch, version gates and `docs/engine-api.md` come from it.

use std::fmt::Write as _;

use crate::error::ApiError;
use crate::query::decode;
use crate::version::{OLDEST, Version};

/// How much of an operation is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// All that Docker's clients use.
    Full,
    /// All but what is said.
    Partial(&'static str),
    /// Refused with 501, as by a Docker daemon that is not in experimental mode; in that mode as by one on a host
    /// without CRIU.
    Experimental,
    /// Answered with 501.
    None,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path after the version; `{name}` is a part, `{name...}` one or more parts.
    pub pattern: &'static str,
    /// What is done.
    pub operation: Operation,
    /// The version that brought it.
    pub since: Version,
    /// How much of it is there.
    pub support: Support,
}

macro_rules! routes {
    ($($method:ident $pattern:literal $operation:ident $minor:literal $support:expr;)*) => {
        /// What a route does; also the name of its handler.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs, reason = "each is a row of the route table")]
        pub enum Operation { $($operation,)* }

        /// The table, in the order of the reference.
        pub const ROUTES: &[Route] = &[
            $(Route {
                method: stringify!($method),
                pattern: $pattern,
                operation: Operation::$operation,
                since: Version(1, $minor),
                support: $support,
            },)*
        ];
    };
}

use Support::{Experimental, Full, None as Absent, Partial};

routes! {
    GET "/containers/json" ContainerList 0 Full;
    POST "/containers/create" ContainerCreate 0 Partial("its fields are below");
    POST "/containers/prune" ContainerPrune 25 Full;
    GET "/containers/{id}/json" ContainerInspect 0 Full;
    GET "/containers/{id}/top" ContainerTop 0 Full;
    GET "/containers/{id}/logs" ContainerLogs 0 Full;
    GET "/containers/{id}/changes" ContainerChanges 0 Full;
    GET "/containers/{id}/export" ContainerExport 0 Full;
    GET "/containers/{id}/stats" ContainerStats 0 Full;
    POST "/containers/{id}/resize" ContainerResize 0 Full;
    POST "/containers/{id}/start" ContainerStart 0 Full;
    POST "/containers/{id}/stop" ContainerStop 0 Full;
    POST "/containers/{id}/restart" ContainerRestart 0 Full;
    POST "/containers/{id}/kill" ContainerKill 0 Full;
    POST "/containers/{id}/update" ContainerUpdate 0 Full;
    POST "/containers/{id}/rename" ContainerRename 0 Full;
    POST "/containers/{id}/pause" ContainerPause 0 Full;
    POST "/containers/{id}/unpause" ContainerUnpause 0 Full;
    POST "/containers/{id}/attach" ContainerAttach 0 Full;
    GET "/containers/{id}/attach/ws" ContainerAttachWebsocket 0 Full;
    POST "/containers/{id}/wait" ContainerWait 0 Full;
    DELETE "/containers/{id}" ContainerDelete 0 Full;
    HEAD "/containers/{id}/archive" ContainerArchiveInfo 20 Full;
    GET "/containers/{id}/archive" ContainerArchiveGet 20 Full;
    PUT "/containers/{id}/archive" ContainerArchivePut 20 Full;
    GET "/containers/{id}/checkpoints" CheckpointList 25 Experimental;
    POST "/containers/{id}/checkpoints" CheckpointCreate 25 Experimental;
    DELETE "/containers/{id}/checkpoints/{checkpoint}" CheckpointDelete 25 Experimental;
    POST "/containers/{id}/exec" ExecCreate 0 Full;
    POST "/exec/{id}/start" ExecStart 0 Full;
    POST "/exec/{id}/resize" ExecResize 0 Full;
    GET "/exec/{id}/json" ExecInspect 0 Full;
    GET "/images/json" ImageList 0 Full;
    POST "/images/create" ImageCreate 0 Partial("import from the body only");
    GET "/images/search" ImageSearch 0 Full;
    POST "/images/prune" ImagePrune 25 Full;
    GET "/images/get" ImageSaveMany 0 Full;
    POST "/images/load" ImageLoad 0 Full;
    GET "/images/{name...}/json" ImageInspect 0 Full;
    GET "/images/{name...}/history" ImageHistory 0 Full;
    POST "/images/{name...}/push" ImagePush 0 Full;
    POST "/images/{name...}/tag" ImageTag 0 Full;
    GET "/images/{name...}/get" ImageSave 0 Full;
    DELETE "/images/{name...}" ImageDelete 0 Full;
    POST "/commit" ImageCommit 0 Full;
    POST "/build" ImageBuild 0 Partial("no `version=2`: BuildKit's clients come by `/grpc`");
    POST "/build/prune" BuildPrune 31 Full;
    POST "/build/cancel" BuildCancel 38 Full;
    GET "/distribution/{name...}/json" DistributionInspect 30 Full;
    POST "/session" Session 31 Full;
    POST "/grpc" Grpc 0 Partial("what BuildKit's clients use for Dockerfiles");
    GET "/networks" NetworkList 0 Full;
    GET "/networks/{id}" NetworkInspect 0 Full;
    POST "/networks/create" NetworkCreate 0 Partial("drivers bridge, macvlan and ipvlan");
    POST "/networks/prune" NetworkPrune 25 Full;
    POST "/networks/{id}/connect" NetworkConnect 0 Full;
    POST "/networks/{id}/disconnect" NetworkDisconnect 0 Full;
    DELETE "/networks/{id}" NetworkDelete 0 Full;
    GET "/volumes" VolumeList 21 Full;
    POST "/volumes/create" VolumeCreate 21 Partial("local driver");
    POST "/volumes/prune" VolumePrune 25 Full;
    GET "/volumes/{name}" VolumeInspect 21 Full;
    PUT "/volumes/{name}" VolumeUpdate 42 Partial("refused, as Docker refuses it outside a swarm");
    DELETE "/volumes/{name}" VolumeDelete 21 Full;
    HEAD "/_ping" PingHead 0 Full;
    GET "/_ping" Ping 0 Full;
    GET "/version" SystemVersion 0 Full;
    GET "/info" SystemInfo 0 Full;
    GET "/events" SystemEvents 0 Full;
    GET "/system/df" SystemDiskUsage 25 Full;
    POST "/auth" Auth 0 Full;
    GET "/plugins" PluginList 25 Full;
    GET "/plugins/privileges" PluginPrivileges 25 Partial("no plugin can be had");
    GET "/plugins/{name...}/json" PluginInspect 25 Full;
    POST "/plugins/pull" PluginPull 25 Partial("no plugin can be had");
    POST "/plugins/create" PluginCreate 25 Partial("no plugin can be had");
    POST "/plugins/{name...}/enable" PluginEnable 25 Full;
    POST "/plugins/{name...}/disable" PluginDisable 25 Full;
    POST "/plugins/{name...}/push" PluginPush 25 Full;
    POST "/plugins/{name...}/upgrade" PluginUpgrade 26 Full;
    POST "/plugins/{name...}/set" PluginSet 25 Full;
    DELETE "/plugins/{name...}" PluginDelete 25 Full;
    POST "/swarm/init" SwarmInit 24 Absent;
    POST "/swarm/join" SwarmJoin 24 Absent;
    GET "/swarm" SwarmInspect 24 Full;
    POST "/swarm/leave" SwarmLeave 24 Full;
    POST "/swarm/update" SwarmUpdate 24 Full;
    GET "/swarm/unlockkey" SwarmUnlockKey 24 Full;
    POST "/swarm/unlock" SwarmUnlock 24 Full;
    GET "/nodes" NodeList 24 Full;
    GET "/nodes/{id}" NodeInspect 24 Full;
    DELETE "/nodes/{id}" NodeDelete 24 Full;
    POST "/nodes/{id}/update" NodeUpdate 24 Full;
    GET "/services" ServiceList 24 Full;
    POST "/services/create" ServiceCreate 24 Full;
    GET "/services/{id}" ServiceInspect 24 Full;
    DELETE "/services/{id}" ServiceDelete 24 Full;
    POST "/services/{id}/update" ServiceUpdate 24 Full;
    GET "/services/{id}/logs" ServiceLogs 24 Full;
    GET "/tasks" TaskList 24 Full;
    GET "/tasks/{id}" TaskInspect 24 Full;
    GET "/tasks/{id}/logs" TaskLogs 24 Full;
    GET "/secrets" SecretList 25 Full;
    POST "/secrets/create" SecretCreate 25 Full;
    GET "/secrets/{id}" SecretInspect 25 Full;
    DELETE "/secrets/{id}" SecretDelete 25 Full;
    POST "/secrets/{id}/update" SecretUpdate 25 Full;
    GET "/configs" ConfigList 30 Full;
    POST "/configs/create" ConfigCreate 30 Full;
    GET "/configs/{id}" ConfigInspect 30 Full;
    DELETE "/configs/{id}" ConfigDelete 30 Full;
    POST "/configs/{id}/update" ConfigUpdate 30 Full;
}

impl Operation {
    /// True for operations of swarm, which Docker, too, refuses on a machine that is in none.
    #[must_use]
    pub fn of_swarm(self) -> bool {
        self as usize >= Operation::SwarmInit as usize
    }
}

/// Path parameters, decoded, in the order of the pattern.
pub type Params = Vec<String>;

/// The route of a request; 404 when there is none.
pub fn find(
    method: &str,
    path: &str,
    version: Version,
) -> Result<(&'static Route, Params), ApiError> {
    ROUTES
        .iter()
        .filter(|route| route.method == method)
        .find_map(|route| matches(route.pattern, path).map(|params| (route, params)))
        .filter(|(route, _)| route.since <= version)
        .ok_or_else(|| ApiError::not_found("page not found"))
}

fn matches(pattern: &str, path: &str) -> Option<Params> {
    let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
    let path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let mut params = Vec::new();
    let mut at = 0;
    for (index, part) in pattern.iter().enumerate() {
        if part.ends_with("...}") {
            // All but what the rest of the pattern needs.
            let count = path.len().checked_sub(at + pattern.len() - index - 1)?;
            let name = path.get(at..at + count)?.join("/");
            params.push(decode(&name, false));
            at += count;
        } else {
            let given = path.get(at)?;
            match part.starts_with('{') {
                true => params.push(decode(given, false)),
                false if part == given => {}
                false => return None,
            }
            at += 1;
        }
    }
    (at == path.len() && params.iter().all(|param| !param.is_empty())).then_some(params)
}

/// The coverage document.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Docker Engine API\n\nPrinted from the route table (`crates/engine-api/src/routes.rs`) by \
         `cargo run -p engine-api --example routes > docs/engine-api.md`; a test compares. Versions \
         1.24 to 1.51.\n\n| method | path | operation | since | support |\n|---|---|---|---|---|\n",
    );
    for route in ROUTES {
        let support = match route.support {
            Full if route.operation.of_swarm() => {
                "503, as Docker answers outside a swarm".to_string()
            }
            Full => "full".to_string(),
            Partial(what) => format!("partial: {what}"),
            Experimental => {
                "501, as Docker answers without its experimental mode; with it CRIU is missed"
                    .to_string()
            }
            Absent => "501".to_string(),
        };
        let since = route.since.max(OLDEST);
        let _ = writeln!(
            text,
            "| {} | `{}` | {:?} | {since} | {support} |",
            route.method, route.pattern, route.operation
        );
    }
    text + &crate::fields::markdown()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::NEWEST;

    #[test]
    fn paths_find_their_operation() {
        let cases = [
            ("GET", "/containers/json", Operation::ContainerList, vec![]),
            (
                "GET",
                "/containers/a%2Fb/json",
                Operation::ContainerInspect,
                vec!["a/b"],
            ),
            ("GET", "/images/json", Operation::ImageList, vec![]),
            (
                "GET",
                "/images/a/b:1/json",
                Operation::ImageInspect,
                vec!["a/b:1"],
            ),
            (
                "DELETE",
                "/images/localhost:5000/a/b",
                Operation::ImageDelete,
                vec!["localhost:5000/a/b"],
            ),
            (
                "POST",
                "/images/busybox/tag",
                Operation::ImageTag,
                vec!["busybox"],
            ),
            (
                "DELETE",
                "/containers/x",
                Operation::ContainerDelete,
                vec!["x"],
            ),
            ("POST", "/networks/create", Operation::NetworkCreate, vec![]),
        ];
        for (method, path, operation, params) in cases {
            let (route, got) = find(method, path, NEWEST).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(
                (route.operation, got),
                (operation, params.iter().map(ToString::to_string).collect())
            );
        }
        for (method, path) in [
            ("GET", "/nope"),
            ("POST", "/_ping"),
            ("GET", "/containers//json"),
        ] {
            assert_eq!(
                find(method, path, NEWEST).unwrap_err().message,
                "page not found"
            );
        }
        assert!(find("GET", "/system/df", Version(1, 24)).is_err());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/engine-api.md");
        let printed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            printed == markdown(),
            "docs/engine-api.md is old: cargo run -p engine-api --example routes > docs/engine-api.md"
        );
        assert!(markdown().contains("| GET | `/containers/json` | ContainerList | 1.24 | full |"));
    }
}
