//! Control groups, version 2: the tree, who is in it, and what it counts and bounds.
//!
//! Reading order: this file (the tree, membership, controllers switched on and off), [`memory`],
//! [`pids`], [`cpu`], [`cpuset`], [`io`], [`freezer`] (one controller each: counters that add up the ancestor
//! chain, and limits), [`fs`] (the `cgroup2` file system) [`files`] (its interface files) and [`tasks`] (what they do with tasks).
//! Every task is in exactly one [`Cgroup`]; the kernel calls the hooks named `charge_…`, `can_…` and
//! `…_until` at fork, exit and slice ends; memory is charged where it is allocated. Counters are plain cells: no hashing, no
//! allocation.
//!
//! Not here: version 1 hierarchies, threaded cgroups, pressure stall files, swap (there is none).
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst, cgroups(7).

pub mod cpu;
pub mod cpuset;
pub mod freezer;
pub mod io;
pub mod memory;
pub mod pids;
pub mod queue;

pub mod files;
pub mod fs;
pub mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use bitflags::bitflags;
use clock::WaitQueue;

use cpu::Cpu;
use cpuset::Cpuset;
use freezer::Freezer;
use io::Io;
use memory::Memory;
use pids::Pids;

use crate::sched::fair::GroupSched;

bitflags! {
    /// Controllers, as `cgroup.subtree_control` switches them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Controllers: u8 {
        /// Share and bound of processor time.
        const CPU = 1;
        /// Bytes read and written.
        const IO = 2;
        /// Memory.
        const MEMORY = 4;
        /// Number of tasks.
        const PIDS = 8;
        /// Which processors and memory nodes.
        const CPUSET = 16;
    }
}

/// The names, in the order `cgroup.controllers` shows them.
const NAMES: [(Controllers, &str); 5] = [
    (Controllers::CPUSET, "cpuset"),
    (Controllers::CPU, "cpu"),
    (Controllers::IO, "io"),
    (Controllers::MEMORY, "memory"),
    (Controllers::PIDS, "pids"),
];

impl Controllers {
    /// The controller of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Controllers> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|&(controller, _)| controller)
    }

    /// Their names with blanks between.
    #[must_use]
    pub fn list(self) -> String {
        let names: Vec<&str> = NAMES
            .iter()
            .filter(|(controller, _)| self.contains(*controller))
            .map(|&(_, name)| name)
            .collect();
        names.join(" ")
    }
}

/// Deepest nesting below the root: bounds every walk up the tree.
pub const DEPTH_MAX: usize = 64;
/// Most cgroups of one machine.
pub const COUNT_MAX: usize = 10_000;

/// One control group.
pub struct Cgroup {
    /// Its inode number in cgroup2.
    pub id: u64,
    name: Vec<u8>,
    depth: usize,
    /// The parent owns its children, so this is weak; a machine must be droppable.
    parent: Weak<Cgroup>,
    children: RefCell<BTreeMap<Vec<u8>, Rc<Cgroup>>>,
    subtree_control: Cell<Controllers>,
    removed: Cell<bool>,
    /// Owner of directory and files, until somebody delegates them with chown.
    pub owner: Cell<(u32, u32)>,
    /// Files (by name; "" is the directory) whose owner or mode was changed: uid, gid, mode.
    pub overrides: RefCell<BTreeMap<&'static str, (u32, u32, u32)>>,
    /// Global thread ids of live tasks here.
    members: RefCell<BTreeSet<u32>>,
    /// Live tasks here and below.
    population: Cell<u32>,
    /// `cgroup.events` changed.
    pub events_changed: WaitQueue,
    max_depth: Cell<Option<u64>>,
    max_descendants: Cell<Option<u64>>,
    /// Numbers for new cgroups; shared by the tree.
    ids: Rc<Cell<u64>>,
    /// How many there are; shared by the tree.
    count: Rc<Cell<usize>>,
    /// Number of tasks.
    pub pids: Pids,
    /// Processors and memory nodes.
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Processor time.
    pub cpu: Cpu,
    /// Bytes read and written.
    pub io: Io,
    /// `cgroup.freeze`.
    pub freezer: Freezer,
    /// Who of it runs next.
    pub(crate) sched: GroupSched,
}

