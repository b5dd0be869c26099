//! Process numbers: [`Pid`] is one number per nested pid namespace (`pid_namespaces(7)`).
//!
//! Tasks, process groups and sessions hold the `Pid` of the task they are named after, so a number is not
//! given away again while any of them still uses it. Dropping the last holder frees the numbers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};

use crate::task::{ProcessGroup, Session, Task, ThreadGroup};

/// Most nested pid namespaces (as Linux).
const LEVEL_MAX: u32 = 32;
/// Numbers below are not given again after a wrap (as Linux).
const RESERVED: u32 = 300;

/// A pid namespace.
pub struct PidNamespace {
    /// Inode number of its nsfs file.
    pub inode: u64,
    /// 0 for the machine's own.
    pub level: u32,
    /// The namespace it was made in.
    pub parent: Option<Rc<PidNamespace>>,
    /// The user namespace with power over it.
    pub owner: RefCell<Option<Rc<super::UserNs>>>,
    next: Cell<u32>,
    max: Cell<u32>,
    pids: RefCell<BTreeMap<u32, Weak<Pid>>>,
    init: RefCell<Weak<ThreadGroup>>,
    dead: Cell<bool>,
}

impl PidNamespace {
    /// The machine's own.
    #[must_use]
    pub fn new_root(inode: u64, pid_max: u32) -> Rc<PidNamespace> {
        Rc::new(PidNamespace::build(inode, 0, None, pid_max))
    }

    /// A namespace in `parent`; `ENOSPC` when nested too deep.
    pub fn new_child(parent: &Rc<PidNamespace>, inode: u64) -> Result<Rc<PidNamespace>> {
        if parent.level + 1 >= LEVEL_MAX {
            return Err(Errno::ENOSPC);
        }
        let max = parent.max.get();
        Ok(Rc::new(PidNamespace::build(
            inode,
            parent.level + 1,
            Some(Rc::clone(parent)),
            max,
        )))
    }

    fn build(inode: u64, level: u32, parent: Option<Rc<PidNamespace>>, max: u32) -> PidNamespace {
        PidNamespace {
            inode,
            level,
            parent,
            owner: RefCell::new(None),
            next: Cell::new(1),
            max: Cell::new(max),
            pids: RefCell::default(),
            init: RefCell::new(Weak::new()),
            dead: Cell::new(false),
        }
    }

    /// `/proc/sys/kernel/pid_max`: numbers are below it.
    #[must_use]
    pub fn pid_max(&self) -> u32 {
        self.max.get()
    }

    /// Sets `pid_max`.
    pub fn set_pid_max(&self, max: u32) {
        self.max.set(max);
    }

    /// The last number given.
    #[must_use]
    pub fn last_pid(&self) -> u32 {
        self.next.get().saturating_sub(1)
    }

    /// What has this number.
    #[must_use]
    pub fn pid(&self, number: u32) -> Option<Rc<Pid>> {
        self.pids.borrow().get(&number).and_then(Weak::upgrade)
    }

    /// The task with this number.
    #[must_use]
    pub fn task(&self, number: u32) -> Option<Rc<Task>> {
        self.pid(number)?.task()
    }

    /// The process with this number: `None` for a thread that leads none.
    #[must_use]
    pub fn process(&self, number: u32) -> Option<Rc<ThreadGroup>> {
        let pid = self.pid(number)?;
        let group = Rc::clone(&pid.task()?.group);
        Rc::ptr_eq(&group.pid(), &pid).then_some(group)
    }

    /// All tasks seen from here, by number.
    #[must_use]
    pub fn tasks(&self) -> Vec<Rc<Task>> {
        let pids: Vec<_> = self
            .pids
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        pids.iter().filter_map(|pid| pid.task()).collect()
    }

    /// All processes seen from here, by number.
    #[must_use]
    pub fn processes(&self) -> Vec<Rc<ThreadGroup>> {
        let tasks = self.tasks();
        tasks
            .iter()
            .filter(|task| task.is_leader())
            .map(|task| Rc::clone(&task.group))
            .collect()
    }

    /// The first process number above or equal to `from`, for directory cursors.
    #[must_use]
    pub fn next_process(&self, from: u32) -> Option<(u32, Rc<ThreadGroup>)> {
        let mut from = from;
        loop {
            let (number, pid) = {
                let pids = self.pids.borrow();
                let (&number, pid) = pids.range(from..).next()?;
                (number, pid.upgrade())
            };
            if let Some(task) = pid.and_then(|pid| pid.task())
                && task.is_leader()
            {
                return Some((number, Rc::clone(&task.group)));
            }
            from = number + 1;
        }
    }

    /// The process with number 1, that adopts orphans.
    #[must_use]
    pub fn init(&self) -> Option<Rc<ThreadGroup>> {
        self.init.borrow().upgrade()
    }

    /// Names the process with number 1.
    pub fn set_init(&self, group: &Rc<ThreadGroup>) {
        *self.init.borrow_mut() = Rc::downgrade(group);
    }

