//! System calls: pipes.

use std::rc::Rc;

use abi::Errno;
use vfs::file::{OpenFile, OpenFlags};

use super::SysResult;
use super::sys_file::install;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::pipe::Pipe;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[Row::full(
    59,
    "pipe2",
    sys_pipe2,
    &[Arg::Ptr, Arg::OpenFlags],
)];

fn sys_pipe2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let flags = OpenFlags::from_bits_retain(a[1] as u32);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let pipe = Pipe::new(crate::dev::next_anonymous_ino(k), Some(&k.payer));
    let status = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let reader = OpenFile::new(Rc::new(pipe.open(true, false)), None, status);
    let writer = OpenFile::new(
        Rc::new(pipe.open(false, true)),
        None,
        status | OpenFlags::WRONLY,
    );
    writer.file.set_flags(status);
    install_pair(t, reader, writer, flags.contains(OpenFlags::CLOEXEC), a[0])
}

/// Gives two files descriptors and writes their numbers to memory; on an error neither stays.
pub(super) fn install_pair(
    t: &Task,
    first: Rc<OpenFile>,
    second: Rc<OpenFile>,
    cloexec: bool,
    address: u64,
) -> SysResult {
    let files = t.files();
    let first = install(t, first, cloexec)?;
    let second = match install(t, second, cloexec) {
        Ok(fd) => fd,
        Err(errno) => {
            drop(files.remove(first as i32)?);
            return Err(errno.into());
        }
    };
    let mut raw = [0; 8];
    raw[..4].copy_from_slice(&(first as u32).to_le_bytes());
    raw[4..].copy_from_slice(&(second as u32).to_le_bytes());
    if let Err(errno) = t.write_memory(address, &raw) {
        drop(files.remove(first as i32)?);
        drop(files.remove(second as i32)?);
        return Err(errno.into());
    }
    Ok(0)
}