impl Cgroup {
    /// The root of a machine's tree; all controllers are on in `cgroup.controllers`. Its memory is charged
    /// to `above`, too.
    #[must_use]
    pub fn new_root(above: Option<&Rc<mem::Account>>) -> Rc<Cgroup> {
        Rc::new(Cgroup::build(
            1,
            Vec::new(),
            0,
            Weak::new(),
            Rc::new(Cell::new(2)),
            Rc::new(Cell::new(1)),
            Memory::new(above),
        ))
    }

    fn build(
        id: u64,
        name: Vec<u8>,
        depth: usize,
        parent: Weak<Cgroup>,
        ids: Rc<Cell<u64>>,
        count: Rc<Cell<usize>>,
        memory: Memory,
    ) -> Cgroup {
        Cgroup {
            id,
            name,
            depth,
            parent,
            children: RefCell::default(),
            subtree_control: Cell::default(),
            removed: Cell::new(false),
            owner: Cell::new((0, 0)),
            overrides: RefCell::default(),
            members: RefCell::default(),
            population: Cell::new(0),
            events_changed: WaitQueue::new(),
            max_depth: Cell::new(None),
            max_descendants: Cell::new(None),
            ids,
            count,
            pids: Pids::default(),
            cpuset: Cpuset::default(),
            memory,
            cpu: Cpu::default(),
            io: Io::default(),
            freezer: Freezer::default(),
            sched: GroupSched::default(),
        }
    }

