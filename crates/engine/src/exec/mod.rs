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

/// A process that was or will be started in a container.
pub(crate) struct Exec {
    id: String,
    container: String,
    config: ExecConfig,
    running: Cell<bool>,
    started: Cell<bool>,
    exit_code: Cell<Option<i32>>,
    pid: Cell<u32>,
    console: RefCell<Option<Rc<dyn Handle>>>,
    streams: Streams,
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

    fn command(&self) -> String {
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
    fn find_exec(&self, id: &str) -> Result<Rc<Exec>> {
        let found = self.execs.borrow().get(id).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
    }
}
