//! `/proc/PID/fd` and `/proc/PID/fdinfo`: the descriptors of a process.

use abi::{Errno, Result};
use vfs::file::OpenFlags;
use vfs::inode::{InodeRef, S_IFLNK, S_IFREG};

use super::links::FdLink;
use super::task::{TaskRef, View, ino};
use crate::pseudo::{Body, Dir, Entry};

/// `/proc/PID/fd`.
pub(super) fn fd_dir(task: &TaskRef, number: u64) -> InodeRef {
    task.sub_dir(
        number,
        0o500,
        FdDir {
            task: task.clone(),
            info: false,
        },
    )
}

/// `/proc/PID/fdinfo`.
pub(super) fn fdinfo_dir(task: &TaskRef, number: u64) -> InodeRef {
    task.sub_dir(
        number,
        0o555,
        FdDir {
            task: task.clone(),
            info: true,
        },
    )
}

struct FdDir {
    task: TaskRef,
    info: bool,
}

impl FdDir {
    fn ino(&self, tid: u32, fd: i32) -> u64 {
        // Beside the other files of the task.
        (ino(tid, if self.info { "fdinfo" } else { "fd" }) ^ 0x5555).wrapping_add(fd as u64 * 2)
    }
}

impl Dir for FdDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let view = self.task.view()?;
        view.inspect()?;
        let text = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let fd: i32 = text.parse().map_err(|_| Errno::ENOENT)?;
        if fd < 0 || fd.to_string() != text {
            return Err(Errno::ENOENT);
        }
        let entry = view.task.files().entry(fd).map_err(|_| Errno::ENOENT)?;
        let number = self.ino(view.task.tid(), fd);
        if self.info {
            return Ok(self
                .task
                .text_file(number, 0o444, move |view| fdinfo(view, fd)));
        }
        // The mode bits of the link say how the file is open.
        let flags = entry.file.flags.get();
        let read = if flags.readable() { 0o500 } else { 0 };
        let write = if flags.writable() { 0o300 } else { 0 };
        let link = FdLink {
            task: self.task.clone(),
            fd,
        };
        Ok(self
            .task
            .node(number, read | write, Body::Magic(Box::new(link))))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let view = self.task.view()?;
        view.inspect()?;
        let tid = view.task.tid();
        let files = view.task.files().list();
        Ok(files
            .iter()
            .map(|&(fd, _)| Entry {
                name: fd.to_string().into_bytes(),
                ino: self.ino(tid, fd),
                file_type: if self.info { S_IFREG } else { S_IFLNK },
            })
            .collect())
    }
}

fn fdinfo(view: &View, fd: i32) -> Result<Vec<u8>> {
    view.inspect()?;
    let entry = view.task.files().entry(fd).map_err(|_| Errno::ENOENT)?;
    let mut flags = entry.file.flags.get() | OpenFlags::LARGEFILE;
    flags.set(OpenFlags::CLOEXEC, entry.cloexec);
    let (mount, inode) = match &entry.file.path {
        Some(path) => (
            path.mount.id,
            path.inode().attr().map_or(0, |attr| attr.ino),
        ),
        None => (
            0,
            entry.file.file.anonymous_attr().map_or(0, |attr| attr.ino),
        ),
    };
    let text = format!(
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{mount}\nino:\t{inode}\n",
        entry.file.position.get(),
        flags.bits()
    );
    Ok(text.into_bytes())
}
