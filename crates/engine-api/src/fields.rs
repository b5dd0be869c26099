//! The fields of request bodies, and how much of each there is; see [`crate::routes`] for the routes.
//!
//! A test holds the table against the types that read the bodies. A field that stands in neither is one the
//! reference has and this engine passes over, as Go's decoder does with fields it does not know.

use std::fmt::Write as _;

/// The fields of one body, or of a part of one.
#[derive(Clone, Copy, Debug)]
pub struct BodyFields {
    /// Operation, and the part.
    pub body: &'static str,
    /// Fields that do all that Docker documents, with blanks between.
    pub full: &'static str,
    /// The others, and what is to be said of them.
    pub partial: &'static [(&'static str, &'static str)],
}

/// The table.
pub const BODIES: &[BodyFields] = &[
    BodyFields {
        body: "ContainerCreate: Config",
        full: "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty \
               OpenStdin StdinOnce Env Cmd Healthcheck Image Volumes WorkingDir Entrypoint \
               MacAddress OnBuild Labels StopSignal StopTimeout Shell",
        partial: &[
            ("ArgsEscaped", "for Windows; kept and shown"),
            ("NetworkDisabled", "kept and shown; use network mode `none`"),
        ],
    },
    BodyFields {
        body: "ContainerCreate: HostConfig",
        full: "Binds NetworkMode PortBindings RestartPolicy AutoRemove VolumesFrom ConsoleSize \
               CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode CgroupParent \
               Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs Tmpfs UTSMode \
               ShmSize Sysctls CpuShares Memory NanoCpus BlkioDeviceReadBps BlkioDeviceWriteBps \
               BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota Devices MemoryReservation \
               PidsLimit Ulimits Mounts MaskedPaths ReadonlyPaths Init",
        partial: &[
            (
                "ContainerIDFile",
                "kept and shown: the client writes the file",
            ),
            (
                "LogConfig",
                "`json-file`, `local` and `none`; others fail as where their service is missing",
            ),
            ("VolumeDriver", "`local`"),
            ("Annotations", "kept and shown"),
            ("Cgroup", "kept and shown"),
            (
                "SecurityOpt",
                "`no-new-privileges`, seccomp profiles; AppArmor and SELinux are not there, as on hosts without them",
            ),
            (
                "StorageOpt",
                "refused, as overlay2 without project quotas refuses it",
            ),
            (
                "UsernsMode",
                "kept and shown: containers have the user namespace of the machine",
            ),
            ("Runtime", "`runc`, by either name"),
            ("Isolation", "`default`, as on Linux"),
            (
                "BlkioWeight",
                "`io.weight`, which nobody feels: operations do not wait for each other",
            ),
            ("BlkioWeightDevice", "kept and shown"),
            (
                "CpuRealtimePeriod",
                "kept and shown, as on control groups version 2",
            ),
            (
                "CpuRealtimeRuntime",
                "kept and shown, as on control groups version 2",
            ),
            ("CpusetCpus", "the machine has processor 0"),
            ("CpusetMems", "the machine has memory node 0"),
            ("DeviceCgroupRules", "kept and shown"),
            ("DeviceRequests", "refused: there is no driver for any"),
            ("MemorySwap", "there is no swap"),
            (
                "MemorySwappiness",
                "discarded with a warning, as on control groups version 2",
            ),
            (
                "OomKillDisable",
                "discarded with a warning, as on control groups version 2",
            ),
            ("CpuCount", "for Windows; kept and shown"),
            ("CpuPercent", "for Windows; kept and shown"),
            ("IOMaximumIOps", "for Windows; kept and shown"),
            ("IOMaximumBandwidth", "for Windows; kept and shown"),
        ],
    },
    BodyFields {
        body: "HostConfig.Mounts",
        full: "Source Target ReadOnly BindOptions VolumeOptions ImageOptions TmpfsOptions",
        partial: &[("Type", "`bind`, `volume`, `image`, `tmpfs`")],
    },
    BodyFields {
        body: "HostConfig.Mounts.VolumeOptions",
        full: "NoCopy Labels DriverConfig Subpath",
        partial: &[],
    },
    BodyFields {
        body: "HostConfig.Mounts.ImageOptions",
        full: "Subpath",
        partial: &[],
    },
    BodyFields {
        body: "HostConfig.Mounts.TmpfsOptions",
        full: "SizeBytes Mode Options",
        partial: &[],
    },
    BodyFields {
        body: "ContainerCreate and NetworkConnect: EndpointSettings",
        full: "IPAMConfig Links Aliases MacAddress",
        partial: &[
            ("DriverOpts", "kept and shown"),
            ("NetworkID", "shown, not read"),
            ("EndpointID", "shown, not read"),
            ("Gateway", "shown, not read"),
            ("IPAddress", "shown, not read"),
            ("IPPrefixLen", "shown, not read"),
            ("IPv6Gateway", "shown, not read"),
            ("GlobalIPv6Address", "shown, not read"),
            ("GlobalIPv6PrefixLen", "shown, not read"),
            ("DNSNames", "shown, not read"),
        ],
    },
    BodyFields {
        body: "ContainerUpdate",
        full: "CpuShares Memory NanoCpus CpuPeriod CpuQuota CpusetCpus CpusetMems MemoryReservation \
               MemorySwap PidsLimit RestartPolicy",
        partial: &[(
            "BlkioWeight",
            "`io.weight`, which nobody feels: operations do not wait for each other",
        )],
    },
    BodyFields {
        body: "ExecCreate",
        full: "User Privileged Tty ConsoleSize AttachStdin AttachStderr AttachStdout DetachKeys Env \
               WorkingDir Cmd",
        partial: &[("Detach", "kept; `ExecStart` decides")],
    },
    BodyFields {
        body: "ExecStart",
        full: "Detach Tty ConsoleSize",
        partial: &[],
    },
    BodyFields {
        body: "NetworkCreate",
        full: "Name EnableIPv6 IPAM Internal Attachable ConfigOnly ConfigFrom Options Labels",
        partial: &[
            (
                "Driver",
                "`bridge`, `macvlan`, `ipvlan`; the kernel has no VLANs",
            ),
            ("Scope", "kept"),
            ("Ingress", "refused outside a swarm"),
        ],
    },
    BodyFields {
        body: "NetworkConnect",
        full: "Container EndpointConfig",
        partial: &[],
    },
    BodyFields {
        body: "NetworkDisconnect",
        full: "Container Force",
        partial: &[],
    },
    BodyFields {
        body: "VolumeCreate",
        full: "Name DriverOpts Labels",
        partial: &[
            ("Driver", "`local`"),
            ("ClusterVolumeSpec", "refused outside a swarm"),
        ],
    },
];

