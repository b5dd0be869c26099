//! Bodies that are right, and what to put into them.

use engine_api::Operation;
use serde_json::{Value, json};

/// Values of [`odd`].
pub const ODD: usize = 24;

/// Something that belongs hardly anywhere.
pub fn odd(number: usize) -> Value {
    match number {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(0),
        4 => json!(i64::MAX),
        5 => json!(i64::MIN),
        6 => json!(u64::MAX),
        7 => json!(1.5),
        8 => json!(1e300),
        9 => json!(""),
        10 => json!("\0"),
        11 => json!("../../../etc"),
        12 => json!("/"),
        13 => json!("한글 \u{202e}\u{feff}"),
        14 => json!("x".repeat(100_000)),
        15 => json!([]),
        16 => json!({}),
        17 => json!([null]),
        18 => json!([[]]),
        19 => json!({ "": "" }),
        20 => json!({ "a": { "b": 1 } }),
        21 => json!(["a", 5, "\0", "=", "A=\0"]),
        22 => json!("container:box"),
        _ => json!(vec!["x"; 3000]),
    }
}

/// No documents.
pub const BROKEN: &[&[u8]] = &[
    b"{",
    b"[",
    b"\"",
    b"nul",
    b"{}{}",
    b"{\"a\":}",
    b"\xff\xfe",
    b"\0",
    b"{\"Image\":\"\\ud800\"}",
    b"{\"Image\":\"a\",\"Image\":5}",
    b"5",
    b"null",
    b"\"text\"",
    b"1e999",
    b"-",
    b"ustar\0\0\0",
];

/// A document that the operation takes; for those that take none, one that others do.
pub fn template(operation: Operation) -> Value {
    match operation {
        Operation::ExecCreate => json!({
            "Cmd": ["true"], "AttachStdout": true, "AttachStdin": true, "Tty": false, "User": "root", "Env": ["A=b"],
            "WorkingDir": "/", "DetachKeys": "ctrl-p", "Privileged": false, "ConsoleSize": [24, 80],
        }),
        Operation::ExecStart => json!({ "Detach": false, "Tty": false, "ConsoleSize": [24, 80] }),
        Operation::ContainerUpdate => json!({
            "Memory": 20_000_000, "MemorySwap": -1, "MemoryReservation": 7_000_000, "CpuShares": 5, "NanoCpus": 100_000_000,
            "CpuPeriod": 0, "CpuQuota": 0, "CpusetCpus": "0", "PidsLimit": 50, "BlkioWeight": 0,
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
        }),
        Operation::NetworkCreate => json!({
            "Name": "net", "Driver": "bridge", "Internal": false, "EnableIPv6": false, "Attachable": true,
            "Options": { "com.docker.network.bridge.name": "br9" }, "Labels": { "a": "b" }, "ConfigOnly": false,
            "IPAM": { "Driver": "default", "Options": {}, "Config": [
                { "Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1", "IPRange": "10.77.0.128/25", "AuxiliaryAddresses": { "x": "10.77.0.9" } },
            ] },
        }),
        Operation::NetworkConnect | Operation::NetworkDisconnect => json!({
            "Container": "box", "Force": true,
            "EndpointConfig": { "Aliases": ["a"], "Links": ["idle:b"], "MacAddress": "02:42:0a:00:00:05",
                "IPAMConfig": { "IPv4Address": "10.77.0.5", "LinkLocalIPs": [] }, "DriverOpts": { "a": "b" } },
        }),
        Operation::VolumeCreate => json!({
            "Name": "vol", "Driver": "local", "DriverOpts": { "type": "tmpfs", "device": "tmpfs", "o": "size=1m" }, "Labels": { "a": "b" },
        }),
        Operation::Auth => json!({
            "username": "u", "password": "p", "email": "", "serveraddress": "localhost:5000", "identitytoken": "",
        }),
        _ => container(),
    }
}

fn container() -> Value {
    let config = json!({
        "Hostname": "h", "Domainname": "d", "User": "0:0", "AttachStdin": false, "AttachStdout": true, "AttachStderr": true,
        "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": ["A=b"], "Cmd": ["true"], "Image": "busybox",
        "Entrypoint": [], "WorkingDir": "/tmp", "Labels": { "a": "b" }, "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/v": {} },
        "StopSignal": "TERM", "StopTimeout": 1, "Shell": ["sh"], "MacAddress": "02:42:ac:11:00:09",
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 0, "Retries": 1, "StartPeriod": 0 },
        "NetworkingConfig": { "EndpointsConfig": { "bridge": { "Aliases": [], "IPAMConfig": { "IPv4Address": "" } } } },
    });
    let host = json!({
        "Binds": ["data:/d:ro", "/tmp:/t"], "NetworkMode": "default", "AutoRemove": false, "Privileged": false,
        "PortBindings": { "80/tcp": [{ "HostIp": "", "HostPort": "0" }] }, "PublishAllPorts": false,
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }, "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
        "CapAdd": ["NET_ADMIN"], "CapDrop": ["CHOWN"], "Dns": ["1.2.3.4"], "DnsOptions": ["a"], "DnsSearch": ["b"],
        "ExtraHosts": ["a:1.2.3.4"], "GroupAdd": ["5"], "IpcMode": "private", "PidMode": "", "UTSMode": "", "UsernsMode": "",
        "CgroupnsMode": "private", "Links": ["box:x"], "OomScoreAdj": 5, "ReadonlyRootfs": false, "SecurityOpt": ["no-new-privileges"],
        "StorageOpt": {}, "Tmpfs": { "/run": "size=1m" }, "ShmSize": 1_000_000, "Sysctls": { "net.ipv4.ip_forward": "1" },
        "Runtime": "runc", "Isolation": "", "CpuShares": 5, "Memory": 20_000_000, "MemorySwap": -1, "NanoCpus": 1, "CgroupParent": "",
        "BlkioWeight": 10, "BlkioDeviceReadBps": [{ "Path": "/dev/vda", "Rate": 1000 }], "CpuPeriod": 0, "CpuQuota": 0,
        "CpusetCpus": "0", "CpusetMems": "0", "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm" }],
        "DeviceCgroupRules": ["c 1:3 r"], "DeviceRequests": [], "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": 100,
        "Ulimits": [{ "Name": "nofile", "Soft": 100, "Hard": 100 }], "VolumesFrom": ["box"], "ConsoleSize": [24, 80],
        "Mounts": [
            { "Type": "volume", "Source": "data", "Target": "/m", "ReadOnly": true, "VolumeOptions": { "NoCopy": true, "Subpath": "" } },
            { "Type": "tmpfs", "Target": "/n", "TmpfsOptions": { "SizeBytes": 1000, "Mode": 493 } },
            { "Type": "bind", "Source": "/tmp", "Target": "/o", "BindOptions": { "Propagation": "rprivate" } },
        ],
        "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"], "Init": true, "Annotations": { "a": "b" },
    });
    let mut document = config;
    document["HostConfig"] = host;
    document
}