    /// Its init has ended: nobody can be born here any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Notes that its init has ended.
    pub fn set_dead(&self) {
        self.dead.set(true);
    }

    /// True when `other` is this one or nested in it.
    #[must_use]
    pub fn contains(&self, other: &Rc<PidNamespace>) -> bool {
        let mut at = Some(other);
        while let Some(ns) = at {
            if std::ptr::eq(Rc::as_ptr(ns), self) {
                return true;
            }
            at = ns.parent.as_ref();
        }
        false
    }

    fn next_number(&self) -> Result<u32> {
        let pids = self.pids.borrow();
        let max = self.max.get().max(RESERVED + 2);
        let mut number = self.next.get();
        for _ in 0..max {
            if number >= max {
                number = RESERVED;
            }
            if !pids.contains_key(&number) {
                self.next.set(number + 1);
                return Ok(number);
            }
            number += 1;
        }
        Err(Errno::EAGAIN)
    }
}

/// The numbers of one task, process group or session.
pub struct Pid {
    /// Outermost namespace first.
    numbers: Vec<(Rc<PidNamespace>, u32)>,
    task: RefCell<Weak<Task>>,
    /// The process group named after it.
    pub process_group: RefCell<Weak<ProcessGroup>>,
    /// The session named after it.
    pub session: RefCell<Weak<Session>>,
}

impl Pid {
    /// New numbers in `namespace` and all it is nested in.
    pub fn allocate(namespace: &Rc<PidNamespace>) -> Result<Rc<Pid>> {
        if namespace.is_dead() {
            return Err(Errno::ENOMEM);
        }
        let mut numbers = Vec::with_capacity(namespace.level as usize + 1);
        let mut at = Some(Rc::clone(namespace));
        while let Some(ns) = at {
            let number = ns.next_number()?;
            at = ns.parent.clone();
            numbers.push((ns, number));
        }
        numbers.reverse();
        let pid = Rc::new(Pid {
            numbers,
            task: RefCell::new(Weak::new()),
            process_group: RefCell::new(Weak::new()),
            session: RefCell::new(Weak::new()),
        });
        for (ns, number) in &pid.numbers {
            ns.pids.borrow_mut().insert(*number, Rc::downgrade(&pid));
        }
        Ok(pid)
    }

    /// The number in the machine's own namespace.
    #[must_use]
    pub fn global(&self) -> u32 {
        self.numbers[0].1
    }

    /// The number seen from `namespace`; 0 when it cannot be seen from there.
    #[must_use]
    pub fn in_ns(&self, namespace: &PidNamespace) -> u32 {
        match self.numbers.get(namespace.level as usize) {
            Some((ns, number)) if std::ptr::eq(Rc::as_ptr(ns), namespace) => *number,
            _ => 0,
        }
    }

    /// The number in the innermost namespace.
    #[must_use]
    pub fn innermost(&self) -> u32 {
        self.numbers[self.numbers.len() - 1].1
    }

    /// All numbers, outermost namespace first (`NSpid` of /proc/PID/status).
    #[must_use]
    pub fn numbers(&self) -> &[(Rc<PidNamespace>, u32)] {
        &self.numbers
    }

    /// The namespace its task is in.
    #[must_use]
    pub fn namespace(&self) -> &Rc<PidNamespace> {
        &self.numbers[self.numbers.len() - 1].0
    }

    /// The task that has these numbers, dead or alive, until it is reaped.
    #[must_use]
    pub fn task(&self) -> Option<Rc<Task>> {
        self.task.borrow().upgrade()
    }

    /// Gives the numbers to a task.
    pub fn set_task(&self, task: &Rc<Task>) {
        *self.task.borrow_mut() = Rc::downgrade(task);
    }

    /// The task was reaped.
    pub fn clear_task(&self) {
        *self.task.borrow_mut() = Weak::new();
    }
}

impl Drop for Pid {
    fn drop(&mut self) {
        for (ns, number) in &self.numbers {
            ns.pids.borrow_mut().remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_per_namespace_and_their_reuse() {
        let root = PidNamespace::new_root(1, 400);
        let inner = PidNamespace::new_child(&root, 2).unwrap();
        let first = Pid::allocate(&root).unwrap();
        let second = Pid::allocate(&inner).unwrap();
        assert_eq!(
            (first.global(), second.global(), second.innermost()),
            (1, 2, 1)
        );
        assert_eq!((first.in_ns(&inner), second.in_ns(&root)), (0, 2));
        assert!(root.contains(&inner) && !inner.contains(&root));
        drop(second);
        assert!(inner.pid(1).is_none() && root.pid(2).is_none());
        // Numbers are not used again before the end of the range.
        assert_eq!(Pid::allocate(&root).unwrap().global(), 3);
        let all: Vec<_> = std::iter::from_fn(|| Pid::allocate(&root).ok()).collect();
        assert!(all.len() > 390 && all.iter().all(|pid| pid.global() < 400));
    }
}
