//! `drydockd serve` as a process, and the Docker client of this computer.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// A server of its own, with a folder of its own.
pub struct Server {
    child: Child,
    pub folder: PathBuf,
    /// Where it listens on TCP.
    #[allow(dead_code, reason = "not every test asks over TCP")]
    pub tcp: String,
    says: Option<JoinHandle<Vec<String>>>,
}

impl Server {
    /// Starts one; returns when it listens.
    pub fn start(options: &[&str]) -> Server {
        Server::start_with(options, &[])
    }

    /// Starts one with more arguments of `serve`.
    pub fn start_with(options: &[&str], arguments: &[&str]) -> Server {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("drydock-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("config")).expect("a temporary folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_drydockd"))
            .args(options)
            .arg("serve")
            .args(arguments)
            .args(["--tcp", "127.0.0.1:0", "--unix"])
            .arg(folder.join("docker.sock"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("drydockd starts");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("readable");
        let tcp = line
            .split("tcp://")
            .nth(1)
            .unwrap_or_else(|| panic!("drydockd said {line:?}"));
        let tcp = tcp.trim_end().trim_end_matches('.').to_string();
        // What it says later is kept, and may not fill the pipe.
        let says = std::thread::spawn(move || said.lines().map_while(Result::ok).collect());
        Server {
            child,
            folder,
            tcp,
            says: Some(says),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Its process.
    #[allow(dead_code, reason = "not every test looks at the process")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The environment of its clients.
    #[allow(dead_code, reason = "not every test runs a client")]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("DOCKER_HOST", format!("unix://{}", text(&self.socket()))),
            ("DOCKER_CONFIG", text(&self.folder.join("config"))),
            ("HOME", text(&self.folder)),
            ("LC_ALL", "C.UTF-8".to_string()),
            ("TZ", "UTC".to_string()),
        ]
    }

    /// Interrupts it, as Ctrl-C does; gives how it ended and what it had said.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let says = self.says.take().and_then(|says| says.join().ok());
        (status, says.unwrap_or_default().join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both may be done already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether this computer has a Docker client.
#[allow(dead_code, reason = "not every test runs a client")]
pub fn has_client() -> bool {
    let version = Command::new("docker").arg("--version").output();
    version.is_ok_and(|version| version.status.success())
}
