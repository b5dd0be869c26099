//! For tests and tools: a machine whose root is a copy of a directory of the host, and a way to run one
//! command in it to its end, in virtual time.
//!
//! Natively only; the page and `drydockd` build machines from images.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::Path as HostPath;
use std::rc::Rc;

use abi::{Errno, Result};
use clock::{Clock, Executor, Instant};
use vfs::file::{File, OpenFile, OpenFlags};
use vfs::inode::FileSystem;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

use crate::kernel::{Config, Kernel};
use crate::task::{ExecRequest, NewTask, Task, WaitStatus};
use crate::turn::Turn;

/// Instructions of one turn.
const FUEL: u64 = 2_000_000;

/// 2026-01-01, in nanoseconds since 1970: runs are reproducible.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What it wrote to descriptor 1.
    pub stdout: Vec<u8>,
    /// What it wrote to descriptor 2.
    pub stderr: Vec<u8>,
    /// How it ended; `None`: it did not (nothing could run any more, or the budget was used up).
    pub status: Option<WaitStatus>,
    /// Instructions and system call costs.
    pub fuel: u64,
}

impl Output {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The exit code a shell would show; -1 when it did not end.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self.status {
            Some(WaitStatus::Exited(code)) => i32::from(code),
            Some(WaitStatus::Signaled { signal, .. }) => 128 + signal as i32,
            None => -1,
        }
    }
}

/// Keeps what is written to it.
#[derive(Default)]
pub struct Capture(RefCell<Vec<u8>>);

impl File for Capture {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        self.0.borrow_mut().extend_from_slice(buf);
        Ok(buf.len())
    }
}

/// Gives bytes, then the end.
struct Input {
    bytes: Vec<u8>,
    at: Cell<usize>,
}

impl File for Input {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = &self.bytes[self.at.get()..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.at.set(self.at.get() + count);
        Ok(count)
    }
}

/// A machine.
pub struct Machine {
    /// Its kernel.
    pub kernel: Rc<Kernel>,
    /// Environment of commands.
    pub env: Vec<Vec<u8>>,
}

