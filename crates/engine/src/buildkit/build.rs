//! One build: what its client's calls share, and the story of its steps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use buildkit::Status;
use buildkit::messages::{
    FrontendRequest, Progress, ReturnRequest, SolveRequest, Vertex, VertexStatus,
};
use clock::{Clock, Executor, NANOS_PER_SEC, WaitQueue};
use futures_util::future::{Either, select};
use std::collections::BTreeMap;

use crate::Engine;

/// How long a call waits for the build it is about.
const BUILD_WAIT: u64 = 6 * NANOS_PER_SEC;
/// Results a client's own frontend may ask for.
const RESULTS_MAX: usize = 1000;
/// What a step may write before the rest is left out, as in BuildKit.
const LOG_BYTES_MAX: usize = 2 << 20;
/// How often progress is told.
const PROGRESS_NANOS: u64 = NANOS_PER_SEC / 10;
/// How long a build that has ended can still be asked about.
const AFTER_NANOS: u64 = 3 * NANOS_PER_SEC;

/// One build.
pub(crate) struct Build {
    /// What the client asked for in `Control.Solve`.
    pub(crate) request: SolveRequest,
    clock: Clock,
    /// The time of the latest event.
    last: Cell<u64>,
    events: RefCell<Vec<Progress>>,
    ended: Cell<bool>,
    changed: WaitQueue,
    /// What the client's own frontend gave back.
    returned: RefCell<Option<ReturnRequest>>,
    /// By reference: what it asked the gateway for.
    results: RefCell<BTreeMap<String, FrontendRequest>>,
    next_step: Cell<u32>,
}

impl Build {
    /// Tells whoever follows.
    pub(crate) fn tell(&self, event: Progress) {
        self.events.borrow_mut().push(event);
        self.changed.wake_all();
    }

    /// Nanoseconds since 1970. No two events are at one time: clients show steps in the order they begin.
    fn now(&self) -> u64 {
        let now = self.clock.realtime().max(self.last.get() + 1);
        self.last.set(now);
        now
    }

    /// Announces a step that has not begun.
    pub(crate) fn step(self: &Rc<Build>, name: &str, inputs: &[&Step]) -> Step {
        let step = self.hidden_step(name, inputs);
        step.show();
        step
    }

    /// A step nobody hears of before [`Step::show`].
    pub(crate) fn hidden_step(self: &Rc<Build>, name: &str, inputs: &[&Step]) -> Step {
        let number = self.next_step.get();
        self.next_step.set(number + 1);
        let identity = format!("{}/{number}/{name}", self.request.reference);
        let vertex = Vertex {
            digest: oci::Digest::of(identity.as_bytes()).to_string(),
            inputs: inputs
                .iter()
                .map(|step| step.vertex.borrow().digest.clone())
                .collect(),
            name: name.to_string(),
            ..Vertex::default()
        };
        Step {
            build: Rc::clone(self),
            held: RefCell::new(Some(vec![Progress::Vertex(vertex.clone())])),
            vertex: RefCell::new(vertex),
            logged: Cell::new(0),
            parts: RefCell::default(),
        }
    }

    /// A result of the gateway's, of which the client has the reference.
    pub(crate) fn add_result(
        &self,
        reference: String,
        request: FrontendRequest,
    ) -> Result<(), Status> {
        let mut results = self.results.borrow_mut();
        if results.len() >= RESULTS_MAX {
            return Err(Status::unknown("too many results"));
        }
        results.insert(reference, request);
        Ok(())
    }

    /// What a reference stands for.
    pub(crate) fn result(&self, reference: &str) -> Option<FrontendRequest> {
        self.results.borrow().get(reference).cloned()
    }

    /// The client's frontend has ended.
    pub(crate) fn give_back(&self, returned: ReturnRequest) {
        *self.returned.borrow_mut() = Some(returned);
        self.changed.wake_all();
    }

    /// Waits for that.
    pub(crate) async fn returned(&self) -> ReturnRequest {
        let returned = || self.returned.borrow_mut().take();
        self.changed.wait_for(returned).await
    }

    /// Events from number `from` on, at least one; `None` after the last.
    pub(crate) async fn events(&self, from: usize) -> Option<Vec<Progress>> {
        let next = || {
            let events = self.events.borrow();
            match events.get(from..) {
                Some(new) if !new.is_empty() => Some(Some(new.to_vec())),
                _ => self.ended.get().then_some(None),
            }
        };
        self.changed.wait_for(next).await
    }
}

/// One step of a build, as the client shows it.
pub(crate) struct Step {
    build: Rc<Build>,
    vertex: RefCell<Vertex>,
    /// What is not told yet.
    held: RefCell<Option<Vec<Progress>>>,
    logged: Cell<usize>,
    parts: RefCell<BTreeMap<String, VertexStatus>>,
}

impl Step {
    fn tell(&self, event: Progress) {
        match self.held.borrow_mut().as_mut() {
            Some(held) => held.push(event),
            None => self.build.tell(event),
        }
    }

    /// Tells all that has happened, and from now on what happens.
    pub(crate) fn show(&self) {
        for event in self.held.take().into_iter().flatten() {
            self.build.tell(event);
        }
    }

    fn update(&self, change: impl FnOnce(&mut Vertex, u64)) {
        let mut vertex = self.vertex.borrow_mut();
        change(&mut vertex, self.build.now());
        self.tell(Progress::Vertex(vertex.clone()));
    }

    /// It begins.
    pub(crate) fn start(&self) {
        self.update(|vertex, now| vertex.started = Some(now));
    }

