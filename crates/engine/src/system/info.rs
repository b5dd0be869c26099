//! `GET /info`.

use engine_api::error::Result;
use engine_api::{Version, json, timestamp};
use os::{OsExt, View};
use serde_json::{Value, json};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

/// The value of `NAME=value` in `os-release(5)`.
fn os_release(text: &str, name: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim().trim_matches('"').to_string())
        .unwrap_or_default()
}

impl Engine {
    /// The operation.
    pub(crate) async fn system_info(&self, context: Context) -> Result<Response> {
        let containers = self.all_containers();
        let count = |status: &str| {
            containers
                .iter()
                .filter(|container| container.status() == status)
                .count()
        };
        let (running, paused) = (count("running") + count("restarting"), count("paused"));
        let release = self
            .os
            .read_file(View::Host, b"/etc/os-release")
            .await
            .unwrap_or_default();
        let release = String::from_utf8_lossy(&release).into_owned();
        let settings = self.registry.settings().await;
        let mut indexes = json!({
            "docker.io": { "Name": "docker.io", "Mirrors": settings.mirrors, "Secure": true, "Official": true },
        });
        for name in settings.insecure_names() {
            indexes[name] =
                json!({ "Name": name, "Mirrors": [], "Secure": false, "Official": false });
        }
        let own = self.settings.borrow().clone();
        let mut answer = json!({
            "ID": self.id,
            "Containers": containers.len(),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": containers.len() - running - paused,
            "Images": self.store.images().len(),
            "Driver": "overlay2",
            "DriverStatus": [
                ["Backing Filesystem", "tmpfs"],
                ["Supports d_type", "true"],
                ["Using metacopy", "false"],
                ["Native Overlay Diff", "true"],
                ["userxattr", "false"],
            ],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": null,
                "Log": crate::logs::DRIVERS,
            },
            "MemoryLimit": true,
            "SwapLimit": true,
            "CpuCfsPeriod": true,
            "CpuCfsQuota": true,
            "CPUShares": true,
            "CPUSet": true,
            "PidsLimit": true,
            "IPv4Forwarding": true,
            "Debug": own.debug,
            "NFd": 0,
            "OomKillDisable": false,
            "NGoroutines": 0,
            "SystemTime": timestamp::format(self.now()),
            "LoggingDriver": match own.log_driver.as_str() {
                "" => "json-file",
                driver => driver,
            },
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": "2",
            "NEventsListener": 0,
            "KernelVersion": self.kernel_version(),
            "OperatingSystem": os_release(&release, "PRETTY_NAME"),
            "OSVersion": os_release(&release, "VERSION_ID"),
            "OSType": "linux",
            "Architecture": "riscv64",
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "InsecureRegistryCIDRs": settings.insecure_networks(),
                "IndexConfigs": indexes,
                "Mirrors": settings.mirrors,
            },
            "NCPU": self.cpu_count(),
            "MemTotal": self.memory_total(),
            "GenericResources": null,
            "DockerRootDir": self.config.root,
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Name": self.hostname(),
            "Labels": own.labels,
            "ExperimentalBuild": own.experimental,
            "ServerVersion": self.config.version,
            "Runtimes": { "io.containerd.runc.v2": { "path": "runc" }, "runc": { "path": "runc" } },
            "DefaultRuntime": "runc",
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": false,
                "Error": "",
                "RemoteManagers": null,
            },
            "LiveRestoreEnabled": own.live_restore,
            "Isolation": "",
            "InitBinary": "docker-init",
            "ContainerdCommit": { "ID": "" },
            "RuncCommit": { "ID": "" },
            "InitCommit": { "ID": "" },
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
            "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
            "Warnings": settings.problem.iter().map(|why| format!("WARNING: {why}")).chain(own.warnings())
                .collect::<Vec<_>>(),
        });
        self.of_version(&mut answer, context.version);
        Ok(json::emit(200, &answer))
    }

    /// What the document has in some versions of the API only.
    fn of_version(&self, answer: &mut Value, version: Version) {
        if version < Version(1, 25) {
            answer["SecurityOptions"] = json!(["seccomp"]);
        }
        if version < Version(1, 47) {
            for name in ["CIDRs", "Hostnames"] {
                let name = format!("AllowNondistributableArtifacts{name}");
                answer["RegistryConfig"][name] = Value::Null;
            }
        }
        if version >= Version(1, 49) {
            answer["FirewallBackend"] = json!({ "Driver": "iptables" });
        }
        if version < Version(1, 50) {
            answer["BridgeNfIptables"] = json!(false);
            answer["BridgeNfIp6tables"] = json!(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::os_release;

    #[test]
    fn release_names() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=13\n";
        assert_eq!(os_release(text, "PRETTY_NAME"), "Debian GNU/Linux 13");
        assert_eq!(os_release(text, "VERSION_ID"), "13");
        assert_eq!(os_release(text, "NAME"), "");
    }
}
