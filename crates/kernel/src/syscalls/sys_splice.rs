//! System calls: moving data between descriptors inside the kernel.

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::file::{OpenFile, OpenFlags};
use vfs::inode::{S_IFDIR, S_IFREG};

use super::sys_read_write::{
    CHUNK, Place, RW_MAX, finish_write, read_file, read_segments, wait_or_fail, write_file,
};
use super::table::{Arg, Row};
use super::{Stop, SysResult};
use crate::cgroup::io;
use crate::kernel::Kernel;
use crate::pipe::PipeEnd;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(
        71,
        "sendfile",
        sys_sendfile,
        &[Arg::Fd, Arg::Fd, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        75,
        "vmsplice",
        sys_vmsplice,
        &[Arg::Fd, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
    Row::full(
        76,
        "splice",
        sys_splice,
        &[Arg::Fd, Arg::Ptr, Arg::Fd, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
    Row::full(77, "tee", sys_tee, &[Arg::Fd, Arg::Fd, Arg::Uint, Arg::Hex]),
    Row::full(
        285,
        "copy_file_range",
        sys_copy_file_range,
        &[Arg::Fd, Arg::Ptr, Arg::Fd, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
];

/// `SPLICE_F_NONBLOCK`.
const NONBLOCK: u64 = 2;
/// Most bytes one `copy_file_range` moves; it may always be short.
const COPY_MAX: u64 = 16 << 20;

/// A position in memory that the call reads and updates; without one the file's own.
fn read_offset(t: &Task, file: &OpenFile, address: u64) -> Result<u64> {
    if address == 0 {
        return Ok(file.position.get());
    }
    let offset = t.read_u64(address)?;
    if offset > i64::MAX as u64 {
        Err(Errno::EINVAL)
    } else {
        Ok(offset)
    }
}

fn write_offset(t: &Task, file: &OpenFile, address: u64, offset: u64) -> Result<()> {
    if address != 0 {
        return t.write_u64(address, offset);
    }
    if file.file.is_seekable() {
        file.position.set(offset);
    }
    Ok(())
}

fn sys_sendfile(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let files = t.files();
    let (output, input) = (files.get(a[0] as i32)?, files.get(a[1] as i32)?);
    if !input.flags.get().readable() || !output.flags.get().writable() {
        return Err(Errno::EBADF.into());
    }
    if !input.file.is_seekable() || output.flags.get().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL.into());
    }
    let total = a[3].min(RW_MAX);
    let start = read_offset(t, &input, a[2])?;
    let mut buf = k.take_scratch(total.min(CHUNK as u64) as usize);
    let outcome = send_all(t, &input, &output, start, total, &mut buf);
    k.put_scratch(buf);
    let outcome = match outcome {
        Err((errno, true)) => Err(wait_or_fail(k, t, &input, errno, false, false)),
        Err((errno, false)) => finish_write(k, t, &output, Err(Stop::Errno(errno)), false),
        Ok(done) => Ok(done),
    };
    if let Ok(done) = outcome {
        write_offset(t, &input, a[2], start + done)?;
        count_copied(k, t, &input, &output, done);
    }
    outcome
}

/// As much was read from one file and written to another without passing through the program.
fn count_copied(k: &Kernel, t: &Task, input: &OpenFile, output: &OpenFile, count: u64) {
    let now = k.clock.now();
    io::count_read(now, t, input, count);
    io::count_write(now, t, output, count);
}

/// Copies until the end, the limit or an error; the flag tells whether the input was to blame.
fn send_all(
    t: &Task,
    input: &OpenFile,
    output: &OpenFile,
    start: u64,
    total: u64,
    buf: &mut [u8],
) -> std::result::Result<u64, (Errno, bool)> {
    let mut done = t.syscall.done.get();
    while done < total {
        let want = ((total - done) as usize).min(CHUNK);
        let have = match input.file.read_at(start + done, &mut buf[..want]) {
            Ok(0) => break,
            Ok(have) => have,
            Err(errno) if done == 0 || errno == Errno::NOT_HERE_YET => return Err((errno, true)),
            Err(_) => break,
        };
        let count = output.write(&buf[..have]).map_err(|errno| (errno, false))?;
        done += count as u64;
        t.syscall.done.set(done);
        if count == 0 {
            break;
        }
    }
    Ok(done)
}

fn pipe_end(file: &OpenFile) -> Option<&PipeEnd> {
    file.file.as_any().downcast_ref::<PipeEnd>()
}

fn sys_splice(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[5] & !15 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let files = t.files();
    let (input, output) = (files.get(a[0] as i32)?, files.get(a[2] as i32)?);
    if !input.flags.get().readable() || !output.flags.get().writable() {
        return Err(Errno::EBADF.into());
    }
    let (from, to) = (pipe_end(&input), pipe_end(&output));
    if from.is_some() && a[1] != 0 || to.is_some() && a[3] != 0 {
        return Err(Errno::ESPIPE.into());
    }
    let same = from
        .zip(to)
        .is_some_and(|(from, to)| Rc::ptr_eq(&from.pipe, &to.pipe));
    if from.is_none() && to.is_none() || same || output.flags.get().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL.into());
    }
    for (file, offset) in [(&input, a[1]), (&output, a[3])] {
        if offset != 0 && !file.file.is_seekable() {
            return Err(Errno::EINVAL.into());
        }
    }
    if a[4] == 0 {
        return Ok(0);
    }
    let nowait = a[5] & NONBLOCK != 0;
    let mut buf = k.take_scratch(CHUNK);
    let want = a[4].min(CHUNK as u64) as usize;
    let outcome = match from {
        Some(from) => splice_out(t, from, &output, a[3], &mut buf[..want]),
        None => splice_in(t, &input, a[1], &output, &mut buf[..want]),
    };
    k.put_scratch(buf);
    match outcome {
        Ok(count) => {
            count_copied(k, t, &input, &output, count as u64);
            Ok(count as u64)
        }
        Err((errno, true)) => Err(wait_or_fail(k, t, &input, errno, nowait, false)),
        Err((errno, false)) => finish_write(k, t, &output, Err(Stop::Errno(errno)), nowait),
    }
}

/// From a pipe to anything. What cannot be written stays in the pipe.
fn splice_out(
    t: &Task,
    from: &PipeEnd,
    output: &OpenFile,
    offset: u64,
    buf: &mut [u8],
) -> std::result::Result<usize, (Errno, bool)> {
    let have = from.pipe.peek(buf);
    if have == 0 {
        return if from.pipe.has_writer() {
            Err((Errno::EAGAIN, true))
        } else {
            Ok(0)
        };
    }
    let at = read_offset(t, output, offset).map_err(|errno| (errno, false))?;
    let count = output
        .file
        .write_at(at, &buf[..have])
        .map_err(|errno| (errno, false))?;
    vfs::file::File::read_at(from, 0, &mut buf[..count]).map_err(|errno| (errno, true))?;
    write_offset(t, output, offset, at + count as u64).map_err(|errno| (errno, false))?;
    Ok(count)
}

/// From anything into a pipe: only as much as the pipe has room for.
fn splice_in(
    t: &Task,
    input: &OpenFile,
    offset: u64,
    output: &OpenFile,
    buf: &mut [u8],
) -> std::result::Result<usize, (Errno, bool)> {
    let Some(to) = pipe_end(output) else {
        return Err((Errno::EINVAL, false));
    };
    if !to.pipe.has_reader() {
        return Err((Errno::EPIPE, false));
    }
    let room = to.pipe.capacity().saturating_sub(to.pipe.len());
    if room == 0 {
        return Err((Errno::EAGAIN, false));
    }
    let at = read_offset(t, input, offset).map_err(|errno| (errno, true))?;
    let want = buf.len().min(room);
    let have = input
        .file
        .read_at(at, &mut buf[..want])
        .map_err(|errno| (errno, true))?;
    let count = output
        .file
        .write_at(0, &buf[..have])
        .map_err(|errno| (errno, false))?;
    write_offset(t, input, offset, at + count as u64).map_err(|errno| (errno, true))?;
    Ok(count)
}

fn sys_tee(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let files = t.files();
    let (input, output) = (files.get(a[0] as i32)?, files.get(a[1] as i32)?);
    if !input.flags.get().readable() || !output.flags.get().writable() {
        return Err(Errno::EBADF.into());
    }
    let (Some(from), Some(to)) = (pipe_end(&input), pipe_end(&output)) else {
        return Err(Errno::EINVAL.into());
    };
    if a[3] & !15 != 0 || Rc::ptr_eq(&from.pipe, &to.pipe) {
        return Err(Errno::EINVAL.into());
    }
    let nowait = a[3] & NONBLOCK != 0;
    if from.pipe.is_empty() {
        if a[2] == 0 || !from.pipe.has_writer() {
            return Ok(0);
        }
        return Err(wait_or_fail(k, t, &input, Errno::EAGAIN, nowait, false));
    }
    let mut buf = k.take_scratch(CHUNK);
    let want = a[2].min(CHUNK as u64) as usize;
    let have = from.pipe.peek(&mut buf[..want]);
    let outcome = output.file.write_at(0, &buf[..have]);
    k.put_scratch(buf);
    match outcome {
        Ok(count) => Ok(count as u64),
        Err(errno) => finish_write(k, t, &output, Err(Stop::Errno(errno)), nowait),
    }
}

fn sys_vmsplice(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let end = pipe_end(&file).ok_or(Errno::EBADF)?;
    if a[3] & !15 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let segments = read_segments(t, a[1], a[2])?;
    let place = Place {
        nowait: a[3] & NONBLOCK != 0,
        ..Place::default()
    };
    if end.writes() {
        write_file(k, t, &file, &segments, place)
    } else {
        read_file(k, t, &file, &segments, place)
    }
}

/// A regular file, for `copy_file_range`.
fn check_regular(file: &OpenFile) -> Result<()> {
    match file
        .inode()
        .map(|inode| inode.attr())
        .transpose()?
        .map(|attr| attr.file_type())
    {
        Some(S_IFREG) => Ok(()),
        Some(S_IFDIR) => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

fn sys_copy_file_range(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let files = t.files();
    let (input, output) = (files.get(a[0] as i32)?, files.get(a[2] as i32)?);
    if a[5] != 0 {
        return Err(Errno::EINVAL.into());
    }
    check_regular(&input)?;
    check_regular(&output)?;
    let flags = output.flags.get();
    if !input.flags.get().readable() || !flags.writable() || flags.contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.into());
    }
    let (from, to) = (
        read_offset(t, &input, a[1])?,
        read_offset(t, &output, a[3])?,
    );
    let total = a[4].min(COPY_MAX);
    let same = input
        .inode()
        .zip(output.inode())
        .is_some_and(|(a, b)| vfs::path::same_inode(&a, &b));
    if same && from < to.saturating_add(total) && to < from.saturating_add(total) {
        return Err(Errno::EINVAL.into());
    }
    super::sys_file::check_file_size(k, t, to)?;
    let mut buf = k.take_scratch(total.min(CHUNK as u64) as usize);
    let mut done = t.syscall.done.get();
    let outcome = loop {
        if done >= total {
            break Ok(());
        }
        let want = ((total - done) as usize).min(CHUNK);
        let have = match input.file.read_at(from + done, &mut buf[..want]) {
            Ok(0) => break Ok(()),
            Ok(have) => have,
            Err(errno) => break Err(errno),
        };
        match output.file.write_at(to + done, &buf[..have]) {
            Ok(0) => break Ok(()),
            Ok(count) => done += count as u64,
            Err(errno) => break Err(errno),
        }
    };
    k.put_scratch(buf);
    match outcome {
        Err(errno) if done == 0 || errno == Errno::NOT_HERE_YET => {
            t.syscall.done.set(done);
            return Err(wait_or_fail(k, t, &input, errno, true, false));
        }
        _ => {}
    }
    write_offset(t, &input, a[1], from + done)?;
    write_offset(t, &output, a[3], to + done)?;
    count_copied(k, t, &input, &output, done);
    Ok(done)
}