/// The second part of the coverage document.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("\n## Fields of request bodies\n");
    for body in BODIES {
        let full: Vec<String> = body
            .full
            .split(' ')
            .map(|name| format!("`{name}`"))
            .collect();
        let _ = write!(text, "\n### {}\n\nfull: {}\n", body.body, full.join(", "));
        if !body.partial.is_empty() {
            text.push_str("\n| field | support |\n|---|---|\n");
        }
        for (name, what) in body.partial {
            let _ = writeln!(text, "| `{name}` | {what} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::{Deserialize, Deserializer, Visitor, value::Error};

    use super::*;
    use crate::types::*;

    /// Takes down the fields that a type asks for.
    struct Asked<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("only the fields"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(serde::de::Error::custom("only the fields"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn fields_of<T: for<'de> Deserialize<'de>>() -> BTreeSet<&'static str> {
        let mut fields: &'static [&'static str] = &[];
        let _ = T::deserialize(Asked(&mut fields));
        fields.iter().copied().collect()
    }

    #[test]
    fn every_field_stands_in_the_table_once() {
        let types = [
            fields_of::<Config>(),
            fields_of::<HostConfig>(),
            fields_of::<MountSpec>(),
            fields_of::<VolumeOptions>(),
            fields_of::<ImageOptions>(),
            fields_of::<TmpfsOptions>(),
            fields_of::<EndpointSettings>(),
            fields_of::<UpdateBody>(),
            fields_of::<ExecConfig>(),
            fields_of::<ExecStartBody>(),
            fields_of::<NetworkCreateBody>(),
            fields_of::<NetworkConnectBody>(),
            fields_of::<NetworkDisconnectBody>(),
            fields_of::<VolumeCreateBody>(),
        ];
        assert_eq!(types.len(), BODIES.len());
        for (body, fields) in BODIES.iter().zip(types) {
            let rows = body
                .full
                .split(' ')
                .chain(body.partial.iter().map(|(name, _)| *name));
            let mut known = BTreeSet::new();
            for name in rows {
                assert!(
                    known.insert(name),
                    "{}: {name} stands there twice",
                    body.body
                );
            }
            assert_eq!(known, fields, "{}", body.body);
        }
    }
}
