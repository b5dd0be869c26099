//! Asks the Engine API for what a view shows, and tells what is new.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine::Engine;
use os::Os;
use serde_json::{Value, json};
use serve::{Body, Service};

use super::{Document, Look, Part, View, changes};

/// Bytes of an answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Lines of a log that are shown.
const LOG_LINES: usize = 40;
/// Bytes of a log that are shown.
const LOG_BYTES_MAX: usize = 32 * 1024;

/// Containers whose load is looked at every second; of twice as many it is every two seconds.
const STATS_PER_TICK: usize = 32;
/// Containers that are asked about without a pause.
const TOGETHER: usize = 4;
/// Nanoseconds of such a pause.
const PAUSE_NS: u64 = 1_000_000;

/// See the module's comment.
pub(super) struct Collector {
    machine: String,
    engine: Rc<Engine>,
    os: Rc<dyn Os>,
    told: Rc<RefCell<Vec<Document>>>,
    /// What was told last.
    last: BTreeMap<Part, String>,
    /// What is to be asked again.
    stale: BTreeSet<Part>,
    /// By id of a container: parts of its `inspect`.
    inspected: BTreeMap<String, Value>,
    /// By id of an image: its layers and history, which never change.
    images: BTreeMap<String, Value>,
    running: Vec<String>,
    /// Ticks since their load was looked at.
    rested: usize,
    /// By id of a container: its time and the machine's at the last look.
    cpu: BTreeMap<String, (u64, u64)>,
    /// Of the container in detail: how much time it had had, and ticks until it is looked at again.
    detailed: (u64, u64),
}

impl Collector {
    pub(super) fn new(
        machine: String,
        engine: Rc<Engine>,
        os: Rc<dyn Os>,
        told: Rc<RefCell<Vec<Document>>>,
    ) -> Collector {
        Collector {
            machine,
            engine,
            os,
            told,
            last: BTreeMap::new(),
            stale: BTreeSet::new(),
            inspected: BTreeMap::new(),
            images: BTreeMap::new(),
            running: Vec::new(),
            rested: 0,
            cpu: BTreeMap::new(),
            detailed: (0, 0),
        }
    }

    /// Notes what events say has changed, and tells them.
    pub(super) fn heard(&mut self, events: Vec<Value>) {
        if events.is_empty() {
            return;
        }
        for event in &events {
            let id = text(&event["Actor"]["ID"]);
            match text(&event["Type"]) {
                "container" => {
                    self.inspected.remove(id);
                    self.stale.extend([Part::Containers, Part::Details]);
                    if text(&event["Action"]) == "commit" {
                        self.stale.insert(Part::Images);
                    }
                }
                "network" => {
                    let container = text(&event["Actor"]["Attributes"]["container"]);
                    self.inspected.remove(container);
                    let parts = [Part::Containers, Part::Details, Part::Networks];
                    self.stale.extend(parts);
                }
                "volume" => {
                    self.stale.insert(Part::Volumes);
                }
                // Images, builds.
                _ => {
                    self.stale.insert(Part::Images);
                }
            }
        }
        self.tell(Part::Events, &Value::Array(events));
    }

    /// Somebody looks at something else: all of it is asked.
    pub(super) fn stale_all(&mut self) {
        self.stale.extend([
            Part::Containers,
            Part::Details,
            Part::Images,
            Part::Networks,
            Part::Volumes,
        ]);
    }

    /// Texts such as `Up 3 minutes` are older than they were, and files in volumes may be others.
    pub(super) fn aged(&mut self) {
        self.stale.extend([Part::Containers, Part::Volumes]);
    }

    /// Asks what is stale of what is looked at.
    pub(super) async fn collect(&mut self, look: &Look, ticked: bool) {
        // Who uses what is in the rows of containers, so every view has them.
        if self.stale.remove(&Part::Containers) {
            self.containers().await;
        }
        let part = match look.view {
            View::Images => Some(Part::Images),
            View::Networks => Some(Part::Networks),
            View::Volumes => Some(Part::Volumes),
            View::Containers | View::Events => None,
        };
        if let Some(part) = part.filter(|part| self.stale.remove(part)) {
            match part {
                Part::Images => self.images().await,
                Part::Networks => self.networks().await,
                _ => self.volumes().await,
            }
        }
        if look.view != View::Containers {
            return;
        }
        if ticked {
            self.stats().await;
        }
        if let Some(id) = &look.container {
            let stale = self.stale.remove(&Part::Details);
            if stale || (ticked && self.may_have_changed(id)) {
                self.details(id).await;
            }
        }
    }