impl Machine {
    /// A machine with an empty root and the usual mounts.
    pub fn new(config: Config) -> Result<Machine> {
        let clock = Clock::new(EPOCH_NS);
        let root: Rc<dyn FileSystem> = Tmpfs::new(
            &clock,
            TmpfsOptions {
                mode: 0o755,
                ..TmpfsOptions::default()
            },
        );
        let kernel = Kernel::new(clock, Executor::new(), config, &root);
        crate::os_impl::boot::register(&kernel);
        crate::os_impl::boot::mount_standard(&kernel)?;
        let env = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "TERM=xterm",
        ];
        Ok(Machine {
            kernel,
            env: env.iter().map(|text| text.as_bytes().to_vec()).collect(),
        })
    }

    /// A machine whose root is a copy of a directory of the host.
    pub fn from_directory(directory: &HostPath, config: Config) -> Result<Machine> {
        let machine = Machine::new(config)?;
        machine.copy_tree(directory, "/")?;
        Ok(machine)
    }

    /// Copies a directory of the host to `target`.
    pub fn copy_tree(&self, directory: &HostPath, target: &str) -> Result<()> {
        let entries = std::fs::read_dir(directory).map_err(host_error)?;
        for entry in entries {
            let entry = entry.map_err(host_error)?;
            let name = entry.file_name();
            let path = format!(
                "{}/{}",
                target.trim_end_matches('/'),
                name.to_string_lossy()
            );
            let metadata = entry.path().symlink_metadata().map_err(host_error)?;
            if metadata.is_dir() {
                self.make_directory(&path, metadata.mode())?;
                self.copy_tree(&entry.path(), &path)?;
            } else if metadata.is_symlink() {
                let link = std::fs::read_link(entry.path()).map_err(host_error)?;
                let link = link.to_string_lossy().into_owned();
                self.kernel
                    .with_host_fs(|fs| fs.symlink(link.as_bytes(), None, path.as_bytes()))?;
            } else if metadata.is_file() {
                let content = std::fs::read(entry.path()).map_err(host_error)?;
                self.write_file(&path, &content, metadata.mode() & 0o7777)?;
            }
        }
        Ok(())
    }

    fn make_directory(&self, path: &str, mode: u32) -> Result<()> {
        match self
            .kernel
            .with_host_fs(|fs| fs.mkdir(None, path.as_bytes(), mode & 0o7777))
        {
            Err(Errno::EEXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Writes a file.
    pub fn write_file(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.kernel.with_host_fs(|fs| {
            let flags = OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC;
            let file = fs.open(None, path.as_bytes(), flags, mode)?;
            let mut done = 0;
            while done < content.len() {
                done += file.write(&content[done..])?;
            }
            Ok(())
        })
    }

    /// Starts a command with the files of the machine's root as descriptors 0, 1 and 2.
    pub fn start(&self, argv: &[&str], files: [Rc<OpenFile>; 3]) -> Result<Rc<Task>> {
        let task = self.kernel.new_task(NewTask {
            new_session: true,
            ..NewTask::named("test")
        })?;
        task.group.claimed.set(true);
        for file in files {
            task.files().insert(file, false, 1024)?;
        }
        let name = argv.first().ok_or(Errno::EINVAL)?.as_bytes();
        let path = self
            .kernel
            .with_fs(&task, |fs| fs.resolve(None, name, true))?;
        let argv = argv.iter().map(|text| text.as_bytes().to_vec()).collect();
        self.kernel.exec_task(
            &task,
            ExecRequest {
                path,
                name,
                argv,
                envp: &self.env,
            },
        )?;
        Ok(task)
    }

    /// Runs a command to its end.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.run_with(argv, b"", u64::MAX)
    }

    /// Runs a command that reads `stdin`, for at most `budget` instructions.
    pub fn run_with(&self, argv: &[&str], stdin: &[u8], budget: u64) -> Result<Output> {
        let input = Rc::new(Input {
            bytes: stdin.to_vec(),
            at: Cell::new(0),
        });
        let (stdout, stderr) = (Rc::new(Capture::default()), Rc::new(Capture::default()));
        let open = |file: Rc<dyn File>, flags| OpenFile::new(file, None, flags);
        let files = [
            open(input, OpenFlags::empty()),
            open(Rc::<Capture>::clone(&stdout), OpenFlags::WRONLY),
            open(Rc::<Capture>::clone(&stderr), OpenFlags::WRONLY),
        ];
        let task = self.start(argv, files)?;
        let fuel = self.run_until(budget, || task.group.is_zombie());
        let status = task.group.status();
        if status.is_some() {
            self.kernel.wait_claimed(&task.group);
        }
        let (stdout, stderr) = (stdout.0.take(), stderr.0.take());
        Ok(Output {
            stdout,
            stderr,
            status,
            fuel,
        })
    }

    /// Runs the machine until `done`, jumping over time in which nobody runs. Gives the fuel used.
    pub fn run_until(&self, budget: u64, done: impl Fn() -> bool) -> u64 {
        let mut used_in_all = 0;
        let mut now = self.kernel.clock.now();
        while !done() && used_in_all < budget {
            match self.kernel.turn(now, FUEL) {
                Turn::Ran {
                    busy,
                    next_deadline,
                    used,
                } => {
                    used_in_all += used;
                    now = self.kernel.clock.now();
                    if !busy && !done() {
                        match next_deadline {
                            Some(at) => now = at.max(now),
                            None => break,
                        }
                    }
                }
                Turn::Crashed(_) => break,
            }
        }
        used_in_all
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.kernel.clock.now()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kernel.power_off();
    }
}

fn host_error(error: std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(5))
}
