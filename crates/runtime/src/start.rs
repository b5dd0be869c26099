//! `start`: the first process executes its program.

use os::ext::write_all;

use crate::{Container, RuntimeError, Status, process};

/// What runc's init exits with when the program it found cannot be executed.
const EXEC_FAILED: i32 = 255;

impl Container {
    /// Executes the program. A file that cannot be executed after all (no interpreter, wrong format) is
    /// no error of the runtime: the first process says so on its standard error and ends.
    pub async fn start(&self) -> Result<(), RuntimeError> {
        if self.status() != Status::Created {
            return Err(RuntimeError::Daemon(
                "cannot start a container that has stopped".to_string(),
            ));
        }
        self.status.set(Status::Running);
        let last_word = self.last_word.take();
        if let Err(errno) = process::execute(&self.os, self.init, &self.program).await {
            self.exec_failed.set(Some(EXEC_FAILED));
            if let Some(stderr) = last_word {
                let text = format!("exec {}: {}\n", self.program.path, errno.go_description());
                let _ = write_all(&stderr, text.as_bytes()).await;
            }
            let _ = self.os.kill(self.init, 9);
        }
        Ok(())
    }
}
