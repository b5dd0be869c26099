//! `GET /exec/{id}/json`.

use engine_api::error::Result;
use engine_api::json;
use engine_api::types::{ExecInspect, ExecProcessConfig};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn exec_inspect(&self, context: Context) -> Result<Response> {
        let exec = self.find_exec(context.param(0))?;
        let config = &exec.config;
        let command = config.cmd.clone().unwrap_or_default();
        let (entrypoint, arguments) = match command.split_first() {
            Some((first, rest)) => (first.clone(), rest.to_vec()),
            None => Default::default(),
        };
        let answer = ExecInspect {
            id: exec.id.clone(),
            running: exec.running.get(),
            exit_code: exec.exit_code.get(),
            process_config: ExecProcessConfig {
                tty: config.tty,
                entrypoint,
                arguments,
                privileged: config.privileged,
                user: config.user.clone(),
            },
            open_stdin: config.attach_stdin,
            open_stderr: config.attach_stderr,
            open_stdout: config.attach_stdout,
            can_remove: false,
            container_id: exec.container.clone(),
            detach_keys: config.detach_keys.clone(),
            pid: exec.pid.get(),
        };
        Ok(json::emit(200, &answer))
    }
}
