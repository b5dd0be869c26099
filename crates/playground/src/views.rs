//! What the page shows of a machine's Docker: documents made of the Engine API's answers.
//!
//! Somebody looks at one view of one machine at a time. A task on that machine then listens to `GET /events` and
//! asks the routes of that view again when an event says that they changed; once a second it asks for what has no
//! event (`stats`, and how long ago things were). A document is told when it differs from the last one. When
//! nobody looks there is no task.
//!
//! The documents are the API's own, as JSON, put together ([`collect`]) and without what nobody shows; of what a
//! container changed ([`changes`]) they also say what the machine's file system has below it.

mod changes;
mod collect;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use clock::{JoinHandle, WaitQueue};
use engine::Engine;
pub use panel::{Look, Part, View};
use serde_json::Value;
use serve::{Body, Service};

use crate::machine::Machine;
use collect::Collector;

/// Nanoseconds between two looks at what has no event.
const TICK_NS: u64 = 1_000_000_000;
/// Nanoseconds that events are waited for before they are answered together.
const TOGETHER_NS: u64 = 50_000_000;
/// Ticks after which lists are asked again for texts such as `Up 3 minutes`.
const AGED_TICKS: u64 = 5;

/// Something to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The machine.
    pub machine: String,
    /// What it is about.
    pub part: Part,
    /// JSON.
    pub text: String,
}

/// What is to be done, until the collector does it.
#[derive(Default)]
struct Pending {
    look: RefCell<Look>,
    look_changed: Cell<bool>,
    ticked: Cell<bool>,
    events: RefCell<Vec<Value>>,
    wait: WaitQueue,
}

struct Looking {
    pending: Rc<Pending>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Looking {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// See the module's comment.
#[derive(Default)]
pub struct Views {
    looking: BTreeMap<String, Looking>,
    told: Rc<RefCell<Vec<Document>>>,
}

impl Views {
    /// Looks at a machine, or at something else of it.
    pub(crate) fn look(&mut self, machine: &Machine, look: Look) {
        let name = &machine.config().name;
        let told = Rc::clone(&self.told);
        let looking = self
            .looking
            .entry(name.clone())
            .or_insert_with(|| begin(machine, told));
        looking.pending.look.replace(look);
        looking.pending.look_changed.set(true);
        looking.pending.wait.wake_all();
    }

    /// Nobody looks at a machine any more, or it is gone.
    pub(crate) fn end(&mut self, name: &str) {
        self.looking.remove(name);
        self.told.borrow_mut().retain(|it| it.machine != name);
    }

    /// Who looked is gone with the page it was.
    pub(crate) fn end_all(&mut self) {
        self.looking.clear();
        self.told.borrow_mut().clear();
    }

    /// What there is to show since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Document> {
        self.told.take()
    }
}

fn begin(machine: &Machine, told: Rc<RefCell<Vec<Document>>>) -> Looking {
    let os = machine.os();
    let (executor, clock) = (os.executor(), os.clock());
    let pending = Rc::<Pending>::default();
    let events = executor.spawn(listen(Rc::clone(machine.engine()), Rc::clone(&pending)));
    let ticks = {
        let pending = Rc::clone(&pending);
        executor.spawn(async move {
            loop {
                clock.sleep(TICK_NS).await;
                pending.ticked.set(true);
                pending.wait.wake_all();
            }
        })
    };
    let name = machine.config().name.clone();
    let collector = Collector::new(name, Rc::clone(machine.engine()), Rc::clone(os), told);
    let work = executor.spawn(work(collector, Rc::clone(&pending), os.clock()));
    Looking {
        pending,
        tasks: [events, ticks, work],
    }
}

/// Hands on events as they come, those that are remembered first.
async fn listen(engine: Rc<Engine>, pending: Rc<Pending>) {
    let Ok(request) = http::Request::get("/events?since=1").body(Body::empty()) else {
        return;
    };
    let mut body = engine.call(request).await.into_body();
    let mut rest = Vec::new();
    while let Some(Ok(bytes)) = body.next().await {
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Ok(event) = serde_json::from_slice(&line) {
                pending.events.borrow_mut().push(event);
            }
        }
        pending.wait.wake_all();
    }
}

/// Answers looks, events and ticks.
async fn work(mut collector: Collector, pending: Rc<Pending>, clock: clock::Clock) {
    let mut ticks = 0;
    loop {
        let something = || {
            let any = pending.look_changed.get()
                || pending.ticked.get()
                || !pending.events.borrow().is_empty();
            any.then_some(())
        };
        pending.wait.wait_for(something).await;
        let looked = pending.look_changed.take();
        if !looked && !pending.ticked.get() {
            clock.sleep(TOGETHER_NS).await;
        }
        let ticked = pending.ticked.take();
        let events = pending.events.take();
        let look = pending.look.borrow().clone();
        ticks += u64::from(ticked);
        collector.heard(events);
        if looked {
            collector.stale_all();
        }
        if ticked && ticks % AGED_TICKS == 0 {
            collector.aged();
        }
        collector.collect(&look, ticked || looked).await;
    }
}
