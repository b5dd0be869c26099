//! Conveniences over the verbs of [`Os`], written once for every back-end.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::{Errno, ExitStatus, Handle, Listener, OpenFlags, Os, Result, TaskId, View};

/// Bytes moved at a time.
const CHUNK: usize = 64 * 1024;

/// Reads what is there; an empty vector at the end.
pub async fn read_some(handle: &Rc<dyn Handle>, limit: usize) -> Result<Vec<u8>> {
    let mut buf = vec![0; limit];
    let count = poll_fn(|cx| handle.poll_read(cx, &mut buf)).await?;
    buf.truncate(count);
    Ok(buf)
}

/// Writes everything.
pub async fn write_all(handle: &Rc<dyn Handle>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| handle.poll_write(cx, bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Reads at `offset`, waiting for content that is not in the machine yet; 0 at the end.
pub async fn read_at(handle: &Rc<dyn Handle>, offset: u64, buf: &mut [u8]) -> Result<usize> {
    loop {
        match handle.read_at(offset, buf) {
            Err(Errno::NOT_HERE_YET) => poll_fn(|cx| handle.poll_arrival(cx)).await,
            other => return other,
        }
    }
}

/// Waits for the next connection.
pub async fn accept(listener: &Rc<dyn Listener>) -> Result<Rc<dyn Handle>> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

/// What every [`Os`] can do besides.
#[allow(
    async_fn_in_trait,
    reason = "single-threaded by design: futures need not be Send"
)]
pub trait OsExt: Os {
    /// Waits for a task to end and reaps it.
    async fn wait(&self, task: TaskId) -> Result<ExitStatus> {
        poll_fn(|cx| self.poll_wait(task, cx)).await
    }

    /// A whole file.
    async fn read_file(&self, view: View, path: &[u8]) -> Result<Vec<u8>> {
        let handle = self.open(
            view,
            path,
            OpenFlags {
                read: true,
                ..OpenFlags::default()
            },
            0,
        )?;
        let mut content = Vec::new();
        loop {
            let start = content.len();
            content.resize(start + CHUNK, 0);
            let count = read_at(&handle, start as u64, &mut content[start..]).await?;
            content.truncate(start + count);
            if count == 0 {
                return Ok(content);
            }
        }
    }

    /// A whole file that is certainly in the machine: /proc, /sys, the daemon's own files.
    fn read_file_now(&self, view: View, path: &[u8]) -> Result<Vec<u8>> {
        let handle = self.open(
            view,
            path,
            OpenFlags {
                read: true,
                ..OpenFlags::default()
            },
            0,
        )?;
        let mut content = Vec::new();
        loop {
            let start = content.len();
            content.resize(start + CHUNK, 0);
            let count = handle.read_at(start as u64, &mut content[start..])?;
            content.truncate(start + count);
            if count == 0 {
                return Ok(content);
            }
        }
    }

    /// Replaces a file's content; creates it with `mode`.
    fn write_file(&self, view: View, path: &[u8], content: &[u8], mode: u32) -> Result<()> {
        let flags = OpenFlags {
            write: true,
            create: true,
            truncate: true,
            ..OpenFlags::default()
        };
        let handle = self.open(view, path, flags, mode)?;
        let mut done = 0;
        while done < content.len() {
            done += handle.write_at(done as u64, &content[done..])?;
        }
        Ok(())
    }

    /// Writes to a control file (`/sys/fs/cgroup`, `/proc/sys`) in one write.
    fn write_control(&self, view: View, path: &str, value: &str) -> Result<()> {
        let handle = self.open(
            view,
            path.as_bytes(),
            OpenFlags {
                write: true,
                ..OpenFlags::default()
            },
            0,
        )?;
        handle.write_at(0, value.as_bytes()).map(|_| ())
    }

    /// `mkdir -p`.
    fn mkdir_all(&self, view: View, path: &[u8], mode: u32) -> Result<()> {
        match self.mkdir(view, path, mode) {
            Ok(()) => Ok(()),
            Err(Errno::EEXIST) if self.metadata(view, path, true)?.is_dir() => Ok(()),
            Err(Errno::ENOENT) => {
                let cut = path
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .filter(|&at| at > 0)
                    .ok_or(Errno::ENOENT)?;
                self.mkdir_all(view, &path[..cut], mode)?;
                match self.mkdir(view, path, mode) {
                    Err(Errno::EEXIST) => Ok(()),
                    other => other,
                }
            }
            Err(error) => Err(error),
        }
    }

    /// `rm -rf`; a missing path is no error. Does not follow links and does not recurse.
    fn remove_all(&self, view: View, path: &[u8]) -> Result<()> {
        // Directories still to empty, innermost last; one is removed when it has nothing left in it.
        let mut pending = vec![path.to_vec()];
        while let Some(current) = pending.last().cloned() {
            let outcome = match self.metadata(view, &current, false) {
                Err(Errno::ENOENT) => Ok(()),
                Err(error) => Err(error),
                Ok(metadata) if !metadata.is_dir() => self.unlink(view, &current),
                Ok(_) => match self.rmdir(view, &current) {
                    Err(Errno::ENOTEMPTY) => {
                        for entry in self.read_dir(view, &current)? {
                            pending.push([&current[..], b"/", &entry.name].concat());
                        }
                        continue;
                    }
                    other => other,
                },
            };
            outcome?;
            pending.pop();
        }
        Ok(())
    }

    /// True when something is at `path`.
    fn exists(&self, view: View, path: &[u8]) -> bool {
        self.metadata(view, path, true).is_ok()
    }
}

impl<T: Os + ?Sized> OsExt for T {}

/// Copies from one handle to the other until the end; gives the number of bytes.
pub async fn copy(from: &Rc<dyn Handle>, to: &Rc<dyn Handle>) -> Result<u64> {
    let mut buf = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let count = poll_fn(|cx| match from.poll_read(cx, &mut buf) {
            // A pseudo-terminal whose slave is closed says EIO: that is its end.
            Poll::Ready(Err(Errno::EIO)) => Poll::Ready(Ok(0)),
            other => other,
        })
        .await?;
        if count == 0 {
            return Ok(total);
        }
        write_all(to, &buf[..count]).await?;
        total += count as u64;
    }
}