    /// A document's text, unless it is what was told last.
    fn tell(&mut self, part: Part, value: &Value) {
        let text = value.to_string();
        if self.last.get(&part) == Some(&text) {
            return;
        }
        if part != Part::Events {
            self.last.insert(part, text.clone());
        }
        self.told.borrow_mut().push(Document {
            machine: self.machine.clone(),
            part,
            text,
        });
    }

    async fn ask(&self, path: &str) -> Option<Vec<u8>> {
        let request = http::Request::get(path).body(Body::empty()).ok()?;
        let response = self.engine.call(request).await;
        if !response.status().is_success() {
            return None;
        }
        response.into_body().collect(ANSWER_BYTES_MAX).await.ok()
    }

    async fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.ask(path).await?).ok()
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        match self.get(path).await {
            Some(Value::Array(rows)) => rows,
            _ => Vec::new(),
        }
    }

    async fn containers(&mut self) {
        let mut rows = self.list("/containers/json?all=1").await;
        let mut inspected = BTreeMap::new();
        self.running.clear();
        let mut asked = 0;
        for row in &mut rows {
            let id = text(&row["Id"]).to_string();
            let known = match self.inspected.remove(&id) {
                Some(known) => known,
                None => {
                    asked += 1;
                    if asked % TOGETHER == 0 {
                        self.os.clock().sleep(PAUSE_NS).await;
                    }
                    let whole = self.get(&format!("/containers/{id}/json")).await;
                    // It may be gone since the list was made.
                    whole.map_or(Value::Null, brief)
                }
            };
            if text(&row["State"]) == "running" {
                self.running.push(id.clone());
            }
            row["Inspect"] = known.clone();
            inspected.insert(id, known);
        }
        self.cpu.retain(|id, _| inspected.contains_key(id));
        self.inspected = inspected;
        self.tell(Part::Containers, &Value::Array(rows));
    }

    async fn stats(&mut self) {
        // Many are looked at less often, and a few at a time: terminals go first.
        self.rested += 1;
        if self.rested <= self.running.len() / STATS_PER_TICK {
            return;
        }
        self.rested = 0;
        let mut rows = Vec::new();
        for (number, id) in self.running.clone().into_iter().enumerate() {
            if number % TOGETHER == TOGETHER - 1 {
                self.os.clock().sleep(PAUSE_NS).await;
            }
            let path = format!("/containers/{id}/stats?stream=0&one-shot=1");
            let Some(stats) = self.get(&path).await else {
                continue;
            };
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            let cpu = &stats["cpu_stats"];
            let now = (
                number(&cpu["cpu_usage"]["total_usage"]),
                number(&cpu["system_cpu_usage"]),
            );
            let before = self.cpu.insert(id.clone(), now).unwrap_or(now);
            let used = now.0.saturating_sub(before.0);
            let passed = now.1.saturating_sub(before.1).max(1);
            let share = used.saturating_mul(10_000 * number(&cpu["online_cpus"])) / passed;
            let memory = &stats["memory_stats"];
            // As `docker stats` counts it: what can be dropped at once is not in use.
            let cached = number(&memory["stats"]["inactive_file"]);
            rows.push(json!({
                "Id": id,
                "Cpu": share,
                "Memory": number(&memory["usage"]).saturating_sub(cached),
                "Limit": number(&memory["limit"]),
                "Pids": number(&stats["pids_stats"]["current"]),
            }));
        }
        self.tell(Part::Stats, &Value::Array(rows));
    }

    async fn images(&mut self) {
        let mut rows = self.list("/images/json?shared-size=1").await;
        let mut known = BTreeMap::new();
        for row in &mut rows {
            let id = text(&row["Id"]).to_string();
            let more = self.layers(&id).await;
            row["Layers"] = more["Layers"].clone();
            row["History"] = more["History"].clone();
            known.insert(id, more);
        }
        self.images = known;
        self.tell(Part::Images, &Value::Array(rows));
    }

    /// An image's layers and history.
    async fn layers(&mut self, id: &str) -> Value {
        if let Some(known) = self.images.get(id) {
            return known.clone();
        }
        let inspect = self.get(&format!("/images/{id}/json")).await;
        let history = self.get(&format!("/images/{id}/history")).await;
        let layers = inspect.map(|mut it| it["RootFS"]["Layers"].take());
        let known = json!({ "Layers": layers, "History": history });
        self.images.insert(id.to_string(), known.clone());
        known
    }

    async fn networks(&mut self) {
        let mut rows = Vec::new();
        for row in self.list("/networks").await {
            let whole = self.get(&format!("/networks/{}", text(&row["Id"]))).await;
            rows.extend(whole);
        }
        self.tell(Part::Networks, &Value::Array(rows));
    }

    async fn volumes(&mut self) {
        let answer = self.get("/system/df?type=volume").await;
        let volumes = answer.map(|mut answer| answer["Volumes"].take());
        if let Some(volumes) = volumes.filter(Value::is_array) {
            self.tell(Part::Volumes, &volumes);
        }
    }

    /// A container that has computed since the last look may have changed files and written lines. The more
    /// there is to look at, the rarer it is looked at.
    fn may_have_changed(&mut self, id: &str) -> bool {
        self.detailed.1 = self.detailed.1.saturating_sub(1);
        let used = self.cpu.get(id).map_or(0, |cpu| cpu.0);
        self.detailed.1 == 0 && used != self.detailed.0
    }

    async fn details(&mut self, id: &str) {
        let inspect = self.get(&format!("/containers/{id}/json")).await;
        let Some(mut inspect) = inspect else {
            return self.tell(Part::Details, &Value::Null);
        };
        let rows = self.list(&format!("/containers/{id}/changes")).await;
        let used = self.cpu.get(id).map_or(0, |cpu| cpu.0);
        self.detailed = (used, 2 + rows.len() as u64 / 250);
        let all = rows.len();
        let rows = changes::describe(&*self.os, &inspect["GraphDriver"]["Data"], rows);
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1&tail={LOG_LINES}");
        let log = self.ask(&path).await.unwrap_or_default();
        let tty = inspect["Config"]["Tty"] == Value::Bool(true);
        let log = if tty { log } else { without_frames(&log) };
        let log = &log[log.len().saturating_sub(LOG_BYTES_MAX)..];
        let networks = inspect["NetworkSettings"]["Networks"].take();
        let image = self.layers(text(&inspect["Image"])).await;
        let mut shown = pick(&mut inspect, &DETAILS);
        shown["Networks"] = networks;
        let document = json!({
            "Inspect": shown,
            "Changes": rows,
            "ChangesInAll": all,
            "Layers": image["Layers"],
            "History": image["History"],
            "Logs": String::from_utf8_lossy(log),
        });
        self.tell(Part::Details, &document);
    }
}

