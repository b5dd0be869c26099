//! `GET /containers/{id}/top`: the machine's own `ps`, and of its rows those of the container.

use engine_api::container::top::{Top, arguments};
use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

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
        let mut argv = vec!["ps"];
        argv.extend(arguments.iter().map(String::as_str));
        let run = self.run_program(&argv, &["COLUMNS=512"], "/", &|_, _| {});
        let output = run.await.map_err(|why| failed(&why))?;
        match output.code {
            0 => Ok(output.stdout),
            code => Err(failed(
                match (output.stdout + &output.stderr).lines().next() {
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
