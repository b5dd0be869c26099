//! Numbers of a running container, from its cgroup.

use engine_api::timestamp;
use os::network::LinkStatistics;
use os::{OsExt, View};
use runtime::cgroup;
use serde_json::{Value, json};

use crate::Engine;
use crate::state::Container;

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Nanoseconds since 1970; 0: nothing was read.
    pub(crate) time: u64,
    pub(crate) cpu_total: u64,
    pub(crate) cpu_user: u64,
    pub(crate) cpu_kernel: u64,
    /// Nanoseconds of CPU time the machine has had in all.
    pub(crate) system_cpu: u64,
    pub(crate) online_cpus: u32,
    pub(crate) memory: u64,
    pub(crate) memory_limit: u64,
    pub(crate) memory_stat: Vec<(String, u64)>,
    pub(crate) pids: u64,
    pub(crate) pids_limit: Option<u64>,
    pub(crate) throttling: [u64; 3],
    /// Bytes read and written by device: major and minor number.
    pub(crate) io: Vec<(u64, u64, [u64; 2])>,
    /// By the links' names in the container.
    pub(crate) networks: Vec<(String, LinkStatistics)>,
}

/// Nanoseconds of all CPUs, from the first line of `/proc/stat` (in hundredths of a second).
fn system_cpu(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: u64 = line
        .split_whitespace()
        .skip(1)
        .take(7)
        .filter_map(|text| text.parse::<u64>().ok())
        .sum();
    ticks.saturating_mul(10_000_000)
}

impl Engine {
    /// Reads the numbers of a container; all zero when it does not run.
    pub(crate) fn sample(&self, container: &Container) -> Sample {
        let Ok(runtime) = container.running() else {
            return Sample::default();
        };
        let read = |file: &str| cgroup::read(&self.os, runtime.cgroup(), file);
        let number = |file: &str| read(file).trim().parse::<u64>().ok();
        let cpu = read("cpu.stat");
        let micros = |key: &str| cgroup::keyed(&cpu, key).unwrap_or(0).saturating_mul(1000);
        let stat = self
            .os
            .read_file_now(View::Host, b"/proc/stat")
            .unwrap_or_default();
        let memory_stat = read("memory.stat")
            .lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(' ')?;
                Some((name.to_string(), value.trim().parse().ok()?))
            })
            .collect();
        Sample {
            time: self.now(),
            cpu_total: micros("usage_usec"),
            cpu_user: micros("user_usec"),
            cpu_kernel: micros("system_usec"),
            system_cpu: system_cpu(&String::from_utf8_lossy(&stat)),
            online_cpus: self.cpu_count(),
            memory: number("memory.current").unwrap_or(0),
            memory_limit: number("memory.max").unwrap_or_else(|| self.memory_total()),
            memory_stat,
            pids: number("pids.current").unwrap_or(0),
            pids_limit: number("pids.max"),
            throttling: [
                cgroup::keyed(&cpu, "nr_periods").unwrap_or(0),
                cgroup::keyed(&cpu, "nr_throttled").unwrap_or(0),
                micros("throttled_usec"),
            ],
            io: io(&read("io.stat")),
            networks: self.link_statistics(container),
        }
    }

    /// What went through the links that Docker gave a container.
    fn link_statistics(&self, container: &Container) -> Vec<(String, LinkStatistics)> {
        let sandbox = container.sandbox.borrow();
        let Some(task) = sandbox.as_ref().and_then(|sandbox| sandbox.task) else {
            return Vec::new();
        };
        let endpoints = sandbox.iter().flat_map(|sandbox| &sandbox.endpoints);
        let own: Vec<&str> = endpoints
            .filter_map(|endpoint| Some(endpoint.address.as_ref()?.link.as_str()))
            .collect();
        let links = self.os.links(View::Task(task)).unwrap_or_default();
        links
            .into_iter()
            .filter(|link| own.contains(&link.name.as_str()))
            .map(|link| (link.name, link.statistics))
            .collect()
    }

    /// Bytes of memory of the machine.
    pub(crate) fn memory_total(&self) -> u64 {
        let text = self
            .os
            .read_file_now(View::Host, b"/proc/meminfo")
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kilobytes| kilobytes * 1024)
    }
}

