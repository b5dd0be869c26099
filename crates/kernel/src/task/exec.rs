//! `execve(2)`: a task becomes another program.

use std::rc::Rc;

use abi::{Errno, Result};
use rv64::Hart;
use vfs::path::Path;

use super::{AltStack, Task, TaskState, WaitStatus};
use crate::kernel::Kernel;
use crate::loader::{Program, Request, open_program};

/// What to execute.
pub struct ExecRequest<'a> {
    /// The file.
    pub path: Path,
    /// Its name as it was given.
    pub name: &'a [u8],
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: &'a [Vec<u8>],
}

impl Kernel {
    /// Makes `task` execute a program. On an error the task is as before.
    pub fn exec_task(self: &Rc<Self>, task: &Rc<Task>, request: ExecRequest<'_>) -> Result<()> {
        let (file, _) = self.with_fs(task, |ctx| open_program(ctx, &request.path))?;
        let program = self.load_program(
            task,
            Request {
                file,
                name: request.name,
                argv: request.argv,
                envp: request.envp,
            },
        )?;
        if task.group.exiting.get().is_some() {
            return Err(Errno::EINTR);
        }
        self.become_program(task, program);
        Ok(())
    }

    /// The point of no return.
    fn become_program(self: &Rc<Self>, task: &Rc<Task>, program: Program) {
        self.kill_other_threads(task);
        self.release_memory(task);
        let creds = program.creds;
        let gained = program.secure;
        task.group.dumpable.set(if gained { 0 } else { 1 });
        if gained {
            task.parent_death_signal.set(0);
        }
        task.set_creds(creds);

        let files = Rc::new(task.files().fork());
        let closed = files.take_cloexec();
        task.set_files(files);
        drop(closed);

        let handlers = task.group.handlers.borrow().after_exec();
        *task.group.handlers.borrow_mut() = handlers;
        task.group.timers.clear_posix();
        task.altstack.set(AltStack::NONE);
        task.saved_sigmask.set(None);
        task.robust_list.set(0);
        task.clear_child_tid.set(0);
        task.set_comm(&program.name);
        task.group.did_exec.set(true);
        task.set_mm(program.mm);
        let mut hart = Hart {
            pc: program.entry,
            ..Hart::default()
        };
        hart.x[2] = program.stack;
        *task.hart.borrow_mut() = hart;
        self.end_vfork(task);
        if task.state() == TaskState::New {
            self.make_runnable(task);
        }
        drop(program.file);
    }

    /// The other threads of the process end; the caller takes over the process's number.
    fn kill_other_threads(self: &Rc<Self>, task: &Rc<Task>) {
        for thread in task.group.threads() {
            if !Rc::ptr_eq(&thread, task) {
                self.exit_task(&thread, WaitStatus::Exited(0));
            }
        }
        if !task.is_leader() {
            let pid = task.group.pid();
            pid.set_task(task);
            let old = std::mem::replace(&mut *task.pid.borrow_mut(), pid);
            old.clear_task();
            task.group.set_leader(Some(Rc::clone(task)));
        }
    }
}