    /// It is done, or was before.
    pub(crate) fn done(&self, cached: bool) {
        self.update(|vertex, now| {
            vertex.started.get_or_insert(now);
            vertex.completed = Some(now);
            vertex.cached = cached;
        });
    }

    /// It failed.
    pub(crate) fn failed(&self, error: &str) {
        self.update(|vertex, now| {
            vertex.started.get_or_insert(now);
            vertex.completed = Some(now);
            vertex.error = error.to_string();
        });
    }

    /// Its program wrote something; `stream` is 1 or 2.
    pub(crate) fn log(&self, stream: u32, bytes: &[u8]) {
        let before = self.logged.get();
        self.logged.set(before.saturating_add(bytes.len()));
        let mut bytes = bytes.to_vec();
        if self.logged.get() > LOG_BYTES_MAX {
            if before > LOG_BYTES_MAX {
                return;
            }
            bytes.truncate(LOG_BYTES_MAX - before);
            bytes.extend_from_slice(b"[output clipped, log limit 2MiB reached]\n");
        }
        let digest = self.vertex.borrow().digest.clone();
        self.tell(Progress::Log(digest, self.build.now(), stream, bytes));
    }

    /// Something to think about.
    pub(crate) fn warn(&self, text: &str) {
        let digest = self.vertex.borrow().digest.clone();
        self.tell(Progress::Warning(digest, text.to_string()));
    }

    /// Progress of something inside it that the step does not begin itself, such as a layer that is pulled.
    pub(crate) fn progress(&self, id: &str, (current, total): (u64, u64), done: bool) {
        let now = self.build.now();
        let mut parts = self.parts.borrow_mut();
        let status = parts.entry(id.to_string()).or_insert_with(|| VertexStatus {
            id: id.to_string(),
            vertex: self.vertex.borrow().digest.clone(),
            started: Some(now),
            ..VertexStatus::default()
        });
        if !done && now < status.timestamp + PROGRESS_NANOS {
            return;
        }
        (status.current, status.total, status.timestamp) = (current, total, now);
        status.completed = done.then_some(now);
        let told = Progress::Status(status.clone());
        drop(parts);
        self.tell(told);
    }

    /// A part of it begins.
    pub(crate) fn part(&self, name: &str) -> Part<'_> {
        let now = self.build.now();
        let mut part = Part {
            step: self,
            status: VertexStatus {
                id: name.to_string(),
                vertex: self.vertex.borrow().digest.clone(),
                started: Some(now),
                ..VertexStatus::default()
            },
        };
        part.tell();
        part
    }
}

impl Drop for Step {
    /// A step that is left in the middle was given up.
    fn drop(&mut self) {
        let vertex = self.vertex.borrow();
        let left = vertex.started.is_some() && vertex.completed.is_none();
        drop(vertex);
        if left {
            self.failed("context canceled");
        }
    }
}

/// A part of a step.
pub(crate) struct Part<'a> {
    step: &'a Step,
    status: VertexStatus,
}

impl Part<'_> {
    fn tell(&mut self) {
        self.status.timestamp = self.step.build.now();
        let status = Progress::Status(self.status.clone());
        self.step.tell(status);
    }

    /// It has come so far. Not every step of the way is told.
    pub(crate) fn progress(&mut self, current: u64, total: u64) {
        self.status.current = current;
        self.status.total = total;
        if self.step.build.now() >= self.status.timestamp + PROGRESS_NANOS {
            self.tell();
        }
    }

    /// It is done.
    pub(crate) fn done(mut self) {
        self.status.completed = Some(self.step.build.now());
        self.tell();
    }
}

/// Ends a build's story when its call ends, however it ends.
pub(crate) struct Running(pub(crate) Rc<Build>, Executor);

impl Drop for Running {
    fn drop(&mut self) {
        let build = Rc::clone(&self.0);
        build.ended.set(true);
        build.changed.wake_all();
        // Who asks for the story of a short build may be late.
        self.1
            .spawn(async move { build.clock.sleep(AFTER_NANOS).await });
    }
}

impl Engine {
    /// Begins a build.
    pub(crate) fn begin_build(&self, request: SolveRequest) -> Result<Running, Status> {
        let state = &self.buildkit;
        let mut builds = state.builds.borrow_mut();
        builds.retain(|_, build| build.strong_count() > 0);
        let reference = request.reference.clone();
        if builds.contains_key(&reference) || reference.is_empty() {
            return Err(Status::unknown(format!(
                "job ID {reference:?} exists or is empty"
            )));
        }
        let build = Rc::new(Build {
            request,
            clock: self.os.clock(),
            last: Cell::new(0),
            events: RefCell::default(),
            ended: Cell::new(false),
            changed: WaitQueue::new(),
            returned: RefCell::default(),
            results: RefCell::default(),
            next_step: Cell::new(0),
        });
        builds.insert(reference, Rc::downgrade(&build));
        drop(builds);
        state.builds_changed.wake_all();
        Ok(Running(build, self.os.executor()))
    }

    /// The build with a reference; it may be about to begin.
    pub(crate) async fn wait_for_build(&self, reference: &str) -> Result<Rc<Build>, Status> {
        let state = &self.buildkit;
        let found = || state.builds.borrow().get(reference)?.upgrade();
        let found = std::pin::pin!(state.builds_changed.wait_for(found));
        let clock = self.os.clock();
        let until = clock.now().plus(BUILD_WAIT);
        match select(found, std::pin::pin!(clock.sleep_until(until))).await {
            Either::Left((build, _)) => Ok(build),
            Either::Right(_) => Err(Status::unknown(format!("no such job {reference}"))),
        }
    }
}
