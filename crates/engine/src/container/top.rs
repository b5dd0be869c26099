//! `GET /containers/{id}/top`: the machine's own `ps`, and of its rows those of the container.

use engine_api::container::top::{Top, arguments};
use engine_api::error::{ApiError, Result};
use engine_api::json;
use os::{CloneSpec, Errno, OpenFlags, OsExt, View, ext};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

/// Where `ps` may be.
const PS: [&str; 2] = ["/usr/bin/ps", "/bin/ps"];
/// Bytes of its output that are read.
const OUTPUT_MAX: usize = 4 << 20;

/// The rows of `output` whose pid is among `pids`.
fn parse(output: &str, pids: &[u32]) -> Result<Top> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_string)
        .collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(ApiError::system("Couldn't find PID field in ps output"));
    };
    let mut processes = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let pid = fields.get(column).and_then(|text| text.parse().ok());
        if !pid.is_some_and(|pid: u32| pids.contains(&pid)) {
            continue;
        }
        // The last column takes the rest: a command has spaces.
        let (head, tail) = fields.split_at((titles.len() - 1).min(fields.len()));
        let mut row: Vec<String> = head.iter().map(ToString::to_string).collect();
        row.push(tail.join(" "));
        processes.push(row);
    }
    Ok(Top { processes, titles })
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_top(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let runtime = container.running().map_err(|_| {
            ApiError::conflict(format!("container {} is not running", container.id))
        })?;
        if container.data.borrow().state.restarting {
            return Err(ApiError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                container.id
            )));
        }
        let pids = runtime::cgroup::pids(&self.os, runtime.cgroup());
        // Named pids, or `ps -o …` shows those of its own user and terminal only. Some options
        // (`f`) cannot stand beside `-q`.
        let typed = arguments(&context.query);
        let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let mut named = typed.clone();
        named.push(format!("-q{}", list.join(",")));
        let output = match self.ps(&named).await {
            Ok(output) => output,
            Err(_) => self.ps(&typed).await?,
        };
        self.container_event(&container, "top", &[]);
        Ok(json::emit(200, &parse(&output, &pids)?))
    }

    /// Runs `ps` on the machine.
    async fn ps(&self, arguments: &[String]) -> Result<String> {
        let failed = |what: &str| ApiError::system(format!("ps: {what}"));
        let os = &self.os;
        let path = PS
            .into_iter()
            .find(|path| os.exists(View::Host, path.as_bytes()));
        let path =
            path.ok_or_else(|| failed("exec: \"ps\": executable file not found in $PATH"))?;
        let spec = CloneSpec {
            name: "ps".to_string(),
            ..CloneSpec::default()
        };
        let task = os
            .clone_task(&spec)
            .map_err(|errno| failed(&errno.go_description()))?;
        let mut argv = vec![b"ps".to_vec()];
        argv.extend(
            arguments
                .iter()
                .map(|argument| argument.clone().into_bytes()),
        );
        let prepare = || {
            let flags = OpenFlags {
                read: true,
                write: true,
                ..OpenFlags::default()
            };
            let null = os.open(View::Host, b"/dev/null", flags, 0)?;
            let (reading, writing) = os.pipe()?;
            os.set_fd(task, 0, &null)?;
            os.set_fd(task, 1, &writing)?;
            os.set_fd(task, 2, &writing)?;
            Ok(reading)
        };
        let outcome: os::Result<_> = prepare();
        let reading = match outcome {
            Ok(reading) => reading,
            Err(errno) => {
                let _ = os.kill(task, 9);
                let _ = os.wait(task).await;
                return Err(failed(&errno.go_description()));
            }
        };
        let envp = [b"PATH=/usr/bin:/bin".to_vec(), b"COLUMNS=512".to_vec()];
        loop {
            match os.exec(task, path.as_bytes(), &argv, &envp) {
                Ok(()) => break,
                Err(Errno::NOT_HERE_YET) => {
                    let _ = os.read_file(View::Host, path.as_bytes()).await;
                    os.clock().sleep(1_000_000).await;
                }
                Err(errno) => {
                    let _ = os.kill(task, 9);
                    let _ = os.wait(task).await;
                    return Err(failed(&errno.go_description()));
                }
            }
        }
        let mut output = Vec::new();
        while output.len() < OUTPUT_MAX {
            match ext::read_some(&reading, 64 * 1024).await {
                Ok(piece) if !piece.is_empty() => output.extend_from_slice(&piece),
                _ => break,
            }
        }
        drop(reading);
        let status = os
            .wait(task)
            .await
            .map_err(|errno| failed(&errno.go_description()))?;
        let output = String::from_utf8_lossy(&output).into_owned();
        match status.code() {
            0 => Ok(output),
            code => Err(failed(
                match output.lines().next() {
                    Some(line) if !line.is_empty() => line.to_string(),
                    _ => format!("exit status {code}"),
                }
                .as_str(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_container() {
        let output = "UID PID PPID C STIME TTY TIME CMD\nroot 1 0 0 07:00 ? 00:00:00 init\nroot 42 1 0 07:00 ? \
                      00:00:00 sleep 100\n";
        let top = parse(output, &[42]).unwrap();
        assert_eq!(top.titles.len(), 8);
        assert_eq!(top.processes.len(), 1);
        assert_eq!(top.processes[0][7], "sleep 100");
        assert!(parse("A B\n", &[]).is_err());
    }
}
