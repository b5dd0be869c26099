//! Operations on processes started in containers, a verb a file.

mod create;
mod inspect;
mod resize;
mod start;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::types::ExecConfig;
use os::Handle;

use crate::Engine;
use crate::streams::Streams;

/// Ended processes that are remembered, so that their exit code can be asked for.
const REMEMBERED: usize = 256;

/// A process that was or will be started in a container.
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) container: String,
    pub(crate) config: ExecConfig,
    pub(crate) running: Cell<bool>,
    pub(crate) started: Cell<bool>,
    pub(crate) exit_code: Cell<Option<i32>>,
    pub(crate) pid: Cell<u32>,
    pub(crate) console: RefCell<Option<Rc<dyn Handle>>>,
    pub(crate) streams: Streams,
}

impl Exec {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn container_id(&self) -> &str {
        &self.container
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.get()
    }

    pub(crate) fn command(&self) -> String {
        self.config
            .cmd
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Engine {
    /// Keeps a process by its id; of those that have ended the first goes when there are too many.
    pub(crate) fn remember_exec(&self, exec: &Rc<Exec>) {
        let mut execs = self.execs.borrow_mut();
        if execs.len() >= REMEMBERED {
            let ended = |exec: &Rc<Exec>| exec.started.get() && !exec.running.get();
            let oldest = execs
                .iter()
                .find(|(_, exec)| ended(exec))
                .map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                execs.remove(&oldest);
            }
        }
        execs.insert(exec.id.clone(), Rc::clone(exec));
    }

    /// Nobody will ask for it.
    pub(crate) fn forget_exec(&self, exec: &Exec) {
        self.execs.borrow_mut().remove(&exec.id);
    }

    fn find_exec(&self, id: &str) -> Result<Rc<Exec>> {
        let found = self.execs.borrow().get(id).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
    }
}
