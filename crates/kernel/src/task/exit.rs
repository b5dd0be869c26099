//! The end of threads and processes (`exit(2)`, `exit_group(2)`): what is let go, who is told, who adopts.

use std::rc::Rc;

use abi::signal::{SIGCHLD, SIGCONT, SIGHUP, SIGKILL, SigFields, SigInfo, sa, si};

use super::signals::SIG_IGN;
use super::{ProcessGroup, Task, TaskState, ThreadGroup, WaitStatus};
use crate::fd::FdTable;
use crate::kernel::Kernel;

/// Nanoseconds of a clock tick of `si_utime`.
const TICK_NS: u64 = 10_000_000;
/// Most entries of a robust list that are looked at (as Linux).
const ROBUST_MAX: usize = 2048;
/// The owner of a robust futex died.
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
const FUTEX_WAITERS: u32 = 0x8000_0000;
const FUTEX_TID_MASK: u32 = 0x3fff_ffff;

impl Kernel {
    /// All threads of a process are to end with `status`; the first call decides. Each ends when it would
    /// run next.
    pub fn begin_group_exit(&self, group: &Rc<ThreadGroup>, status: WaitStatus) {
        if group.exiting.get().is_some() || group.is_zombie() {
            return;
        }
        group.exiting.set(Some(status));
        self.set_stopped(group, None);
        for task in group.threads() {
            self.make_runnable(&task);
        }
    }

    /// Ends a process that never got a program.
    pub(crate) fn kill_new(&self, group: &Rc<ThreadGroup>, signal: u32) {
        let all_new = group
            .threads()
            .iter()
            .all(|task| task.state() == TaskState::New);
        if !all_new {
            return;
        }
        let status = WaitStatus::Signaled {
            signal,
            core: false,
        };
        group.exiting.set(Some(status));
        for task in group.threads() {
            self.exit_task(&task, status);
        }
    }

    /// `exit_group(2)` of the calling task.
    pub fn exit_group(&self, task: &Rc<Task>, status: WaitStatus) {
        self.begin_group_exit(&task.group, status);
        let status = task.group.exiting.get().unwrap_or(status);
        self.exit_task(task, status);
    }

    /// Ends one thread; the process with it if it was the last. `status` counts for the latter.
    pub fn exit_task(&self, task: &Rc<Task>, status: WaitStatus) {
        if task.is_dead() {
            return;
        }
        task.set_state(TaskState::Dead);
        self.run_queue.dequeue(task);
        task.exit_status.set(Some(status));
        if let Some(timer) = task.sleep_timer.take() {
            self.clock.cancel(timer);
        }
        if task.traced.get() {
            self.trace_end(task, status);
        }
        task.syscall.clear();
        self.walk_robust_list(task);
        self.release_memory(task);
        self.end_vfork(task);
        task.set_mm(Rc::clone(&self.empty_mm));
        task.set_files(Rc::new(FdTable::new(None)));
        drop(task.charge.take());
        task.cgroup().exit(task.id);

        let group = Rc::clone(&task.group);
        group
            .ended_usage
            .set(group.ended_usage.get().plus(task.usage()));
        task.usage.set(super::Usage::default());
        group
            .threads
            .borrow_mut()
            .retain(|thread| !Rc::ptr_eq(thread, task));
        let is_last = group.threads.borrow().is_empty();
        if !task.is_leader() {
            self.release_task(task);
        }
        if is_last {
            let status = group.exiting.get().unwrap_or(status);
            self.exit_process(&group, status);
        }
    }

    /// What `CLONE_CHILD_CLEARTID` asked for, while the memory is still there.
    pub(crate) fn release_memory(&self, task: &Rc<Task>) {
        let address = task.clear_child_tid.replace(0);
        if address != 0 {
            // Nobody can look when the memory goes with this task, but that costs little.
            let _ = task.write_u32(address, 0);
            self.futex_wake_both(task, address, 1);
        }
    }

    /// `set_robust_list(2)`: futexes the thread still holds are marked and their waiters woken.
    fn walk_robust_list(&self, task: &Rc<Task>) {
        let head = task.robust_list.replace(0);
        if head == 0 {
            return;
        }
        let (Ok(first), Ok(offset), Ok(pending)) = (
            task.read_u64(head),
            task.read_u64(head + 8),
            task.read_u64(head + 16),
        ) else {
            return;
        };
        let mut entry = first;
        for _ in 0..ROBUST_MAX {
            if entry & !1 == head {
                break;
            }
            let Ok(next) = task.read_u64(entry & !1) else {
                return;
            };
            if entry != pending {
                self.robust_death(task, (entry & !1).wrapping_add(offset));
            }
            entry = next;
        }
        if pending != 0 {
            self.robust_death(task, (pending & !1).wrapping_add(offset));
        }
    }

