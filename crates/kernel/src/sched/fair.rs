//! Fair shares: tasks compete within their cgroup, and each cgroup with its siblings and the tasks beside it,
//! by weight. Whoever has had the least time for its weight (the smallest *virtual runtime*) runs next.
//!
//! Time is counted in instructions, so the same inputs give the same order on every computer. A cgroup is in
//! its parent's queue while somebody in it can run; the chain from the root to the task that runs is out of
//! the queues and goes back, charged, when the task has had its slice. Who slept is placed a little before
//! those who did not, never further: sleeping cannot be saved up.
//!
//! An entry of a queue is valid while its number is that of what it stands for; leaving a queue is
//! forgetting the number.
//!
//! Source: `sched(7)`, Documentation/scheduler/sched-design-CFS.rst.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::{Rc, Weak};

use clock::Instant;

use crate::cgroup::Cgroup;
use crate::task::{Held, Task};

/// The weight of nice 0, and of a cgroup whose `cpu.weight` is 100.
pub const WEIGHT_UNIT: u64 = 1024;

/// The weight of `SCHED_IDLE` tasks and of cgroups with `cpu.idle`.
pub const WEIGHT_IDLE: u64 = 3;

/// Weights of nice -20 to 19 as Linux has them: each step is worth about a quarter more or less.
pub const NICE_WEIGHTS: [u64; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// Instructions that who slept is ahead of the others: three milliseconds of virtual time, as CFS has it.
const SLEEPER_CREDIT: u64 = 3_000_000;

const SCHED_IDLE: u32 = 5;

/// Weight of a nice value.
#[must_use]
pub fn nice_weight(nice: i32) -> u64 {
    NICE_WEIGHTS[(nice.clamp(-20, 19) + 20) as usize]
}

/// What competes in a queue: a task or a cgroup.
#[derive(Default)]
pub struct Entity {
    vruntime: Cell<u64>,
    /// Number of its entry; 0: it is in no queue.
    ticket: Cell<u64>,
}

/// Instructions as virtual runtime.
fn weighted(instructions: u64, weight: u64) -> u64 {
    instructions * WEIGHT_UNIT / weight.max(1)
}

impl Entity {
    /// Of a new task: it has not slept, and is ahead of nobody who waits already.
    pub(crate) fn new_in(queue: &FairQueue) -> Entity {
        Entity {
            vruntime: queue.floor.clone(),
            ticket: Cell::new(0),
        }
    }

    fn charge(&self, instructions: u64, weight: u64) {
        self.vruntime
            .set(self.vruntime.get() + weighted(instructions, weight));
    }

    /// Where it goes among others when it can run again.
    fn place(&self, queue: &FairQueue, weight: u64) {
        let earliest = queue
            .floor
            .get()
            .saturating_sub(weighted(SLEEPER_CREDIT, weight));
        self.vruntime.set(self.vruntime.get().max(earliest));
    }

    /// It leaves one queue for another: what it is ahead or behind stays.
    pub(crate) fn migrate(&self, from: &FairQueue, to: &FairQueue) {
        let lag = i128::from(self.vruntime.get()) - i128::from(from.floor.get());
        let place = i128::from(to.floor.get()) + lag;
        self.vruntime.set(place.max(0) as u64);
    }
}

enum Who {
    Task(Weak<Task>),
    Group(Weak<Cgroup>),
}

enum Next {
    Task(Rc<Task>),
    Group(Rc<Cgroup>),
}

struct Entry {
    vruntime: u64,
    ticket: u64,
    who: Who,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.ticket == other.ticket
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The greatest, which the heap gives first, has the smallest virtual runtime; the first come of equals.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.vruntime, other.ticket).cmp(&(self.vruntime, self.ticket))
    }
}

/// Those who compete in one cgroup.
#[derive(Default)]
pub struct FairQueue {
    heap: RefCell<BinaryHeap<Entry>>,
    /// The largest virtual runtime anybody had who was picked.
    floor: Cell<u64>,
}

impl FairQueue {
    fn is_empty(&self) -> bool {
        self.heap.borrow().is_empty()
    }

    /// Takes out who is to run.
    fn pop(&self) -> Option<Next> {
        loop {
            let entry = self.heap.borrow_mut().pop()?;
            let next = match &entry.who {
                Who::Task(task) => task
                    .upgrade()
                    .filter(|task| task.sched.ticket.get() == entry.ticket)
                    .map(|task| {
                        task.sched.ticket.set(0);
                        Next::Task(task)
                    }),
                Who::Group(group) => group
                    .upgrade()
                    .filter(|group| group.sched.entity.ticket.get() == entry.ticket)
                    .map(|group| {
                        group.sched.entity.ticket.set(0);
                        Next::Group(group)
                    }),
            };
            if next.is_some() {
                self.floor.set(self.floor.get().max(entry.vruntime));
                return next;
            }
        }
    }

    /// The smallest virtual runtime of those who wait; of one who has left, perhaps.
    fn first(&self) -> Option<u64> {
        self.heap.borrow().peek().map(|entry| entry.vruntime)
    }
}