fn cpu(sample: &Sample) -> Value {
    if sample.time == 0 {
        return json!({
            "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        });
    }
    json!({
        "cpu_usage": {
            "total_usage": sample.cpu_total,
            "usage_in_kernelmode": sample.cpu_kernel,
            "usage_in_usermode": sample.cpu_user,
        },
        "system_cpu_usage": sample.system_cpu,
        "online_cpus": sample.online_cpus,
        "throttling_data": {
            "periods": sample.throttling[0],
            "throttled_periods": sample.throttling[1],
            "throttled_time": sample.throttling[2],
        },
    })
}

/// The devices of `io.stat`: lines such as `254:0 rbytes=4096 wbytes=0 …`.
fn io(stat: &str) -> Vec<(u64, u64, [u64; 2])> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let mut bytes = [0; 2];
        for word in words {
            match word.split_once('=')? {
                ("rbytes", value) => bytes[0] = value.parse().ok()?,
                ("wbytes", value) => bytes[1] = value.parse().ok()?,
                _ => {}
            }
        }
        Some((major.parse().ok()?, minor.parse().ok()?, bytes))
    };
    stat.lines().filter_map(device).collect()
}

/// An entry for each device and direction; `null` while there was no traffic.
fn service_bytes(sample: &Sample) -> Value {
    if sample.io.is_empty() {
        return Value::Null;
    }
    let entries = sample.io.iter().flat_map(|&(major, minor, bytes)| {
        ["read", "write"].into_iter().zip(bytes).map(
            move |(op, value)| json!({ "major": major, "minor": minor, "op": op, "value": value }),
        )
    });
    Value::Array(entries.collect())
}

fn networks(sample: &Sample) -> Value {
    let entry = |(name, counts): &(String, LinkStatistics)| {
        let value = json!({
            "rx_bytes": counts.rx_bytes,
            "rx_packets": counts.rx_packets,
            "rx_errors": counts.rx_errors,
            "rx_dropped": counts.rx_dropped,
            "tx_bytes": counts.tx_bytes,
            "tx_packets": counts.tx_packets,
            "tx_errors": 0,
            "tx_dropped": counts.tx_dropped,
        });
        (name.clone(), value)
    };
    Value::Object(sample.networks.iter().map(entry).collect())
}

/// The document of one reading, `before` being the one before it.
pub(crate) fn document(container: &Container, now: &Sample, before: &Sample) -> Value {
    let time = |sample: &Sample| match sample.time {
        0 => timestamp::ZERO.to_string(),
        time => timestamp::format(time),
    };
    let (mut pids, mut memory) = (json!({}), json!({}));
    if now.time != 0 {
        let stats: serde_json::Map<String, Value> = now
            .memory_stat
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        memory = json!({ "usage": now.memory, "stats": stats, "limit": now.memory_limit });
        pids = json!({ "current": now.pids, "limit": now.pids_limit.unwrap_or(u64::MAX) });
    }
    let mut document = json!({
        "read": time(now),
        "preread": time(before),
        "pids_stats": pids,
        "blkio_stats": {
            "io_service_bytes_recursive": service_bytes(now),
            "io_serviced_recursive": null,
            "io_queue_recursive": null,
            "io_service_time_recursive": null,
            "io_wait_time_recursive": null,
            "io_merged_recursive": null,
            "io_time_recursive": null,
            "sectors_recursive": null,
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(now),
        "precpu_stats": cpu(before),
        "memory_stats": memory,
        "name": format!("/{}", container.name()),
        "id": container.id,
    });
    // Without links of its own it has no such member.
    if !now.networks.is_empty() {
        document["networks"] = networks(now);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let stat = "254:0 rbytes=4096 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=1\n\n";
        assert_eq!(io(stat), [(254, 0, [4096, 20]), (7, 1, [1, 0])]);
        assert_eq!(service_bytes(&Sample::default()), Value::Null);
    }

    #[test]
    fn machine_time() {
        assert_eq!(
            system_cpu("cpu  1 2 3 4 0 0 0 9 9 9\ncpu0 1\n"),
            100_000_000
        );
    }
}