    fn robust_death(&self, task: &Rc<Task>, address: u64) {
        let Ok(value) = task.read_u32(address) else {
            return;
        };
        if value & FUTEX_TID_MASK != task.tid_in(&task.pid_ns()) {
            return;
        }
        let new = value & FUTEX_WAITERS | FUTEX_OWNER_DIED;
        if task.write_u32(address, new).is_ok() && value & FUTEX_WAITERS != 0 {
            self.futex_wake_both(task, address, 1);
        }
    }

    /// The last thread has ended.
    fn exit_process(&self, group: &Rc<ThreadGroup>, status: WaitStatus) {
        group.timers.clear();
        crate::sysv_sem::UndoLists::process_ended(self, group);
        self.set_stopped(group, None);
        group.status.set(Some(status));
        let pid_ns = Rc::clone(group.pid().namespace());
        let is_ns_init = group.is_ns_init();
        if is_ns_init {
            self.kill_namespace(group);
        }
        self.leave_session(group);
        self.give_children_away(group);
        self.check_orphaned_groups(group);
        if is_ns_init {
            pid_ns.set_dead();
            if pid_ns.level == 0 {
                self.oops("attempted to kill init");
            }
        }
        self.notify_parent_of_end(group, status);
        group.state_wait.wake_all();
        group.signal_wait.wake_all();
    }

    /// The init of a pid namespace ended: everybody in it does.
    fn kill_namespace(&self, init: &Rc<ThreadGroup>) {
        let namespace = Rc::clone(init.pid().namespace());
        namespace.set_dead();
        for group in namespace.processes() {
            if Rc::ptr_eq(&group, init) || group.is_zombie() {
                continue;
            }
            let status = WaitStatus::Signaled {
                signal: SIGKILL,
                core: false,
            };
            group.exiting.set(Some(status));
            for task in group.threads() {
                self.exit_task(&task, status);
            }
        }
        // Zombies in the namespace have nobody left who could wait for them.
        for group in init.children() {
            if group.is_zombie() {
                self.reap(&group);
            }
        }
    }

    /// A session leader's end frees the terminal and tells its foreground group.
    fn leave_session(&self, group: &Rc<ThreadGroup>) {
        if !group.is_session_leader() {
            return;
        }
        let session = group.session();
        let terminal = session.terminal.borrow_mut().take();
        let Some(terminal) = terminal else { return };
        if let Some(foreground) = terminal.foreground() {
            self.signal_process_group(&foreground, SigInfo::kernel(SIGHUP));
            self.signal_process_group(&foreground, SigInfo::kernel(SIGCONT));
        }
        terminal.session_ended();
    }

    /// Children get the nearest subreaper above, or the init of the pid namespace, as parent.
    fn give_children_away(&self, group: &Rc<ThreadGroup>) {
        let children = std::mem::take(&mut *group.children.borrow_mut());
        if children.is_empty() {
            return;
        }
        let reaper = self.find_reaper(group);
        for child in children {
            *child.parent.borrow_mut() = reaper
                .as_ref()
                .map_or_else(std::rc::Weak::new, Rc::downgrade);
            for task in child.threads() {
                let signal = task.parent_death_signal.get();
                if signal != 0 {
                    let _ = self.signal_task(&task, SigInfo::kernel(signal));
                }
            }
            let Some(reaper) = &reaper else { continue };
            reaper.children.borrow_mut().push(Rc::clone(&child));
            child.exit_signal.set(SIGCHLD);
            if let Some(status) = child.status() {
                self.notify_parent_of_end(&child, status);
            }
        }
    }

    fn find_reaper(&self, group: &Rc<ThreadGroup>) -> Option<Rc<ThreadGroup>> {
        let namespace = Rc::clone(group.pid().namespace());
        let mut ancestor = group.parent();
        while let Some(candidate) = ancestor {
            if !Rc::ptr_eq(candidate.pid().namespace(), &namespace) {
                break;
            }
            if candidate.subreaper.get() && !candidate.is_zombie() {
                return Some(candidate);
            }
            ancestor = candidate.parent();
        }
        let init = namespace
            .init()
            .filter(|init| !init.is_zombie() && !Rc::ptr_eq(init, group));
        init.or_else(|| self.init())
            .filter(|init| !Rc::ptr_eq(init, group))
    }