/// What the scheduler has of a cgroup.
#[derive(Default)]
pub struct GroupSched {
    /// It in its parent's queue.
    entity: Entity,
    /// Its tasks and children that can run.
    pub(crate) queue: FairQueue,
    /// The task that runs is in it or below.
    runs: Cell<bool>,
}

/// The order of all tasks that can run.
#[derive(Default)]
pub struct RunQueue {
    tickets: Cell<u64>,
    queued: Cell<usize>,
    /// From the root to the cgroup of the task that runs.
    path: RefCell<Vec<Rc<Cgroup>>>,
}

impl RunQueue {
    /// Tasks that wait for their turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued.get()
    }

    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn ticket(&self) -> u64 {
        let ticket = self.tickets.get() + 1;
        self.tickets.set(ticket);
        ticket
    }

    /// A task can run from `now` on: into the queue of its cgroup, and that into those above.
    pub(crate) fn enqueue(&self, task: &Rc<Task>, now: Instant) {
        if task.held.get() != Held::Queued {
            task.held.set(Held::Queued);
            self.queued.set(self.queued.get() + 1);
        }
        task.queued_at.set(now);
        let cgroup = task.cgroup();
        task.sched.place(&cgroup.sched.queue, task.weight());
        self.insert_task(task, &cgroup);
        self.insert_group(cgroup);
    }

    fn insert_task(&self, task: &Rc<Task>, cgroup: &Cgroup) {
        let ticket = self.ticket();
        task.sched.ticket.set(ticket);
        cgroup.sched.queue.heap.borrow_mut().push(Entry {
            vruntime: task.sched.vruntime.get(),
            ticket,
            who: Who::Task(Rc::downgrade(task)),
        });
    }

    fn insert_group(&self, mut group: Rc<Cgroup>) {
        while let Some(parent) = group.parent() {
            let entity = &group.sched.entity;
            if group.sched.runs.get() || entity.ticket.get() != 0 {
                return;
            }
            entity.place(&parent.sched.queue, group.cpu.weight());
            let ticket = self.ticket();
            entity.ticket.set(ticket);
            parent.sched.queue.heap.borrow_mut().push(Entry {
                vruntime: entity.vruntime.get(),
                ticket,
                who: Who::Group(Rc::downgrade(&group)),
            });
            group = parent;
        }
    }

    /// A task that waits must not run any more.
    pub(crate) fn dequeue(&self, task: &Task) {
        if task.held.get() == Held::Queued {
            task.held.set(Held::No);
            task.sched.ticket.set(0);
            self.queued.set(self.queued.get() - 1);
        }
    }

    /// A task is in another cgroup from now on.
    pub(crate) fn moved(&self, task: &Rc<Task>, from: &Cgroup, to: &Rc<Cgroup>) {
        task.sched.migrate(&from.sched.queue, &to.sched.queue);
        if task.held.get() == Held::Queued {
            self.insert_task(task, to);
            self.insert_group(Rc::clone(to));
        }
    }

    /// Takes out the task that is to run; [`RunQueue::put_back`] must follow.
    pub(crate) fn pick(&self, root: &Rc<Cgroup>) -> Option<Rc<Task>> {
        loop {
            let mut group = Rc::clone(root);
            loop {
                let next = group.sched.queue.pop();
                group.sched.runs.set(true);
                self.path.borrow_mut().push(Rc::clone(&group));
                match next {
                    Some(Next::Task(task)) => {
                        task.held.set(Held::No);
                        self.queued.set(self.queued.get() - 1);
                        return Some(task);
                    }
                    Some(Next::Group(child)) => group = child,
                    None => break,
                }
            }
            // All in there have left; the cgroups above may have others.
            let was_root = group.is_root();
            self.unwind(0);
            if was_root {
                return None;
            }
        }
    }

    /// The task that was picked has run for so many instructions; if it can `go_on` it waits again. One that
    /// yields lets the next one of its cgroup go first.
    pub(crate) fn put_back(&self, task: &Rc<Task>, instructions: u64, go_on: bool, now: Instant) {
        task.sched.charge(instructions, task.weight());
        if task.yields.take()
            && let Some(first) = task.cgroup().sched.queue.first()
        {
            let vruntime = &task.sched.vruntime;
            vruntime.set(vruntime.get().max(first));
        }
        // It may have been made to wait before it was charged: again, at its new place.
        if go_on || task.held.get() == Held::Queued {
            self.enqueue(task, now);
        }
        self.unwind(instructions);
    }

    /// Charges the cgroups of whoever ran, and puts those back in which somebody waits.
    fn unwind(&self, instructions: u64) {
        loop {
            let group = self.path.borrow_mut().pop();
            let Some(group) = group else { return };
            group.sched.runs.set(false);
            group.sched.entity.charge(instructions, group.cpu.weight());
            if !group.sched.queue.is_empty() {
                self.insert_group(group);
            }
        }
    }
}

impl Task {
    /// Its share among those of its cgroup.
    #[must_use]
    pub fn weight(&self) -> u64 {
        if self.sched_policy.get() == SCHED_IDLE {
            WEIGHT_IDLE
        } else {
            nice_weight(self.nice.get())
        }
    }
}