/// Members of a container's `inspect` that are shown in detail.
const DETAILS: [&str; 11] = [
    "Id",
    "Name",
    "Created",
    "Path",
    "Args",
    "State",
    "Image",
    "RestartCount",
    "HostConfig",
    "Mounts",
    "Config",
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The named members of an object.
fn pick(from: &mut Value, names: &[&str]) -> Value {
    let taken = names
        .iter()
        .filter_map(|&name| Some((name.to_string(), from.get_mut(name)?.take())));
    Value::Object(taken.collect())
}

/// What a row shows of a container's `inspect`.
fn brief(mut whole: Value) -> Value {
    let health = whole["State"]["Health"]["Status"].take();
    let mut state = pick(
        &mut whole["State"],
        &["ExitCode", "OOMKilled", "Error", "StartedAt", "FinishedAt"],
    );
    state["Health"] = health;
    let limits = pick(
        &mut whole["HostConfig"],
        &[
            "Memory",
            "NanoCpus",
            "CpuQuota",
            "CpuPeriod",
            "PidsLimit",
            "RestartPolicy",
        ],
    );
    json!({
        "RestartCount": whole["RestartCount"],
        "State": state,
        "HostConfig": limits,
        "Networks": whole["NetworkSettings"]["Networks"].take(),
    })
}

/// The output in a log that has standard output and error apart (eight bytes before each piece).
fn without_frames(log: &[u8]) -> Vec<u8> {
    let (mut rest, mut plain) = (log, Vec::new());
    while let Some((head, more)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (piece, after) = more.split_at(length.min(more.len()));
        plain.extend_from_slice(piece);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_its_frames() {
        let log = b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n\x01\0\0\0\0\0\0\x09cut";
        assert_eq!(without_frames(log), b"one\ntwo\ncut");
        assert_eq!(without_frames(b""), b"");
    }

    #[test]
    fn a_row_has_little_of_an_inspect() {
        let whole = json!({
            "Id": "ab", "RestartCount": 3, "Config": { "Env": ["A=b"] },
            "State": { "ExitCode": 1, "Health": { "Status": "healthy", "Log": [1, 2] } },
            "HostConfig": { "Memory": 5, "Binds": [] },
            "NetworkSettings": { "Networks": { "web": { "IPAddress": "172.18.0.2" } } },
        });
        let expected = json!({
            "RestartCount": 3,
            "State": { "ExitCode": 1, "Health": "healthy" },
            "HostConfig": { "Memory": 5 },
            "Networks": { "web": { "IPAddress": "172.18.0.2" } },
        });
        assert_eq!(brief(whole), expected);
    }
}