    /// Process groups that lost the last parent who could continue them get SIGHUP and SIGCONT when one of
    /// them is stopped.
    fn check_orphaned_groups(&self, group: &Rc<ThreadGroup>) {
        if self.stopped_processes.get() == 0 {
            return;
        }
        let check = |process_group: &Rc<ProcessGroup>, leaving: Option<&Rc<ThreadGroup>>| {
            let any_stopped = process_group
                .members()
                .iter()
                .any(|member| member.is_stopped());
            if any_stopped && process_group.is_orphaned(leaving) {
                self.signal_process_group(process_group, SigInfo::kernel(SIGHUP));
                self.signal_process_group(process_group, SigInfo::kernel(SIGCONT));
            }
        };
        check(&group.process_group(), Some(group));
        let session = group.session();
        for child in self.init_ns.pid.processes() {
            let of_child = child.process_group();
            let same_session = Rc::ptr_eq(&of_child.session, &session);
            if same_session
                && child.stopped_by.get().is_some()
                && !Rc::ptr_eq(&of_child, &group.process_group())
            {
                check(&of_child, None);
            }
        }
    }

    /// Tells the parent; reaps the process at once when the parent does not want to know.
    fn notify_parent_of_end(&self, group: &Rc<ThreadGroup>, status: WaitStatus) {
        let Some(parent) = group.parent() else { return };
        if parent.is_kernel_task() {
            // Init without a program reaps everything nobody else waits for.
            if !group.claimed.get() {
                self.reap(group);
            }
            return;
        }
        if parent.is_zombie() {
            return;
        }
        let signal = group.exit_signal.get();
        let action = parent.handlers.borrow().get(SIGCHLD);
        let unwanted =
            signal == SIGCHLD && (action.handler == SIG_IGN || action.flags & sa::NOCLDWAIT != 0);
        if signal != 0 && !(unwanted && action.handler == SIG_IGN) {
            let (code, value) = match status {
                WaitStatus::Exited(code) => (si::CLD_EXITED, i32::from(code)),
                WaitStatus::Signaled {
                    signal,
                    core: false,
                } => (si::CLD_KILLED, signal as i32),
                WaitStatus::Signaled { signal, core: true } => (si::CLD_DUMPED, signal as i32),
            };
            let info = self.child_info(group, &parent, signal, code, value);
            // A full queue loses the signal, but not the status.
            let _ = self.signal_process(&parent, info);
        }
        if unwanted {
            self.reap(group);
        }
        parent.child_wait.wake_all();
    }

    /// The `siginfo_t` of a change of a child.
    pub(crate) fn child_info(
        &self,
        child: &ThreadGroup,
        parent: &ThreadGroup,
        signal: u32,
        code: i32,
        status: i32,
    ) -> SigInfo {
        let namespace = Rc::clone(parent.pid().namespace());
        let usage = child.usage();
        let uid = child.any_task().map_or(0, |task| task.creds().uid);
        SigInfo {
            signal,
            errno: 0,
            code,
            fields: SigFields::Child {
                pid: child.tgid_in(&namespace),
                uid,
                status,
                utime: (usage.user_ns / TICK_NS) as i64,
                stime: (usage.system_ns / TICK_NS) as i64,
            },
        }
    }

    /// Removes a zombie; its parent is charged with what it used.
    pub(crate) fn reap(&self, group: &Rc<ThreadGroup>) {
        if let Some(parent) = group.parent() {
            let usage = group.usage().plus(group.children_usage.get());
            parent
                .children_usage
                .set(parent.children_usage.get().plus(usage));
            parent
                .children
                .borrow_mut()
                .retain(|child| !Rc::ptr_eq(child, group));
        }
        group.process_group().remove(group);
        if let Some(leader) = group.leader() {
            self.release_task(&leader);
        }
        group.set_leader(None);
        group.state_wait.wake_all();
    }

    /// The number of an ended thread becomes free.
    fn release_task(&self, task: &Rc<Task>) {
        let was_there = self.tasks.borrow_mut().remove(&task.id).is_some();
        if was_there {
            task.cgroup().release();
        }
        let pid = task.pid();
        if pid.task().is_some_and(|known| Rc::ptr_eq(&known, task)) {
            pid.clear_task();
        }
    }

    /// Breaks the circles of references of a machine that is switched off.
    pub(crate) fn forget_task(&self, task: &Rc<Task>) {
        task.set_state(TaskState::Dead);
        task.syscall.clear();
        task.set_mm(Rc::clone(&self.empty_mm));
        task.set_files(Rc::new(FdTable::new(None)));
        task.group.timers.clear();
        task.group.threads.borrow_mut().clear();
        task.group.children.borrow_mut().clear();
        task.group.set_leader(None);
        let parent = task.vfork_parent.borrow_mut().take();
        drop(parent);
    }
}