    /// The cgroup above; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Rc<Cgroup>> {
        self.parent.upgrade()
    }

    /// True for the root of the tree.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.depth == 0
    }

    /// True after rmdir.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.get()
    }

    /// Calls `visit` for this cgroup and everything above it.
    pub fn for_each_up(&self, mut visit: impl FnMut(&Cgroup)) {
        visit(self);
        let mut next = self.parent();
        while let Some(cgroup) = next {
            visit(&cgroup);
            next = cgroup.parent();
        }
    }

    /// This cgroup and everything above it, innermost first.
    #[must_use]
    pub fn chain(self: &Rc<Self>) -> Vec<Rc<Cgroup>> {
        let mut chain = vec![Rc::clone(self)];
        while let Some(parent) = chain[chain.len() - 1].parent() {
            chain.push(parent);
        }
        chain
    }

    /// Calls `visit` for this cgroup and everything below it, parents first.
    pub fn for_each_down(self: &Rc<Self>, visit: &mut dyn FnMut(&Rc<Cgroup>)) {
        visit(self);
        let children: Vec<Rc<Cgroup>> = self.children.borrow().values().cloned().collect();
        for child in children {
            child.for_each_down(visit);
        }
    }

    /// True when this cgroup is `top` or below it.
    #[must_use]
    pub fn is_within(&self, top: &Cgroup) -> bool {
        let mut within = false;
        self.for_each_up(|cgroup| within |= std::ptr::eq(cgroup, top));
        within
    }

    /// Path from the root of the tree, `/` for the root itself.
    #[must_use]
    pub fn path(self: &Rc<Self>) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        let mut path = Vec::new();
        for cgroup in self.chain().iter().rev().filter(|cgroup| !cgroup.is_root()) {
            path.push(b'/');
            path.extend_from_slice(&cgroup.name);
        }
        path
    }

    /// Path as seen from a cgroup namespace whose root is `root` (`/proc/PID/cgroup`): with `/..` for
    /// what lies outside.
    #[must_use]
    pub fn path_from(self: &Rc<Self>, root: &Rc<Cgroup>) -> Vec<u8> {
        let (mine, theirs) = (self.chain(), root.chain());
        let shared = mine
            .iter()
            .rev()
            .zip(theirs.iter().rev())
            .take_while(|(a, b)| Rc::ptr_eq(a, b))
            .count();
        let mut path = Vec::new();
        for _ in shared..theirs.len() {
            path.extend_from_slice(b"/..");
        }
        for cgroup in mine.iter().rev().skip(shared) {
            path.push(b'/');
            path.extend_from_slice(&cgroup.name);
        }
        if self.is_removed() {
            path.extend_from_slice(b" (deleted)");
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The cgroup at `path` below this one; empty components are skipped.
    pub fn find(self: &Rc<Self>, path: &[u8]) -> Result<Rc<Cgroup>> {
        let mut current = Rc::clone(self);
        for name in path
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            current = current.child(name).ok_or(Errno::ENOENT)?;
        }
        Ok(current)
    }

    /// The child of that name.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> Option<Rc<Cgroup>> {
        self.children.borrow().get(name).cloned()
    }

    /// The children's names and the children, sorted.
    #[must_use]
    pub fn children(&self) -> Vec<(Vec<u8>, Rc<Cgroup>)> {
        let children = self.children.borrow();
        children
            .iter()
            .map(|(name, child)| (name.clone(), Rc::clone(child)))
            .collect()
    }

    /// `mkdir(2)`.
    pub fn create(self: &Rc<Self>, name: &[u8], owner: (u32, u32)) -> Result<Rc<Cgroup>> {
        if self.is_removed() {
            return Err(Errno::ENODEV);
        }
        if self.children.borrow().contains_key(name) {
            return Err(Errno::EEXIST);
        }
        // A line break in a name would break the line-based files that show it.
        if name.contains(&b'\n') {
            return Err(Errno::EINVAL);
        }
        if self.depth + 1 > DEPTH_MAX || self.count.get() >= COUNT_MAX || !self.may_grow() {
            return Err(Errno::EAGAIN);
        }
        let id = self.ids.get();
        self.ids.set(id + 1);
        self.count.set(self.count.get() + 1);
        let child = Rc::new(Cgroup::build(
            id,
            name.to_vec(),
            self.depth + 1,
            Rc::downgrade(self),
            Rc::clone(&self.ids),
            Rc::clone(&self.count),
            Memory::new(Some(&self.memory.account)),
        ));
        child.owner.set(owner);
        child.freezer.inherit(self.freezer.is_frozen());
        self.children
            .borrow_mut()
            .insert(name.to_vec(), Rc::clone(&child));
        Ok(child)
    }

    /// `cgroup.max.depth` and `cgroup.max.descendants` of everything above allow one more child here.
    fn may_grow(&self) -> bool {
        let mut allowed = true;
        self.for_each_up(|cgroup| {
            let below = (self.depth + 1 - cgroup.depth) as u64;
            allowed &= cgroup.max_depth.get().is_none_or(|max| below <= max);
            allowed &= cgroup
                .max_descendants
                .get()
                .is_none_or(|max| cgroup.descendant_count() < max);
        });
        allowed
    }

    /// Cgroups below.
    #[must_use]
    pub fn descendant_count(&self) -> u64 {
        let children = self.children.borrow();
        children
            .values()
            .map(|child| 1 + child.descendant_count())
            .sum()
    }

    /// `rmdir(2)`: `EBUSY` while anybody lives in it or below.
    pub fn remove(&self, name: &[u8]) -> Result<()> {
        let child = self.child(name).ok_or(Errno::ENOENT)?;
        if child.population.get() > 0 || !child.children.borrow().is_empty() {
            return Err(Errno::EBUSY);
        }
        child.removed.set(true);
        self.children.borrow_mut().remove(name);
        self.count.set(self.count.get() - 1);
        child.events_changed.wake_all();
        Ok(())
    }

    // ---- controllers ----

    /// `cgroup.controllers`: what can be switched on for children.
    #[must_use]
    pub fn available(&self) -> Controllers {
        match self.parent() {
            Some(parent) => parent.subtree_control.get(),
            None => Controllers::all(),
        }
    }

    /// `cgroup.subtree_control`.
    #[must_use]
    pub fn subtree_control(&self) -> Controllers {
        self.subtree_control.get()
    }

    /// A write such as `+memory -pids` to `cgroup.subtree_control`.
    pub fn write_subtree_control(&self, text: &str) -> Result<()> {
        let (mut on, mut off) = (Controllers::empty(), Controllers::empty());
        for word in text.split_ascii_whitespace() {
            let (sign, name) = word.split_at_checked(1).ok_or(Errno::EINVAL)?;
            let controller = Controllers::by_name(name).ok_or(Errno::EINVAL)?;
            match sign {
                "+" => (on, off) = (on | controller, off - controller),
                "-" => (on, off) = (on - controller, off | controller),
                _ => return Err(Errno::EINVAL),
            }
        }
        let new = on - self.subtree_control.get();
        if !self.available().contains(new) {
            return Err(Errno::ENOENT);
        }
        // "No internal processes": whoever has tasks must not compete with children.
        if !new.is_empty() && !self.is_root() && !self.members.borrow().is_empty() {
            return Err(Errno::EBUSY);
        }
        let in_use = |child: &Rc<Cgroup>| child.subtree_control.get().intersects(off);
        if self.children.borrow().values().any(in_use) {
            return Err(Errno::EBUSY);
        }
        let gone = off & self.subtree_control.get();
        self.subtree_control
            .set((self.subtree_control.get() | on) - off);
        for child in self.children.borrow().values() {
            child.reset_limits(gone);
        }
        Ok(())
    }

    /// A controller that is switched off forgets its limits.
    fn reset_limits(&self, controllers: Controllers) {
        if controllers.contains(Controllers::PIDS) {
            self.pids.max.set(None);
        }
        if controllers.contains(Controllers::CPUSET) {
            self.cpuset.cpus.clear();
            self.cpuset.mems.clear();
        }
        if controllers.contains(Controllers::MEMORY) {
            self.memory.reset_limits();
        }
        if controllers.contains(Controllers::CPU) {
            self.cpu.reset_limits();
        }
        if controllers.contains(Controllers::IO) {
            self.io.reset_limits();
        }
    }

    // ---- membership ----

    /// Global thread ids of the live tasks in this cgroup itself.
    #[must_use]
    pub fn members(&self) -> Vec<u32> {
        self.members.borrow().iter().copied().collect()
    }

    /// Global thread ids of the live tasks here and below.
    #[must_use]
    pub fn members_below(self: &Rc<Self>) -> Vec<u32> {
        let mut all = Vec::new();
        self.for_each_down(&mut |cgroup| all.extend(cgroup.members.borrow().iter()));
        all
    }

    /// Live tasks here or below.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.population.get() > 0
    }

    /// Fork into this cgroup: bounded by `pids.max` here and above (`EAGAIN`), and impossible where
    /// children have controllers (`EBUSY`) or after rmdir (`ENODEV`).
    pub fn fork(&self, tid: u32) -> Result<()> {
        self.may_hold_tasks()?;
        self.charge_pid()?;
        self.enter(tid);
        Ok(())
    }

    /// A task ended: it is not a member any more but counts in `pids.current` until it is reaped
    /// ([`Cgroup::release`]).
    pub fn exit(&self, tid: u32) {
        if self.members.borrow_mut().remove(&tid) {
            self.add_population(-1);
        }
    }

    /// An ended task was reaped.
    pub fn release(&self) {
        self.uncharge_pid();
    }

    /// Moves a live task from here to `to` (`cgroup.procs`). Limits do not hold a migration up. Memory
    /// stays charged where it was allocated.
    pub fn migrate(&self, tid: u32, to: &Cgroup) -> Result<()> {
        if std::ptr::eq(self, to) {
            return Ok(());
        }
        to.may_hold_tasks()?;
        self.exit(tid);
        self.uncharge_pid();
        to.charge_pid_unchecked();
        to.enter(tid);
        Ok(())
    }

    /// Tasks may be put here.
    pub fn may_hold_tasks(&self) -> Result<()> {
        if self.is_removed() {
            return Err(Errno::ENODEV);
        }
        if !self.is_root() && !self.subtree_control.get().is_empty() {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    fn enter(&self, tid: u32) {
        if self.members.borrow_mut().insert(tid) {
            self.add_population(1);
        }
    }

    fn add_population(&self, change: i32) {
        self.for_each_up(|cgroup| {
            let before = cgroup.population.get();
            let after = before.saturating_add_signed(change);
            cgroup.population.set(after);
            if (before == 0) != (after == 0) {
                cgroup.events_changed.wake_all();
            }
        });
    }

    /// `cgroup.max.depth`; `None` is `max`.
    #[must_use]
    pub fn max_depth(&self) -> &Cell<Option<u64>> {
        &self.max_depth
    }

    /// `cgroup.max.descendants`; `None` is `max`.
    #[must_use]
    pub fn max_descendants(&self) -> &Cell<Option<u64>> {
        &self.max_descendants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (Rc<Cgroup>, Rc<Cgroup>, Rc<Cgroup>) {
        let root = Cgroup::new_root(None);
        let docker = root.create(b"docker", (0, 0)).unwrap();
        let one = docker.create(b"one", (0, 0)).unwrap();
        (root, docker, one)
    }

    #[test]
    fn paths_from_the_root_and_from_a_namespace() {
        let (root, docker, one) = tree();
        let two = docker.create(b"two", (0, 0)).unwrap();
        assert_eq!(root.path(), b"/");
        assert_eq!(one.path(), b"/docker/one");
        assert_eq!(one.path_from(&one), b"/");
        assert_eq!(one.path_from(&docker), b"/one");
        assert_eq!(one.path_from(&two), b"/../one");
        assert_eq!(root.path_from(&one), b"/../..");
        assert!(Rc::ptr_eq(&root.find(b"/docker/one").unwrap(), &one));
        assert_eq!(root.find(b"/nope").err(), Some(Errno::ENOENT));
    }

    #[test]
    fn a_populated_cgroup_cannot_be_removed_and_pids_count_until_reaped() {
        let (root, docker, one) = tree();
        one.fork(7).unwrap();
        assert_eq!(docker.remove(b"one"), Err(Errno::EBUSY));
        assert_eq!(root.remove(b"docker"), Err(Errno::EBUSY));
        assert!(root.is_populated());
        one.exit(7);
        assert_eq!((one.is_populated(), docker.pids.current.get()), (false, 1));
        one.release();
        assert_eq!(docker.pids.current.get(), 0);
        docker.remove(b"one").unwrap();
        assert_eq!(one.fork(8), Err(Errno::ENODEV));
        assert_eq!(one.path_from(&root), b"/docker/one (deleted)");
    }

    #[test]
    fn controllers_go_down_one_level_at_a_time() {
        let (root, docker, one) = tree();
        assert_eq!(docker.write_subtree_control("+memory"), Err(Errno::ENOENT));
        root.write_subtree_control("+memory +pids").unwrap();
        docker.write_subtree_control("+memory").unwrap();
        assert_eq!(one.available(), Controllers::MEMORY);
        assert_eq!(root.subtree_control().list(), "memory pids");
        assert_eq!(root.write_subtree_control("-memory"), Err(Errno::EBUSY));
        assert_eq!(root.write_subtree_control("+frob"), Err(Errno::EINVAL));
        // Inner nodes hold no tasks.
        assert_eq!(docker.fork(3), Err(Errno::EBUSY));
        one.fork(3).unwrap();
        one.create(b"sub", (0, 0)).unwrap();
        assert_eq!(one.write_subtree_control("+memory"), Err(Errno::EBUSY));
    }

    #[test]
    fn a_limit_ends_with_its_controller() {
        let (root, docker, _) = tree();
        root.write_subtree_control("+pids").unwrap();
        docker.pids.max.set(Some(1));
        root.write_subtree_control("-pids").unwrap();
        assert_eq!(docker.pids.max.get(), None);
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let root = Cgroup::new_root(None);
        root.max_depth().set(Some(1));
        let child = root.create(b"a", (0, 0)).unwrap();
        assert_eq!(child.create(b"b", (0, 0)).err(), Some(Errno::EAGAIN));
        root.max_depth().set(None);
        root.max_descendants().set(Some(1));
        assert_eq!(root.create(b"c", (0, 0)).err(), Some(Errno::EAGAIN));
        root.max_descendants().set(None);
        let mut deep = child;
        while let Ok(next) = deep.create(b"d", (0, 0)) {
            deep = next;
        }
        assert_eq!(deep.path().len(), 2 * DEPTH_MAX);
    }

    #[test]
    fn migration_moves_the_charge_and_population() {
        let (_, docker, one) = tree();
        let two = docker.create(b"two", (0, 0)).unwrap();
        two.pids.max.set(Some(0));
        one.fork(5).unwrap();
        one.migrate(5, &two).unwrap();
        assert_eq!((one.members(), two.members()), (vec![], vec![5]));
        assert_eq!((two.pids.current.get(), docker.pids.current.get()), (1, 1));
        assert_eq!(two.fork(6), Err(Errno::EAGAIN));
        assert_eq!(docker.members_below(), [5]);
    }
}
